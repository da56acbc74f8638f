"""The ceiling's side, trio: tasks that ask, one task that answers, and nothing in between.

A caller joins a queue, wakes the server if it sleeps, and sleeps; the server wakes everybody who waits. No cancellation, no
message, no room: the least that a call from one task to another costs.
"""

from collections import deque
from time import perf_counter

import trio
import trio.testing
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled


async def round_trips(callers: int, seconds: float) -> float:
    """Round trips per second of so many tasks with one server."""
    waiting: deque[Task] = deque()
    sleeping: list[Task] = []  # the server, while it sleeps
    trips = 0
    end = perf_counter() + seconds

    async def server() -> None:
        while True:
            if not waiting:
                sleeping.append(current_task())
                await wait_task_rescheduled(_abort)
            while waiting:
                reschedule(waiting.popleft())

    async def caller() -> None:
        nonlocal trips
        while perf_counter() < end:
            waiting.append(current_task())
            if sleeping:
                reschedule(sleeping.pop())
            await wait_task_rescheduled(_never_abort)
            trips += 1

    async with trio.open_nursery() as service:
        service.start_soon(server)
        await trio.testing.wait_all_tasks_blocked()
        begin = perf_counter()
        end = begin + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
        elapsed = perf_counter() - begin
        service.cancel_scope.cancel()
    return trips / elapsed


def _abort(_raise_cancel: object) -> Abort:
    return Abort.SUCCEEDED


def _never_abort(_raise_cancel: object) -> Abort:
    return Abort.FAILED
