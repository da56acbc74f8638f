"""An asyncio loop in a thread of its own, beside the benchmark's trio; closed loops of its tasks and of plain threads."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from time import perf_counter
from typing import Any, TypeVar

import trio

from benchmarks.callers import Call, Load

T = TypeVar("T")


class AsyncioHost:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run it as a task of the loop; the trio loop is idle meanwhile."""
        return await trio.to_thread.run_sync(lambda: asyncio.run_coroutine_threadsafe(work(), self._loop).result())

    @asynccontextmanager
    async def entered(self, inside: AbstractAsyncContextManager[T]) -> AsyncGenerator[T]:
        """An asyncio context, entered and left in the loop by one task, as a program does."""
        there: asyncio.Future[T] = self._loop.create_future()
        leave = asyncio.Event()

        async def hold() -> None:
            async with inside as value:
                there.set_result(value)
                await leave.wait()

        async def begin() -> tuple[T, asyncio.Task[None]]:
            task = asyncio.ensure_future(hold())
            await asyncio.wait([task, there], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return there.result(), task

        async def end(task: asyncio.Task[None]) -> None:
            leave.set()
            await task

        value, task = await self.run(begin)
        try:
            yield value
        finally:
            with trio.CancelScope(shield=True):
                await self.run(lambda: end(task))


@asynccontextmanager
async def asyncio_host() -> AsyncGenerator[AsyncioHost]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="asyncio host")
    thread.start()
    try:
        yield AsyncioHost(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)
        loop.close()


async def crowd(call: Call, callers: int, seconds: float) -> Load:
    """`callers.closed_loop`, with tasks of asyncio."""
    latencies: list[float] = []
    begin = perf_counter()
    end = begin + seconds

    async def caller(first: int) -> None:
        before = perf_counter()
        for number in count(first):
            await call(number)
            now = perf_counter()
            latencies.append(now - before)
            if now >= end:
                return
            before = now

    tasks: list[Awaitable[None]] = [caller(index * 97) for index in range(callers)]
    await asyncio.gather(*tasks)
    return Load(len(latencies), perf_counter() - begin, latencies)


def threads_per_second(call: Callable[[], object], callers: int, seconds: float) -> float:
    """So many plain threads call in a closed loop."""
    calls = [0] * callers
    begin = perf_counter()
    end = begin + seconds

    def caller(place: int) -> None:
        while perf_counter() < end:
            call()
            calls[place] += 1

    threads = [threading.Thread(target=caller, args=(place,)) for place in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(calls) / (perf_counter() - begin)
