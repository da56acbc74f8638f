"""Listing: every room by class and id, from the catalog, without opening any."""

import sqlite3
from contextlib import closing

from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom


async def test_rooms_are_listed_in_the_order_of_their_ids_and_none_is_opened(tmp_path, autojump_clock):
    ids = ["b", "a", "room-1", "room-10", "room-2", "ä", "\U0010ffff", "\U0010ffffz"]
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for id in ids:
            await runtime.room(ChatRoom, id).post("hello")
        assert [room.resident for room in runtime.list_rooms(ChatRoom)] == [True] * len(ids)
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        listed = runtime.list_rooms(ChatRoom)
        assert [room.id for room in listed] == sorted(ids, key=str.encode)
        assert not any(room.resident for room in listed)
        assert runtime.status().rooms_open == 0
        assert [room.id for room in runtime.list_rooms(ChatRoom, prefix="room-")] == ["room-1", "room-10", "room-2"]
        assert [room.id for room in runtime.list_rooms(ChatRoom, prefix="room-1")] == ["room-1", "room-10"]
        assert [room.id for room in runtime.list_rooms(ChatRoom, prefix="\U0010ffff")] == ["\U0010ffff", "\U0010ffffz"]
        assert [room.id for room in runtime.list_rooms(after="b", limit=2)] == ["room-1", "room-10"]


async def test_a_listed_room_says_how_old_how_large_and_how_far_it_is(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        assert runtime.describe(room) is None
        await room.post("hello")
        born = runtime.describe(room)
        assert born is not None
        assert (born.resident, born.bytes) == (True, 0)
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        known = runtime.describe(runtime.room(ChatRoom, "a"))
        assert known is not None
        assert known.bytes == next((tmp_path / "rooms").glob("*/*.db")).stat().st_size
        assert known.created == born.created > 0
        assert known.last_active >= known.created
        assert (known.version, known.sick) == (len(ChatRoom.migrations), None)
        (file,) = (tmp_path / "rooms").glob("*/*.db")
        with closing(sqlite3.connect(file)) as outside:
            assert outside.execute("SELECT max(seq) FROM _outbox").fetchone() == (known.seq,)
