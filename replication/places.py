"""Where replicas lie, as their file systems have it. These may be ill or hang: they are asked in a thread, for a moment."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import trio

from actors import Disk, Doors
from replication.replica import SQLiteReplica

LOOK_SECONDS_MAX = 1.0  # of a start, for a file system that does not answer

T = TypeVar("T")


async def is_near(doors: Doors, rooms: Path, replica: Path) -> bool:
    """Whether a replica is on the file system of the rooms; not known to be is not."""
    if replica.parent == rooms:
        return True
    return await _looked(doors, lambda: _on_one_device(doors.disk, rooms, replica.parent), otherwise=False)


async def refuse_one_file(doors: Doors, rooms: Path, replicas: Sequence[SQLiteReplica]) -> None:
    """Raises ValueError: two replicas are in one file, which their paths alone need not tell."""
    if len(replicas) < 2:
        return
    paths = [replica.path or rooms / "replica.db" for replica in replicas]
    found: dict[Path, SQLiteReplica] = {}
    for replica, path in zip(replicas, paths, strict=True):
        place = await _looked(doors, lambda path=path: doors.disk.resolved(path), otherwise=path.absolute())
        other = found.setdefault(place, replica)
        if other is not replica:
            raise ValueError(f"two replicas are in one file: replica {other.name} and replica {replica.name}, {place}")


async def _looked(doors: Doors, look: Callable[[], T], *, otherwise: T) -> T:
    with trio.move_on_after(LOOK_SECONDS_MAX), suppress(OSError, RuntimeError):  # RuntimeError: a circle of links
        return await doors.threads.run_apart(look)
    return otherwise


def _on_one_device(disk: Disk, rooms: Path, directory: Path) -> bool:
    here, there = disk.identity(rooms), disk.identity(directory)
    return here is not None and there is not None and here[0] == there[0]
