"""A standstill of virtual time: the loop goes round and round, and nobody waits for anything.

A bound of virtual time says nothing of that. A room that tried again at once on a full disk ran for minutes of real time at one
moment of virtual time, until the machine's memory was full.
"""

from collections.abc import Callable
from typing import NoReturn

import trio
from trio.testing import MockClock

from actors import RuntimeClosed
from durable_rooms.runtime import Runtime

# Of the loop at one moment, some 20 s of real time. The busiest of 180 lives had 1,400; a check that reads a room takes 4.
PASSES_MAX = 500_000


class Standstill(trio.abc.Instrument):
    """Of one run: tells `found` that it does not go on, and where that does not end it, ends it as a bug of trio's would."""

    def __init__(self, clock: MockClock, found: Callable[[], None]) -> None:
        self._clock = clock
        self._now = clock.current_time
        self._found = found
        self._moment = self._now()
        self._passes = 0

    def before_io_wait(self, timeout: float) -> None:
        moment = self._now()
        if moment != self._moment:
            self._moment, self._passes = moment, 0
            return
        self._passes += 1
        if self._passes == PASSES_MAX:
            self._found()
        elif self._passes == 2 * PASSES_MAX:  # behind a shield: trio's own loop asks the clock, and no task can hold that up
            self._clock.current_time = _give_up

    def over(self) -> None:
        """The run has ended: the clock is its owner's again."""
        vars(self._clock).pop("current_time", None)


class Patience:
    """With one run: `scope` is what it may take, `runtime` is known once it is open."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.runtime: Runtime | None = None
        self.over = False  # it stood still

    def end(self) -> None:
        """It stands still: end what is at work."""
        self.over = True
        self.scope.cancel()
        if self.runtime is not None:
            self.runtime.fail(RuntimeClosed("the simulation has given up"))

    @property
    def ran_out(self) -> bool:
        """The time of `scope` was over before it was."""
        return self.scope.cancelled_caught and not self.over


def _give_up() -> NoReturn:
    raise RuntimeError("virtual time stands still, and whoever is at work cannot be stopped")
