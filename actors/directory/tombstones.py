"""Tombstones: what the catalog keeps of a room that was deleted, so that nothing of it can come back.

A tombstone is durable before the first file is removed, and names the epoch beyond everything the room ever stood at: whoever
calls it later makes a *new incarnation*, which begins above that epoch, so that a replica, a bookmark or a batch of the old one
is never taken for one of the new. It goes when the new incarnation is proven, whose row then says the same; until then it stays,
for a replica that was away and learns of the deletion when it comes back: some 60 bytes of the catalog.

`rest` says what is left to be done with the files. A crash in between is finished by the next start, or by the next opening:

    remove   the room's files are to be removed; whatever lies in its place is never opened
    load     the file that was loaded lies beside the room's place and is to be put into it
    (empty)  nothing is left
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import apsw

from actors.names import RoomName
from actors.statements.sql import internal, internal_many

SCHEMA = (
    "CREATE TABLE tombstones (actor TEXT NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, at REAL NOT NULL, "
    "rest TEXT NOT NULL, PRIMARY KEY (actor, id)) WITHOUT ROWID"
)

Rest = Literal["", "remove", "load"]

_COLUMNS = "actor, id, epoch, at, rest"
_DELETED = "NOT EXISTS (SELECT 1 FROM rooms r WHERE r.actor = t.actor AND r.id = t.id)"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`epoch`: beyond all that the room ever had; its new incarnation begins above it. `at`: Unix seconds."""

    name: RoomName
    epoch: int
    at: float
    rest: Rest = ""


class Tombstones:
    """Those of one catalog. Changes wait in memory and are committed with its other ones, as a round begins."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._waiting: dict[RoomName, Tombstone | None] = {}  # None: it goes
        self.some = bool(internal(connection, "SELECT 1 FROM tombstones LIMIT 1"))  # there may be one; most directories have none
        left = internal(connection, f"SELECT {_COLUMNS} FROM tombstones WHERE rest <> '' ORDER BY actor, id")  # noqa: S608
        self.unfinished: dict[RoomName, Tombstone] = {stone.name: stone for stone in map(_stone, left)}

    @property
    def changed(self) -> bool:
        return bool(self._waiting)

    def get(self, name: RoomName) -> Tombstone | None:
        if name in self._waiting:
            return self._waiting[name]
        rows = internal(self._connection, f"SELECT {_COLUMNS} FROM tombstones WHERE actor = ? AND id = ?", name)  # noqa: S608
        return _stone(rows[0]) if rows else None

    def put(self, stone: Tombstone) -> None:
        """Change it with the next round."""
        self._waiting[stone.name] = stone
        self.some = True
        if stone.rest:
            self.unfinished[stone.name] = stone
        else:
            self.unfinished.pop(stone.name, None)

    def lift(self, name: RoomName) -> None:
        """Remove it with the next round: the room's own row says as much."""
        self._waiting[name] = None
        self.unfinished.pop(name, None)

    def page(self, actor: str, *, first: str, after: str, end: str, limit: int) -> list[Tombstone]:
        """Rooms of one class that are deleted, in the order of their ids; as of the last round."""
        query = (
            f"SELECT {_COLUMNS} FROM tombstones t WHERE actor = ? AND id > ? AND id >= ? AND id < ? AND {_DELETED} "  # noqa: S608
            "ORDER BY id LIMIT ?"
        )
        return [_stone(row) for row in internal(self._connection, query, (actor, after, first, end, limit))]

    # -- for the catalog ----------------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Inside its transaction."""
        stones = [(*one.name, one.epoch, one.at, one.rest) for one in self._waiting.values() if one is not None]
        lifted = [name for name, one in self._waiting.items() if one is None]
        internal_many(self._connection, f"INSERT OR REPLACE INTO tombstones ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", stones)  # noqa: S608
        internal_many(self._connection, "DELETE FROM tombstones WHERE actor = ? AND id = ?", lifted)

    def written(self) -> None:
        """The transaction was committed."""
        self._waiting.clear()


def all_tombstones(connection: apsw.Connection) -> Iterator[Tombstone]:
    """As committed, in the order of (actor, id)."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM tombstones ORDER BY actor, id")  # noqa: S608
    for row in rows:
        yield _stone(row)


def _stone(row: tuple[object, ...]) -> Tombstone:
    actor, id, epoch, at, rest = row
    return Tombstone(RoomName(actor, id), epoch, at, rest)  # pyright: ignore[reportArgumentType] - columns of ours
