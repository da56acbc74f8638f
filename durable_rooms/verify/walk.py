"""Every room of the catalog against the replica, and the rooms of the replica that no catalog knows."""

import os
import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TypeVar

from durable_rooms.verify.files import MOVED_SECONDS, RETRY_SECONDS, FileMoved, Kept, Unreadable, has, held_still, owner, reading
from durable_rooms.verify.report import Difference, Level, Report, RoomEntry, RoomResult
from durable_rooms.verify.room import compare_room, leftovers

PATIENCE_SECONDS = 20.0  # in all, so that a thousand busy rooms do not take an hour
ROOM_PATIENCE_SECONDS = 1.0  # twenty windows of the replicator: a room that is still ahead then is not just between two batches

T = TypeVar("T")
Progress = Callable[[Report, int], None]
Examine = Callable[[RoomEntry, sqlite3.Connection], None]


class NotADataDirectory(Exception):
    """There is nothing here to compare; the message says what is missing."""


def verify(
    data: Path,
    replica: Path | None = None,
    *,
    level: Level = "content",
    sample: int | None = None,
    seed: int = 0,
    only: Collection[RoomEntry] | None = None,
    patience: float = PATIENCE_SECONDS,
    progress: Progress | None = None,
    examine: Examine | None = None,
) -> Report:
    """Compare all rooms of a data directory with the replica.

    Args:
      replica: its file, if it is not `replica.db` in the directory.
      level: how closely.
      sample: only so many rooms, drawn by chance from `seed`.
      only: these rooms, as an earlier report has them.
      patience: seconds in all for the replica to catch up with rooms, if a process runs on the directory.
      examine: called with each room's open file when it has been compared, for checks of one's own.
      progress: called after each room with the report so far and the number of rooms.

    Raises:
      NotADataDirectory: there is no catalog or no replica here.
      RuntimeError: the directory's runtime is in this very process.
    """
    replica = replica or data / "replica.db"
    require(data, replica)
    report = Report(data, level, running=owner(data))
    if report.running == os.getpid():
        # Two SQLite libraries in one process: when one closes a file, POSIX takes away the other's locks on it.
        raise RuntimeError(
            f"verify must not run in the process whose runtime owns {data}; run `durable-rooms verify {data}` beside it"
        )
    with closing(Kept(replica)) as copies:
        copied = settled(copies, rooms_of_replica)  # before the catalog: a new room is in the catalog first
        catalogued = settled(data / "catalog.db", rooms_of_catalog)
        report.rooms_in_all = len(catalogued)
        rooms = chosen(catalogued, sample, seed, only)
        left = patience if report.running else 0.0
        for room in rooms:
            began = time.monotonic()
            result = verify_room(data, copies, room, level, min(left, ROOM_PATIENCE_SECONDS), examine)
            left = max(0.0, left - (time.monotonic() - began)) if result.behind or result.differing else left
            report.add(room, result)
            if progress:
                progress(report, len(rooms))
        known = {(room.actor, room.id) for room in catalogued}
        for stranger in copied if only is None else ():
            if (stranger.actor, stranger.id) not in known:
                began = time.monotonic()
                verify_stranger(data, copies, stranger, report, min(left, ROOM_PATIENCE_SECONDS))
                left = max(0.0, left - (time.monotonic() - began))
    return report


def chosen(rooms: list[RoomEntry], sample: int | None, seed: int, only: Collection[RoomEntry] | None) -> list[RoomEntry]:
    if only is not None:
        names = {(room.actor, room.id) for room in only}
        rooms = [room for room in rooms if (room.actor, room.id) in names]
    if sample is None or sample >= len(rooms):
        return rooms
    return [rooms[place] for place in sorted(Random(seed).sample(range(len(rooms)), sample))]


