"""The jobs of one replica: one at a time in a worker thread, each watched for signs of life (F30).

A file system that went away lets a job hang for as long as it likes, and no thread can be cancelled. Then that is said
("hanging"), and nobody waits for it: a room whose file it reads is let go at once, a stop leaves it alone. Nothing else touches
the file before it has come back; a job that comes back is believed, but for one that was left alone. The clock of a slow job is
SQLite's own: as long as statements go forward, nothing hangs.
"""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import apsw
import trio

from actors import Threads
from replication.limits import JOB_LOOK_SECONDS, JOB_SECONDS_MAX
from replication.replica import ReplicaHangs

logger = logging.getLogger("durable_rooms.replication")

T = TypeVar("T")


class Runs(Protocol):
    """Where jobs run."""

    async def run(self, job: Callable[..., T], *args: object) -> T: ...


@dataclass(slots=True)
class Errand:
    """One job under way."""

    scope: trio.CancelScope
    holds_room: bool
    beats: int
    alive_at: float  # when it last gave a sign of life
    hangs: bool = False
    returned: bool = False  # its thread is done with it


class Jobs:
    """Of one replicator. On the loop, but for `_work`."""

    def __init__(self, threads: Threads, beats: Callable[[], int], hanging: Callable[[str], None]) -> None:
        """
        Args:
          beats: the signs of life so far, of whatever job is under way.
          hanging: told once for each job that hangs.
        """
        self._threads = threads
        self._beats = beats
        self._hanging = hanging
        self._errand: Errand | None = None
        self._left: Errand | None = None  # alone, and it may not have come back
        self._last: deque[Callable[[], None]] = deque()  # what the one that was left alone has to do yet
        self._begun = trio.lowlevel.ParkingLot()
        self._watching = trio.CancelScope(shield=True)

    @property
    def left_alone(self) -> bool:
        """Whether a job hangs that nobody waits for any more."""
        return self._left is not None and not self._left.returned

    @property
    def holding_a_room(self) -> Runs:
        """For jobs beside which a room's file is held: they raise ReplicaHangs where others are waited for."""
        return _HoldingARoom(self)

    async def run(self, job: Callable[..., T], *args: object, holds_room: bool = False) -> T:
        """Run a job to its end, after one that was left alone. Cancelled, it is waited for unless it hangs.

        Raises:
          What the job raises; ReplicaHangs: it hangs, and a room shall not wait for it.
        """
        while self.left_alone:  # noqa: ASYNC110 - its thread cannot tell: the loop may be another one by then
            await trio.sleep(JOB_LOOK_SECONDS)
        errand = self._errand = Errand(trio.CancelScope(shield=True), holds_room, self._beats(), trio.current_time())
        self._begun.unpark()
        try:
            with errand.scope:
                return await self._threads.run_apart(self._work, errand, partial(job, *args))
            raise ReplicaHangs(f"a job on the file has shown no sign of life for {JOB_SECONDS_MAX:g} s")
        finally:
            self._errand = None
            self._left = errand if errand.hangs and not errand.returned else None

    async def watch(self) -> None:
        """Look after the jobs, until `end`."""
        with self._watching:
            while True:
                while self._errand is None:
                    await self._begun.park()
                await trio.sleep(JOB_LOOK_SECONDS)
                self._look()

    def _look(self) -> None:
        errand, now, beats = self._errand, trio.current_time(), self._beats()
        if errand is None or errand.hangs:
            return
        if beats != errand.beats:
            errand.beats, errand.alive_at = beats, now
        elif now - errand.alive_at >= JOB_SECONDS_MAX:
            errand.hangs = True
            self._hanging(f"a job on the file has shown no sign of life for {JOB_SECONDS_MAX:g} s; waiting for the file system")
            if errand.holds_room:
                errand.scope.cancel()
            else:
                errand.scope.shield = False  # a stop need not wait for it

    async def end(self, *jobs: Callable[[], None]) -> None:
        """The last jobs, cancelled or not. Where one hangs, its thread does the rest if it ever comes back."""
        with trio.CancelScope(shield=True):
            for job in jobs:
                if self.left_alone:
                    self._last.append(job)
                    continue
                try:
                    await self.run(job, holds_room=True)
                except ReplicaHangs:
                    logger.warning("stopping: the replica's file hangs; it is left as after a crash, which it survives")
        self._watching.cancel()
        if self._left is not None and self._left.returned:
            self._do_last()

    # -- in a thread --------------------------------------------------------------------------------------------------
    def _work(self, errand: Errand, job: Callable[[], T]) -> T:
        try:
            return job()
        finally:
            errand.returned = True
            self._do_last()

    def _do_last(self) -> None:
        """By the thread that came back, or by the loop if that was a moment too early: each is popped by one of them."""
        with suppress(IndexError):
            while True:
                job = self._last.popleft()
                with suppress(OSError, apsw.Error):
                    job()


class _HoldingARoom:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def run(self, job: Callable[..., T], *args: object) -> T:
        return await self._jobs.run(job, *args, holds_room=True)
