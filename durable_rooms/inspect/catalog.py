"""The rooms of a catalog, read from outside a page at a time: 100,000 rooms are never in memory together, and no page keeps
the catalog's WAL from being checkpointed. Pages are of different moments; each is of one.

Knows format 1, too, which had fewer columns: what it lacks is None.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from durable_rooms.inspect.place import require
from durable_rooms.verify.files import columns
from durable_rooms.verify.walk import settled

PAGE_ROOMS_MAX = 1_000  # 3 ms a page

OLD = ("actor", "id", "file", "active", "proven", "epoch", "seq")
NEW = ("version", "created", "last_active", "bytes", "sick")  # since format 2; 0 stands for "not known" in the first four
AFTER_EVERY_ID = "\U0010ffff" * 257  # longer than an id may be, of the last character there is


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomRow:
    """One room as the catalog has it; of a room in memory, as of its last first write, close or birth.

    Attributes:
      active: it may hold changes that a start after a crash must look for; normal for a room in memory.
      proven: its birth is durable.
      version: migrations it had run when it last left memory.
      bytes: database and WAL, when it last left memory.
      created, last_active: Unix seconds.
      sick: why its file is in quarantine.
    """

    actor: str
    id: str
    file: str
    active: bool
    proven: bool
    epoch: int
    seq: int
    version: int | None = None
    created: float | None = None
    last_active: float | None = None
    bytes: int | None = None
    sick: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rooms: of one class, with an id that begins so, behind an id, only sick ones, at most so many."""

    actor: str | None = None
    prefix: str = ""
    after: str = ""
    limit: int | None = None
    sick: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The rooms of one class.

    Attributes:
      behind: left memory with fewer migrations than the class has; they run when the room is called next.
      bytes: of the rooms that have left memory since their birth; None in a catalog of format 1.
    """

    actor: str
    rooms: int
    active: int
    sick: int
    unproven: int
    behind: int
    bytes: int | None


def rooms(data: Path, selection: Selection) -> Iterator[RoomRow]:
    """The rooms in the order of (class, id), both by bytes of UTF-8.

    Raises:
      NotADataDirectory: there is no catalog here, or it cannot be read.
    """
    catalog = require(data)
    left = selection.limit
    at: tuple[str, str] = (selection.actor, selection.after) if selection.actor is not None else ("", "")
    while left is None or left > 0:
        want = PAGE_ROOMS_MAX if left is None else min(left, PAGE_ROOMS_MAX)
        page = settled(catalog, lambda connection, at=at, want=want: page_of(connection, selection, at, want))
        yield from page
        if len(page) < want:
            return
        at = (page[-1].actor, page[-1].id)
        left = None if left is None else left - len(page)


def page_of(connection: sqlite3.Connection, selection: Selection, at: tuple[str, str], limit: int) -> list[RoomRow]:
    """The first rooms behind `at`."""
    have = {name for name, _ in columns(connection, "rooms")}
    if selection.sick and "sick" not in have:
        return []
    names = [*OLD, *(name for name in NEW if name in have)]
    conditions, values = ["(actor, id) > (?, ?)"], list[str | int](at)
    if selection.actor is not None:
        conditions.append("actor = ?")
        values.append(selection.actor)
    if selection.prefix:
        conditions.append("id >= ? AND id < ?")
        values += [selection.prefix, selection.prefix + AFTER_EVERY_ID]
    if selection.sick:
        conditions.append("sick IS NOT NULL")
    query = f"SELECT {', '.join(names)} FROM rooms WHERE {' AND '.join(conditions)} ORDER BY actor, id LIMIT ?"  # noqa: S608 - names of ours
    return [row_of(dict(zip(names, row, strict=True))) for row in connection.execute(query, (*values, limit))]


def row_of(row: dict[str, object]) -> RoomRow:
    for name in ("active", "proven"):
        row[name] = bool(row[name])
    for name in ("version", "created", "last_active", "bytes"):
        row[name] = row.get(name) or None
    return RoomRow(**row)  # pyright: ignore[reportArgumentType] - columns of the catalog, or SQLite would not have found them


def sums(data: Path) -> list[Sums]:
    """Class by class; 0.3 µs a room.

    Raises:
      NotADataDirectory: there is no catalog here, or it cannot be read.
    """
    return settled(require(data), sums_of)


def sums_of(connection: sqlite3.Connection) -> list[Sums]:
    """Of an open catalog."""
    have = {name for name, _ in columns(connection, "rooms")}
    new = {
        "sick": "total(r.sick IS NOT NULL)",
        "bytes": "total(r.bytes)",
        "version": "total(r.sick IS NULL AND r.version BETWEEN 1 AND c.version - 1)",
    }
    sick, size, behind = (new[name] if name in have else "NULL" for name in ("sick", "bytes", "version"))
    join = "LEFT JOIN classes c ON c.actor = r.actor" if "version" in have else ""
    query = (
        f"SELECT r.actor, count(*), total(r.active), total(NOT r.proven), {sick}, {behind}, {size} "  # noqa: S608 - constants
        f"FROM rooms r {join} GROUP BY r.actor ORDER BY r.actor"
    )
    return [
        Sums(
            actor=actor,
            rooms=count,
            active=int(active),
            sick=int(sick or 0),
            unproven=int(unproven),
            behind=int(behind or 0),
            bytes=None if size is None else int(size),
        )
        for actor, count, active, unproven, sick, behind, size in connection.execute(query)
    ]
