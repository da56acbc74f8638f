"""Change capture: key-only triggers that log into the room's outbox, in the room's own transaction.

An entry is (seq, table, key), 12 bytes or so; the row's state is joined when a follower collects. Triggers see foreign writers,
cascades and REPLACE (with recursive_triggers on) and survive schema changes. Plain INSERT only: an outer OR IGNORE overrides
the conflict clause of a trigger's own statement. The newest entry is never deleted, so that `seq` never restarts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw

from actors.follower import EpochStart, Position, Schema, Table, TableChanges
from actors.statements.sql import SQLValue, internal
from actors.statements.sqltext import quoted

OUTBOX_SCHEMA = (
    "CREATE TABLE _outbox (seq INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, pk)",
    "CREATE TABLE _timeline (epoch INTEGER PRIMARY KEY, start_seq INTEGER NOT NULL)",
    "CREATE TABLE _tables (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, replicated INTEGER NOT NULL)",
)
EPOCHS_KEPT = 8  # a replica older than eight unclean activations is resynced; the table stays one page

_INSTALLED = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '\\_capture\\_%' ESCAPE '\\'"
_MARKER = "INSERT INTO _outbox (tbl, pk) VALUES (0, NULL)"


def key_of(table: Table, row: str) -> str:
    """The expression that logs a key: the value itself, or a JSON array of several."""
    if len(table.key) == 1:
        return f"{row}.{quoted(table.key[0])}"
    return f"json_array({', '.join(f'{row}.{quoted(column)}' for column in table.key)})"


def _triggers(table: Table, id: int) -> dict[str, str]:
    """The capture triggers of a table, by name. `moved` logs the old key of an UPDATE that changes it."""
    name = quoted(table.name)
    log, old, new = f"INSERT INTO _outbox (tbl, pk) VALUES ({id}, ", key_of(table, "old"), key_of(table, "new")  # noqa: S608 - a number
    changed = " OR ".join(f"old.{quoted(column)} IS NOT new.{quoted(column)}" for column in table.key)
    prefix = f"_capture_{id}_"
    guard = ""
    if len(table.key) > 1:
        blob = " OR ".join(f"typeof(new.{quoted(column)}) = 'blob'" for column in table.key)
        guard = f"SELECT RAISE(ABORT, 'a key of several columns cannot hold a BLOB') WHERE {blob}; "
    return {
        f"{prefix}insert": f"CREATE TRIGGER {prefix}insert AFTER INSERT ON {name} BEGIN {guard}{log}{new}); END",
        f"{prefix}update": f"CREATE TRIGGER {prefix}update AFTER UPDATE ON {name} BEGIN {guard}{log}{new}); END",
        f"{prefix}moved": f"CREATE TRIGGER {prefix}moved AFTER UPDATE ON {name} WHEN {changed} BEGIN {log}{old}); END",
        f"{prefix}delete": f"CREATE TRIGGER {prefix}delete AFTER DELETE ON {name} BEGIN {log}{old}); END",
    }


def install(connection: apsw.Connection, schema: Schema) -> bool:
    """Make the capture triggers fit the schema, inside the open transaction; True if anything was changed.

    A new table's rows are logged as they stand. A table that was captured before and was dropped, renamed or rebuilt breaks the
    outbox's continuity, so that every follower resyncs the room (there is no log of what such a statement did).
    """
    known, fitting, stale = _compare(connection, schema)
    wanted = {table.name: table for table in schema.tables}
    if fitting == set(wanted) and fitting == set(known) and not stale:
        return False
    for trigger in stale:
        internal(connection, f"DROP TRIGGER {quoted(trigger)}")
    for name in known.keys() - fitting:
        internal(connection, "DELETE FROM _tables WHERE name = ?", (name,))
    for name in sorted(wanted.keys() - fitting):
        _capture_table(connection, wanted[name])
    if known.keys() - fitting:
        break_continuity(connection)
    return True


def fits(connection: apsw.Connection, schema: Schema) -> bool:
    """Whether `install` would have nothing to do."""
    known, fitting, stale = _compare(connection, schema)
    return not stale and fitting == set(known) == {table.name for table in schema.tables}


def _compare(connection: apsw.Connection, schema: Schema) -> tuple[dict[str, int], set[str], list[str]]:
    """The captured tables with their numbers, those whose triggers are right, and triggers that must go."""
    known = {name: id for id, name in captured(connection).items()}
    actual: dict[str, str] = dict(internal(connection, _INSTALLED))
    wanted = {table.name: table for table in schema.tables}
    fitting = {name for name, id in known.items() if name in wanted and _fits(wanted[name], id, actual)}
    stale = [trigger for trigger in actual if not any(trigger.startswith(f"_capture_{known[name]}_") for name in fitting)]
    return known, fitting, stale


def _fits(table: Table, id: int, actual: dict[str, str]) -> bool:
    return all(actual.get(name) == sql for name, sql in _triggers(table, id).items())


def _capture_table(connection: apsw.Connection, table: Table) -> None:
    internal(connection, "DELETE FROM _tables WHERE name = ?", (table.name,))
    # An id is never used twice while entries may carry it.
    in_tables, in_outbox = "(SELECT ifnull(max(id), 0) FROM _tables)", "(SELECT ifnull(max(tbl), 0) FROM _outbox)"
    insert = f"INSERT INTO _tables (id, name, replicated) VALUES (1 + max({in_tables}, {in_outbox}), ?, 1) RETURNING id"  # noqa: S608
    (id,) = internal(connection, insert, (table.name,))[0]
    for sql in _triggers(table, id).values():
        internal(connection, sql)
    name = quoted(table.name)
    internal(connection, f"INSERT INTO _outbox (tbl, pk) SELECT {id}, {key_of(table, name)} FROM {name}")  # noqa: S608 - quoted names


def break_continuity(connection: apsw.Connection) -> None:
    """Leave a hole in the outbox: every follower then finds a gap (rule 28) and resyncs the room."""
    internal(connection, "INSERT INTO _outbox (seq, tbl, pk) SELECT ifnull(max(seq), 0) + 2, 0, NULL FROM _outbox")
    internal(connection, "DELETE FROM _outbox WHERE seq < (SELECT max(seq) FROM _outbox)")


def last_seq(connection: apsw.Connection) -> int:
    """The room's seq: its newest outbox entry, 0 before the first."""
    return internal(connection, "SELECT ifnull(max(seq), 0) FROM _outbox")[0][0]


