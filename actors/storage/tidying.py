"""Tidying: the WALs that rooms leave behind when they must go quickly, taken into their databases when nobody is in a hurry.

A room that makes place for another closes without a checkpoint: everything in its WAL is durable (rule 5), and its next opening
goes on from there. That costs 0.05 ms instead of two syncs and the making of two files anew (1.5 ms). The number of such rooms is
bounded; here they are checkpointed one after another while no room waits for a place, so that a file at rest is a whole room.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from actors.names import RoomName

WAL_LEFT_BYTES_MAX = 128 * 1024  # of one room: about ten posts at a time; reading it takes the next opening 0.1 ms
WALS_LEFT_MAX = 4_096  # rooms; at most 512 MiB of disk, and 100 bytes of memory each
TIDY_SECONDS = 1.0  # between two looks
FINISH_SECONDS_MAX = 2.0  # of a stop; a WAL that is left then is taken in when its room is next opened and closed


class Tidying:
    """The rooms of one runtime that left a WAL behind, longest ago first."""

    def __init__(self, tidy: Callable[[RoomName], Awaitable[None]], hurried: Callable[[], bool]) -> None:
        self._tidy = tidy
        self._hurried = hurried  # rooms wait for a place
        self._left: OrderedDict[RoomName, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def may_leave(self, wal_bytes: int) -> bool:
        return wal_bytes <= WAL_LEFT_BYTES_MAX and len(self._left) < WALS_LEFT_MAX

    def left(self, name: RoomName) -> None:
        self._left[name] = None

    def opened(self, name: RoomName) -> None:
        """Its WAL is the new activation's."""
        self._left.pop(name, None)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(TIDY_SECONDS)
            while self._left and not self._hurried():
                await self._next()

    async def finish(self) -> None:
        """At a stop, when every room is closed."""
        with trio.move_on_after(FINISH_SECONDS_MAX):
            while self._left:
                await self._next()

    async def _next(self) -> None:
        name, _ = self._left.popitem(last=False)
        await self._tidy(name)
