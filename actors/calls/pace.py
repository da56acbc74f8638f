"""The pace of all rooms together: how much of one pass of the loop their turns may take, before whoever else waits gets it.

Each turn has a bound, their sum had none: with calls waiting in 100 rooms one pass took a second, and so did the refusal of
a call, a read, a reply. Rooms beyond the share of a pass wait in line; each pass lets in as many as fit.
"""

import trio

from actors.system.wakeup import Wakeup

# Of one pass. As much again goes to those who came meanwhile and to replies, so that everybody is heard within some 10 ms; a turn
# of 5 ms shares its commit among hundreds of calls.
PASS_SECONDS = 0.005
_RISE, _FALL = 0.5, 0.1  # the share of the newest turn in the average: of a sudden load too many are let in for one pass only


class Pace:
    """Of one runtime."""

    __slots__ = ("_average", "_left", "_line", "_spent")

    def __init__(self) -> None:
        self._left = PASS_SECONDS
        self._average = 0.0  # seconds a turn
        self._line = trio.lowlevel.ParkingLot()
        self._spent = Wakeup()

    @property
    def free(self) -> bool:
        """A turn may begin at once."""
        return self._left > 0 and not self._line

    async def wait(self) -> None:
        """For one turn, in line."""
        self._spent.set()
        await self._line.park()

    def took(self, seconds: float) -> None:
        """A turn."""
        more = seconds - self._average
        self._average += more * (_RISE if more > 0 else _FALL)
        self._left -= seconds
        if self._left <= 0:
            self._spent.set()

    async def run(self) -> None:
        """Let rooms go on, pass by pass; until cancelled."""
        while True:
            await self._spent.wait()
            self._left = PASS_SECONDS
            while self._line:
                self._line.unpark(count=max(1, int(PASS_SECONDS / self._average)) if self._average else len(self._line))
                await trio.lowlevel.checkpoint()
                self._left = PASS_SECONDS
