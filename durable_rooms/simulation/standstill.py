"""A standstill of virtual time: the loop goes round and round, and nobody waits for anything.

A bound of virtual time says nothing of that. A room that tried again at once on a full disk ran for minutes of real time at one
moment of virtual time, until the machine's memory was full.
"""

from collections.abc import Callable

import trio

PASSES_MAX = 20_000  # of the loop at one moment, some 2 s of real time; the busiest of 180 lives have 1,400


class Standstill(trio.abc.Instrument):
    """Of one run: tells `found` that it does not go on, and where that does not end it, ends it as a bug of trio's would."""

    def __init__(self, now: Callable[[], float], found: Callable[[], None]) -> None:
        self._now = now
        self._found = found
        self._moment = now()
        self._passes = 0

    def before_io_wait(self, timeout: float) -> None:
        moment = self._now()
        if moment != self._moment:
            self._moment, self._passes = moment, 0
            return
        self._passes += 1
        if self._passes == PASSES_MAX:
            self._found()
        elif self._passes == 2 * PASSES_MAX:
            trio.lowlevel.current_trio_token().run_sync_soon(_give_up)


def _give_up() -> None:
    raise RuntimeError("virtual time stands still, and whoever is at work cannot be stopped")
