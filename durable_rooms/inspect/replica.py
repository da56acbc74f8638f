"""How far the replica is, told by positions alone: the catalog's beside the replica's, two streams in one pass."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from durable_rooms.verify.files import columns, has, held_still, reading, wal_of

Key = tuple[bytes, bytes]
Position = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """A replica's file.

    Attributes:
      rooms: that it knows.
      behind: rooms at rest whose last changes it does not have yet. Of active rooms the catalog cannot tell.
      behind_changes: entries of their outboxes that it does not have, in these rooms.
      batch: number of the newest batch. batch_at: when it was applied (Unix seconds).
      unreadable: why nothing of this is known.
    """

    path: Path
    bytes: int = 0
    wal_bytes: int = 0
    format: int | None = None
    rooms: int = 0
    behind: int = 0
    behind_changes: int = 0
    batch: int = 0
    batch_at: float | None = None
    unreadable: str | None = None


def replica_state(data: Path, path: Path) -> ReplicaState:
    """Raises Unreadable, naming the replica or the catalog."""

    def read() -> ReplicaState:
        with reading(data / "catalog.db") as catalog, reading(path) as copy:  # a room moves on in the replica, never back
            return compared(catalog, copy, path)

    return held_still(read)


def compared(catalog: sqlite3.Connection, copy: sqlite3.Connection, path: Path) -> ReplicaState:
    format = copy.execute("PRAGMA user_version").fetchone()[0]
    rooms = behind = changes = 0
    there = positions_of_replica(copy)
    at, position = next(there, (None, None))
    for key, mine in positions_at_rest(catalog):
        while at is not None and at < key:
            rooms += 1
            at, position = next(there, (None, None))
        theirs = position if at == key else None
        if mine[1] > 0 and (theirs is None or theirs < mine):
            behind += 1
            changes += max(1, mine[1] - (theirs[1] if theirs is not None else 0))
    rooms += (at is not None) + sum(1 for _ in there)
    batch, batch_at = 0, None
    if has(copy, "_applied"):
        batch, batch_at = copy.execute("SELECT batch, at FROM _applied").fetchone() or (0, None)
    return ReplicaState(
        path=path,
        bytes=path.stat().st_size,
        wal_bytes=size_of(wal_of(path)),
        format=format,
        rooms=rooms,
        behind=behind,
        behind_changes=changes,
        batch=batch,
        batch_at=batch_at or None,
    )


def positions_at_rest(catalog: sqlite3.Connection) -> Iterator[tuple[Key, Position]]:
    well = "AND sick IS NULL" if "sick" in {name for name, _ in columns(catalog, "rooms")} else ""
    query = f"SELECT actor, id, epoch, seq FROM rooms WHERE NOT active {well} ORDER BY actor, id"  # noqa: S608 - constants
    for actor, id, epoch, seq in catalog.execute(query):
        yield key_of(actor, id), (epoch, seq)


def positions_of_replica(copy: sqlite3.Connection) -> Iterator[tuple[Key, Position]]:
    if not has(copy, "_rooms"):
        return  # a replica in its first moment
    for actor, id, epoch, seq in copy.execute("SELECT actor, id, epoch, seq FROM _rooms ORDER BY actor, id"):
        yield key_of(actor, id), (epoch, seq)


def key_of(actor: str, id: str) -> Key:
    """In SQLite's order, which is that of the bytes."""
    return actor.encode("utf-8", "surrogateescape"), id.encode("utf-8", "surrogateescape")


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
