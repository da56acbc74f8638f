"""Calls between rooms have the terms of every call: key, timeout, fresh; and errors that say where they come from."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from durable_rooms import (
    Actor,
    CallCycle,
    CallTimeout,
    DeadlineExceeded,
    KeyReused,
    Limits,
    Overloaded,
    Room,
    Runtime,
    UnknownMethod,
    command,
)
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_after_another, outcome
from tests.rooms.test_room_calls import Ledger


class Callee(Ledger):
    cut: ClassVar[list[str]] = []

    async def slowly(self, text: str, seconds: float) -> int:
        self.note(f"{text} begins")
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cut.append(text)
            raise
        return self.note(f"{text} ends")

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    @command(offload=True)
    def imported(self, text: str) -> int:
        return self.note(text)


class Caller(ChatRoom):
    async def note_under(self, key: str, text: str) -> int:
        return await self.room(Callee, "all").options(key=key).note(text)

    async def call_within(self, most: float, seconds: float) -> str:
        try:
            await self.room(Callee, "all").options(timeout=most).slowly("inner", seconds)
        except (CallTimeout, DeadlineExceeded) as error:
            self.post("went on")
            return f"{type(error).__name__} {error.room} {error.method} {error.ran}"
        return "in time"

    async def call_for(self, seconds: float, most: float | None = None) -> int:
        return await self.room(Callee, "all").options(timeout=most).slowly("inner", seconds)

    @command(timeout=3)
    async def in_three_seconds(self) -> int:
        return await self.room(Callee, "all").slowly("inner", 100)

    async def note(self, text: str) -> int:
        return await self.room(Callee, "all").note(text)

    async def call_unknown(self) -> None:
        await self.room(Callee, "all").nothing()

    async def read_fresh(self) -> tuple[int, str]:
        reply = await self.room(Callee, "all").options(fresh="room", timeout=5).ask(Callee.count)
        return reply.value, reply.source

    async def in_a_row(self, *texts: str) -> None:
        room = self.room(Callee, "all").options(timeout=50)
        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(room.note, text)

    async def import_one(self, text: str) -> int:
        return await self.room(Callee, "all").imported(text)


@pytest.fixture(autouse=True)
def nobody_cut() -> None:
    Callee.cut.clear()


@asynccontextmanager
async def rooms(**options: Any) -> AsyncGenerator[tuple[Runtime, Room[Any], Room[Any]]]:
    async with open_test_runtime(Caller, Callee, **options) as runtime:
        yield runtime, runtime.room(Caller, "a"), runtime.room(Callee, "all")


# -- key ----------------------------------------------------------------------------------------------------------------
async def test_a_call_to_another_room_under_a_key_runs_once(autojump_clock) -> None:
    async with rooms() as (_, caller, callee):
        assert await caller.note_under("k", "once") == 1
        assert await caller.note_under("k", "once") == 1
        assert await callee.options(key="k").note("once") == 1, "the key is the called room's, whoever calls it"
        assert await callee.lines() == ["once"]
        error = await outcome(lambda: caller.note_under("k", "another"))
        assert (type(error), error.room, error.method, error.ran) == (KeyReused, "Callee/all", "note", "rolled back")


async def test_repeats_under_a_key_that_wait_for_each_other_across_rooms_are_refused_at_once(autojump_clock) -> None:
    class Ping(Actor):
        async def first(self) -> str:
            return await self.room(Pong, "b").back()

    class Pong(Actor):
        async def back(self) -> str:
            return await self.room(Ping, "a").options(key="k").first()

    async with open_test_runtime(Ping, Pong) as runtime:
        began = trio.current_time()
        error = await outcome(lambda: runtime.room(Ping, "a").options(key="k").first())
        assert trio.current_time() == pytest.approx(began, abs=0.1)
        assert (type(error), error.ran) == (CallCycle, "rolled back")
        assert "Ping/a.first → Pong/b.back → Ping/a.first" in str(error)
        assert "idempotency key" in str(error)


async def test_a_repeat_that_waits_is_seen_by_whoever_closes_the_circle(autojump_clock) -> None:
    class Holder(Actor):
        async def hold_and_repeat(self) -> str:
            async with self.exclusive():
                return await self.room(Runner, "b").options(key="k").run()

        def ping(self) -> str:
            return "pong"

    class Runner(Actor):
        async def run(self) -> str:
            await trio.sleep(1)
            return await self.room(Holder, "a").ping()

    async with open_test_runtime(Holder, Runner) as runtime, trio.open_nursery() as nursery:
        found: list[Any] = []

        async def keep(call: Any) -> None:
            found.append(await outcome(call))

        await one_after_another(
            nursery,
            lambda: keep(lambda: runtime.room(Runner, "b").options(key="k").run()),
            lambda: keep(runtime.room(Holder, "a").hold_and_repeat),
        )
        await trio.sleep(1.1)
        assert [type(one) for one in found] == [CallCycle]
        assert "Runner/b.run → Holder/a.ping, which waits for Holder/a.hold_and_repeat → Runner/b.run" in str(found[0])
        await trio.sleep(1)
        assert type(found[1]) is CallCycle, "the repeat has run it again, for the very handler that keeps it out"


# -- timeout ------------------------------------------------------------------------------------------------------------
async def test_a_handler_may_go_on_after_a_call_that_took_too_long(autojump_clock) -> None:
    async with rooms() as (_, caller, callee):
        assert await caller.call_within(1, 10) == "DeadlineExceeded Callee/all slowly unknown"
        assert await caller.bodies() == ["went on"]
        assert (await callee.lines(), Callee.cut) == (["inner begins"], ["inner"])
        assert await caller.call_within(10, 1) == "in time"


@pytest.mark.parametrize("inner", [None, 50.0])
async def test_a_call_has_no_more_time_than_the_handler_that_makes_it(inner: float | None, autojump_clock) -> None:
    async with rooms() as (_, caller, callee):
        began = trio.current_time()
        error = await outcome(lambda: caller.options(timeout=2).call_for(10, inner))
        assert 2 <= trio.current_time() - began <= 2.2
        assert (type(error), error.room, error.ran) == (DeadlineExceeded, "Caller/a", "unknown")
        assert (await callee.lines(), Callee.cut) == (["inner begins"], ["inner"])
        await trio.sleep(20)
        assert await callee.lines() == ["inner begins"]


async def test_what_a_command_gives_itself_bounds_the_calls_that_it_makes(autojump_clock) -> None:
    async with rooms() as (_, caller, callee):
        began = trio.current_time()
        error = await outcome(caller.in_three_seconds)
        assert trio.current_time() - began == pytest.approx(3, abs=0.2)
        assert (type(error), error.method) == (DeadlineExceeded, "in_three_seconds")
        assert Callee.cut == ["inner"]
        assert await callee.lines() == ["inner begins"]


async def test_a_call_that_has_not_begun_when_the_time_of_its_handler_is_up_never_runs(autojump_clock) -> None:
    async with rooms() as (_, caller, callee), trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: callee.hold(10))
        error = await outcome(lambda: caller.options(timeout=2).note("late"))
        assert (type(error), error.ran) == (DeadlineExceeded, "rolled back")
        await trio.sleep(10)
        assert await callee.lines() == []


async def test_a_handler_whose_caller_leaves_takes_a_bounded_call_along(autojump_clock) -> None:
    """Also one that waits beyond its deadline for the other room's word."""

    class Outer(Actor):
        async def go(self) -> int:
            return await self.room(Caller, "a").call_for(100, 60)

    async with open_test_runtime(Outer, Caller, Callee) as runtime:
        with trio.move_on_after(1):
            await runtime.room(Outer, "o").go()
        assert Callee.cut == []  # the outermost call was made from outside: it completes
        error = await outcome(lambda: runtime.room(Outer, "p").options(timeout=1).go())
        assert type(error) is DeadlineExceeded
        assert Callee.cut == ["inner"]


