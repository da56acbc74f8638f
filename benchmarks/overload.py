"""Measures: posts to 100 rooms at twice the rate that they can serve (open loop, for a minute): how many are served, beside the
peak; and how soon the refused ones hear of it, p99, from the moment at which they were meant to be sent.

Ceiling: the peak, measured in the same run as the most posts a second of 256 and of 1,000 callers who post again as soon as they
have their reply (closed loop).

Each post has its moment, Poisson, whether earlier ones have been answered or not, and time counts from it: whoever is late
because the loop was busy has waited as long. Nobody tries again. Callers live in the runtime's process, so that what a refused
call costs its caller is part of what is left for the others.

Python's collections of garbage are made rare, as README says for a backend that serves many: thousands of calls that wait are as
many young objects that survive, and are looked at again and again while the loop stands still (of 20 s that took 3). What its
default costs is told beside it.

Not measured: callers that come by a network, a few hot rooms among many (each has a bound of its own), reads.
"""

import gc
from collections import deque
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from types import coroutine
from typing import Any

import trio
import trio.testing

from benchmarks.callers import closed_loop
from benchmarks.chat_room import ChatRoom, open_rooms, settle
from benchmarks.harness import Bench, p50_p99_ms, percentile
from benchmarks.posting import post_to
from benchmarks.records import OVERLOAD_GOODPUT, OVERLOAD_REFUSED_MS, Record
from benchmarks.workload import POSTS, posts
from durable_rooms import Limits, Overloaded, Room, Runtime

NAME = "overload"
TIMES = 2  # the peak
COLLECTIONS = (50_000, 5, 100)  # thresholds of the three generations, as README has them
CALLERS_SPARE = 1_000  # above those who may wait: they are on their way out


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    async with open_rooms(bench.place("rooms"), size.some_rooms) as (runtime, rooms):
        with collections_rare():
            bench.progress.case(NAME, "the peak")
            peak = await peak_of(bench, rooms)
            await settle(runtime)
            case = f"{TIMES} × {peak:,.0f} posts/s offered to {len(rooms)} rooms for {size.overload_seconds:g} s"
            bench.progress.case(NAME, case)
            flood = Flood(runtime, rooms, TIMES * peak, size.overload_seconds)
            await flood.run()
        await settle(runtime)
        bench.progress.case(NAME, "the same with collections as Python has them")
        usual = Flood(runtime, rooms, TIMES * peak, size.overload_seconds)
        await usual.run()
    return [
        Record(
            benchmark=NAME,
            case=f"{case}: served, beside the peak",
            unit="posts/s",
            value=flood.served_per_second,
            ceiling=peak,
            target=OVERLOAD_GOODPUT,
            note=f"served {p50_p99_ms(flood.served)} after their moment; {flood.offered:,} offered, {len(flood.refused):,} "
            f"refused; at most {flood.waiting_most:,} waited",
        ),
        Record(
            benchmark=NAME,
            case=f"{case}: refused within, p99",
            unit="ms",
            value=flood.refused_p99_ms,
            target=OVERLOAD_REFUSED_MS,
            lower_is_better=True,
            note=f"p50 {percentile(flood.refused, 50) * 1e3:.2f} ms, all within {max(flood.refused, default=0.0) * 1e3:.2f} ms",
        ),
        Record(
            benchmark=NAME,
            case="the same, with Python's default of collections: served, beside the peak",
            unit="posts/s",
            value=usual.served_per_second,
            ceiling=peak,
            note=f"refused within {usual.refused_p99_ms:.0f} ms (p99)",
        ),
    ]


async def peak_of(bench: Bench, rooms: list[Room[ChatRoom]]) -> float:
    """Posts per second, the most of several closed loops."""
    size, peak = bench.size, 0.0
    for callers in (size.some_callers, size.many_callers):
        calls = [post_to(rooms[number % len(rooms)]) for number in range(callers)]
        await closed_loop(calls, size.warm_seconds)
        for _ in range(size.repeats):
            peak = max(peak, (await closed_loop(calls, size.seconds)).per_second)
    return peak


@contextmanager
def collections_rare() -> Generator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass
class Flood:
    """Posts that come at their moments. Callers are there before, more than may ever wait; whoever is idle takes the next one."""

    runtime: Runtime
    rooms: list[Room[ChatRoom]]
    per_second: float
    wanted_seconds: float
    served: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    offered: int = 0
    seconds: float = 0.0
    waiting_most: int = 0
    _idle: list[trio.lowlevel.Task] = field(default_factory=list[trio.lowlevel.Task])
    _next: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])

    @property
    def served_per_second(self) -> float:
        return len(self.served) / self.seconds

    @property
    def refused_p99_ms(self) -> float:
        return percentile(self.refused, 99) * 1e3 if self.refused else 0.0

    async def run(self) -> None:
        random = Random(1)
        async with trio.open_nursery() as nursery:
            for _ in range(Limits().waiting_calls_max * 9 // 8 + CALLERS_SPARE):
                nursery.start_soon(self._caller)
            await trio.testing.wait_all_tasks_blocked()
            due = began = perf_counter()
            until = began + self.wanted_seconds
            while due < until:
                now = perf_counter()
                while due <= now and due < until:
                    self._offer(due)
                    due += random.expovariate(self.per_second)
                self._wake()
                self.waiting_most = max(self.waiting_most, self.runtime.admission.calls)
                await trio.sleep(max(0.0, due - now))
            self.seconds = perf_counter() - began
            served = len(self.served)
            nursery.start_soon(self._go_home, nursery.cancel_scope)
        del self.served[served:]  # what was served later is not of this time

    def _offer(self, due: float) -> None:
        self._next.append((self.offered, due))
        self.offered += 1

    def _wake(self) -> None:
        """Somebody who has nothing to do takes what is due."""
        if self._next and self._idle:
            trio.lowlevel.reschedule(self._idle.pop())

    async def _caller(self) -> None:
        lines, rooms = posts(), self.rooms
        while True:
            self._idle.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(_abort)
            while self._next:
                number, due = self._next.popleft()
                try:
                    await self._hand_over(rooms[number % len(rooms)].call(ChatRoom.post, *lines[number % POSTS]))
                except Overloaded:
                    self.refused.append(perf_counter() - due)
                else:
                    self.served.append(perf_counter() - due)

    @coroutine
    def _hand_over(self, call: Coroutine[Any, Any, int]) -> Generator[Any, Any, None]:
        """Make a call. Where it has to wait, the next caller goes on; one that is refused at once costs no switch of tasks."""
        try:
            step = call.send(None)
            self._wake()
            while True:
                try:
                    value = yield step
                except BaseException as error:
                    step = call.throw(error)
                else:
                    step = call.send(value)
        except StopIteration:
            return

    async def _go_home(self, scope: trio.CancelScope) -> None:
        """When everybody has been answered."""
        while len(self.served) + len(self.refused) < self.offered:  # noqa: ASYNC110 - they tell nobody
            await trio.sleep(0.01)
        scope.cancel()


def _abort(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED
