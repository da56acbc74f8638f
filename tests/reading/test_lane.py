"""A room's own answer to a read, beside everything that may be going on with the room and its file."""

import itertools
from contextlib import closing
from typing import Any

import apsw
import pytest
import trio

from actors.reads.lane import LANES_MAX
from actors.system.threads import BRIEF_HOPS_MIN
from durable_rooms import (
    Actor,
    DeadlineExceeded,
    Limits,
    OutcomeUnknown,
    RoomLocked,
    RoomQuarantined,
    RoomUnfit,
    read,
)
from durable_rooms.testing import open_test_runtime
from tests.reading.own import ASKED, SOON, HeldThreads, Room, Told, file_of, make_slow, print_of, rest
from tests.rooms.faults import FailsOnce


# -- at rest -------------------------------------------------------------------------------------------------------------
async def test_the_file_of_a_room_at_rest_is_not_changed_by_a_read(autojump_clock):
    async with open_test_runtime(Room, limits=SOON) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "hello")
        await rest(runtime)
        before = print_of(file_of(runtime))
        assert await room.seen() == ["hello"]
        assert print_of(file_of(runtime)) == before
        assert runtime.status().rooms_open == 0


async def test_a_wal_that_was_left_behind_stays_as_it_is(autojump_clock):
    """A room that made place for another leaves one."""
    async with open_test_runtime(Room, limits=Limits(open_rooms_max=1)) as runtime:
        await runtime.room(Room, "general").post("ann", "hello")
        path = file_of(runtime)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.room(Room, "other").waits_alone, 25)
            await trio.sleep(5)
            wal = path.with_name(f"{path.name}-wal")
            left = wal.exists()
            before = print_of(path)
            assert await runtime.room(Room, "general").seen() == ["hello"]
            assert [one for one in print_of(path) if "shm" not in one[0]] == [one for one in before if "shm" not in one[0]]
            assert wal.exists() == left


async def test_a_read_at_rest_waits_for_no_place(autojump_clock):
    async with open_test_runtime(Room, limits=Limits(open_rooms_max=1)) as runtime, trio.open_nursery() as nursery:
        await runtime.room(Room, "general").post("ann", "hello")
        nursery.start_soon(runtime.room(Room, "other").waits_alone, 25)
        await trio.sleep(5)
        with trio.fail_after(1):
            assert await runtime.room(Room, "general").seen() == ["hello"]
        nursery.cancel_scope.cancel()


async def test_a_read_that_must_open_its_room_waits_for_a_place(autojump_clock):
    async with open_test_runtime(Room, limits=Limits(open_rooms_max=1)) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(runtime.room(Room, "other").waits_alone, 25)
        await trio.sleep(1)
        with trio.move_on_after(10) as patience:
            await runtime.room(Room, "new").seen()
        assert patience.cancelled_caught
        assert await runtime.room(Room, "new").seen() == []


async def test_what_another_program_wrote_into_a_room_at_rest_is_read(autojump_clock):
    async with open_test_runtime(Room, limits=SOON) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "ours")
        await rest(runtime)
        with closing(apsw.Connection(str(file_of(runtime)))) as other:
            other.execute("INSERT INTO messages (author, body) VALUES ('eve', 'theirs')").fetchall()
        assert await room.seen() == ["ours", "theirs"]


async def test_another_programs_lock_of_a_room_at_rest_is_said_as_such(autojump_clock):
    async with open_test_runtime(Room, limits=SOON) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "ours")
        await rest(runtime)
        with closing(apsw.Connection(str(file_of(runtime)))) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            other.execute("BEGIN EXCLUSIVE").fetchall()
            with pytest.raises(RoomLocked):
                await room.seen()
        assert await room.seen() == ["ours"]


async def test_a_room_at_rest_whose_file_is_gone_is_refused_and_not_made_anew(autojump_clock):
    async with open_test_runtime(Room, limits=SOON) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "ours")
        await rest(runtime)
        file_of(runtime).unlink()
        with pytest.raises((RoomUnfit, RoomQuarantined)):
            await room.seen()


async def test_a_pending_migration_runs_before_a_read_sees_the_room(tmp_path, autojump_clock):
    class Before(Actor):
        migrations = ["CREATE TABLE t (id INTEGER PRIMARY KEY)"]

        def add(self) -> None:
            self.sql("INSERT INTO t DEFAULT VALUES")

    class After(Before):
        migrations = [*Before.migrations, "ALTER TABLE t ADD COLUMN word TEXT DEFAULT 'new'"]

        @read(fresh="room")
        def words(self) -> list[str]:
            return self.sql("SELECT word FROM t").scalars()

    Before.__name__ = After.__name__ = "Same"
    async with open_test_runtime(Before, path=tmp_path) as runtime:
        await runtime.room(Before, "general").add()
    async with open_test_runtime(After, path=tmp_path) as runtime:
        assert await runtime.room(After, "general").words() == ["new"]


async def test_so_many_files_at_rest_are_read_at_once_and_no_more(autojump_clock):
    threads = HeldThreads()
    async with open_test_runtime(Room, limits=SOON) as runtime:
        for n in range(3 * LANES_MAX):
            await runtime.room(Room, f"{n}").post("ann", "x")
        await rest(runtime)
        runtime.doors.threads = threads
        threads.free = trio.Event()
        async with trio.open_nursery() as nursery:
            for n in range(3 * LANES_MAX):
                nursery.start_soon(runtime.room(Room, f"{n}").seen)
            await trio.testing.wait_all_tasks_blocked()
            assert threads.waiting.count("_from_file") == LANES_MAX
            threads.free.set()
        assert runtime.status().rooms_open == 0


