"""A directory of copied rooms is what the runtime would have made: it opens, reads and equals its replica."""

import resource

import pytest

from benchmarks.chat_room import ChatRoom
from benchmarks.churn import rooms_that_fit
from benchmarks.machine import Unfit
from benchmarks.rooms_on_disk import make_rooms, room_id
from durable_rooms import SQLiteReplica, open_runtime
from durable_rooms.verify import verify

ROOMS = 5


async def test_every_copied_room_is_a_room_and_is_in_the_replica(tmp_path):
    await make_rooms(tmp_path / "data", ROOMS, lambda _done: None, replicated=True, posts=3)
    report = verify(tmp_path / "data")
    assert report.equal
    assert report.rooms == ROOMS
    assert report.rows == 3 * ROOMS
    async with open_runtime(tmp_path / "data", [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        for number in range(ROOMS):
            room = runtime.room(ChatRoom, room_id(number))
            assert len(await room.call(ChatRoom.history, 50)) == 3
            assert await room.call(ChatRoom.post, "user-00", "one more") == 4
        await runtime.replicated()
        assert not runtime.status().replicas[0].resyncs
    assert verify(tmp_path / "data").equal


def test_churn_takes_as_many_rooms_as_open_files_allow():
    assert rooms_that_fit(5_000, resource.RLIM_INFINITY) == 5_000
    assert rooms_that_fit(5_000, 65_536) == 5_000
    assert rooms_that_fit(5_000, 20_000) == 3_400
    with pytest.raises(Unfit, match="open files"):
        rooms_that_fit(5_000, 1_100)
