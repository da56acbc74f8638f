"""A call ends at its timeout, whoever set it, and its caller learns what became of it."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from actors import Doors, InlineThreads
from actors.command import command
from actors.limits import TIMEOUT_GRACE_SECONDS
from durable_rooms import (
    Actor,
    CallRefused,
    CallTimeout,
    DeadlineExceeded,
    KeyReused,
    Limits,
    Overloaded,
    Room,
    TurnVoid,
    read,
)
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import bare, open_test_runtime
from tests.rooms.chat import ChatRoom, one_after_another, one_room, outcome, together

FOREVER = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"


class Clocked(ChatRoom):
    """Its `def` handlers take time by moving the stopwatch of `stepped`."""

    stopwatch: Any = None

    def __init__(self) -> None:
        self.runs = 0

    def post_for(self, body: str, seconds: float) -> int:
        self.runs += 1
        id = self.post(body)
        self.stopwatch.now += seconds
        return id

    @command(timeout=1)
    def post_for_a_second(self, body: str, seconds: float) -> int:
        return self.post_for(body, seconds)

    def count_for_ever(self) -> int:
        return self.sql(FOREVER).scalar()

    def post_and_shrug(self, body: str) -> int:
        try:
            self.sql(FOREVER)
        except DeadlineExceeded:
            return self.post(body)
        raise AssertionError("it ended")

    def write_for_ever(self) -> None:
        self.sql(f"INSERT INTO messages (body) {FOREVER}")

    def runs_so_far(self) -> int:
        return self.runs

    async def sleep(self, seconds: float, body: str = "") -> str:
        self.runs += 1
        if body:
            self.post(body)
        await trio.sleep(seconds)
        return "slept"

    @command(timeout=2)
    async def sleep_two_seconds_at_most(self, seconds: float) -> str:
        return await self.sleep(seconds)

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    async def clean_up(self, how: str) -> str:
        try:
            await trio.sleep(10)
        finally:
            self.post("in the cancelled slice")
            if how == "shielded":
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.01)
            elif how == "slowly":
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
        return "done"

    async def swallow(self) -> str:
        with trio.CancelScope() as scope:
            try:
                await trio.sleep(10)
            except trio.Cancelled:
                scope.shield = True
                await trio.sleep(0.01)
                self.post("put right")
                raise
        return "not reached: the cancellation is the call's, not the scope's"

    async def children(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 20)
            nursery.start_soon(trio.sleep, 30)

    async def slow_second_slice(self, seconds: float) -> int:
        await trio.lowlevel.checkpoint()
        return self.post_for("second", seconds)

    async def slow_slice_then_wait(self, seconds: float) -> str:
        self.post_for("slow slice", seconds)
        try:
            await trio.lowlevel.checkpoint()
        except DeadlineExceeded:
            return self.bodies()
        return "went on"

    @read
    def seen(self) -> list[str]:
        return self.sql("SELECT body FROM messages").scalars()


class Stopwatch:
    """Shows trio's time and what handlers have added to it; each look may take a while."""

    def __init__(self, seconds_per_look: float) -> None:
        self.now = 0.0
        self._per_look = seconds_per_look

    def __call__(self) -> float:
        self.now += self._per_look
        return trio.current_time() + self.now


@asynccontextmanager
async def stepped(seconds_per_look: float = 0.0, **limits: Any) -> AsyncGenerator[Room[Any]]:
    stopwatch = Stopwatch(seconds_per_look)
    actor = type("Clocked", (Clocked,), {"stopwatch": stopwatch})
    doors = Doors(threads=InlineThreads(), stopwatch=stopwatch)
    with tempfile.TemporaryDirectory() as path:
        limits = {"statement_seconds_max": 1e6, "turn_seconds_max": 1e9, **limits}
        async with open_with_doors(path, [actor], replicas=[], limits=Limits(**limits), doors=doors) as runtime:
            yield runtime.room(actor, "general")


