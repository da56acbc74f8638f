"""Rooms call rooms: `await self.room(Class, id).method(…)` from an async handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from durable_rooms import (
    Actor,
    BadArguments,
    CallCycle,
    Limits,
    OutcomeUnknown,
    Overloaded,
    Runtime,
    StatementRefused,
    UnknownMethod,
    read,
)
from durable_rooms.testing import bare, open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, one_room, outcome
from tests.rooms.faults import FailsOnce


class Ledger(Actor):
    """The room that is called."""

    migrations: ClassVar = ["CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"]

    def note(self, text: str) -> int:
        return self.sql("INSERT INTO lines (text) VALUES (?) RETURNING id", text).scalar()

    def lines(self) -> list[str]:
        return self.sql("SELECT text FROM lines ORDER BY id").scalars()

    @read
    def count(self) -> int:
        return self.sql("SELECT count(*) FROM lines").scalar()

    def fail(self, text: str) -> None:
        self.note(text)
        raise Sorry(text)

    async def note_slowly(self, text: str) -> int:
        self.note(f"{text} begins")
        await trio.sleep(10)
        return self.note(f"{text} ends")


class Caller(ChatRoom):
    async def post_and_note(self, body: str) -> int:
        self.post(body)
        return await self.room(Ledger, "all").note(body)

    async def note(self, text: str) -> int:
        return await self.room(Ledger, "all").call(Ledger.note, text)

    async def ask_count(self) -> tuple[int, str]:
        reply = await self.room(Ledger, "all").options(fresh="room").ask(Ledger.count)
        return reply.value, reply.source

    async def note_and_fail(self, body: str) -> None:
        self.post(body)
        await self.room(Ledger, "all").fail(body)

    async def note_slowly(self, text: str) -> int:
        return await self.room(Ledger, "all").note_slowly(text)

    async def note_within(self, text: str, seconds: float) -> str:
        with trio.move_on_after(seconds):
            await self.room(Ledger, "all").note_slowly(text)
            return "noted"
        return "left"

    async def note_all(self, texts: list[str]) -> None:
        ledger = self.room(Ledger, "all")
        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(ledger.note, text)

    async def note_from_a_child(self, text: str) -> None:
        async def child() -> None:
            self.kept = await self.room(Ledger, "all").note(text)

        async with trio.open_nursery() as nursery:
            self.post(f"before {text}")
            nursery.start_soon(child)

    async def note_from_a_thread(self) -> None:
        await trio.to_thread.run_sync(lambda: self.room(Ledger, "all"))

    async def keep_a_stub(self) -> None:
        self.stub = self.room(Ledger, "all")
        await trio.lowlevel.checkpoint()

    async def use_the_kept_stub(self, text: str) -> int:
        return await self.stub.note(text)

    def note_without_waiting(self, text: str) -> Any:
        return self.room(Ledger, "all").note(text)

    @read
    def note_in_a_read(self) -> Any:
        return self.room(Ledger, "all")


@asynccontextmanager
async def two_rooms(**options: Any) -> AsyncGenerator[tuple[Any, Any]]:
    async with open_test_runtime(Caller, Ledger, **options) as runtime:
        yield runtime.room(Caller, "a"), runtime.room(Ledger, "all")


async def test_a_handler_calls_another_room_and_gets_its_reply(autojump_clock) -> None:
    async with two_rooms() as (caller, ledger):
        assert await caller.post_and_note("one") == 1
        assert await caller.note("two") == 2
        assert await caller.ask_count() == [2, "room"]
        assert await ledger.lines() == ["one", "two"]
        assert await caller.bodies() == ["one"]


async def test_the_called_rooms_exception_arrives_as_it_is_and_earlier_slices_stay(autojump_clock) -> None:
    async with two_rooms() as (caller, ledger):
        with pytest.raises(Sorry) as caught:
            await caller.note_and_fail("one")
        assert [note.split(" by ")[0] for note in caught.value.__notes__] == [
            "(raised in room Ledger/all",
            "(raised in room Caller/a",
        ]
        assert await ledger.lines() == []
        assert await caller.bodies() == ["one"]


async def test_a_call_leaves_only_when_what_its_room_wrote_before_it_is_durable(autojump_clock, monkeypatch) -> None:
    seen: list[tuple[int, int]] = []
    async with open_test_runtime(Caller, Ledger) as runtime:
        caller = runtime.room(Caller, "a")
        await caller.note("warm")
        passed_on = Runtime.pass_on

        def watch(self, name, call) -> None:
            gate = runtime.seat(caller_name).activation.gate
            seen.append((gate.committed, gate.durable))
            passed_on(self, name, call)

        caller_name = next(name for name in runtime._seats if name.actor == "Caller")
        monkeypatch.setattr(Runtime, "pass_on", watch)
        await caller.post_and_note("one")
        await caller.note_from_a_child("two")
        await caller.note("three")
    assert len(seen) == 3
    assert all(committed == durable for committed, durable in seen)
    assert seen[1][0] > seen[0][0] > 0


async def test_a_call_that_has_nothing_to_wait_for_leaves_in_its_own_slice(autojump_clock) -> None:
    async with open_test_runtime(Caller, Ledger) as runtime:
        caller = runtime.room(Caller, "a")
        await caller.note("warm")
        rounds = runtime.status().rounds
        reply = await caller.ask(Caller.note, "again")
        assert reply.value == 2
        assert runtime.status().rounds == rounds + 1  # the called room's alone


@pytest.mark.parametrize("warm", [True, False])
async def test_s46_calls_through_one_stub_arrive_in_the_order_they_were_made(warm: bool, autojump_clock) -> None:
    texts = [str(number) for number in range(30)]
    async with two_rooms() as (caller, ledger):
        if warm:
            await ledger.lines()
        for round in range(5):  # trio begins tasks that become ready together forwards or backwards, by chance
            async with trio.open_nursery() as nursery:
                for text in texts:
                    nursery.start_soon(ledger.note, text)
            await caller.note_all(texts)
            assert await ledger.lines() == texts * 2 * (round + 1)


async def test_a_call_that_was_dropped_is_not_sent_with_a_later_one(autojump_clock) -> None:
    async with two_rooms() as (_caller, ledger):
        dropped = ledger.note("dropped")
        dropped.close()
        late = ledger.note("first made")
        await ledger.note("first awaited")
        assert await late == 1
        assert await ledger.lines() == ["first made", "first awaited"]


async def test_a_call_that_cannot_be_sent_tells_its_own_caller_alone(autojump_clock) -> None:
    async with two_rooms() as (_caller, ledger):
        wrong = ledger.note(object())
        assert await ledger.note("right") == 1
        with pytest.raises(BadArguments, match="cannot cross"):
            await wrong


async def test_a_call_from_a_def_handler_a_read_a_thread_or_outside_is_refused(autojump_clock) -> None:
    async with two_rooms() as (caller, ledger):
        with pytest.raises(StatementRefused, match=r"needs an async handler.*self\.tell"):
            await caller.note_without_waiting("one")
        with pytest.raises(StatementRefused, match="@read may not call other rooms"):
            await caller.note_in_a_read()
        with pytest.raises(StatementRefused, match="in a thread"):
            await caller.note_from_a_thread()
        assert await ledger.lines() == []
    with pytest.raises(StatementRefused, match="not in a room"):
        Caller().room(Ledger, "all")
    with pytest.raises(TypeError, match="calls no other"):
        bare(Caller).note_without_waiting("one")


async def test_a_stub_that_one_handler_keeps_works_in_another(autojump_clock) -> None:
    async with two_rooms() as (caller, _ledger):
        await caller.keep_a_stub()
        assert await caller.use_the_kept_stub("one") == 1


async def test_a_cancelled_handlers_call_that_has_not_begun_never_runs(autojump_clock) -> None:
    class Busy(Caller):
        async def within(self, seconds: float) -> str:
            with trio.move_on_after(seconds):
                await self.room(Holds, "h").note("never")
                return "noted"
            return "left"

    class Holds(Ledger):
        async def hold(self) -> None:
            async with self.exclusive():
                await trio.sleep(5)

    async with open_test_runtime(Busy, Holds) as runtime, trio.open_nursery() as nursery:
        holds = runtime.room(Holds, "h")
        await one_after_another(nursery, holds.hold)
        assert await runtime.room(Busy, "a").within(1) == "left"
        assert await holds.lines() == []


async def test_a_cancelled_handler_takes_the_async_handler_that_answers_it_with_it(autojump_clock) -> None:
    async with two_rooms() as (caller, ledger):
        assert await caller.note_within("slow", 3) == "left"
        assert await ledger.lines() == ["slow begins"]
        await trio.sleep(30)
        assert await ledger.lines() == ["slow begins"]


async def test_an_outside_callers_leaving_does_not_cancel_what_has_begun(autojump_clock) -> None:
    async with two_rooms() as (caller, ledger):
        with trio.move_on_after(1):
            await caller.note_slowly("slow")
        await trio.sleep(30)
        assert await ledger.lines() == ["slow begins", "slow ends"]


async def test_a_refusal_that_passes_through_a_handler_tells_what_became_of_that_handlers_call(autojump_clock) -> None:
    class Slow(Ledger):
        async def hold(self) -> None:
            async with self.exclusive():
                await trio.sleep(5)

    class Through(Caller):
        async def plain(self) -> None:
            await self.room(Slow, "full").note("x")

        async def after_a_slice(self) -> None:
            self.post("stays")
            await trio.lowlevel.checkpoint()  # a full room refuses at once, in the slice that calls it
            await self.room(Slow, "full").note("x")

    async with open_test_runtime(Through, Slow, limits=Limits(mailbox_calls_max=1)) as runtime, trio.open_nursery() as nursery:
        through, full = runtime.room(Through, "t"), runtime.room(Slow, "full")
        await one_after_another(nursery, full.hold, lambda: full.note("fills the mailbox"))
        error = await outcome(through.plain)
        assert (type(error), error.ran, error.retryable) == (Overloaded, "rolled back", True)
        error = await outcome(through.after_a_slice)
        assert (type(error), error.ran, error.retryable) == (Overloaded, "unknown", False)
        assert await through.bodies() == ["stays"]


async def test_a_call_of_its_own_room_that_passes_through_a_handler_tells_of_that_handlers_call_too(autojump_clock) -> None:
    class Own(Caller):
        async def in_a_block(self) -> None:
            async with self.exclusive():
                await self.room(Own, self.id).post("x")

        async def misspelt(self) -> None:
            await self.room(Own, self.id).psot("x")

        async def under_a_key(self) -> None:
            await self.room(Own, self.id).options(key="k").refuse()

        def refuse(self) -> None:
            raise OutcomeUnknown("a sync failed under it")

    async with one_room(Own) as room:
        for call, kind, ran in (
            (room.in_a_block, CallCycle, "rolled back"),
            (room.misspelt, UnknownMethod, "rolled back"),
            (room.under_a_key, OutcomeUnknown, "unknown"),
        ):
            error = await outcome(call)
            assert (type(error), error.ran, error.retryable) == (kind, ran, False)


async def test_a_stop_lets_a_handler_that_has_begun_finish_its_calls(autojump_clock) -> None:
    class Later(Caller):
        async def later(self) -> int:
            await trio.sleep(1)
            return await self.room(Ledger, "all").note("late")

    found: list[object] = []

    async def keep(call: Any) -> None:
        found.append(await outcome(call))

    async with trio.open_nursery() as nursery, open_test_runtime(Later, Ledger) as runtime:
        nursery.start_soon(keep, runtime.room(Later, "a").later)
        await wait_all_tasks_blocked()
    assert found == [1]


async def test_rooms_that_wait_for_each_other_find_a_place_though_all_are_taken(autojump_clock) -> None:
    class Chain(Actor):
        async def forward(self, hops: int) -> int:
            return 1 + await self.room(Chain, str(hops)).forward(hops - 1) if hops else 0

    async with open_test_runtime(Chain, limits=Limits(open_rooms_max=2)) as runtime:
        with trio.fail_after(10):
            assert await runtime.room(Chain, "first").forward(6) == 6
        await trio.sleep(10)
        assert runtime.status().rooms_open <= 2


async def test_calls_deeper_than_the_bound_are_refused_with_the_chain(autojump_clock) -> None:
    class Mirror(Actor):
        async def reflect(self) -> None:
            await self.room(Mirror, "b" if self.id == "a" else "a").reflect()

    async with open_test_runtime(Mirror, limits=Limits(call_depth_max=5)) as runtime:
        error = await outcome(runtime.room(Mirror, "a").reflect)
        assert type(error) is CallCycle
        chain = " → ".join(f"Mirror/{'ab'[n % 2]}.reflect" for n in range(7))
        assert f"call_depth_max: {chain}" in str(error)
        assert "5 deep" in str(error)


async def test_a_slice_that_cannot_be_made_durable_sends_nothing(autojump_clock) -> None:
    disk = FailsOnce()
    async with two_rooms(disk=disk) as (caller, ledger):
        await caller.post_and_note("one")
        disk.fail_next()
        with pytest.raises(OutcomeUnknown):
            await caller.post_and_note("two")
        assert await ledger.lines() == ["one"]
        assert await caller.post_and_note("three") == 2


class Owing(Caller):
    """A slice of it can fail at its very end."""

    migrations: ClassVar = [
        *Caller.migrations,
        "CREATE TABLE replies (id INTEGER PRIMARY KEY, message INTEGER NOT NULL "
        "REFERENCES messages (id) DEFERRABLE INITIALLY DEFERRED)",
    ]

    async def owe_and_note(self, text: str) -> int:
        self.sql("INSERT INTO replies (message) VALUES (-1)")
        return await self.room(Ledger, "all").note(text)

    async def owe_and_note_too_late(self, text: str) -> int:
        self.sql("INSERT INTO replies (message) VALUES (-1)")
        with trio.CancelScope() as scope:
            scope.cancel()
            return await self.room(Ledger, "all").note(text)
        return -1


@pytest.mark.parametrize("method", ["owe_and_note", "owe_and_note_too_late"])
async def test_a_call_whose_slice_fails_as_it_is_made_never_leaves(method, autojump_clock):
    """The outcome is known before trio has parked the handler: woken then, and cancelled too, it would break trio."""
    async with open_test_runtime(Owing, Ledger) as runtime:
        room = runtime.room(Owing, "a")
        with pytest.raises(apsw.ConstraintError, match="FOREIGN KEY"):
            await getattr(room, method)("never")
        assert await runtime.room(Ledger, "all").lines() == []
        assert await room.post_and_note("later") == 1
