"""Making the catalog again from the room files: for a data directory whose catalog was lost.

After an unclean stop every room is counted as active, so that its next opening re-homes it before it is read. A file that
cannot be read keeps a row under its own name, marked sick, so that a call for its room finds the damage instead of making it
anew.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw

from actors.directory.catalog import Catalog, Entry, add
from actors.directory.quarantine import quarantined
from actors.follower import Position
from actors.names import DataDir, RoomName, room_file
from actors.statements.sql import internal
from actors.storage.rehome import wal_of
from actors.system.disk import Disk
from actors.tables.annex import WAKES, there

logger = logging.getLogger("durable_rooms.actors")

_FILES = ("", "-wal", "-shm", "-journal")  # of a database
_LOG_EVERY = 10_000  # rooms; 0.2 ms each

_POSITION = """SELECT r.actor, r.id, (SELECT ifnull(max(epoch), 1) FROM _timeline), (SELECT ifnull(max(seq), 0) FROM _outbox),
    (SELECT count(*) FROM _migrations), (SELECT ifnull(min(applied_at), 0.0) FROM _migrations) FROM _room r"""


def rebuild(disk: Disk, directory: DataDir, file_system_fd: int, *, was_clean: bool) -> None:
    """Write the catalog of a directory that has rooms and no catalog, or an empty file in its place. Blocks for 0.2 ms a room.

    Cut short, it leaves no catalog, and the next start begins again.
    """
    stands = disk.exists(directory.catalog) and disk.footprint(directory.catalog)[0]
    if stands or not any(disk.list(folder) for folder in directory.folders()):
        return
    logger.warning("%s is missing; it is made again from the room files", directory.catalog)
    made = directory.catalog.with_name("catalog.db.rebuilt")
    for suffix in _FILES:
        disk.unlink(made.with_name(made.name + suffix))
    catalog = Catalog.open(disk, made)
    try:
        with catalog.writing() as connection:
            add(connection, found(disk, directory, active=not was_clean))
        rooms = catalog.count()
        catalog.checkpoint()
    finally:
        catalog.close()
    if not was_clean and disk.has_syncfs:
        disk.sync_file_system(file_system_fd)  # births that no round has covered: their rows now call them proven
    for suffix in _FILES:
        disk.unlink(directory.catalog.with_name(directory.catalog.name + suffix))
    disk.sync_directory(directory.path)  # the lost catalog's WAL would replay into this one (rule 10)
    disk.rename(made, directory.catalog)
    disk.sync_directory(directory.path)
    logger.warning("%s holds %d rooms again", directory.catalog, rooms)


def found(disk: Disk, directory: DataDir, *, active: bool) -> Iterator[Entry]:
    """Every room that has a file: where it should be, or in quarantine."""
    count = 0
    seen: set[RoomName] = set()  # of 100,000 rooms: 20 MB, for the seconds that this takes
    for folder in directory.folders():
        for file in sorted(disk.list(folder)):
            if not file.endswith(".db"):
                continue
            entry = replace(read_entry(disk, folder / file, f"{folder.name}/{file}"), active=active)
            seen.add(entry.name)
            yield entry
            count += 1
            if count % _LOG_EVERY == 0:
                logger.warning("%d room files read", count)
    for name, reason, _ in quarantined(disk, directory):
        if name not in seen:
            seen.add(name)
            yield Entry(name, active=False, proven=True, position=Position(1, 0), sick=reason)


def read_entry(disk: Disk, path: Path, file: str) -> Entry:
    """What a room's file says of itself.

    Raises:
      OSError: it cannot be read now, which says nothing of the file: another program holds it, or no descriptor is left.
    """
    nameless = Entry(RoomName("", file), active=False, proven=True, position=Position(0, 0))
    if not disk.footprint(path)[0]:  # SQLite would delete the WAL that it finds beside it
        return replace(nameless, sick="the file is empty")
    wal_stays = disk.exists(wal_of(path))
    try:
        connection = disk.connect(path)
        try:
            rows = internal(connection, _POSITION)
            wake_at = _wake_at(connection)
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal_stays)  # the empty one that reading makes goes again
            connection.close(True)
    except (apsw.Error, UnicodeDecodeError) as error:
        busy = isinstance(error, apsw.BusyError | apsw.NoMemError)
        if busy or (isinstance(error, apsw.CantOpenError) and not disk.has_descriptors()):
            raise OSError(f"{path} cannot be read now: {error}") from error
        return replace(nameless, sick=f"{type(error).__name__}: {error}")
    if len(rows) != 1 or room_file(RoomName(*rows[0][:2])) != file:
        return replace(nameless, sick="it is not the room that its name stands for")
    actor, id, epoch, seq, version, created = rows[0]
    size, changed = disk.footprint(path)
    if disk.exists(wal_of(path)):
        size += disk.footprint(wal_of(path))[0]
    return Entry(
        RoomName(actor, id),
        active=True,
        proven=True,
        position=Position(epoch, seq),
        version=version,
        created=created,
        last_active=changed,
        bytes=size,
        wake_at=wake_at,
    )


def _wake_at(connection: apsw.Connection) -> float | None:
    """When the room must be in memory by itself, by its own tables."""
    times = [internal(connection, WAKES[table])[0][0] for table in WAKES.keys() & there(connection)]
    return min((at for at in times if at is not None), default=None)
