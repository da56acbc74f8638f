"""What the replica holds of one room."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.follower import Column, Position, Schema
from actors.names import RoomName
from actors.statements.sqltext import quoted
from durable_rooms.recovery.blueprint import Blueprint, Thing
from durable_rooms.verify.files import has, held_still, reading
from replication.shape import ROOM, listed, load_schema


@dataclass(frozen=True, slots=True)
class Copied:
    """The room's rows by table, in the order of the schema's columns, as they were at `position`."""

    position: Position
    settled: bool
    schema: Schema
    rows: dict[str, list[tuple[Any, ...]]]


def read_copied(replica: Path, name: RoomName) -> Copied | None:
    """None if the replica does not know the room, or not yet its tables.

    Raises:
      Unreadable: it is missing or damaged.
    """

    def read() -> Copied | None:
        with reading(replica) as connection:
            return _read(connection, name)

    return held_still(read)


def _read(connection: sqlite3.Connection, name: RoomName) -> Copied | None:
    if not has(connection, "_rooms"):
        return None
    query = "SELECT key, epoch, seq, schema, settled FROM _rooms WHERE actor = ? AND id = ?"
    room = connection.execute(query, tuple(name)).fetchone()
    if room is None:
        return None
    key, epoch, seq, digest, settled = room
    query = "SELECT content FROM _schemas WHERE actor = ? AND digest = ?"
    content = connection.execute(query, (name.actor, digest)).fetchone()
    if content is None:
        return None
    tables, bases = json.loads(content[0])
    schema = load_schema(digest, tables)
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for table in schema.tables:
        columns = listed([column.name for column in table.columns])
        query = f"SELECT {columns} FROM {quoted(bases[table.name])} WHERE {ROOM} = ?"  # noqa: S608 - quoted names
        rows[table.name] = [tuple(map(_text, row)) for row in connection.execute(query, (key,))]
    return Copied(Position(epoch, seq), bool(settled), schema, rows)


def _text(value: Any) -> Any:
    """Bytes that are no UTF-8 came as lone surrogates, which no room takes."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value


def as_blueprint(copied: Copied, migrations: tuple[tuple[Any, ...], ...]) -> Blueprint:
    """Tables as far as the replica knows them: no NOT NULL, CHECK, UNIQUE or foreign key, no trigger, no local table."""
    things: list[Thing] = []
    for table in copied.schema.tables:
        alias = table.key[0] if len(table.key) == 1 else None
        columns = [_declared(column, alias, table.key) for column in table.columns]
        if not any(column.endswith(" PRIMARY KEY") for column in columns):
            columns.append(f"PRIMARY KEY ({listed(table.key)})")
        things.append(Thing("table", table.name, table.name, 0, f"CREATE TABLE {quoted(table.name)} ({', '.join(columns)})"))
        things += [
            Thing("index", index.name, table.name, 0, f"CREATE INDEX {quoted(index.name)} ON {quoted(table.name)} {index.body}")
            for index in table.indexes
        ]
    return Blueprint("the replica", tuple(things), migrations, frozenset(), whole=False)


def _declared(column: Column, alias: str | None, key: tuple[str, ...]) -> str:
    if column.name == alias and column.type.upper() == "INTEGER":
        return f"{quoted(column.name)} INTEGER PRIMARY KEY"
    parts = [quoted(column.name), column.type and quoted(column.type), f"COLLATE {quoted(column.collation)}"]
    if column.name in key:
        parts.append("NOT NULL")
    if column.default is not None:
        parts.append(f"DEFAULT ({column.default})")
    return " ".join(part for part in parts if part)