# -- order and reads ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("warm", [False, True])
async def test_calls_with_terms_arrive_in_the_order_in_which_they_were_made(warm: bool, autojump_clock) -> None:
    texts = [f"{n}" for n in range(30)]
    async with rooms() as (_, caller, callee):
        if warm:
            await callee.lines()
        await caller.in_a_row(*texts)
        assert await callee.lines() == texts


async def test_a_read_of_another_room_goes_where_reads_go(autojump_clock) -> None:
    async with rooms() as (_, caller, callee):
        await callee.note("x")
        assert await caller.read_fresh() == [1, "room"]


# -- errors -------------------------------------------------------------------------------------------------------------
async def test_errors_of_another_room_name_it_and_its_method(autojump_clock) -> None:
    async with rooms(limits=Limits(mailbox_calls_max=1)) as (_, caller, callee), trio.open_nursery() as nursery:
        error = await outcome(caller.call_unknown)
        assert (type(error), error.room, error.method) == (UnknownMethod, "Callee/all", "nothing")
        await one_after_another(nursery, lambda: callee.hold(5), lambda: callee.note("waits"))
        for _ in range(2):  # the second time it is turned away before its arguments are looked at
            error = await outcome(lambda: caller.note("too many"))
            assert (type(error), error.room, error.method) == (Overloaded, "Callee/all", "note")
            assert (error.ran, error.retryable, error.overloaded) == ("rolled back", True, True)


