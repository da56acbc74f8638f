"""Yielding: a loop that is busy lets worker threads have Python's lock, which they need to bring back what they did.

Python's lock is not fair. A thread that waits for it asks for it after `sys.getswitchinterval()` (5 ms) in which nobody let go of
it; a loop that calls SQLite and epoll all the time lets go every few µs, and takes it again long before the thread has woken
up. On two idle processors an offloaded query of 5 ms, which needed the lock some forty times, took a second beside 16 callers
who ping; while other programs kept them busy, 8 ms. A sync needs it once, to say that it has returned.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import trio

from actors.system.threads import Threads, WorkerThreads

BUSY_SECONDS_MAX = 0.002  # of a loop that never waited, while threads are at work; then it sleeps, for some 5 % of its time
NAP_SECONDS = 0.00005  # and Linux's slack of 50 µs: in that time a thread has woken up


class Yielding(trio.abc.Instrument):
    """Added to a trio loop. `at_work`: how many jobs are in threads."""

    def __init__(
        self,
        at_work: Callable[[], int],
        now: Callable[[], float] = time.perf_counter,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:
        self._at_work = at_work
        self._now = now
        self._nap = nap
        self._busy_since = now()

    def before_io_wait(self, timeout: float) -> None:
        if timeout <= 0 and self._at_work() and self._now() - self._busy_since >= BUSY_SECONDS_MAX:
            self._nap(NAP_SECONDS)
            self._busy_since = self._now()

    def after_io_wait(self, timeout: float) -> None:
        if timeout > 0:  # it has waited, and nobody had to wait for it
            self._busy_since = self._now()


@contextmanager
def yielding(threads: Threads) -> Generator[None]:
    """On this loop, while its threads are real."""
    if not isinstance(threads, WorkerThreads):
        yield
        return
    instrument = Yielding(lambda: threads.at_work)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        with suppress(KeyError):  # trio has taken it away: a signal was raised in the middle of it
            trio.lowlevel.remove_instrument(instrument)
