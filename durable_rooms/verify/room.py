"""One room against the replica: positions first, then every replicated table, streamed in the order of its key.

A room that is ahead is compared all the same, except for the rows that its outbox still has to deliver: its outbox says which.
"""

import json
import sqlite3
from typing import NamedTuple

from durable_rooms.verify.compare import Pair, Row, SQLValue, unequal
from durable_rooms.verify.files import columns, has, quoted
from durable_rooms.verify.report import Difference, Level, RoomEntry, RoomResult

Position = tuple[int, int]
"""Epoch and seq."""


class Table(NamedTuple):
    """A replicated table as the room has it."""

    number: int  # in the outbox
    name: str
    columns: list[str]
    key: list[str]


def compare_room(
    source: sqlite3.Connection, copy: sqlite3.Connection, room: RoomEntry, *, even_if_behind: bool, level: Level = "content"
) -> RoomResult | None:
    """Compare one room with its rows in the replica; the replica's snapshot is the older one.

    Returns:
      None if the room is ahead and `even_if_behind` is not set: look again.
    """
    result = RoomResult()
    views = views_of(copy, room.actor)
    here, there = room_position(source), replica_position(copy, room)
    at = there[1] if there is not None else None
    result.behind = max(0, here[1] - (at or 0))
    if result.behind and not even_if_behind:
        return None
    if result.behind and at is None:
        result.unknown = True
        return result  # nothing was delivered, so there is nothing to compare
    at = at or 0
    compare_positions(here, there, room, result)
    if level == "positions" or (level == "counts" and result.behind):
        return result  # rows on their way cannot be told from rows that are missing without looking at them
    if result.behind and gap(source, at):
        return result  # the outbox cannot say what is on its way: the replicator will copy the whole room
    for table in replicated_tables(source):
        view = views.pop(table.name, None)
        if level == "counts":
            compare_counts(source, copy, room, table, view, result)
        else:
            compare_table(source, copy, room, table, view, at, result)
    for name, view in views.items():  # tables that other rooms of the class have, or that this one had
        rows = count(copy, view, room.id)
        if rows and not result.behind:
            result.add(Difference(str(room), name, note=f"the replica has {rows} rows of a table that the room does not have"))
    return result


def compare_positions(here: Position, there: Position | None, room: RoomEntry, result: RoomResult) -> None:
    """The replica never knows more of a room than the room, nor the catalog of one at rest."""
    if there is not None and there > here:
        result.ahead = True
        result.add(Difference(str(room), note=f"the replica stands at {there} (epoch, seq), ahead of the room at {here}"))
    elif room.position is not None and room.position > here:
        result.add(
            Difference(str(room), note=f"the catalog has it at {room.position} (epoch, seq), the room's file is older: {here}")
        )


def compare_counts(
    source: sqlite3.Connection, copy: sqlite3.Connection, room: RoomEntry, table: Table, view: str | None, result: RoomResult
) -> None:
    ours = source.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()[0]  # noqa: S608
    its = count(copy, view, room.id) if view else 0
    result.rows += ours
    if ours != its:
        result.add(Difference(str(room), table.name, note=f"the room has {ours:,} rows, the replica {its:,}"))


def compare_table(
    source: sqlite3.Connection,
    copy: sqlite3.Connection,
    room: RoomEntry,
    table: Table,
    view: str | None,
    at: int,
    result: RoomResult,
) -> None:
    have = [name.lower() for name, _ in columns(copy, view)] if view else []
    if missing := [name for name in table.columns if name.lower() not in have]:
        if not result.behind:
            what = f"the columns {', '.join(missing)}" if have else "this table"
            result.add(Difference(str(room), table.name, note=f"the replica does not have {what}"))
        return
    names = ", ".join(map(quoted, table.columns))
    order = ", ".join(f"{quoted(name)} COLLATE BINARY" for name in table.key)
    left = source.execute(f"SELECT {names} FROM {quoted(table.name)} ORDER BY {order}")  # noqa: S608
    right = copy.execute(f"SELECT {names} FROM {quoted(view or '')} WHERE room_id = ? ORDER BY {order}", (room.id,))  # noqa: S608
    key_at = [table.columns.index(name) for name in table.key]
    waiting = undelivered(source, table, at) if result.behind else set[Row]()

    def seen() -> None:
        result.rows += 1

    for pair in unequal(left, right, lambda row: tuple(row[i] for i in key_at), seen):
        if pair.key not in waiting:
            result.add(difference(room, table, pair))