# -- queued past it --------------------------------------------------------------------------------------------------------
async def test_a_call_that_is_queued_past_its_deadline_never_runs(autojump_clock) -> None:
    async with one_room(Clocked) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10))
        began = trio.current_time()
        with pytest.raises(CallTimeout, match=r"timeout = 2 s.*never runs") as caught:
            await room.options(timeout=2).post("late")
        error = caught.value
        assert trio.current_time() - began == pytest.approx(2, abs=1e-6)
        assert (error.ran, error.retryable, error.room, error.method) == ("no", True, "Clocked/general", "post")
        assert isinstance(error, TimeoutError)
        assert await room.bodies() == []


async def test_a_call_that_the_loop_held_up_past_its_deadline_never_runs(autojump_clock) -> None:
    """Its caller could not leave: the room itself sees that it is too late."""
    async with one_room(Clocked) as room:
        await room.ping()
        seat = room._office.seat(room._name)
        found: list[Any] = []

        async def caller() -> None:
            found.append(await outcome(lambda: room.options(timeout=2).sleep(1)))

        async with trio.open_nursery() as nursery:
            seat.activation.pause(True)
            nursery.start_soon(caller)
            await wait_all_tasks_blocked()
            envelope = seat.mailbox._commands.calls[0]
            envelope.deadline = trio.current_time()
            seat.activation.pause(False)
            seat.activation.wake()
        assert (type(found[0]), found[0].ran) == (CallTimeout, "no")
        assert await room.runs_so_far() == 0


# -- `def` handlers --------------------------------------------------------------------------------------------------------
async def test_a_handler_that_returns_past_its_deadline_is_rolled_back_and_its_neighbours_stay(autojump_clock) -> None:
    async with stepped() as room:
        await room.ping()
        found = await together(
            lambda: room.post("before"), lambda: room.options(timeout=2).post_for("late", 3), lambda: room.post("after")
        )
        assert [type(one) for one in found] == [int, DeadlineExceeded, int]
        error = found[1]
        assert (error.ran, error.retryable, error.room, error.method) == ("rolled back", False, "Clocked/general", "post_for")
        assert "timeout = 2 s" in str(error)
        assert isinstance(error, TimeoutError)
        assert sorted(await room.bodies()) == ["after", "before"]
        assert await room.options(timeout=2).post_for("in time", 1) == 3
        assert await room.runs_so_far() == 2, "the same activation goes on"


async def test_a_statement_is_interrupted_at_its_calls_deadline(autojump_clock) -> None:
    async with stepped(0.1) as room:
        with pytest.raises(DeadlineExceeded, match=r"timeout = 50 s.*interrupted.*The statement: WITH RECURSIVE") as caught:
            await room.options(timeout=50).count_for_ever()
        assert (caught.value.ran, caught.value.room) == ("rolled back", "Clocked/general")
        with pytest.raises(DeadlineExceeded, match="rolled back"):
            await room.options(timeout=50).post_and_shrug("passed over")
        assert await room.bodies() == []
        found = await together(lambda: room.options(timeout=50).write_for_ever(), lambda: room.post("neighbour"))
        assert isinstance(found[0], DeadlineExceeded)
        assert isinstance(found[1], int | TurnVoid)


async def test_the_statements_own_bound_stays_where_it_is_smaller(autojump_clock) -> None:
    async with stepped(0.1, statement_seconds_max=1) as room:
        with pytest.raises(DeadlineExceeded, match="statement_seconds_max = 1 s"):
            await room.options(timeout=50).count_for_ever()


async def test_the_smaller_of_the_commands_timeout_and_the_callers_wins(autojump_clock) -> None:
    async with stepped() as room:
        for timeout, seconds, words in ((None, 1.5, "timeout = 1 s"), (50, 1.5, "timeout = 1 s"), (0.5, 0.7, "timeout = 0.5 s")):
            with pytest.raises(DeadlineExceeded, match=words):
                await room.options(timeout=timeout).post_for_a_second("late", seconds)
        assert await room.post_for_a_second("in time", 0.9) == 1
        with pytest.raises(DeadlineExceeded, match="timeout = 2 s"):
            await room.sleep_two_seconds_at_most(10)
        with pytest.raises(DeadlineExceeded, match=r"timeout = 0\.5 s"):
            await room.options(timeout=0.5).sleep_two_seconds_at_most(10)
        assert await room.sleep_two_seconds_at_most(1) == "slept"


