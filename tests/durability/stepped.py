"""A thread door whose jobs can be held: a job begins, stops where the test says, lets the loop go on, and finishes later.

Only one of loop and jobs runs at any moment, and the loop stands still while a job runs, so that a test is deterministic and
the autojump clock never takes a running job for idleness. Threads that run a job in one step hide half the faults: with a
sync that begins and ends at once, nothing can be committed, closed or broken beside it.
"""

import threading
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from random import Random
from typing import Any, TypeVar

import trio

T = TypeVar("T")

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


class SteppedThreads:
    """`chance` stops jobs at random places for a few steps of the loop; without it they stop only at holds."""

    def __init__(self, chance: Random | None = None) -> None:
        self._chance = chance
        self._holds: list[Hold] = []
        self.under_way = 0

    def hold(self, kind: str, pattern: str = "*") -> Hold:
        """Stop the next job that comes to an event of this kind and path (see recording.RecordingDisk)."""
        hold = Hold(kind, pattern)
        self._holds.append(hold)
        return hold

    def release_all(self) -> None:
        """A test that failed at a hold must not hang there."""
        for hold in self._holds:
            hold.release()

    async def run(self, job: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        work = _Job(job, args)
        self.under_way += 1
        try:
            with trio.CancelScope(shield=True):  # a job that has begun always finishes
                while (stop := work.go_on()) is not None:
                    await stop()
        finally:
            self.under_way -= 1
        return work.outcome()

    run_brief = run

    def point(self, kind: str, path: str) -> None:
        """Called by the disk as an event happens, in whatever thread that is."""
        job: _Job | None = getattr(_here, "job", None)
        if job is None:
            return
        for hold in self._holds:
            if hold.takes(kind, path):
                job.stop(partial(_wait_for, hold))
                return
        if self._chance is not None and self._chance.random() < 0.2:
            steps = self._chance.randrange(1, 30)
            job.stop(lambda: _let_others_run(steps))


async def _wait_for(hold: Hold) -> None:
    hold.reached.set()
    await hold.released.wait()


async def _let_others_run(steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()


class _Job:
    def __init__(self, job: Callable[..., Any], args: tuple[object, ...]) -> None:
        self._job = job
        self._args = args
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._why: Callable[[], Any] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def go_on(self) -> Callable[[], Any] | None:
        """Run to the next stop, meanwhile the loop stands; returns what to wait for, None at the end."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="a stepped job", daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._stands.acquire()
        if self._why is None:
            self._thread.join()
        return self._why

    def stop(self, why: Callable[[], Any]) -> None:
        self._why = why
        self._stands.release()
        self._go.acquire()

    def outcome(self) -> Any:
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._value

    def _run(self) -> None:
        _here.job = self
        try:
            self._value = self._job(*self._args)
        except BaseException as error:
            self._error = error
        finally:
            self._why = None
            self._stands.release()
