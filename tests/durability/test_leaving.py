"""Rooms that make place for others: their WAL may stay behind, durable, and is taken into the database when nobody waits."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.storage import tidying
from actors.storage.tidying import TIDY_SECONDS, WAL_LEFT_BYTES_MAX
from durable_rooms import RoomQuarantined
from tests.durability.callers import activation, is_open, path_of, room, wal
from tests.durability.test_levels import NORMAL, hibernate, level, make_place

A = path_of("a")
ONE_PLACE = Limits(open_rooms_max=1)


async def test_a_room_that_makes_place_neither_syncs_nor_checkpoints(open_rooms, disk, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("1")
        before = len(disk.events)
        await make_place(runtime)
        assert (data / wal("a")).stat().st_size > 0
        after = {event.kind for event in disk.events[before:] if event.path in (A, wal("a")) and event.by == "sqlite"}
        assert not after & {"sync began", "write", "truncate", "unlink"}


async def test_the_next_opening_goes_on_from_the_wal_that_was_left(open_rooms, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        for number in range(5):
            assert await room(runtime, "a").post(str(number)) == number + 1
            await make_place(runtime)
        assert await room(runtime, "a").ids() == [str(number) for number in range(5)]
        assert level(runtime) == NORMAL
        assert activation(runtime, "a").storage.epoch == 1


async def test_a_wal_that_was_left_is_taken_in_when_nobody_waits(open_rooms, data, autojump_clock):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("1")
        await make_place(runtime)
        await trio.sleep(2 * TIDY_SECONDS)
        assert not (data / wal("a")).exists()
        assert len(runtime.tidying) == 0
        assert await room(runtime, "a").ids() == ["1"]


async def test_a_clean_stop_leaves_no_wal_behind(open_rooms, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        for id in ("a", "b", "c"):
            await room(runtime, id).post("1")
    assert not list(data.glob("rooms/*/*-wal"))


async def test_a_long_wal_is_taken_in_before_the_room_leaves(open_rooms, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("1", "x" * WAL_LEFT_BYTES_MAX)
        await make_place(runtime)
        assert not (data / wal("a")).exists()


async def test_no_more_than_so_many_rooms_leave_a_wal_behind(open_rooms, data, monkeypatch):
    monkeypatch.setattr(tidying, "WALS_LEFT_MAX", 2)
    async with open_rooms(limits=ONE_PLACE) as runtime:
        for id in ("a", "b", "c", "d"):
            await room(runtime, id).post("1")
        assert [(data / wal(id)).exists() for id in ("a", "b", "c", "d")] == [True, True, False, True]


@pytest.mark.parametrize("leave", [hibernate, make_place])
async def test_a_stay_that_only_read_leaves_nothing_behind(open_rooms, disk, data, leave):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("1")
        await hibernate(runtime)
        await room(runtime, "a").ids()
        before = len(disk.events)
        await leave(runtime)
        assert not (data / wal("a")).exists()
        syncs = [event for event in disk.events[before:] if event.kind == "sync began" and event.path == A]
        assert not syncs


async def test_a_room_in_use_again_is_not_tidied(open_rooms, data, threads, tasks):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        await room(runtime, "a").post("1")
        await make_place(runtime)
        await room(runtime, "a").post("2")
        await runtime.seat(activation(runtime, "a")._housing.name).tidy()
        assert (data / wal("a")).exists()
        assert await room(runtime, "a").ids() == ["1", "2"]


async def test_a_room_that_was_only_asked_by_a_failed_syncfs_leaves_when_its_round_is_back(open_rooms, disk, threads, tasks):
    """Rule 23 asks every descriptor: rooms, too, that asked for no round and hear of none."""
    async with open_rooms() as runtime:
        for id in "abcdef":
            await room(runtime, id).post("0")
        disk.fails("file system sync")
        hold = threads.hold("sync began", wal("b"))
        for id in "bcdef":
            tasks.start_soon(room(runtime, id).post, "1")
        await hold.reached.wait()
        assert activation(runtime, "a").in_round
        activation(runtime, "a").leave()
        await wait_all_tasks_blocked()
        assert is_open(runtime, "a")
        hold.release()
        while is_open(runtime, "a"):  # the held thread ends in its own time
            await wait_all_tasks_blocked()


async def test_a_damaged_file_that_could_not_be_moved_is_not_tidied(open_rooms, disk, data):
    """It is kept byte for byte, and so is the WAL that was left beside it."""
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("1")
        await make_place(runtime)
        pages = (data / A).stat().st_size - 4096
        with (data / A).open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * pages)
        disk.fails("rename", A)
        with pytest.raises(RoomQuarantined, match="still in its place"):
            await room(runtime, "a").ids()
        before = (data / A).read_bytes(), (data / wal("a")).read_bytes()
        await runtime.tidying.finish()
        assert ((data / A).read_bytes(), (data / wal("a")).read_bytes()) == before
