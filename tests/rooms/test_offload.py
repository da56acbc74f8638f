"""`@command(offload=True)`: slow SQL in a worker thread, one call at a time in its room, and nobody else on its connection."""

import tempfile
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Doors, InlineThreads, RoomName
from actors.activation.activation import Activation
from durable_rooms import (
    Actor,
    CallTimeout,
    DeadlineExceeded,
    Limits,
    Room,
    RoomLocked,
    RoomQuarantined,
    RoomReset,
    Runtime,
    RuntimeClosed,
    SQLiteReplica,
    StatementRefused,
    StorageFull,
    TooLarge,
    TurnVoid,
    command,
    open_runtime,
    read,
)
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import TEST_TIME, bare
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, other_program, outcome, path_of
from tests.rooms.test_deadlines import FOREVER, MANY, NUMBERS


class Gate:
    """Where a handler waits in its thread, and a test looks around meanwhile."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def pass_(self) -> None:
        self.reached.set()
        assert self.open.wait(30)


class Heavy(ChatRoom):
    gate: ClassVar[Gate]
    local_tables: ClassVar = frozenset({"strict"})
    migrations: ClassVar = [
        *ChatRoom.migrations,
        "CREATE TABLE strict (id INTEGER PRIMARY KEY);"
        "CREATE TRIGGER no AFTER INSERT ON strict WHEN new.id < 0 BEGIN SELECT RAISE(ROLLBACK, 'negative'); END",
    ]

    def __init__(self) -> None:
        self.remembered: list[str] = []

    @read
    def seen(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @command(offload=True)
    def import_one(self, body: str) -> tuple[int, float, str]:
        self.remembered.append(body)
        self.kv.set("last", body)
        return self.post(body), self.now(), self.new_id()

    @command(offload=True)
    def held(self, body: str) -> str:
        self.post(body)
        self.gate.pass_()
        self.sql("UPDATE messages SET body = body || '!' WHERE body = ?", body)
        return threading.current_thread().name

    @command(offload=True)
    def held_and_raise(self, body: str) -> None:
        self.held(body)
        raise Sorry(body)

    @command(offload=True)
    def post_and_fail(self, body: str) -> None:
        self.post(body)
        raise Sorry(body)

    @command(offload=True, timeout=5)
    def count_for_ever(self, body: str) -> int:
        self.post(body)
        return self.sql(FOREVER).scalar()

    @command(offload=True, timeout=5)
    def write_for_ever(self, body: str) -> None:
        self.post(body)
        self.sql("INSERT INTO messages (body) " + NUMBERS.format("", "i"))

    @command(offload=True, timeout=5)
    def shrug_for_ever(self, body: str) -> str:
        self.post(body)
        for _ in range(3):
            try:
                self.sql(FOREVER)
            except DeadlineExceeded:
                continue
        return "all is well"

    @command(offload=True)
    def count(self, rows: int) -> int:
        return self.sql(NUMBERS.format(" WHERE i < ?", "count(*)"), rows).scalar()

    @command(offload=True)
    def large(self, body: str) -> bytes:
        self.post(body)
        return bytes(2_000)

    @command(offload=True)
    def roll_back(self, body: str) -> None:
        self.post(body)
        self.sql("INSERT INTO strict (id) VALUES (-1)")

    @command(offload=True)
    def pass_over_a_rollback(self, body: str) -> None:
        try:
            self.roll_back(body)
        except apsw.ConstraintError:
            self.sql("INSERT INTO messages (body) VALUES ('stray')")

    @command(offload=True)
    def make_a_table(self) -> None:
        self.sql("CREATE TABLE extra (id INTEGER PRIMARY KEY)")

    @command(offload=True)
    def fill_the_table(self) -> None:
        self.sql("INSERT INTO extra VALUES (1)")

    @command(offload=True)
    def make_a_table_and_fail(self) -> None:
        self.make_a_table()
        raise Sorry

    @command(offload=True)
    def exit(self, body: str) -> None:
        self.post(body)
        raise SystemExit(3)

    async def in_two_slices(self, body: str) -> None:
        self.post(f"{body} 1")
        await trio.lowlevel.checkpoint()
        self.post(f"{body} 2")

    async def with_a_stray_child(self) -> Any:
        """A child task that outlives its slice uses self.sql while an offloaded call runs."""
        sql = self.sql
        async with trio.open_nursery() as nursery:
            found: list[Any] = []

            async def stray() -> None:
                await until(self.gate.reached)
                for use in (lambda: sql("SELECT 1"), lambda: self.kv.set("stray", 1), lambda: self.sql("DELETE FROM messages")):
                    try:
                        found.append(use())
                    except StatementRefused as error:
                        found.append(error)
                self.gate.open.set()

            nursery.start_soon(stray)
        return [str(one) for one in found]

    def slow_on_the_loop(self) -> int:
        return self.sql(FOREVER).scalar()

    def memory(self) -> list[str]:
        return self.remembered


def activation_of(runtime: Runtime, room: Room[Any]) -> Any:
    return runtime.seat(RoomName("Heavy", room.id)).activation


async def until(event: threading.Event) -> None:
    """In another thread, which real time alone moves."""
    assert await trio.to_thread.run_sync(event.wait, 30)


@pytest.fixture(autouse=True)
def gate() -> Gate:
    Heavy.gate = Gate()
    return Heavy.gate


@asynccontextmanager
async def real_room(tmp_path: Path, **options: Any) -> AsyncGenerator[tuple[Runtime, Room[Any]]]:
    """With real threads, and a real clock."""
    async with open_runtime(tmp_path / "data", [Heavy], **options) as runtime:
        yield runtime, runtime.room(Heavy, "general")


class Waiting(InlineThreads):
    """Offloaded jobs wait until the test lets them go; everything else runs at once."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.go.set()

    def hold(self) -> None:
        self.go = trio.Event()

    async def run_apart(self, job: Callable[..., Any], *args: object) -> Any:
        await self.go.wait()
        return await self.run(job, *args)


