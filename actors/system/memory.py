"""Memory goes back to the system: what rooms leave behind is free, but the C library keeps it for later.

Measured: 2,000 rooms that came and went through 400 places left 75 MiB of it; over ten minutes of such use RSS grew by 53 MiB
while Python's and SQLite's own figures stood still.
"""

from collections.abc import Callable

import trio

from actors.system.threads import Threads

PERIOD_SECONDS = 60.0  # giving back costs 4 to 10 ms of a thread, and the loop up to 2 ms; in a minute nobody notices
ROOMS_MIN = 100  # that have left since the last time; fewer leave less than 4 MiB


class Memory:
    """Of one runtime."""

    def __init__(self, give_back: Callable[[], None], threads: Threads) -> None:
        self._give_back = give_back
        self._threads = threads
        self._left = 0

    def room_left(self) -> None:
        self._left += 1

    async def run(self) -> None:
        while True:
            await trio.sleep(PERIOD_SECONDS)
            if self._left >= ROOMS_MIN:
                self._left = 0
                await self._threads.run(self._give_back)
