"""The readers of a replica, and its breaker: each alone."""

import itertools
import math
from random import Random
from typing import Any

import apsw
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actors import InlineThreads
from durable_rooms import Overloaded, RuntimeClosed
from replication.reading.breaker import FAILURES_MIN, OPEN_SECONDS_FIRST, OPEN_SECONDS_MAX, Breaker
from replication.reading.readers import (
    ANSWER_SECONDS_MAX,
    BATCH_READS_MAX,
    HERE_SECONDS_MAX,
    READERS,
    WAITING_READS_MAX,
    NoAnswer,
    Readers,
)


# -- readers -------------------------------------------------------------------------------------------------------------
class Connection:
    """What a fake reader reads with; counts itself."""

    opened = closed = 0

    def __init__(self) -> None:
        type(self).opened += 1

    def close(self) -> None:
        type(self).closed += 1


class SlowThreads(InlineThreads):
    """Each batch takes virtual time after its work."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.hops = 0

    async def run_apart(self, job: Any, *args: object) -> Any:
        self.hops += 1
        result = await super().run(job, *args)
        await trio.sleep(self.seconds)
        return result


def readers_of(threads: InlineThreads, stopwatch: Any = lambda: 0.0) -> Readers[Connection]:
    return Readers(Connection, threads, stopwatch)


async def outcome(readers: Readers[Connection], what: Any, into: list[Any]) -> None:
    try:
        into.append(await readers.ask(what))
    except Exception as error:
        into.append(error)


async def test_many_reads_share_a_hop(autojump_clock):
    threads, got = SlowThreads(1.0), []
    readers = readers_of(threads)
    async with trio.open_nursery() as nursery:
        for n in range(3 * BATCH_READS_MAX):
            nursery.start_soon(outcome, readers, lambda _, n=n: n, got)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(readers.run)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert sorted(got) == list(range(3 * BATCH_READS_MAX))
    assert threads.hops <= 3 + READERS, "a reader may come too late and find nothing"


async def test_a_heavy_read_ends_its_batch(autojump_clock):
    ticks = itertools.count()
    threads, got = SlowThreads(), []
    readers = readers_of(threads, lambda: float(next(ticks)))
    async with trio.open_nursery() as nursery:
        for n in range(6):
            nursery.start_soon(outcome, readers, lambda _, n=n: n, got)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(readers.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(got) == threads.hops == 6


async def test_an_abandoned_read_that_waits_never_runs(autojump_clock):
    ran, readers = [], readers_of(SlowThreads())
    with trio.move_on_after(1):
        await readers.ask(ran.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        assert await readers.ask(lambda _: "next") == "next"
        nursery.cancel_scope.cancel()
    assert ran == []


@pytest.mark.parametrize("error", [apsw.IOError("disk I/O error"), SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_what_a_read_raises_is_its_callers_alone(error, autojump_clock):
    def raises(_: Connection) -> None:
        raise error

    readers, got = readers_of(SlowThreads()), []
    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(outcome, readers, lambda _, n=n: n, got)

        async def asks() -> None:
            with pytest.raises(type(error)):
                await readers.ask(raises)

        nursery.start_soon(asks)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(readers.run)
        await trio.sleep(1)
        assert sorted(got) == [0, 1, 2]
        assert await readers.ask(lambda _: "still there") == "still there"
        nursery.cancel_scope.cancel()


async def test_more_reads_than_may_wait_are_refused_at_once(autojump_clock):
    readers, got = readers_of(SlowThreads()), []
    async with trio.open_nursery() as nursery:
        for n in range(WAITING_READS_MAX):
            nursery.start_soon(outcome, readers, lambda _, n=n: n, got)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="4,096 reads wait"):
            await readers.ask(lambda _: None)
        nursery.start_soon(readers.run)
        while len(got) < WAITING_READS_MAX:  # noqa: ASYNC110 - virtual time
            await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def test_at_the_end_everybody_who_waits_is_told_and_connections_are_closed(autojump_clock):
    Connection.opened = Connection.closed = 0
    threads, got = SlowThreads(100), []
    readers = readers_of(threads)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as service:
            service.start_soon(readers.run)
            await trio.sleep(1)
            assert threads.hops == 0
            service.cancel_scope.cancel()
        for _ in range(5):
            nursery.start_soon(outcome, readers, lambda _: 1, got)
    assert [type(one) for one in got] == [RuntimeClosed] * 5
    assert Connection.opened == Connection.closed == READERS


async def test_reads_in_a_thread_at_the_end_are_told_without_waiting_for_it(autojump_clock):
    got, readers = [], readers_of(SlowThreads(100))
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as service:
            service.start_soon(readers.run)
            for _ in range(5):
                nursery.start_soon(outcome, readers, lambda _: 1, got)
            await trio.sleep(1)
            service.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() < 10
    assert [type(one) for one in got] == [RuntimeClosed] * 5


async def test_readers_that_never_come_back_are_silent(autojump_clock):
    got, readers = [], readers_of(SlowThreads(math.inf))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        for _ in range(3):
            nursery.start_soon(outcome, readers, lambda _: 1, got)
        await trio.sleep(ANSWER_SECONDS_MAX + 2)
        assert [type(one) for one in got] == [NoAnswer] * 3
        nursery.cancel_scope.cancel()


async def test_a_read_that_waits_long_behind_others_says_nothing_about_the_replica(autojump_clock):
    """Else a few heavy questions would make a healthy replica look sick, and send everybody to the rooms."""
    ticks = itertools.count()
    got, readers = [], readers_of(SlowThreads(2.0), lambda: float(next(ticks)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        for n in range(12):
            nursery.start_soon(outcome, readers, lambda _, n=n: n, got)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    late = [one for one in got if isinstance(one, Exception)]
    assert late
    assert {type(one) for one in late} == {Overloaded}


# -- breaker -------------------------------------------------------------------------------------------------------------
class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def broken(clock: Clock, seed: int = 0) -> Breaker:
    breaker = Breaker("replica", clock, Random(seed).uniform)
    for _ in range(FAILURES_MIN):
        assert breaker.admits() is not None
        breaker.failed("no answer")
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not():
    breaker = Breaker("replica", Clock(), Random(0).uniform)
    for _ in range(10 * FAILURES_MIN):
        breaker.failed("no answer")
        breaker.succeeded()
    assert breaker.state == "closed"
    for _ in range(FAILURES_MIN):
        breaker.failed("no answer")
    assert (breaker.state, breaker.reason) == ("open", "no answer")
    assert breaker.admits() is None


def test_after_a_while_one_probe_is_let_through_and_nobody_else():
    clock = Clock()
    breaker = broken(clock)
    clock.now = OPEN_SECONDS_FIRST
    assert breaker.admits() is not None
    assert breaker.state == "half open"
    assert [breaker.admits() for _ in range(5)] == [None] * 5


def test_a_probe_that_succeeds_closes_it():
    clock = Clock()
    breaker = broken(clock)
    clock.now = OPEN_SECONDS_FIRST
    breaker.admits()
    breaker.succeeded()
    assert (breaker.state, breaker.reason) == ("closed", None)
    assert breaker.admits() is not None


def test_a_probe_that_was_cancelled_lets_the_next_one_try():
    clock = Clock()
    breaker = broken(clock)
    clock.now = OPEN_SECONDS_FIRST
    probe = breaker.admits()
    assert probe is not None
    breaker.gave_up(probe)
    assert breaker.state == "open"
    assert breaker.admits() is not None


def test_a_read_from_before_the_outage_that_gives_up_does_not_let_a_second_probe_through():
    clock = Clock()
    breaker = Breaker("replica", clock, Random(0).uniform)
    early = breaker.admits()
    assert early is not None
    for _ in range(FAILURES_MIN):
        breaker.failed("no answer")
    clock.now = OPEN_SECONDS_FIRST
    assert breaker.admits() is not None
    breaker.gave_up(early)
    assert breaker.state == "half open"
    assert breaker.admits() is None


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_it_stays_open_longer_each_time_with_jitter_within_its_bounds(seed, rounds):
    clock = Clock()
    breaker = broken(clock, seed)
    for number in range(rounds):
        longest = min(OPEN_SECONDS_MAX, OPEN_SECONDS_FIRST * 2**number)
        began = clock.now
        clock.now = began + longest / 2 * 0.99
        assert breaker.admits() is None
        clock.now = began + longest
        assert breaker.admits() is not None
        breaker.failed("still")
        assert breaker.state == "open"


# -- on the loop ------------------------------------------------------------------------------------------------------
class Clocked:
    """A connection on which each read takes as long as it says; on the loop it is interrupted when that is too long."""

    def __init__(self, hands: "Hands", log: list[str], where: str) -> None:
        self.hands, self.log, self.where = hands, log, where

    def take(self, seconds: float) -> str:
        self.log.append(self.where)
        self.hands.time += min(seconds, HERE_SECONDS_MAX) if self.where == "loop" else seconds
        if self.where == "loop" and seconds > HERE_SECONDS_MAX:
            raise apsw.InterruptError("too long")
        return self.where

    def close(self) -> None:
        self.log.append(f"{self.where} closed")


class Hands:
    time = 0.0

    def __call__(self) -> float:
        return self.time


async def test_brief_reads_are_done_on_the_loop_and_long_ones_again_in_a_thread(autojump_clock) -> None:
    hands, log = Hands(), []
    readers = Readers(
        lambda: Clocked(hands, log, "thread"), InlineThreads(), hands, 1, connect_here=lambda: Clocked(hands, log, "loop")
    )

    async def read(seconds: float, kind: str) -> str:
        """As a router does."""
        return readers.here(lambda one: one.take(seconds), kind) or await readers.ask(lambda one: one.take(seconds), kind)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        assert await read(0.0001, "brief") == "loop"
        assert await read(1.0, "long") == "thread"
        assert log == ["loop", "loop", "thread"], "it is not tried there twice"
        assert await read(1.0, "long") == "thread"
        assert log == ["loop", "loop", "thread", "loop", "thread"], "a single one may have been unlucky"
        assert await read(1.0, "long") == "thread"
        assert log == ["loop", "loop", "thread", "loop", "thread", "thread"], "it is not tried on the loop again at once"
        assert await read(0.0001, "brief") == "loop"
        assert await readers.ask(lambda one: one.take(0.0001), "brief") == "loop", "a write had to arrive first"
        assert await read(1.0, "unlucky") == "thread"
        for _ in range(3):
            assert await readers.ask(lambda one: one.take(0.0001), "unlucky") == "loop", "once was never"
        assert await readers.ask(lambda one: one.take(0.0001)) == "thread", "without a kind nothing is known of it"
        nursery.cancel_scope.cancel()
    assert {"loop closed", "thread closed"} <= set(log)


async def test_a_read_that_comes_when_the_readers_have_ended_opens_nothing(autojump_clock) -> None:
    """It was let in before, and had its turn on the loop only now. Nobody would close what it opens."""
    hands, log = Hands(), []
    readers = Readers(
        lambda: Clocked(hands, log, "thread"), InlineThreads(), hands, 1, connect_here=lambda: Clocked(hands, log, "loop")
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert readers.here(lambda one: one.take(0.0001), "brief") is None
    with pytest.raises(RuntimeClosed, match="Nothing ran"):
        await readers.ask(lambda one: one.take(0.0001), "brief")
    assert "loop" not in log