@asynccontextmanager
async def opened(
    threads: InlineThreads | None = None,
    *,
    second_per_look: float = 0.0,
    limits: Limits | None = None,
) -> AsyncGenerator[tuple[Runtime, Room[Any]]]:
    """With virtual time; each look at the stopwatch may take some of its own."""
    looked = [0.0]

    def stopwatch() -> float:
        looked[0] += second_per_look
        return looked[0]

    doors = Doors(threads=threads or InlineThreads(), stopwatch=stopwatch, wall_clock=lambda: TEST_TIME)
    bounds = limits or Limits(turn_seconds_max=1e9)
    with tempfile.TemporaryDirectory() as temporary:
        async with open_with_doors(temporary, [Heavy], replicas=[], limits=bounds, doors=doors) as runtime:
            yield runtime, runtime.room(Heavy, "general")


# -- what it is -----------------------------------------------------------------------------------------------------------
async def test_an_offloaded_handler_runs_in_another_thread_and_is_a_call_like_any_other(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    async with real_room(tmp_path) as (_, room):
        here = threading.current_thread().name
        assert await room.held("a") != here
        assert (await room.import_one("b"))[0] == 2
        assert await room.bodies() == ["a!", "b"]
        assert await room.memory() == ["b"]
        with pytest.raises(Sorry) as caught:
            await room.post_and_fail("no")
        assert any("general by post_and_fail" in note for note in caught.value.__notes__)
        assert await room.bodies() == ["a!", "b"]
    async with real_room(tmp_path) as (_, room):
        assert await room.bodies() == ["a!", "b"]


async def test_kv_clock_and_chance_work_in_it(autojump_clock) -> None:
    async with opened() as (_, room):
        number, now, id = await room.import_one("a")
        assert (number, now, len(id)) == (1, TEST_TIME, 26)


async def test_calls_queue_behind_it_and_run_in_order(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads) as (_, room), trio.open_nursery() as nursery:
        await room.post("first")
        threads.hold()
        calls = [lambda: room.import_one("second"), lambda: room.post("third"), lambda: room.import_one("fourth")]
        await one_after_another(nursery, *calls, lambda: room.post("fifth"))
        assert await room.seen() == ["first"]
        threads.go.set()
        assert await room.bodies() == ["first", "second", "third", "fourth", "fifth"]


async def test_reads_see_the_last_commit_while_it_writes(tmp_path: Path, gate: Gate) -> None:
    async with real_room(tmp_path) as (_, room), trio.open_nursery() as nursery:
        await room.post("old")
        nursery.start_soon(room.held, "new")
        await until(gate.reached)
        for _ in range(3):
            assert await room.seen() == ["old"]
        gate.open.set()
        while await room.seen() == ["old"]:
            await trio.lowlevel.checkpoint()
        assert await room.seen() == ["old", "new!"]


async def test_the_replica_goes_on_with_what_was_committed_before(tmp_path: Path, gate: Gate) -> None:
    async with real_room(tmp_path, replicas=[SQLiteReplica()]) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        nursery.start_soon(room.held, "new")
        await until(gate.reached)
        await runtime.replicated(30)
        assert await room.options(fresh="any").seen() == ["old"]
        gate.open.set()
        await room.ping()
        await runtime.replicated(30)
        assert await room.options(fresh="any").seen() == ["old", "new!"]


async def test_a_dump_shows_the_last_commit_while_it_writes(tmp_path: Path, gate: Gate) -> None:
    async with real_room(tmp_path) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        nursery.start_soon(room.held, "new")
        await until(gate.reached)
        dumped = await runtime.dump(room, tmp_path / "copy.db")
        assert dumped.rows["messages"] == 1
        gate.open.set()


async def test_slices_of_its_room_wait_and_other_rooms_do_not(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads) as (runtime, room), trio.open_nursery() as nursery:
        await room.ping()
        threads.hold()
        await one_after_another(nursery, lambda: room.import_one("heavy"), lambda: room.in_two_slices("slow"))
        other = runtime.room(Heavy, "other")
        await other.in_two_slices("free")
        assert await other.bodies() == ["free 1", "free 2"]
        threads.go.set()
        await wait_all_tasks_blocked()
        assert await room.bodies() == ["heavy", "slow 1", "slow 2"]


async def test_a_slice_under_way_waits_between_its_suspensions(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads) as (_, room), trio.open_nursery() as nursery:
        await room.ping()
        threads.hold()

        async def both() -> None:
            async with trio.open_nursery() as inner:
                inner.start_soon(room.in_two_slices, "slow")
                inner.start_soon(room.import_one, "heavy")

        nursery.start_soon(both)
        await wait_all_tasks_blocked()
        assert "slow 2" not in await room.seen() or "heavy" not in await room.seen()
        threads.go.set()
        await wait_all_tasks_blocked()
        assert sorted(await room.bodies()) == ["heavy", "slow 1", "slow 2"]


async def test_sql_from_elsewhere_is_refused_while_it_runs(tmp_path: Path, gate: Gate) -> None:
    async with real_room(tmp_path) as (_, room), trio.open_nursery() as nursery:
        await room.post("kept")
        found: list[Any] = []

        async def stray() -> None:
            found.extend(await room.with_a_stray_child())

        nursery.start_soon(stray)
        await wait_all_tasks_blocked()
        await room.held("heavy")
        assert await room.bodies() == ["kept", "heavy!"]
    assert [text.split(" (from")[0] for text in found] == [
        "Heavy/general: self.sql was used outside of the offloaded handler held, which runs in this room now"
    ] * 3


async def test_a_cancelled_caller_gets_nothing_and_the_call_completes(tmp_path: Path, gate: Gate) -> None:
    async with real_room(tmp_path) as (_, room):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.held, "kept")
            await until(gate.reached)
            nursery.cancel_scope.cancel()
        gate.open.set()
        assert await room.bodies() == ["kept!"]


