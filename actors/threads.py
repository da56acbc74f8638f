"""The thread door: work that blocks (syncs, checkpoints, opening, the replica) leaves the loop here and nowhere else."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")

WORKER_THREADS_MAX = 16  # syncs of a journaling file system stop gaining beyond 8 to 16; each thread costs 8 MiB of address space


class Threads(Protocol):
    """Run blocking jobs. A job that has begun always finishes: cancellation waits for it, so that no file is left half done."""

    async def run(self, job: Callable[..., T], *args: object) -> T: ...


class WorkerThreads:
    """Real threads, at most 16 at once; a hop costs 50 to 150 µs."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, job: Callable[..., T], *args: object) -> T:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(WORKER_THREADS_MAX)
        return await trio.to_thread.run_sync(job, *args, limiter=self._limiter)


class InlineThreads:
    """For tests: the job runs on the loop, so that trio's autojump clock never counts a running thread as idle time."""

    async def run(self, job: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)