# -- in memory, at the gate ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ask", ["seen", "tells"])
@pytest.mark.parametrize("in_thread", [False, True], ids=["on the loop", "in a thread"])
@pytest.mark.parametrize("becomes", ["durable", "lost"])
async def test_what_a_read_returns_or_raises_waits_until_it_is_durable(ask, in_thread, becomes, autojump_clock):
    disk = FailsOnce()
    async with open_test_runtime(Room, disk=disk) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Room, "general")
        await room.draft("the catalog has heard of it")
        await room.post("ann", "before")
        if in_thread:
            await make_slow(runtime, room, ask)
        rounds, go_on = runtime.syncer._sync, trio.Event()

        async def held_up(*args: Any) -> Any:
            await go_on.wait()
            return await rounds(*args)

        runtime.syncer._sync = held_up
        outcomes: list[Any] = []

        async def asks() -> None:
            try:
                outcomes.append(await getattr(room, ask)())
            except Exception as error:
                outcomes.append(error)

        async def posts() -> None:
            try:
                await room.post("ann", "after")
            except OutcomeUnknown:
                assert becomes == "lost"

        nursery.start_soon(posts)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(asks)
        await trio.sleep(60)
        early = list(outcomes)
        if becomes == "lost":
            disk.fail_next()
        go_on.set()
        await trio.sleep(1)
        assert early == [], "the post that it saw was not durable yet"
        (outcome,) = outcomes
        if becomes == "lost":
            assert isinstance(outcome, OutcomeUnknown)
        else:
            assert outcome == ["before", "after"] if ask == "seen" else str(outcome) == "before, after"


async def test_a_read_that_was_slow_goes_to_a_thread_the_next_time(autojump_clock):
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "hello")
        await make_slow(runtime, room, "seen")
        runtime.doors.threads = threads = HeldThreads()
        for _ in range(BRIEF_HOPS_MIN):
            assert await room.seen() == ["hello"]
        assert threads.begun.count("_from_file") == BRIEF_HOPS_MIN
        await room.seen()
        assert threads.begun.count("_from_file") == BRIEF_HOPS_MIN, "then it is tried on the loop again"


async def test_a_read_that_was_slow_and_failed_goes_to_a_thread_the_next_time(autojump_clock):
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "hello")
        await make_slow(runtime, room, "tells")
        runtime.doors.threads = threads = HeldThreads()
        with pytest.raises(Told, match="hello"):
            await room.tells()
        assert "_from_file" in threads.begun


@pytest.mark.parametrize("rests", [False, True], ids=["in memory", "at rest"])
async def test_a_runaway_read_of_a_room_is_interrupted(rests, autojump_clock):
    async with open_test_runtime(Room, limits=Limits(statement_seconds_max=10, idle_seconds_max=1)) as runtime:
        ticks = itertools.count()
        runtime.doors.stopwatch = lambda: float(next(ticks))
        room = runtime.room(Room, "general")
        await room.post("ann", "hello")
        if rests:
            await rest(runtime)
        with pytest.raises(DeadlineExceeded):
            await room.spins()
        assert await room.seen() == ["hello"]


async def test_an_exclusive_handler_keeps_no_read_out_and_shows_it_only_what_it_has_committed(autojump_clock):
    async with open_test_runtime(Room) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Room, "general")
        nursery.start_soon(room.waits_alone, 10)
        await trio.sleep(5)
        assert await room.seen() == ["begun"]
        await trio.sleep(6)
        assert await room.seen() == ["begun", "ended"]


async def test_a_handler_may_wait_for_a_read_of_another_room_and_of_its_own(autojump_clock):
    async with open_test_runtime(Room) as runtime:
        await runtime.room(Room, "other").post("ann", "there")
        ASKED["other"] = runtime.room(Room, "other").seen
        ASKED["own"] = runtime.room(Room, "general").seen
        with trio.fail_after(5):
            assert await runtime.room(Room, "general").reads_another("other") == ["there"]
            assert await runtime.room(Room, "general").reads_another("own") == ["asks", "asks"]
        ASKED.clear()


async def test_what_another_program_wrote_into_an_open_room_is_read(autojump_clock):
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "ours")
        with closing(apsw.Connection(str(file_of(runtime)))) as other:
            other.execute("INSERT INTO messages (author, body) VALUES ('eve', 'theirs')").fetchall()
        reply = await room.ask(Room.seen)
        assert reply.value == ["ours", "theirs"]
        assert reply.seq == (await room.ask(Room.seen)).seq


async def test_another_programs_write_lock_holds_up_calls_and_no_read(autojump_clock):
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "ours")
        with closing(apsw.Connection(str(file_of(runtime)))) as other:
            other.execute("BEGIN IMMEDIATE").fetchall()
            async with trio.open_nursery() as nursery:

                async def posts() -> None:
                    with pytest.raises(RoomLocked):
                        await room.post("ann", "late")

                nursery.start_soon(posts)
                await trio.sleep(0.1)
                with trio.fail_after(0.1):
                    assert await room.seen() == ["ours"]


async def test_a_caller_who_reads_and_reads_keeps_nobody_from_running(autojump_clock):
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "general")
        await room.post("ann", "hello")
        reads = 0
        with trio.move_on_after(1) as patience:
            while reads < 10_000:
                await room.seen()
                reads += 1
                if reads == 10:
                    patience.cancel()
        assert reads == 10