def require(data: Path, replica: Path) -> None:
    if not data.is_dir():
        raise NotADataDirectory(f"{data} is not a directory.")
    if not (data / "catalog.db").is_file():
        raise NotADataDirectory(f"{data} is not a data directory of durable-rooms: it has no catalog.db.")
    if not replica.is_file():
        raise NotADataDirectory(f"{data} has no replica to compare with: {replica} is not there.")


def rooms_of_catalog(connection: sqlite3.Connection) -> list[RoomEntry]:
    rows = connection.execute("SELECT actor, id, file, proven, active, epoch, seq FROM rooms ORDER BY actor, id")
    return [
        RoomEntry(actor, id, file, bool(proven), None if active else (epoch, seq))
        for actor, id, file, proven, active, epoch, seq in rows
    ]


def rooms_of_replica(connection: sqlite3.Connection) -> list[RoomEntry]:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_rooms'").fetchone():
        return []  # a replica in its first moment
    return [RoomEntry(actor, id) for actor, id in connection.execute("SELECT actor, id FROM _rooms ORDER BY actor, id")]


def settled(file: Path | Kept, read: Callable[[sqlite3.Connection], T]) -> T:
    """Read one file, again if a runtime took it into use meanwhile.

    Raises:
      NotADataDirectory: it is not a file of ours, or cannot be read.
    """

    def once() -> T:
        with reading(file) if isinstance(file, Path) else file.reading() as connection:
            return read(connection)

    try:
        return held_still(once)
    except Unreadable as error:
        raise NotADataDirectory(f"{(file if isinstance(file, Path) else file.path).parent} cannot be read: {error}.") from error


def verify_room(
    data: Path, copies: Kept, room: RoomEntry, level: Level, patience: float, examine: Examine | None = None
) -> RoomResult:
    """Compare one room, at a moment when the replica has caught up with it if there is one within `patience` seconds."""
    path = data / "rooms" / room.file
    deadline = time.monotonic() + patience
    while True:
        now = time.monotonic()
        try:
            with copies.reading() as copy, reading(path) as source:
                result = compare_room(source, copy, room, even_if_behind=now >= deadline, level=level)
                if examine is not None:
                    examine(room, source)
        except FileMoved:
            result = (
                None
                if now < deadline + MOVED_SECONDS
                else trouble(room, "the room's file did not hold still for long enough to be read")
            )
        except Unreadable as error:
            # Without the mark it is an unfinished birth, and nobody was ever told about anything in it.
            result = trouble(room, f"the room cannot be compared: {error}") if room.proven else RoomResult()
        # A first sight beside a running process may be a copy of the whole room half-way; what is wrong stays wrong.
        if result is not None and (now >= deadline or not result.differing):
            return result
        time.sleep(RETRY_SECONDS)


def trouble(room: RoomEntry, what: str) -> RoomResult:
    result = RoomResult()
    result.add(Difference(str(room), note=what))
    return result


def verify_stranger(data: Path, copies: Kept, room: RoomEntry, report: Report, patience: float = 0.0) -> None:
    """A room that the catalog does not know may leave its name in the replica, but no rows. One that has just been deleted gets
    a moment to leave, beside a process that sees to it."""
    deadline = time.monotonic() + patience
    while rows := settled(copies, lambda connection: leftovers(connection, room)):
        if time.monotonic() >= deadline:
            break
        time.sleep(RETRY_SECONDS)
    what = (
        "a deleted room"
        if rows and settled(data / "catalog.db", lambda it: is_deleted(it, room))
        else "a room that does not exist"
    )
    result = RoomResult()
    for table, count in rows:
        result.add(Difference(str(room), table, note=f"the replica has {count} rows of {what}"))
    report.differing += result.differing
    report.differences += result.differences
    if result.differing:
        report.strangers.append(str(room))


def is_deleted(connection: sqlite3.Connection, room: RoomEntry) -> bool:
    if not has(connection, "tombstones"):
        return False  # a catalog of format 2
    return connection.execute("SELECT 1 FROM tombstones WHERE actor = ? AND id = ?", (room.actor, room.id)).fetchone() is not None