# -- offloaded handlers ---------------------------------------------------------------------------------------------------
async def test_a_room_calls_an_offloaded_handler_of_another_one(autojump_clock) -> None:
    async with rooms() as (_, caller, callee):
        assert await caller.import_one("x") == 1
        assert await callee.lines() == ["x"]


@pytest.mark.parametrize("begun", [False, True])
async def test_f27_a_circle_through_a_call_that_waits_for_an_offloaded_handler_is_refused_at_once(
    begun: bool, autojump_clock
) -> None:
    class Left(Actor):
        async def hold_and_import(self) -> int:
            async with self.exclusive():
                return await self.room(Right, "r").imported("x")

        def ping(self) -> None: ...

    class Right(Ledger):
        @command(offload=True)
        def imported(self, text: str) -> int:
            return self.note(text)

        async def hold_and_ping(self) -> None:
            await trio.sleep(1)
            async with self.exclusive():
                await trio.sleep(1)
                await self.room(Left, "l").ping()

    limits = Limits(offload_calls_max=1)
    async with open_test_runtime(Left, Right, limits=limits) as runtime, trio.open_nursery() as nursery:
        found: list[Any] = []
        left, right = runtime.room(Left, "l"), runtime.room(Right, "r")
        if begun:  # it has its room's turn, and waits for a slot
            runtime.offloads.acquire_nowait()

        async def keep(call: Any) -> None:
            found.append(await outcome(call))

        await one_after_another(nursery, lambda: keep(right.hold_and_ping))
        await trio.sleep(0.5 if begun else 1.2)
        await one_after_another(nursery, lambda: keep(left.hold_and_import))
        await trio.sleep(1)
        if begun:
            runtime.offloads.release()
        await trio.sleep(1)
        assert [type(one) for one in found] == [CallCycle, int]
        assert "Right/r.hold_and_ping → Left/l.ping, which waits for Left/l.hold_and_import → Right/r.imported" in str(found[0])


async def test_an_offloaded_call_takes_no_slot_while_its_room_is_kept_from_it(autojump_clock) -> None:
    """Else whoever keeps it out could not call the offloaded handler of another room."""

    class Keeper(Ledger):
        async def hold_and_import(self) -> int:
            async with self.exclusive():
                await trio.sleep(1)
                return await self.room(Callee, "all").imported("x")

        @command(offload=True)
        def imported(self, text: str) -> int:
            return self.note(text)

    async with open_test_runtime(Keeper, Callee, limits=Limits(offload_calls_max=1)) as runtime, trio.open_nursery() as nursery:
        keeper = runtime.room(Keeper, "k")
        began = trio.current_time()
        found: list[Any] = []

        async def keep(call: Any) -> None:
            found.append(await outcome(call))

        await one_after_another(nursery, lambda: keep(keeper.hold_and_import), lambda: keep(lambda: keeper.imported("late")))
        await trio.sleep(1.1)
        await wait_all_tasks_blocked()
        assert found == [1, 1]
        assert trio.current_time() - began < 2


async def test_a_def_handler_in_a_thread_calls_no_other_room(autojump_clock) -> None:
    class Heavy(ChatRoom):
        @command(offload=True)
        def try_it(self) -> str:
            try:
                self.room(Callee, "all")
            except Exception as error:
                return str(error)
            return "called"

    async with open_test_runtime(Heavy, Callee) as runtime:
        assert "self.tell" in await runtime.room(Heavy, "a").try_it()
