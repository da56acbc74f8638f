"""Free space: below a floor the runtime takes nothing more in, before SQLite meets the wall.

Checkpoints, WALs, the replica and deletions need space themselves; a disk that is filled to the last block can do none of them.
Below `free_bytes_min` statements that add data are refused with StorageFull and rooms are not born; reads and deletions go on.
It ends by itself when space returns.
"""

import logging
from pathlib import Path
from typing import Protocol

import trio

from actors.system.doors import Doors

LOOK_SECONDS = 1.0  # statvfs costs microseconds; at 500 MB/s a disk can fill by twice the floor's default meanwhile
ENOUGH_AGAIN = 9 / 8  # of the floor: not full and free again with every file that somebody deletes

_FREES = frozenset({"SELECT", "DELETE", "DROP", "EXPLAIN", "VALUES"})  # deletions write a little to free more
_FILLS = frozenset({"INSERT", "UPDATE", "REPLACE", "CREATE", "ALTER"})

logger = logging.getLogger("durable_rooms.actors")


class Fullness(Protocol):
    """What a statement must know."""

    full: bool

    @property
    def words(self) -> str: ...


class Roomy:
    """For a room without a disk."""

    full = False
    words = ""


class Space:
    """Of one data directory."""

    def __init__(self, doors: Doors, path: Path, free_bytes_min: int) -> None:
        self._doors = doors
        self._path = path
        self._floor = free_bytes_min
        self.full = False
        self.free_bytes = 0

    @property
    def words(self) -> str:
        return f"the disk of {self._path} has {self.free_bytes:,} bytes free, less than free_bytes_min = {self._floor:,}"

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        try:
            self.free_bytes = await self._doors.threads.run(self._doors.disk.free_bytes, self._path)
        except OSError as error:  # nothing is known, so nothing changes; a disk that is gone says so at the next sync
            logger.warning("the free space of %s cannot be read: %s", self._path, error)
            return
        if not self.full and self.free_bytes < self._floor:
            self.full = True
            logger.error("%s: statements that add data, and new rooms, are refused; reads and DELETE work", self.words)
        elif self.full and self.free_bytes >= self._floor * ENOUGH_AGAIN:
            self.full = False
            logger.warning("%s has %d bytes free again: everything is accepted", self._path, self.free_bytes)


def fills(query: str) -> bool | None:
    """Whether a statement adds data: by its first word; None where only running it tells (WITH, a comment in front)."""
    word = query.lstrip()[:8].split(None, 1)[0].upper() if query.strip() else ""
    return True if word in _FILLS else False if word in _FREES else None