async def test_a_caller_who_leaves_before_it_begins_takes_it_along(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads, limits=Limits(offload_calls_max=1)) as (runtime, room), trio.open_nursery() as nursery:
        other = runtime.room(Heavy, "other")
        threads.hold()
        await one_after_another(nursery, lambda: other.import_one("before"))
        with trio.move_on_after(1):
            await room.import_one("never")
        threads.go.set()
        assert await room.bodies() == []


async def test_a_room_with_one_under_way_stays_in_memory(autojump_clock) -> None:
    threads = Waiting()
    async with (
        opened(threads, limits=Limits(open_rooms_max=1, idle_seconds_max=1)) as (runtime, room),
        trio.open_nursery() as nursery,
    ):
        threads.hold()
        await one_after_another(nursery, lambda: room.import_one("heavy"), lambda: runtime.room(Heavy, "other").post("waits"))
        await trio.sleep(30)
        assert runtime.status().rooms_open == 1
        threads.go.set()
        assert await runtime.room(Heavy, "other").bodies() == ["waits"]
        assert await room.memory() == []  # it has left meanwhile, and began anew
        assert await room.bodies() == ["heavy"]


async def test_so_many_run_at_once_and_the_others_wait_for_a_slot(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads, limits=Limits(offload_calls_max=2)) as (runtime, _), trio.open_nursery() as nursery:
        rooms = [runtime.room(Heavy, f"{n}") for n in range(5)]
        for room in rooms:
            await room.ping()
        threads.hold()
        await one_after_another(nursery, *[lambda room=room: room.import_one("x") for room in rooms])
        lent = [room.id for room in rooms if activation_of(runtime, room).lent]
        assert lent == ["0", "1"]
        assert await rooms[4].seen() == []
        threads.go.set()
        await wait_all_tasks_blocked()
        assert [await room.bodies() for room in rooms] == [["x"]] * 5


