"""The thread door: work that blocks (syncs, checkpoints, opening, the replica) leaves the loop here and nowhere else.

Also the one thread that looks at the loop from beside it (`Lookout`), for the watchdog.
"""

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")

this_thread = threading.get_ident
"""Names the thread that asks, in 40 ns."""

WORKER_THREADS_MAX = 16  # syncs of a journaling file system stop gaining beyond 8 to 16; each thread costs 8 MiB of address space
BRIEF_SECONDS_MAX = 0.001  # a tenth of a turn; a hop costs 0.15 ms, and 1 ms where threads fight for Python's lock
BRIEF_HOPS_MIN = 16  # jobs in threads after one on the loop was not brief, before the next is tried there; doubled each time
BRIEF_HOPS_MAX = 1_024  # on a slow disk one opening in so many holds the loop up, for 10 ms

LOOK_SECONDS = 0.1  # between two looks at the loop; the error of a stall's length where nothing more exact is known
STACK_FRAMES_MAX = 40  # the innermost ones
EXIT_BLOCKED = 70  # the exit code of a process that ended itself because its loop stood still (EX_SOFTWARE)
STDERR = 2


class Threads(Protocol):
    """Run blocking jobs. A job that has begun always finishes: cancellation waits for it, so that no file is left half done."""

    async def run(self, job: Callable[..., T], *args: object) -> T: ...

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        """A job that is over in a moment on a healthy disk (one file's sync): on the loop while its kind was brief there."""
        ...

    async def run_apart(self, job: Callable[..., T], *args: object) -> T:
        """A job that may hang, on a file system that went away: cancelled, nobody waits for it any more, it ends by itself or
        never, and what comes of it is lost. Takes none of the places of `run`; whoever calls this bounds how many there are."""
        ...


class WorkerThreads:
    """Real threads, at most 16 at once."""

    def __init__(self) -> None:
        self.at_work = 0  # jobs in threads, or on their way there
        self._limiter: trio.CapacityLimiter | None = None
        self._kinds: dict[str, Brevity] = {}

    async def run(self, job: Callable[..., T], *args: object) -> T:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(WORKER_THREADS_MAX)
        return await self._in_thread(job, *args, limiter=self._limiter, abandon=False)

    async def run_apart(self, job: Callable[..., T], *args: object) -> T:
        return await self._in_thread(job, *args, limiter=trio.CapacityLimiter(1), abandon=True)

    async def _in_thread(self, job: Callable[..., T], *args: object, limiter: trio.CapacityLimiter, abandon: bool) -> T:
        self.at_work += 1
        try:
            return await trio.to_thread.run_sync(job, *args, abandon_on_cancel=abandon, limiter=limiter)
        finally:
            self.at_work -= 1

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        kind = self._kinds.setdefault(job.__qualname__, Brevity())
        if not kind.on_loop():
            return await self.run(job, *args)
        began = time.perf_counter()
        try:
            return job(*args)
        finally:
            kind.took(time.perf_counter() - began)


@dataclass(slots=True)
class Brevity:
    """How jobs of one kind fared on the loop, and so whether to try the next there. In a thread they cannot be judged: they wait
    for Python's lock there."""

    forgiving: bool = False
    """A single long one may have waited for Python's lock or a processor, so only two in a row count: for jobs that cost several
    times as much in a thread. Of the reads in the benchmark `mixed` one in 300 is so unlucky; each took the next 16 to 1,024 into
    threads, which cost ten times as much."""

    hops_left: int = 0
    hops: int = BRIEF_HOPS_MIN
    doubtful: bool = False  # the last one took long

    def on_loop(self) -> bool:
        if self.hops_left:
            self.hops_left -= 1
            return False
        return True

    def took(self, seconds: float) -> None:
        """One on the loop."""
        doubtful, self.doubtful = self.doubtful, seconds > BRIEF_SECONDS_MAX
        if not self.doubtful:
            self.hops = BRIEF_HOPS_MIN
        elif doubtful or not self.forgiving:
            self.hops_left = self.hops
            self.hops = min(self.hops * 2, BRIEF_HOPS_MAX)


class InlineThreads:
    """For tests: the job runs on the loop, so that trio's autojump clock never counts a running thread as idle time."""

    async def run(self, job: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        return await self.run(job, *args)

    async def run_apart(self, job: Callable[..., T], *args: object) -> T:
        return await self.run(job, *args)


class Lookout(Protocol):
    """A thread beside the loop's own that calls `look` every so often. All but `start` and `stop` are for that thread."""

    def start(self, look: Callable[[], None]) -> None:
        """On the loop, which is the one that is looked at from now on."""
        ...

    def ask(self, answer: Callable[[], None]) -> None:
        """Let the loop call `answer` when it comes round."""
        ...

    def stack(self) -> str: ...
    def abort(self, words: str) -> None:
        """Say why, dump every thread's stack, end the process."""
        ...

    def stop(self) -> None: ...


class ThreadLookout:
    """A real thread; a daemon, so that it never keeps a process alive."""

    def __init__(self) -> None:
        self._left = threading.Event()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken
        self._loop_thread = 0

    def start(self, look: Callable[[], None]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._run, args=(look,), name="durable-rooms watchdog", daemon=True)
        self._thread.start()

    def _run(self, look: Callable[[], None]) -> None:
        while not self._left.wait(LOOK_SECONDS):
            look()

    def ask(self, answer: Callable[[], None]) -> None:
        self._token.run_sync_soon(answer)

    def stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage] - documented, for debuggers
        return "".join(traceback.format_stack(frame, STACK_FRAMES_MAX)) if frame is not None else "(it has ended)"

    def abort(self, words: str) -> None:
        os.write(STDERR, f"durable-rooms: {words}\n".encode())
        faulthandler.dump_traceback(STDERR, all_threads=True)
        os._exit(EXIT_BLOCKED)

    def stop(self) -> None:
        if self._thread is not None:
            self._left.set()
            self._thread.join()
            self._thread = None


class NoLookout:
    """For tests and simulators: nobody looks."""

    def start(self, look: Callable[[], None]) -> None: ...
    def ask(self, answer: Callable[[], None]) -> None: ...
    def stack(self) -> str:
        return ""

    def abort(self, words: str) -> None: ...
    def stop(self) -> None: ...
