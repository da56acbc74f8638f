"""Repairs of a replica's file while nobody here has it open: put aside, re-home, clear the place. Blocks."""

from pathlib import Path
from typing import Literal

from actors import Disk
from replication.limits import DAMAGED_FILES_MAX

_STAMP_BYTES = slice(68, 72)  # of SQLite's header: the application id


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def stamped(disk: Disk, path: Path, application_id: int) -> bool:
    """Whether an unreadable file still bears our stamp; only then may it be moved."""
    return disk.read(path)[_STAMP_BYTES] == application_id.to_bytes(4, "big")


def remove_companions(disk: Disk, path: Path) -> None:
    """Clear the place of a new file: a stale WAL would be replayed into it (rule 10)."""
    for suffix in ("-wal", "-journal", "-shm"):
        disk.unlink(beside(path, suffix))


def put_aside(disk: Disk, path: Path, why: Literal["damaged", "foreign"]) -> Path:
    """Rename a replica to `<name>.damaged-N` or `<name>.foreign-N`, its WAL with it, so that somebody may look at it.

    The database goes first: a crash in between leaves a WAL without a database, which the next open clears.
    """
    aside = path
    for number in range(1, DAMAGED_FILES_MAX + 1):
        aside = beside(path, f".{why}-{number}")
        if not disk.exists(aside):
            break
    remove_companions(disk, aside)
    disk.rename(path, aside)
    if disk.exists(beside(path, "-wal")):
        disk.rename(beside(path, "-wal"), beside(aside, "-wal"))
    disk.unlink(beside(path, "-shm"))
    return aside


def rehome_wal(disk: Disk, path: Path) -> None:
    """Give the WAL new pages after an I/O error: those that a failed sync marked clean may never reach the disk (rule 24)."""
    wal = beside(path, "-wal")
    if disk.exists(wal):
        copy = beside(path, "-wal-copy")
        disk.copy_synced(wal, copy)
        disk.rename(copy, wal)
        disk.sync_directory(path.parent)
