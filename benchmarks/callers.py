"""Callers: a closed loop (each calls again as soon as it has its reply) and an open loop (calls arrive as people do, Poisson).

A closed loop finds what a runtime can do, but hides waiting: a slow reply delays the next call. The open loop keeps its
times of arrival, and latency counts from them.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from random import Random
from time import perf_counter
from typing import Any, NamedTuple

import trio

Call = Callable[[int], Awaitable[Any]]
"""Makes the n-th call of one caller."""


class Load(NamedTuple):
    calls: int
    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds


async def closed_loop(callers: Sequence[Call], seconds: float) -> Load:
    """Every caller calls for `seconds`; calls that have begun by then are finished and counted."""
    latencies: list[float] = []

    async def caller(call: Call, first: int) -> None:
        note = latencies.append
        before = begin
        for number in count(first):
            await call(number)
            now = perf_counter()
            note(now - before)
            if now >= end:
                return
            before = now

    begin = perf_counter()
    end = begin + seconds
    async with trio.open_nursery() as nursery:
        for index, call in enumerate(callers):
            nursery.start_soon(caller, call, index * 97)  # callers do not post the same lines
    return Load(len(latencies), perf_counter() - begin, latencies)


async def open_loop(call: Call, per_second: float, seconds: float, random: Random) -> Load:
    """Calls arrive at random at a mean rate, whether earlier ones have been answered or not."""
    latencies: list[float] = []

    async def one(number: int, arrival: float) -> None:
        await call(number)
        latencies.append(perf_counter() - arrival)

    begin = arrival = perf_counter()
    async with trio.open_nursery() as nursery:
        for number in count():
            arrival += random.expovariate(per_second)
            if arrival > begin + seconds:
                break
            wait = arrival - perf_counter()
            if wait > 0:
                await trio.sleep(wait)
            nursery.start_soon(one, number, arrival)
    return Load(len(latencies), max(seconds, perf_counter() - begin), latencies)
