"""Building the recovered room's file, beside its place."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw

from actors.errors import StatementRefused
from actors.follower import Position
from actors.names import RoomName
from actors.statements.sql import internal, internal_many
from actors.statements.sqltext import quoted
from actors.tables import capture
from actors.tables.annex import TABLES
from actors.tables.interior import FORMAT, name_room
from actors.tables.schema import read_schema
from durable_rooms.recovery.blueprint import Blueprint, Shape, local_tables, raise_rest
from durable_rooms.recovery.report import NotRecovered
from durable_rooms.recovery.salvage import Row


def open_new(path: Path) -> apsw.Connection:
    """An empty database. Not safe against a power cut before `finish`: a recovery that was cut short begins anew."""
    connection = apsw.Connection(str(path))
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF", "foreign_keys = OFF", "recursive_triggers = ON"):
        internal(connection, f"PRAGMA {pragma}")
    return connection


def fill(connection: apsw.Connection, shape: Shape, rows: Iterable[Row], *, shadow: bool) -> list[str]:
    """Insert rows one by one; returns why the ones were refused that broke a rule of the table, in words.

    A virtual table has put the rows that it cannot do without into its shadows; the room's own replace them.
    """
    columns = [*([shape.rowid] if shape.rowid is not None else []), *map(quoted, shape.columns)]
    marks = ", ".join("?" * len(columns))
    verb = "INSERT OR REPLACE" if shadow else "INSERT"
    statement = f"{verb} INTO {quoted(shape.name)} ({', '.join(columns)}) VALUES ({marks})"
    internal(connection, "BEGIN")
    refused = 0
    why = ""
    for rowid, values in rows:
        try:
            internal(connection, statement, (rowid, *values) if shape.rowid is not None else values)
        except (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError) as error:
            refused, why = refused + 1, str(error)
    internal(connection, "COMMIT")
    if not refused:
        return []
    return [f"{refused:,} row{'s' * (refused != 1)} that the table does not allow (the last: {why})"]


def fill_sequences(connection: apsw.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """The last numbers given out by AUTOINCREMENT: never one below a row's."""
    if not internal(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"):
        return
    for row in rows:
        name, last = (row[0], row[1]) if len(row) == 2 else (None, None)
        if isinstance(name, str) and isinstance(last, int):
            internal(connection, "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name))


def rebuild_indexes_of_text(connection: apsw.Connection, blueprint: Blueprint) -> list[str]:
    """Full text indexes are made again from their contents, where they have any; returns which."""
    made: list[str] = []
    for thing in blueprint.things:
        text = (thing.sql or "").upper()
        if thing.type == "table" and text.startswith("CREATE VIRTUAL TABLE") and "FTS" in text:
            name = quoted(thing.name)
            with suppress(apsw.Error):  # without contents of its own: its shadow tables are all there is
                internal(connection, f"INSERT INTO {name} ({name}) VALUES ('rebuild')")  # noqa: S608 - a quoted name
                made.append(thing.name)
    return made


def finish(connection: apsw.Connection, blueprint: Blueprint, name: RoomName, position: Position, now: float) -> list[str]:
    """Make a filled database a room at this position; returns what could not be made, in words.

    One marker is all that its outbox holds, and its epoch is newer than any: every follower copies the room whole.

    Raises:
      NotRecovered: the finished file does not pass SQLite's own check.
    """
    troubles = raise_rest(connection, blueprint)
    name_room(connection, name, now)
    if any(internal(connection, "SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)) for table in TABLES):
        internal(connection, "UPDATE _room SET format = ?", (FORMAT,))
    internal(connection, "BEGIN IMMEDIATE")
    insert = "INSERT OR IGNORE INTO _migrations (version, name, applied_at, hash) VALUES (?, ?, ?, ?)"
    internal_many(connection, insert, blueprint.migrations)
    try:
        schema = read_schema(connection, local_tables(connection, blueprint.local))
        capture.install(connection, schema.replicated)
    except StatementRefused as error:
        troubles.append(str(error))
    internal(connection, "DELETE FROM _outbox")
    internal(connection, "INSERT INTO _outbox (seq, tbl, pk) VALUES (?, 0, NULL)", (position.seq,))
    internal(connection, "DELETE FROM _timeline")
    capture.begin_epoch(connection, position.epoch, 0)
    internal(connection, "COMMIT")
    broken = internal(connection, "PRAGMA foreign_key_check")
    if broken:
        tables = ", ".join(sorted({row[0] for row in broken}))
        troubles.append(f"{len(broken):,} rows of {tables} refer to rows that are missing")
    check = internal(connection, "PRAGMA integrity_check(3)")
    if check != [("ok",)]:
        raise NotRecovered(f"the file that was made does not pass SQLite's check: {check!r:.300}")
    if internal(connection, "PRAGMA journal_mode = WAL") != [("wal",)]:
        raise NotRecovered("SQLite does not use a WAL here; the file system may not support it")
    return troubles
