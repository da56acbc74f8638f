"""Re-homing: making sure that what we are about to read would still be there after a power cut.

A killed process, or one whose sync failed, leaves writes in the page cache that no sync vouches for; shown to somebody, a later
power cut would take them away again. Copying the file, syncing the copy and renaming it over the old one makes them durable
(writing them again in place does not: a torn sector of the rewrite lost data in a third of simulated cuts).
"""

from pathlib import Path

from actors.system.disk import Disk


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def shm_of(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def rehome_wal(disk: Disk, path: Path) -> None:
    """Re-home the WAL of a closed database, if it has one, and sync its directory."""
    _replace_with_synced_copy(disk, wal_of(path))
    disk.sync_directory(path.parent)


def rehome_database(disk: Disk, path: Path) -> None:
    """Re-home database and WAL of a closed database, and sync its directory and the one above.

    For a file whose birth may not have finished: its database may never have been synced either (rule 9).
    """
    _replace_with_synced_copy(disk, path)
    _replace_with_synced_copy(disk, wal_of(path))
    disk.sync_directory(path.parent)
    disk.sync_directory(path.parent.parent)


def _replace_with_synced_copy(disk: Disk, path: Path) -> None:
    if not disk.exists(path):
        return
    copy = path.with_name(path.name + ".rehome")
    disk.copy_synced(path, copy)
    disk.rename(copy, path)


def delete_database(disk: Disk, path: Path) -> None:
    """Database first, then its directory's sync, then the WAL: the other order, cut short, leaves a database whose
    checkpoint was half done without the WAL that completes it. A WAL that was found is gone for good before a new file may
    take its place (rule 10)."""
    if disk.unlink(path):
        disk.sync_directory(path.parent)
    found = [disk.unlink(path.with_name(path.name + suffix)) for suffix in ("-wal", "-journal")]
    disk.unlink(path.with_name(path.name + "-shm"))
    if any(found):
        disk.sync_directory(path.parent)


def set_aside(disk: Disk, path: Path, litter: Path) -> Path:
    """Move the litter of an unfinished birth out of the way, database before WAL; returns its new place."""
    disk.make_directory(litter)
    number = 1
    while disk.exists(litter / f"{path.stem}.{number}.db"):
        number += 1
    target = litter / f"{path.stem}.{number}.db"
    disk.rename(path, target)
    disk.sync_directory(path.parent)
    if disk.exists(wal_of(path)):
        disk.rename(wal_of(path), wal_of(target))
    disk.unlink(path.with_name(path.name + "-shm"))
    return target