def mark(connection: apsw.Connection) -> None:
    """A turn that wrote but left no entry still moves `seq` (rule 33): else two states would share one position."""
    internal(connection, _MARKER)


def trim(connection: apsw.Connection, acknowledged: int) -> None:
    """Forget what the follower has committed; strictly below, so that the newest entry stays (rule 28).

    Where compaction forgot the entry at `acknowledged`, a marker takes its place: the lowest entry tells how far the outbox
    reaches back. Not below the lowest one: there is a hole that must be seen.
    """
    internal(
        connection,
        "INSERT INTO _outbox (seq, tbl, pk) SELECT ?1, 0, NULL WHERE (SELECT min(seq) FROM _outbox) < ?1"
        " AND (SELECT max(seq) FROM _outbox) > ?1 AND NOT EXISTS (SELECT 1 FROM _outbox WHERE seq = ?1)",
        (acknowledged,),
    )
    internal(connection, "DELETE FROM _outbox WHERE seq < ?", (acknowledged,))


def begin_epoch(connection: apsw.Connection, epoch: int, start_seq: int) -> None:
    internal(connection, "INSERT INTO _timeline (epoch, start_seq) VALUES (?, ?)", (epoch, start_seq))
    internal(connection, "DELETE FROM _timeline WHERE epoch <= ?", (epoch - EPOCHS_KEPT,))


def timeline(connection: apsw.Connection) -> tuple[EpochStart, ...]:
    return tuple(EpochStart(*row) for row in internal(connection, "SELECT epoch, start_seq FROM _timeline ORDER BY epoch"))


def bounds(connection: apsw.Connection) -> tuple[int | None, int]:
    """The lowest entry still in the outbox (None: it is empty), and the room's seq."""
    return internal(connection, "SELECT (SELECT min(seq) FROM _outbox), (SELECT ifnull(max(seq), 0) FROM _outbox)")[0]


def position(connection: apsw.Connection) -> Position:
    """Where the room stands, in the transaction that is open."""
    return Position(timeline(connection)[-1].epoch, last_seq(connection))


@dataclass(frozen=True, slots=True)
class Extraction:
    """How one captured table is read: its number in the outbox, and the statement, which is made once a schema."""

    id: int
    table: Table
    query: str
    key_at: int  # place of the key's first column in a result row; None there: the row is gone


def captured(connection: apsw.Connection) -> dict[int, str]:
    """The captured tables by the number that stands for them in the outbox."""
    return dict(internal(connection, "SELECT id, name FROM _tables WHERE replicated = 1"))


def extractions(connection: apsw.Connection, schema: Schema) -> dict[int, Extraction]:
    """How each captured table is read."""
    tables = {table.name: table for table in schema.tables}
    return {id: _extraction(id, tables[name]) for id, name in captured(connection).items() if name in tables}


def _extraction(id: int, table: Table) -> Extraction:
    columns = ", ".join(f"m.{quoted(column.name)}" for column in table.columns)
    if len(table.key) == 1:
        match = f"m.{quoted(table.key[0])} = o.pk"
    else:
        match = " AND ".join(f"m.{quoted(column)} = json_extract(o.pk, '$[{place}]')" for place, column in enumerate(table.key))
    query = (
        f"SELECT o.pk, {columns} FROM _outbox o LEFT JOIN {quoted(table.name)} m ON {match} "  # noqa: S608 - quoted names
        "WHERE o.seq > ? AND o.tbl = ? ORDER BY o.seq"
    )
    return Extraction(id, table, query, 1 + [column.name for column in table.columns].index(table.key[0]))


def extract(connection: apsw.Connection, ways: Mapping[int, Extraction], after: int) -> list[TableChanges]:
    """The current state of every row touched after `after`, folded by key.

    One join a table: 1 to 2 µs a row. The caller holds a transaction, so that it is one moment of the room.
    """
    touched = list(ways)
    if len(ways) > 1:
        touched = [id for (id,) in internal(connection, "SELECT DISTINCT tbl FROM _outbox WHERE seq > ?", (after,)) if id in ways]
    return [_extract_table(connection, ways[id], after) for id in touched]


def _extract_table(connection: apsw.Connection, way: Extraction, after: int) -> TableChanges:
    rows = internal(connection, way.query, (after, way.id))
    folded: dict[Any, tuple[Any, ...]] = {row[0]: row for row in rows}  # the join gives the state of now, so any one will do
    key_at = way.key_at
    changes = TableChanges(way.table, [row[1:] for row in folded.values() if row[key_at] is not None])
    if len(changes.upserts) != len(folded):
        changes.deletes = [_key_values(way.table, row[0]) for row in folded.values() if row[key_at] is None]
    return changes


def _key_values(table: Table, logged: SQLValue) -> tuple[SQLValue, ...]:
    if len(table.key) == 1:
        return (logged,)
    return tuple(json.loads(str(logged)))
