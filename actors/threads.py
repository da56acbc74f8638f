"""The thread door: work that blocks (syncs, checkpoints, opening, the replica) leaves the loop here and nowhere else."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")

WORKER_THREADS_MAX = 16  # syncs of a journaling file system stop gaining beyond 8 to 16; each thread costs 8 MiB of address space
BRIEF_SECONDS_MAX = 0.000_5  # a hop to a thread and back costs 0.1 to 0.2 ms and half of it on the loop
BRIEF_STREAK_MIN = 16  # so many brief jobs in a row before one runs on the loop; one that is not brief costs a stall, once


class Threads(Protocol):
    """Run blocking jobs. A job that has begun always finishes: cancellation waits for it, so that no file is left half done."""

    async def run(self, job: Callable[..., T], *args: object) -> T: ...

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        """A job that is over in a moment on a healthy disk (one file's sync): it may run on the loop while it lately was."""
        ...


class WorkerThreads:
    """Real threads, at most 16 at once."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None
        self._streak = 0

    async def run(self, job: Callable[..., T], *args: object) -> T:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(WORKER_THREADS_MAX)
        return await trio.to_thread.run_sync(job, *args, limiter=self._limiter)

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        if self._streak >= BRIEF_STREAK_MIN:
            return self._timed(job, *args)
        return await self.run(self._timed, job, *args)

    def _timed(self, job: Callable[..., T], *args: object) -> T:
        began = time.perf_counter()
        try:
            return job(*args)
        finally:
            self._streak = self._streak + 1 if time.perf_counter() - began <= BRIEF_SECONDS_MAX else 0


class InlineThreads:
    """For tests: the job runs on the loop, so that trio's autojump clock never counts a running thread as idle time."""

    async def run(self, job: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        return await self.run(job, *args)
