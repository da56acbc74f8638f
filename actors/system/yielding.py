"""Yielding: a loop that is busy lets worker threads have Python's lock, which they need to bring back what they did; and a thread
that computes lets the loop have its processor.

Python's lock is not fair. A thread that waits for it asks for it after `sys.getswitchinterval()` (5 ms) in which nobody let go of
it; a loop that calls SQLite and epoll all the time lets go every few µs, and takes it again long before the thread has woken
up. On two idle processors an offloaded query of 5 ms, which needed the lock some forty times, took a second beside 16 callers
who ping; while other programs kept them busy, 8 ms. A sync needs it once, to say that it has returned.

Nor is a processor given at once to whoever wakes up: Linux lets the one that computes there finish its slice, of 3 to 4 ms
(RUN_TO_PARITY, since 6.6). A write wakes three threads one after another: the loop, a sync, the loop. Beside two readers of 5 ms
queries on two processors its p99 was 9 to 12 ms, 2.5 alone; with readers that give way each millisecond it is 3 to 4, and they
read as much. Lower priorities or shorter slices gained half of that.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import trio

from actors.system.libc import libc
from actors.system.threads import Threads, WorkerThreads

BUSY_SECONDS_MAX = 0.002  # of a loop that never waited, while threads are at work; then it sleeps, for some 5 % of its time
WANTED_SECONDS_MIN = 0.02  # of a loop that never waited; one that has lost its processor, for a slice or two, must be given it
NAP_SECONDS = 0.00005  # and Linux's slack of 50 µs: in that time a thread has woken up


def give_way() -> None:
    """In a thread that computes: whoever waits for this processor goes first. Without Python's lock, which `os.sched_yield` keeps
    before Python 3.12. Costs 1 µs where nobody waits."""
    libc.sched_yield()


class Yielding(trio.abc.Instrument):
    """Added to a trio loop. `at_work`: how many jobs are in threads."""

    waits = False  # in epoll, for as long as nothing happens

    def __init__(
        self,
        at_work: Callable[[], int],
        now: Callable[[], float] = time.perf_counter,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:
        self._at_work = at_work
        self._now = now
        self._nap = nap
        self._busy_since = self._waited = now()

    @property
    def busy(self) -> bool:
        return not self.waits and self._now() - self._waited >= WANTED_SECONDS_MIN

    def before_io_wait(self, timeout: float) -> None:
        self.waits = timeout > 0
        if timeout <= 0 and self._at_work() and self._now() - self._busy_since >= BUSY_SECONDS_MAX:
            self._nap(NAP_SECONDS)
            self._busy_since = self._now()

    def after_io_wait(self, timeout: float) -> None:
        if timeout > 0:  # it has waited, and nobody had to wait for it
            self.waits = False
            self._busy_since = self._waited = self._now()


_loops: set[Yielding] = set()  # of the process, as Python's lock is


def lock_is_wanted() -> bool:
    """In a thread: whether a loop is busy, so that whoever asks for Python's lock waits for its next nap."""
    return any(loop.busy for loop in tuple(_loops))


@contextmanager
def yielding(threads: Threads) -> Generator[None]:
    """On this loop, while its threads are real."""
    if not isinstance(threads, WorkerThreads):
        yield
        return
    instrument = Yielding(lambda: threads.at_work)
    trio.lowlevel.add_instrument(instrument)
    _loops.add(instrument)
    try:
        yield
    finally:
        _loops.discard(instrument)
        with suppress(KeyError):  # trio has taken it away: a signal was raised in the middle of it
            trio.lowlevel.remove_instrument(instrument)