# -- the room's side ------------------------------------------------------------------------------------------------
def room_position(source: sqlite3.Connection) -> Position:
    if not has(source, "_outbox"):
        return 0, 0  # a room in its first moment
    epoch = source.execute("SELECT ifnull(max(epoch), 1) FROM _timeline").fetchone()[0] if has(source, "_timeline") else 1
    return epoch, source.execute("SELECT ifnull(max(seq), 0) FROM _outbox").fetchone()[0]


def replicated_tables(source: sqlite3.Connection) -> list[Table]:
    if not has(source, "_tables"):
        return []
    tables: list[Table] = []
    for number, name in source.execute("SELECT id, name FROM _tables WHERE replicated = 1 ORDER BY name").fetchall():
        found = columns(source, name)
        key = [column for _, column in sorted((place, column) for column, place in found if place)]
        tables.append(Table(number, name, [column for column, _ in found], key))
    return tables


def gap(source: sqlite3.Connection, at: int) -> bool:
    """Is anything after position `at` no longer in the outbox? It reaches back to its lowest entry; holes above that are
    entries which newer ones superseded."""
    lowest, last = source.execute("SELECT min(seq), ifnull(max(seq), 0) FROM _outbox").fetchone()
    return last > at and lowest > at + 1


def undelivered(source: sqlite3.Connection, table: Table, at: int) -> set[Row]:
    """The keys of a table that changed after position `at`."""
    logged = source.execute("SELECT DISTINCT pk FROM _outbox WHERE seq > ? AND tbl = ?", (at, table.number))
    if len(table.key) == 1:
        return set(logged)
    return {tuple(json.loads(key)) for (key,) in logged}


# -- the replica's side ---------------------------------------------------------------------------------------------
def replica_position(copy: sqlite3.Connection, room: RoomEntry) -> Position | None:
    if not has(copy, "_rooms"):
        return None
    return copy.execute("SELECT epoch, seq FROM _rooms WHERE actor = ? AND id = ?", (room.actor, room.id)).fetchone()


def views_of(copy: sqlite3.Connection, actor: str) -> dict[str, str]:
    """The view of each table of a class."""
    if not has(copy, "_tables"):
        return {}
    return dict(copy.execute("SELECT tbl, view FROM _tables WHERE actor = ? ORDER BY tbl", (actor,)).fetchall())


def count(copy: sqlite3.Connection, view: str, room_id: str) -> int:
    return copy.execute(f"SELECT count(*) FROM {quoted(view)} WHERE room_id = ?", (room_id,)).fetchone()[0]  # noqa: S608


def leftovers(copy: sqlite3.Connection, room: RoomEntry) -> list[tuple[str, int]]:
    """Tables in which the replica holds rows of this room, with how many."""
    counts = [(table, count(copy, view, room.id)) for table, view in views_of(copy, room.actor).items()]
    return [(table, rows) for table, rows in counts if rows]


# -- what is told ---------------------------------------------------------------------------------------------------
def difference(room: RoomEntry, table: Table, pair: Pair) -> Difference:
    def row(values: Row | None) -> dict[str, SQLValue] | None:
        return None if values is None else dict(zip(table.columns, values, strict=True))

    key = dict(zip(table.key, pair.key, strict=True))
    return Difference(str(room), table.name, key, row(pair.left), row(pair.right))