async def test_one_that_waits_for_a_slot_past_its_callers_deadline_never_runs_and_may_be_repeated(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads, limits=Limits(offload_calls_max=1)) as (runtime, room), trio.open_nursery() as nursery:
        threads.hold()
        await one_after_another(nursery, lambda: runtime.room(Heavy, "other").import_one("x"))
        error = await outcome(lambda: room.options(timeout=1).import_one("too late"))
        assert (type(error), error.ran, error.retryable) == (CallTimeout, "no", True)
        threads.go.set()
        assert await room.bodies() == []


async def test_its_watchdog_and_the_bound_of_a_statement_leave_it_alone(autojump_clock) -> None:
    limits = Limits(statement_seconds_max=1e-9, turn_seconds_max=1e9, offload_seconds_max=1e9)
    async with opened(second_per_look=1.0, limits=limits) as (runtime, room):
        assert await room.count(MANY) == MANY
        assert runtime.status().stalls == 0
        with pytest.raises(DeadlineExceeded, match="statement_seconds_max"):  # and the loop's own bound is back afterwards
            await room.slow_on_the_loop()


# -- its time -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["count_for_ever", "write_for_ever", "shrug_for_ever"])
async def test_at_its_timeout_its_sql_is_interrupted_and_all_that_it_wrote_is_rolled_back(method: str, autojump_clock) -> None:
    async with opened(second_per_look=0.5) as (_, room):
        await room.import_one("old")
        with pytest.raises(
            DeadlineExceeded, match=r"ran longer than its timeout of 5 s; what it wrote was rolled back"
        ) as caught:
            await getattr(room, method)("no")
        assert (caught.value.ran, caught.value.room) == ("rolled back", "Heavy/general")
        assert await room.bodies() == ["old"]
        assert await room.memory() == ["old"], "no turn but its own was void: the room goes on with what it remembers"
        await room.import_one("new")
        assert await room.bodies() == ["old", "new"]


async def test_the_bound_of_the_runtime_holds_for_those_without_a_timeout(autojump_clock) -> None:
    limits = Limits(offload_seconds_max=3, turn_seconds_max=1e9)
    async with opened(second_per_look=0.5, limits=limits) as (_, room):
        with pytest.raises(DeadlineExceeded, match=r"ran longer than offload_seconds_max = 3 s"):
            await room.count(MANY * 50)


async def test_with_real_threads_it_is_interrupted_too(tmp_path: Path) -> None:
    async with real_room(tmp_path, limits=Limits(offload_seconds_max=0.05)) as (_, room):
        for call in (room.count_for_ever, room.write_for_ever, room.shrug_for_ever):
            with pytest.raises(DeadlineExceeded):
                await call("no")
        assert await room.post("after") == 1


async def test_where_no_thread_can_be_begun_its_caller_is_told_and_nobody_else(autojump_clock) -> None:
    class Exhausted(InlineThreads):
        async def run_apart(self, job: Callable[..., Any], *args: object) -> Any:
            await trio.lowlevel.checkpoint()
            raise RuntimeError("can't start new thread")

    async with opened(Exhausted()) as (_, room):
        await room.post("old")
        assert str(await outcome(lambda: room.import_one("no"))) == "can't start new thread"
        assert await room.bodies() == ["old"]


# -- when something goes wrong ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["roll_back", "pass_over_a_rollback"])
async def test_a_rollback_by_sqlite_takes_this_call_alone(method: str, autojump_clock) -> None:
    async with opened() as (_, room):
        await room.import_one("old")
        with pytest.raises((apsw.ConstraintError, TurnVoid)):
            await getattr(room, method)("no")
        assert await room.bodies() == ["old"]
        assert await room.memory() == ["old"]


