"""Loading a room from a file: a dump of the same class, whichever room it was made of, becomes this room.

    copied and checked ─▶ named, in an epoch of its own, synced beside its place ─▶ row and tombstone in a round ─▶ in place

The round decides: before it the room is as it was, after it the loaded one, whatever a crash leaves in its place (`deletion`
finishes). The copy's name carries its epoch, so that what is left of a load that was never decided is taken for no other one.
The new epoch is beyond those of whatever the room was before, and the copy's outbox has a hole: every follower copies it whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from actors.directory.catalog import Entry
from actors.errors import RoomsError, RoomUnfit
from actors.names import DataDir, RoomName
from actors.statements.sql import internal
from actors.storage.rehome import delete_database, wal_of
from actors.storage.storage import set_pragmas
from actors.system.disk import Disk
from actors.tables import capture
from actors.tables.annex import TELLS, TOLD, there
from actors.tables.interior import FORMAT
from actors.tables.migration import Migration, pending


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was copied and checked. `epoch`: its newest; `version`: migrations it has run."""

    aside: Path
    epoch: int
    version: int


def part_of(path: Path, number: int) -> Path:
    """Where the copy is made; no two loads of one process share one."""
    return path.with_name(f"{path.name}.part{number}.loading")


def aside_of(path: Path, buried: int) -> Path:
    """Where it waits for its place, durable, once the load may be decided. `buried`: the epoch of its tombstone."""
    return path.with_name(f"{path.name}.{buried}.loading")


def prepare(
    disk: Disk, directory: DataDir, source: Path, aside: Path, name: RoomName, migrations: Sequence[Migration] | None
) -> Loaded:
    """Copy a room's file, with its WAL if it has one, and check the copy. Blocks for as long as copying and checking take.

    `migrations`: those of the class, to refuse a newer schema and edited steps now and not at the next opening.

    Raises:
      FileNotFoundError, OSError: it cannot be read, or not be copied.
      RoomUnfit, SchemaTooNew, MigrationEdited: it is no sound room of this class. Nothing is left of the copy.
    """
    if source.resolve().is_relative_to(directory.rooms.resolve()):  # closing it here would drop the room's locks (rule 7)
        raise _unfit(source, name, "it is a room's own file; dump that room, and load the dump")
    clear(disk, aside)  # of a process that was killed
    try:
        disk.copy_synced(source, aside)
        if disk.exists(wal_of(source)) and disk.footprint(wal_of(source))[0]:
            disk.copy_synced(wal_of(source), wal_of(aside))
        return _checked(disk, source, aside, name, migrations)
    except BaseException:
        clear(disk, aside)
        raise


def clear(disk: Disk, aside: Path) -> None:
    delete_database(disk, aside)


def _checked(disk: Disk, source: Path, aside: Path, name: RoomName, migrations: Sequence[Migration] | None) -> Loaded:
    if disk.head(aside, 16) != b"SQLite format 3\0":
        raise _unfit(source, name, "it is not an SQLite database")
    try:
        connection = disk.connect(aside)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            check = internal(connection, "PRAGMA quick_check(1)")
            if check != [("ok",)]:
                raise _unfit(source, name, f"SQLite's check of it says {check!r:.200}")
            ((actor, id, format),) = internal(connection, "SELECT actor, id, format FROM _room")
            if actor != name.actor:
                raise _unfit(source, name, f"it is a room of class {actor}, {actor}/{id}")
            if format > FORMAT:
                raise _unfit(
                    source, name, f"its format {format} is newer than this version of durable-rooms, which knows {FORMAT}"
                )
            ((epoch,),) = internal(connection, "SELECT max(epoch) FROM _timeline")
            ((version,),) = internal(connection, "SELECT count(*) FROM _migrations")
            if migrations is not None:
                pending(connection, migrations, str(name))
        finally:
            connection.close(True)
    except (apsw.Error, ValueError, TypeError) as error:  # UnicodeDecodeError, no row in _room, no epoch
        raise _unfit(source, name, f"it is no room that can be read ({error})") from error
    return Loaded(aside, int(epoch), version)


def lay_ready(disk: Disk, loaded: Loaded, path: Path, name: RoomName, buried: int, now: float) -> Entry:
    """Give the copy its name and an epoch above `buried`, put it beside the room's place, durably; returns its row. Blocks for
    syncs. Raises OSError, apsw.Error: nothing was decided."""
    connection = disk.connect(loaded.aside)
    try:
        set_pragmas(connection, synchronous="FULL")
        internal(connection, "BEGIN IMMEDIATE")
        if internal(connection, "SELECT id FROM _room") != [(name.id,)]:
            _part(connection, buried + 1)
        internal(connection, "UPDATE _room SET actor = ?, id = ?", name)
        capture.break_continuity(connection)
        internal(connection, "DELETE FROM _timeline")
        capture.begin_epoch(connection, buried + 1, capture.last_seq(connection))
        internal(connection, "COMMIT")
        position = capture.position(connection)
        ((version, created),) = internal(connection, "SELECT count(*), ifnull(min(applied_at), ?) FROM _migrations", (now,))
        internal(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close(True)
    fd = disk.open(loaded.aside)  # no connection of ours has it open any more (rule 7)
    try:
        disk.sync_data(fd)
    finally:
        disk.close(fd)
    aside = aside_of(path, buried)
    for suffix in ("-wal", "-journal"):
        disk.unlink(aside.with_name(aside.name + suffix))
    disk.rename(loaded.aside, aside)
    disk.sync_directory(path.parent)
    size, _ = disk.footprint(aside)
    # Nobody has looked what it has to do by itself, nor when: it is opened once for that.
    return Entry(name, False, True, position, version=version, created=created, last_active=now, bytes=size, wake_at=now)


def _part(connection: apsw.Connection, epoch: int) -> None:
    """It was another room. What that one had heard of others this one has not, and what it has still to tell is this one's now:
    under the old numbers either would be taken for a repeat, and lost without a word."""
    tables = there(connection)
    if TOLD in tables:
        internal(connection, "DELETE FROM _told")
    if TELLS in tables:
        internal(connection, "UPDATE _tells SET epoch = ?", (epoch,))


def put_in_place(disk: Disk, path: Path, buried: int) -> None:
    """After the round that decided: the old files go, the copy takes their place. Also when it was cut short before."""
    aside = aside_of(path, buried)
    if disk.exists(aside):  # else it is in its place already
        delete_database(disk, path)
        disk.rename(aside, path)
    disk.sync_directory(path.parent)


def _unfit(source: Path, name: RoomName, reason: str) -> RoomsError:
    return RoomUnfit(
        f"{source} cannot be loaded as {name}: {reason}. Nothing was written, and {name} is as it was.", room=str(name)
    )