def test_a_commands_timeout_holds_in_a_bare_room_too() -> None:
    room: Any = bare(Clocked)
    type(room._instance).stopwatch = Stopwatch(0)
    try:
        assert room.post_for_a_second("its stopwatch stands still", 5) == 1
    finally:
        Clocked.stopwatch = None


# -- async handlers --------------------------------------------------------------------------------------------------------
async def test_an_async_handler_is_cancelled_at_its_deadline_and_leaves_nothing(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded, match=r"timeout = 3 s.*cancelled\. What it wrote was rolled back") as caught:
            await room.options(timeout=3).sleep(10)
        assert trio.current_time() - began == pytest.approx(3, abs=1e-6)
        assert (caught.value.ran, caught.value.method) == ("rolled back", "sleep")
        assert await room.runs_so_far() == 1, "the same activation goes on"


async def test_where_earlier_slices_are_committed_the_error_says_so(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        for key in (None, "k"):
            with pytest.raises(DeadlineExceeded, match="earlier slices wrote is committed: read before") as caught:
                await room.options(timeout=3, key=key).sleep(10, f"first slice {key}")
            assert (caught.value.ran, caught.value.retryable) == ("unknown", False)
        assert await room.bodies() == ["first slice None", "first slice k"]


async def test_a_cancelled_handler_cleans_up_and_what_it_does_behind_a_shield_is_kept(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        error = await outcome(lambda: room.options(timeout=1).clean_up("at once"))
        assert (type(error), error.ran, await room.bodies()) == (DeadlineExceeded, "rolled back", [])
        error = await outcome(lambda: room.options(timeout=1).clean_up("shielded"))
        assert (type(error), error.ran, await room.bodies()) == (DeadlineExceeded, "unknown", ["in the cancelled slice"])
        assert isinstance(await outcome(lambda: room.options(timeout=1).swallow()), DeadlineExceeded)


async def test_a_caller_does_not_wait_for_a_long_clean_up(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        began = trio.current_time()
        with pytest.raises(CallTimeout, match="has begun") as caught:
            await room.options(timeout=1).clean_up("slowly")
        assert trio.current_time() - began == pytest.approx(1 + TIMEOUT_GRACE_SECONDS, abs=1e-6)
        assert (caught.value.ran, caught.value.retryable) == ("unknown", False)
        await trio.sleep(10)
        assert await room.bodies() == ["in the cancelled slice"]


async def test_a_handlers_child_tasks_are_cancelled_with_it(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        error = await outcome(lambda: room.options(timeout=1).children())
        assert (type(error), error.ran) == (DeadlineExceeded, "rolled back")
        assert await room.ping() == "pong"


async def test_a_slice_that_passes_the_deadline_is_rolled_back(autojump_clock) -> None:
    async with stepped() as room:
        error = await outcome(lambda: room.options(timeout=2).slow_second_slice(3))
        assert (type(error), error.ran, await room.bodies()) == (DeadlineExceeded, "rolled back", [])
        assert await room.options(timeout=2).slow_slice_then_wait(3) == []
        assert await room.options(timeout=2).slow_second_slice(1) == 1


async def test_a_caller_who_is_cancelled_before_the_deadline_leaves_as_ever(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        with trio.move_on_after(1) as scope:
            await room.options(timeout=5).sleep(3, "begun")
        assert scope.cancelled_caught
        await trio.sleep(10)
        assert await room.bodies() == ["begun"]


# -- between commit and durability -----------------------------------------------------------------------------------------
class Held(InlineThreads):
    """Jobs, and so syncs, take `seconds`."""

    seconds = 0.0

    async def run(self, job: Any, *args: object) -> Any:
        await trio.sleep(self.seconds)
        return await super().run(job, *args)


@pytest.mark.parametrize(("seconds", "late"), [(TIMEOUT_GRACE_SECONDS / 2, False), (5, True)])
async def test_what_is_committed_and_not_durable_at_the_deadline_is_unknown_after_a_grace(
    seconds: float, late: bool, tmp_path: Any, autojump_clock
) -> None:
    threads = Held()
    doors = Doors(threads=threads)
    async with open_with_doors(tmp_path, [Clocked], replicas=[], limits=None, doors=doors) as runtime:
        room: Any = runtime.room(Clocked, "general")
        await room.ping()
        threads.seconds = 1 + seconds
        began = trio.current_time()
        found = await outcome(lambda: room.options(timeout=1).post("one"))
        waited = trio.current_time() - began
        threads.seconds = 0.0
        if late:
            assert (type(found), found.ran, found.retryable, found.room) == (CallTimeout, "unknown", False, "Clocked/general")
            assert waited == pytest.approx(1 + TIMEOUT_GRACE_SECONDS, abs=1e-6)
            found = await outcome(lambda: room.options(timeout=60, key="k").post("two"))
            assert found == 2
            threads.seconds = 6.0
            found = await outcome(lambda: room.options(timeout=1, key="l").post("three"))
            assert (found.ran, found.retryable) == ("unknown", True), "under a key it may be repeated"
            threads.seconds = 0.0
            assert await room.options(key="l").post("three") == 3
        else:
            assert found == 1, "the room's own word is better than a guess"
            assert waited > 1
        assert "one" in await room.bodies()


# -- reads -----------------------------------------------------------------------------------------------------------------
async def test_a_reader_leaves_at_its_timeout(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        await room.post("one")
        assert await room.options(timeout=5).seen() == ["one"]
        lane = room._office.lane

        async def for_ever(call: Any) -> Any:
            await trio.sleep_forever()

        lane.read = for_ever
        began = trio.current_time()
        with pytest.raises(CallTimeout, match=r"timeout = 5 s.*A read changes nothing; ask again") as caught:
            await room.options(timeout=5).seen()
        assert trio.current_time() - began == pytest.approx(5, abs=1e-6)
        assert (caught.value.ran, caught.value.retryable, caught.value.method) == ("no", True, "seen")
        assert len(room._office._reads) == 0


# -- what a timeout is -----------------------------------------------------------------------------------------------------
async def test_options_refine_each_other_and_none_takes_one_back(autojump_clock) -> None:
    async with one_room(Clocked) as room:
        call = room.options(timeout=1).options(key="k").options(fresh="room")
        assert isinstance(await outcome(lambda: call.sleep(5)), DeadlineExceeded)
        assert await call.options(timeout=None).sleep(5) == "slept"
        with pytest.raises(KeyReused):
            await call.post("one")
        assert await call.options(key=None).post("one") == 1
        for timeout in (float("inf"), 1e12):
            assert await room.options(timeout=timeout).sleep(5) == "slept"
        for timeout in (0, -1, float("nan"), "1", True):
            with pytest.raises(ValueError, match="a timeout is seconds greater than zero"):
                room.options(timeout=timeout)


async def test_a_sessions_rooms_have_timeouts_and_keys_too(autojump_clock) -> None:
    async with open_test_runtime(Clocked) as runtime:
        session = runtime.session()
        room: Any = session.room(Clocked, "general").options(timeout=1, key="k")
        with pytest.raises(DeadlineExceeded):
            await room.sleep(5)
        room = room.options(key="l")
        assert await room.post("one") == await room.post("one") == 1
        assert await session.room(Clocked, "general").seen() == ["one"]


# -- what every error carries ----------------------------------------------------------------------------------------------
async def test_every_error_of_a_call_names_room_and_method_wherever_it_was_refused(autojump_clock) -> None:
    async with open_test_runtime(Clocked, limits=Limits(mailbox_calls_max=1, call_bytes_max=1_000)) as runtime:
        room: Any = runtime.room(Clocked, "general")
        for call, method in (
            (lambda: room.post(), "post"),
            (lambda: room.post("x" * 2_000), "post"),
            (lambda: room.call(Actor.now), "now"),
            (lambda: room.nothing(), "nothing"),
            (lambda: room.options(key="k").seen(), "seen"),
        ):
            error = await outcome(call)
            assert isinstance(error, CallRefused)
            assert (error.ran, error.room, error.method, error.overloaded) == ("no", "Clocked/general", method, False), call
        found = await together(*[lambda: room.post("many")] * 10)
        full = [one for one in found if isinstance(one, Overloaded)]
        assert full
        for error in full:
            assert (error.ran, error.retryable, error.overloaded, error.method) == ("no", True, True, "post")
    error = await outcome(room.ping)
    assert (error.ran, error.room, error.method) == ("no", "Clocked/general", "ping")
