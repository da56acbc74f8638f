"""What the runtime does with a room as a whole: evict, abort, delete, dump and load."""

from random import Random
from typing import Any

import pytest
import trio

from durable_rooms import RoomsError, Runtime, SQLiteReplica, read
from durable_rooms.simulation.image import Keep
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Callers, Notes, cut_power, on_faulty_disk
from tests.conformance.yardstick import behaviour, statement


class Rooms(Notes):
    async def two_slices(self, body: str, seconds: float) -> str:
        self.post(f"{body} 1")
        await trio.sleep(seconds)
        self.post(f"{body} 2")
        return "done"

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    def keep(self, key: str, value: str) -> None:
        self.kv.set(key, value)

    def kept(self) -> dict[str, Any]:
        return dict(self.kv.items())

    @read(fresh="any")
    def replica_bodies(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()


@statement(47)
async def test_evict_waits_for_what_runs_then_memory_is_gone_and_rows_are_there(autojump_clock) -> None:
    """Given a handler under way, when its room is evicted, then the handler ends first; after that the memory is fresh
    and the rows are there."""
    async with open_test_runtime(Rooms) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Rooms, "a"), Callers(nursery)
        await room.remember("forgotten")
        await callers.start("under way", room.two_slices, "x", 5)
        before = trio.current_time()
        await runtime.evict(room)
        assert trio.current_time() - before >= 5
        assert (await callers.settle())["under way"] == "done"
        assert runtime.status().rooms_open == 0
        assert await room.remember("fresh") == ["fresh"]
        assert await room.bodies() == ["x 1", "x 2"]


@statement(35)
@behaviour(22)
async def test_abort_drops_memory_and_what_is_not_committed_at_once(autojump_clock) -> None:
    """Given a handler between two slices and a call that waits for it, when the room is aborted, then it is so at once:
    the first slice stays, the second never runs, both callers are told, and the same stub meets a fresh activation."""
    async with open_test_runtime(Rooms) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Rooms, "a"), Callers(nursery)
        await room.remember("forgotten")
        await callers.start("under way", room.two_slices, "x", 1_000)
        await callers.start("section", room.hold, 1_000)
        await callers.start("waits", room.post, "never")
        before = trio.current_time()
        await runtime.abort(room, "moderation")
        assert trio.current_time() - before < 1
        outcomes = await callers.settle()
        errors = [outcomes[name] for name in ("under way", "section", "waits")]
        assert all(isinstance(error, RoomsError) and "moderation" in str(error) for error in errors)
        assert (errors[0].ran, errors[2].ran, errors[2].retryable) == ("unknown", "no", True)
        assert await room.remember("fresh") == ["fresh"]
        assert await room.bodies() == ["x 1"]


@behaviour(22)
async def test_abort_loses_nothing_that_was_acknowledged(autojump_clock) -> None:
    """Given acknowledged calls, when the room is aborted, also many times and while nobody uses it, then each of them is
    there."""
    async with open_test_runtime(Rooms) as runtime:
        room = runtime.room(Rooms, "a")
        for n in range(10):
            await room.post(f"{n}")
            await runtime.abort(room)
        assert await room.bodies() == [f"{n}" for n in range(10)]