async def test_a_result_that_is_too_large_rolls_it_back(autojump_clock) -> None:
    async with opened(limits=Limits(result_bytes_max=1_000)) as (_, room):
        with pytest.raises(TooLarge):
            await room.large("no")
        assert await room.bodies() == []


async def test_a_table_that_it_makes_is_captured_and_gone_if_it_fails(tmp_path: Path) -> None:
    async with real_room(tmp_path, replicas=[SQLiteReplica()]) as (runtime, room):
        with pytest.raises(Sorry):
            await room.make_a_table_and_fail()
        await room.make_a_table()
        await room.fill_the_table()
        await runtime.replicated(30)
        rows = await runtime.across({Heavy: "all"}).sql("SELECT id FROM Heavy_extra")
        assert [row.id for row in rows] == [1]


async def test_on_a_full_disk_nothing_of_it_is_written_and_it_may_be_repeated(autojump_clock) -> None:
    async with opened() as (runtime, room):
        await room.import_one("old")
        connection = activation_of(runtime, room).storage.connection
        pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        with pytest.raises(StorageFull) as caught:
            await room.import_one("x" * 100_000)
        assert (caught.value.ran, caught.value.retryable) == ("no", True)
        connection.execute("PRAGMA max_page_count = 100000").fetchall()
        await room.import_one("new")
        assert await room.bodies() == ["old", "new"]


async def test_another_programs_lock_is_waited_for_and_then_refused(autojump_clock) -> None:
    async with opened(limits=Limits(lock_seconds_max=1)) as (runtime, room):
        await room.import_one("old")
        with other_program(path_of(runtime, room)) as other:
            other.execute("BEGIN IMMEDIATE").fetchall()
            assert type(await outcome(lambda: room.import_one("no"))) is RoomLocked
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.import_one, "late")
                await trio.sleep(0.5)
                other.execute("ROLLBACK").fetchall()
        assert await room.bodies() == ["old", "late"]


async def test_another_programs_commit_before_it_is_durable_before_anybody_is_shown_it(autojump_clock) -> None:
    """Rule 34: a read beside the call sees that commit, and so must wait for its round."""
    threads = Waiting()
    async with opened(threads) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        activation = activation_of(runtime, room)
        with other_program(path_of(runtime, room)) as other:
            other.execute("INSERT INTO messages (body) VALUES ('theirs')").fetchall()
        threads.hold()
        before = activation.gate.committed
        await one_after_another(nursery, lambda: room.import_one("ours"))
        assert activation.gate.committed == before + 1
        assert await room.seen() == ["old", "theirs"]
        threads.go.set()
        assert await room.bodies() == ["old", "theirs", "ours"]


async def test_a_room_that_breaks_beside_it_rolls_it_back_and_opens_again(tmp_path: Path, gate: Gate) -> None:
    async with real_room(tmp_path) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        found: list[Any] = []

        async def keep(call: Callable[[], Any]) -> None:
            found.append(await outcome(call))

        nursery.start_soon(keep, lambda: room.held("no"))
        await until(gate.reached)
        nursery.start_soon(keep, lambda: room.post("new"))
        await wait_all_tasks_blocked()
        activation_of(runtime, room).break_(OSError("its disk"))
        await wait_all_tasks_blocked()
        assert found == [], "its thread has the connection: it is waited for"
        gate.open.set()
        assert await room.bodies() == ["old", "new"]
        cut = found[0]
        assert (type(cut), cut.ran, cut.retryable) == (RoomReset, "rolled back", True)


@pytest.mark.parametrize(("order", "retryable"), [("abort", True), ("delete", False)])
async def test_a_room_that_is_thrown_away_beside_it_tells_why_and_whether_to_repeat_it(
    order: str, *, retryable: bool, tmp_path: Path, gate: Gate
) -> None:
    """Repeated after a delete, it would make the room anew."""
    async with real_room(tmp_path) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        found: list[Any] = []

        async def keep() -> None:
            found.append(await outcome(lambda: room.held("no")))

        nursery.start_soon(keep)
        await until(gate.reached)
        nursery.start_soon(getattr(runtime, order), room)
        await wait_all_tasks_blocked()
        gate.open.set()
        assert await room.bodies() == ([] if order == "delete" else ["old"])
        (cut,) = found
        assert (type(cut), cut.ran, cut.retryable) == (RoomReset, "rolled back", retryable)
        assert f"the room was {order}" in str(cut)


