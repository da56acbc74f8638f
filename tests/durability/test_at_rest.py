"""A follower reads a room that is not in memory from its file, without waking it; only what cannot be read so is opened."""

import contextlib
import sqlite3

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.names import RoomName
from durable_rooms import OutcomeUnknown, RoomUnfit
from tests.durability.callers import activation, is_open, path_of, room, wal
from tests.durability.test_levels import hibernate, make_place

A, NAME = path_of("a"), RoomName("Chat", "a")
ONE_PLACE = Limits(open_rooms_max=1)


def ids(changes):
    return sorted(row[0] for table in changes.tables for row in table.upserts if table.table.name == "messages")


async def test_a_room_at_rest_is_read_without_being_opened(open_rooms, data):
    async with open_rooms() as runtime:
        for number in ("1", "2"):
            await room(runtime, "a").post(number)
        position = activation(runtime, "a").position
        await hibernate(runtime)
        changes = await runtime.source(NAME).collect(0)
        assert (ids(changes), changes.position) == (["1", "2"], position)
        await changes.commit.durable()
        assert not is_open(runtime, "a")
        assert NAME not in runtime._seats
        assert not (data / wal("a")).exists()


async def test_a_wal_that_was_left_behind_is_read_and_stays(open_rooms, disk, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("1")
        await make_place(runtime)
        before = (data / wal("a")).read_bytes()
        assert len(ids(await runtime.source(NAME).collect(0))) == 1
        assert not is_open(runtime, "a")
        assert (data / wal("a")).read_bytes() == before
        assert await room(runtime, "a").post("2") == 2


async def test_rule_34_what_another_program_wrote_meanwhile_waits_for_a_round(open_rooms, disk, data):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        await hibernate(runtime)
        with contextlib.closing(sqlite3.connect(data / A)) as outside, outside:
            outside.execute("UPDATE messages SET body = 'edited outside'")
        changes = await runtime.source(NAME).collect(0)
        assert is_open(runtime, "a")
        await changes.commit.durable()
        assert activation(runtime, "a").gate.durable == activation(runtime, "a").gate.committed


async def test_rule_14_an_opening_waits_for_the_reader_of_the_closed_file(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        await hibernate(runtime)
        found = []

        async def collect():
            found.append(await runtime.source(NAME).collect(0))

        seat = runtime.seat(NAME)
        async with seat.lock:
            tasks.start_soon(collect)
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room(runtime, "a").post, "2")
                await wait_all_tasks_blocked()
                assert runtime.seat(NAME) is seat
                assert not is_open(runtime, "a")
                seat.lock.release()
                await wait_all_tasks_blocked()
                await seat.lock.acquire()
        await wait_all_tasks_blocked()
        assert len(found) == 1
        assert runtime.seat(NAME) is seat
        assert await room(runtime, "a").post("3") == 3


async def test_a_follower_waits_for_a_room_that_is_being_closed_and_does_not_open_it_again(open_rooms, tasks):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        found = []

        async def collect():
            found.append(ids(await runtime.source(NAME).collect(0)))

        async with runtime.seat(NAME).lock:
            tasks.start_soon(runtime.evict, room(runtime, "a"))
            await wait_all_tasks_blocked()
            tasks.start_soon(collect)
            await wait_all_tasks_blocked()
            assert (found, runtime.seat(NAME).occupied) == ([], True)
        await wait_all_tasks_blocked()
        assert found == [["1"]]
        assert not is_open(runtime, "a")


async def test_rule_26_what_was_read_of_a_room_that_broke_is_thrown_away(open_rooms):
    """Even if all that the room counted is durable: another program's commit may have been read that nobody counted."""
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        changes = await runtime.source(NAME).collect(0)
        activation(runtime, "a").break_(OSError("its disk"))
        with pytest.raises(OutcomeUnknown):
            await changes.commit.durable()


BREAKS = {
    "our table dropped": ["DROP TABLE _timeline"],
    "a schema that does not parse": [
        "PRAGMA writable_schema = 1",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE (' WHERE name = 'tally'",
        "PRAGMA schema_version = 4711",
    ],
}


@pytest.mark.parametrize("statements", BREAKS.values(), ids=BREAKS)
async def test_a_file_that_another_program_broke_is_told_to_who_copies_it_as_the_rooms_own_trouble(open_rooms, data, statements):
    """An error of SQLite's would be taken for the replica's, and a damaged replica is put aside and made anew."""
    async with open_rooms() as runtime:
        for id in ("a", "b"):
            await room(runtime, id).post("1")
        with contextlib.closing(apsw.Connection(str(data / A))) as outside:
            for statement in statements:
                outside.execute(statement).fetchall()
        with pytest.raises(RoomUnfit, match="Chat/a"):
            async with runtime.source(NAME).copy() as copy:
                await copy.commit_now().durable()
        with contextlib.closing(apsw.Connection(str(data / path_of("b")))) as outside:
            async with runtime.source(RoomName("Chat", "b")).copy() as copy:
                for statement in statements:
                    outside.execute(statement).fetchall()
                with pytest.raises(RoomUnfit, match="Chat/b"):
                    copy.commit_now()
