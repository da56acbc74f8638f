"""A thread door whose jobs stop half-way: a job begins, lets the loop go on at a seeded or a given moment, and finishes later.

Only one of loop and jobs runs at any moment, and the loop stands still while a job runs, so that a seed decides everything and
the autojump clock never takes a running job for idleness. Threads that run a job in one step hide half the faults: with a
sync that begins and ends at once, nothing can be committed, closed or broken beside it.
"""

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from random import Random
from typing import Any, TypeVar

import trio

T = TypeVar("T")

STOPS = 0.2  # of the moments at which a job could stop, it does
STEPS_MAX = 30  # of the loop, for most stops
SLOW_STOPS, SLOW_SECONDS = 0.03, 0.02  # of the stops last a while of virtual time: so much on average

_here = threading.local()


class Hold:
    """A place where one job stops: `await reached.wait()`, look around, `release()`."""

    def __init__(self, kind: str, pattern: str) -> None:
        self._kind = kind
        self._pattern = pattern
        self.reached = trio.Event()
        self.released = trio.Event()

    def takes(self, kind: str, path: str) -> bool:
        return not self.reached.is_set() and not self.released.is_set() and kind == self._kind and fnmatch(path, self._pattern)

    def release(self) -> None:
        self.released.set()


@dataclass
class Slow:
    """Jobs stop for `seconds` at each of the next `times` events of a kind and path: a slow sync, a replica that hangs."""

    kind: str
    pattern: str
    seconds: float
    times: int = 1
    name: str = ""
    struck: int = 0

    def takes(self, kind: str, path: str) -> bool:
        if self.struck >= self.times or kind != self.kind or not fnmatch(path, self.pattern):
            return False
        self.struck += 1
        return True


class SteppedThreads:
    """`chance` stops jobs at random places; without it they stop only at holds and slow places."""

    def __init__(self, chance: Random | None = None) -> None:
        self._chance = chance
        self._holds: list[Hold] = []
        self.slow: list[Slow] = []
        self.under_way = 0
        self._idle: list[_Worker] = []

    def hold(self, kind: str, pattern: str = "*") -> Hold:
        """Stop the next job that comes to an event of this kind and path (see events.Event)."""
        hold = Hold(kind, pattern)
        self._holds.append(hold)
        return hold

    def release_all(self) -> None:
        """Whoever failed at a hold must not hang there."""
        for hold in self._holds:
            hold.release()

    async def run(self, job: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        worker = self._idle.pop() if self._idle else _Worker()
        self.under_way += 1
        try:
            worker.begin(partial(job, *args))
            with trio.CancelScope(shield=True):  # a job that has begun always finishes
                while (stop := worker.go_on()) is not None:
                    await stop()
        finally:
            self.under_way -= 1
        self._idle.append(worker)
        return worker.outcome()

    async def run_brief(self, job: Callable[..., T], *args: object) -> T:
        return await self.run(job, *args)

    async def run_apart(self, job: Callable[..., T], *args: object) -> T:
        """A job that hangs here goes on when its stop is over, so whoever leaves it waits as long."""
        return await self.run(job, *args)

    def end(self) -> None:
        """End the threads that wait for work."""
        while self._idle:
            self._idle.pop().end()

    def point(self, kind: str, path: str) -> None:
        """Called by the disk as an event happens, in whatever thread that is."""
        worker: _Worker | None = getattr(_here, "worker", None)
        if worker is None:
            return
        for hold in self._holds:
            if hold.takes(kind, path):
                worker.stop(partial(_wait_for, hold))
                return
        for slow in self.slow:
            if slow.takes(kind, path):
                worker.stop(partial(trio.sleep, slow.seconds))
                return
        chance = self._chance
        if chance is not None and chance.random() < STOPS:
            if chance.random() < SLOW_STOPS:
                worker.stop(partial(trio.sleep, chance.expovariate(1 / SLOW_SECONDS)))
            else:
                worker.stop(partial(_let_others_run, chance.randrange(1, STEPS_MAX)))


async def _wait_for(hold: Hold) -> None:
    hold.reached.set()
    await hold.released.wait()


async def _let_others_run(steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()


Stop = Callable[[], Awaitable[None]]


class _Worker:
    """One thread for one job after the other; it and the loop never run at once."""

    def __init__(self) -> None:
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._job: Callable[[], Any] | None = None
        self._why: Stop | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="a simulated thread", daemon=True)
        self._thread.start()

    def begin(self, job: Callable[[], Any]) -> None:
        self._job = job
        self._error = None

    def go_on(self) -> Stop | None:
        """Run to the next stop, meanwhile the loop stands; returns what to wait for, None at the end."""
        self._go.release()
        self._stands.acquire()
        return self._why

    def stop(self, why: Stop) -> None:
        """In the thread: let the loop go on."""
        self._why = why
        self._stands.release()
        self._go.acquire()

    def outcome(self) -> Any:
        value, error, self._value, self._error = self._value, self._error, None, None
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        self._job = None
        self._go.release()
        self._thread.join()

    def _run(self) -> None:
        _here.worker = self
        while True:
            self._go.acquire()
            job, self._job = self._job, None
            if job is None:
                return
            try:
                self._value = job()
            except BaseException as error:
                self._error = error
            finally:
                self._why = None
                del job
                self._stands.release()