async def test_one_that_has_not_begun_when_its_room_breaks_runs_in_the_next_activation(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads, limits=Limits(offload_calls_max=1)) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        threads.hold()
        await one_after_another(
            nursery, lambda: runtime.room(Heavy, "other").import_one("before"), lambda: room.import_one("new")
        )
        activation_of(runtime, room).break_(OSError("its disk"))
        await wait_all_tasks_blocked()
        threads.go.set()
        assert await room.bodies() == ["old", "new"]


async def test_a_file_found_damaged_beside_it_rolls_it_back(autojump_clock) -> None:
    threads = Waiting()
    async with opened(threads) as (runtime, room), trio.open_nursery() as nursery:
        await room.post("old")
        found: list[Any] = []

        async def keep() -> None:
            found.append(await outcome(lambda: room.import_one("no")))

        threads.hold()
        await one_after_another(nursery, keep)
        activation_of(runtime, room).damaged(apsw.CorruptError("a page"))
        threads.go.set()
        assert type(await outcome(room.bodies)) is RoomQuarantined
        assert [(type(one), one.ran) for one in found] == [(RoomReset, "rolled back")]


async def test_a_first_round_that_returns_while_it_runs_raises_the_level_afterwards(autojump_clock) -> None:
    """Rule 11: not inside a transaction, where SQLite refuses it, and not from another thread's side."""
    threads = Waiting()
    async with opened(threads) as (runtime, room), trio.open_nursery() as nursery:
        threads.hold()
        with patch.object(Activation, "certified"):  # the room's first round has not returned yet
            nursery.start_soon(room.import_one, "born with it")
            await wait_all_tasks_blocked()
        activation = activation_of(runtime, room)
        assert activation.lent
        activation.certified(activation.gate.committed)  # whatever the round was for
        assert activation.storage.level_off
        threads.go.set()
        assert await room.bodies() == ["born with it"]
        assert not activation.storage.level_off
        assert activation.storage.connection.execute("PRAGMA synchronous").fetchall() == [(1,)]


async def test_the_stop_waits_for_it(tmp_path: Path, gate: Gate) -> None:
    found: list[Any] = []
    async with trio.open_nursery() as nursery, real_room(tmp_path) as (_, room):

        async def keep() -> None:
            found.append(await outcome(lambda: room.held("kept")))

        nursery.start_soon(keep)
        await until(gate.reached)
        gate.open.set()
    assert [type(one) for one in found] == [str]
    async with real_room(tmp_path) as (_, room):
        assert await room.bodies() == ["kept!"]


async def test_a_stop_that_has_waited_enough_cuts_it_and_nothing_of_it_stays(tmp_path: Path, caplog) -> None:
    found: list[Any] = []
    limits = Limits(drain_seconds_max=0.05)
    async with trio.open_nursery() as nursery, real_room(tmp_path, limits=limits) as (runtime, room):
        await room.post("old")

        async def keep() -> None:
            found.append(await outcome(lambda: room.count(10**12)))

        nursery.start_soon(keep)
        while not activation_of(runtime, room).lent:
            await trio.lowlevel.checkpoint()
    (cut,) = found
    assert (type(cut), cut.ran) == (RuntimeClosed, "rolled back")
    assert runtime.left is not None
    assert (runtime.left.refused, runtime.left.unknown) == (1, 0)
    async with real_room(tmp_path) as (_, room):
        assert await room.bodies() == ["old"]


async def test_a_handler_that_ends_the_process_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        async with real_room(tmp_path) as (_, room):
            await room.post("old")
            await room.exit("no")
    async with real_room(tmp_path) as (_, room):
        assert await room.bodies() == ["old"]


# -- where it cannot be, or needs no thread -----------------------------------------------------------------------------------
def test_bare_runs_it_like_any_other() -> None:
    room = bare(Heavy)
    assert room.import_one("a")[0] == 1
    with pytest.raises(Sorry):
        room.post_and_fail("b")
    assert room.bodies() == ["a"]


async def test_a_read_or_an_async_handler_cannot_be_offloaded(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="an async one waits by itself"):

        @command(offload=True)
        async def waits(self: Any) -> None: ...

    class Wrong(Actor):
        @command(offload=True)
        @read
        def looks(self) -> int:
            return 1

    with pytest.raises(TypeError, match="looks is a @read"):
        async with open_runtime(tmp_path / "data", [Wrong]):
            pass
