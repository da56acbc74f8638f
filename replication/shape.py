"""What tables look like to the replica: names, columns, statements, and what one schema has lost against another. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors import Column, Index, Schema, Table

ROOM = "_room"  # the room's key, in front of every replicated row; rooms refuse it as a column of their own

# FTS5 writes out what it gathered after every statement that changes a table: 20 µs a row where each has one of its own, 7.6 µs
# where 256 share one, 2.4 µs without full text. There a statement for each row is as fast.
BULK_ROWS = (256, 32, 4)
VARIABLES_MAX = 32_766  # of one statement, as SQLite is built

_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def fold(name: str) -> str:
    """The form in which SQLite compares identifiers: ASCII letters only, so `str.lower` would fold too much."""
    return name.translate(_LOWER)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def listed(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(prefix + quoted(name) for name in names)


def kind(column: Column) -> tuple[str, str]:
    """What must agree for two versions of a column to share one column of the replica."""
    return fold(column.type), fold(column.collation)


def declaration(column: Column, default: str | None) -> str:
    """A column of the replica: the user's type, collation and constant default; no constraint of the user.

    The type is quoted: SQLite reports it without its quotes, and `"INTEGER PRIMARY KEY"` is a legal type. ANY keeps values as
    they are in a STRICT table but would turn text into numbers here, so it becomes no type.
    """
    parts = [quoted(column.name)]
    if column.type and fold(column.type) != "any":
        parts.append(quoted(column.type))
    if fold(column.collation) != "binary":
        parts.append(f"COLLATE {quoted(column.collation)}")
    if default is not None and default != "NULL":
        parts.append(f"DEFAULT ({default})" if default[:1] == "(" else f"DEFAULT {default}")
    return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the rows of one table of one schema go, and the statements that put them there."""

    table: str
    base: str
    upsert: str  # values: room key, then the columns in the order of the schema
    delete: str  # values: room key, then the key
    copy: str  # from the attached file of a room; value: room key
    bulk: dict[int, str]  # by number of rows, the largest first: the upsert of so many; none where it would win nothing


def placement(table: Table, base: str) -> Placement:
    """The statements of a table. An UPSERT sets the key's columns, too: under NOCASE `a` may have become `A`."""
    names = [column.name for column in table.columns]
    into = f"INSERT INTO {quoted(base)} ({listed([ROOM, *names])})"
    marks = ", ".join("?" * (len(names) + 1))
    sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names)
    matches = " AND ".join(f"{quoted(name)} = ?" for name in table.key)

    def upsert(rows: int) -> str:
        listed_rows = ", ".join([f"({marks})"] * rows)
        return f"{into} VALUES {listed_rows} ON CONFLICT ({listed([ROOM, *table.key])}) DO UPDATE SET {sets}"

    return Placement(
        table=table.name,
        base=base,
        upsert=upsert(1),
        delete=f"DELETE FROM {quoted(base)} WHERE {quoted(ROOM)} = ? AND {matches}",  # noqa: S608 (quoted)
        copy=f"{into} SELECT ?, {listed(names)} FROM room.{quoted(table.name)}",  # noqa: S608 (quoted)
        bulk={rows: upsert(rows) for rows in BULK_ROWS if table.fulltext and rows * (len(names) + 1) <= VARIABLES_MAX},
    )


def carried_index(name: str, base: str, body: str) -> str:
    """A user's index with the room in front; never UNIQUE: what is unique in a room is the room's business."""
    return f"CREATE INDEX {quoted(name)} ON {quoted(base)} ({quoted(ROOM)}, {body.split('(', 1)[1]}"


def lost(old: Schema, new: Schema) -> str | None:
    """The first thing that rows of `old` had and `new` has not, in words; None if everything was only added to."""
    tables = {fold(table.name): table for table in new.tables}
    for before in old.tables:
        after = tables.get(fold(before.name))
        if after is None:
            return f"table {before.name} is gone"
        if [fold(name) for name in before.key] != [fold(name) for name in after.key]:
            return f"the key of {before.name} changed"
        columns = {fold(column.name): column for column in after.columns}
        for column in before.columns:
            now = columns.get(fold(column.name))
            if now is None:
                return f"column {before.name}.{column.name} is gone"
            if kind(now) != kind(column):
                return f"column {before.name}.{column.name} changed its type or collation"
    return None


def gained(before: Table, after: Table) -> list[Column]:
    """The columns that `after` has and `before` has not."""
    known = {fold(column.name) for column in before.columns}
    return [column for column in after.columns if fold(column.name) not in known]


def registered(content: str) -> tuple[list[str], dict[str, str]]:
    """A base table as the registry has it: its key, and its columns by folded name."""
    key, columns, _ = json.loads(content)
    return key, {fold(column[0]): column[0] for column, _ in columns}


def united(variants: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The columns of all variants of a table, by folded name, in the order in which they came."""
    names: dict[str, str] = {}
    for columns in variants:
        for folded, name in columns.items():
            names.setdefault(folded, name)
    return names


def dump_schema(schema: Schema) -> list[Any]:
    return [
        [
            table.name,
            [[column.name, column.type, column.collation, column.default] for column in table.columns],
            list(table.key),
            [[index.name, index.body] for index in table.indexes],
            *([list(table.fulltext)] if table.fulltext else []),
        ]
        for table in schema.tables
    ]


def load_schema(digest: str, content: list[Any]) -> Schema:
    tables = tuple(
        Table(
            name,
            tuple(Column(*column) for column in columns),
            tuple(key),
            tuple(Index(*index) for index in indexes),
            *map(tuple, fulltext),
        )
        for name, columns, key, indexes, *fulltext in content
    )
    return Schema(tables, digest)


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