@statement(28)
@behaviour(28)
async def test_delete_empties_the_room_everywhere(tmp_path, autojump_clock) -> None:
    """Given a room with rows, keys and a replica, when it is deleted, then a later call meets an empty one, the replica
    has no row of it, it is listed no more, and other rooms are as they were."""
    async with open_test_runtime(Rooms, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room, other = runtime.room(Rooms, "a"), runtime.room(Rooms, "b")
        for one in (room, other):
            await one.post("x")
            await one.keep("key", "value")
        await runtime.replicated()
        await runtime.delete(room)
        assert [info.id for info in runtime.list_rooms()] == ["b"]
        await runtime.replicated()
        assert await room.replica_bodies() == []
        assert (await room.bodies(), await room.kept()) == ([], {})
        assert (await other.bodies(), await other.kept()) == (["x"], {"key": "value"})
        assert await room.post("new") == 1


@statement(28)
@behaviour(28)
@pytest.mark.parametrize("keep", Keep, ids=lambda keep: keep.name.lower())
async def test_a_deleted_room_stays_deleted_over_a_power_cut_and_its_successor_lives(keep, tmp_path, autojump_clock) -> None:
    """Given a room that was deleted and called again, when the power fails, whatever is left of the unsynced, then the
    old rows are gone and the new ones are there."""
    async with on_faulty_disk(tmp_path / "data", Rooms) as (runtime, disk):
        gone, successor = runtime.room(Rooms, "gone"), runtime.room(Rooms, "again")
        for room in (gone, successor):
            await room.post("old")
            await runtime.delete(room)
        await successor.post("new")
        cut_power(disk, keep, tmp_path / "cut", Random(1))
    async with open_test_runtime(Rooms, path=tmp_path / "cut") as runtime:
        assert [info.id for info in runtime.list_rooms()] == ["again"]
        assert await runtime.room(Rooms, "again").bodies() == ["new"]
        assert await runtime.room(Rooms, "gone").bodies() == []


@statement(28)
async def test_calls_that_wait_for_a_room_that_is_deleted_are_refused_or_meet_the_new_one(autojump_clock) -> None:
    """Given calls that wait, when their room is deleted, then each is either told that it did not run or is in the new
    room: no acknowledged one is lost with the old."""
    async with open_test_runtime(Rooms) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Rooms, "a"), Callers(nursery)
        await room.post("old")
        await callers.start("section", room.hold, 1)
        for n in range(5):
            await callers.start(f"{n}", room.post, f"{n}")
        await runtime.delete(room)
        await trio.sleep(5)
        assert isinstance(callers.outcomes.pop("section"), RoomsError)
        acknowledged = [body for body, found in callers.outcomes.items() if isinstance(found, int)]
        refused = [found for found in callers.outcomes.values() if isinstance(found, RoomsError)]
        assert len(acknowledged) + len(refused) == 5
        assert all(error.ran == "no" for error in refused)
        assert await room.bodies() == acknowledged


async def dumped(runtime: Runtime, path: Any) -> Any:
    room = runtime.room(Rooms, "a")
    await room.post("before")
    await room.keep("key", "before")
    await runtime.dump(room, path)
    await room.post("after")
    await room.keep("key", "after")
    return room


@behaviour(29)
async def test_a_dump_is_loaded_as_the_room_was(tmp_path, autojump_clock) -> None:
    """Given a dump and later writes, when it is loaded in the room's place, then the room and its replica are as they
    were at the dump, and the room goes on from there; when it is loaded under another name, then that is a room of its
    own."""
    async with open_test_runtime(Rooms, path=tmp_path / "data", replicas=[SQLiteReplica()]) as runtime:
        room = await dumped(runtime, tmp_path / "dump.db")
        await runtime.replicated()
        await runtime.load(room, tmp_path / "dump.db", replace=True)
        assert (await room.bodies(), await room.kept()) == (["before"], {"key": "before"})
        assert await room.post("goes on") == 2
        await runtime.load(runtime.room(Rooms, "copy"), tmp_path / "dump.db")
        assert await runtime.room(Rooms, "copy").bodies() == ["before"]
        await runtime.replicated()
        assert await room.replica_bodies() == ["before", "goes on"]
        assert await runtime.room(Rooms, "copy").replica_bodies() == ["before"]


@behaviour(29)
async def test_a_load_is_refused_where_a_room_is_and_nobody_said_replace(tmp_path, autojump_clock) -> None:
    """Given a room, when a dump is loaded over it without a word, then it is refused and the room is as it was: to undo a
    load, dump before."""
    async with open_test_runtime(Rooms, path=tmp_path / "data") as runtime:
        room = await dumped(runtime, tmp_path / "dump.db")
        with pytest.raises((RoomsError, FileExistsError)):
            await runtime.load(room, tmp_path / "dump.db")
        assert await room.bodies() == ["before", "after"]
