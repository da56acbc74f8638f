"""Reading a room's schema: which tables are replicated, by what key, and what a replica must know of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import apsw

from actors.errors import StatementRefused
from actors.follower import Column, Index, Schema, Table
from actors.statements import fulltext as text
from actors.statements.sql import internal
from actors.statements.sqltext import index_body, quoted
from actors.statements.words import PREFIX
from actors.tables import annex

_INTERNAL_TABLES = frozenset({"_room", "_migrations", "_outbox", "_timeline", "_tables"}) | annex.TABLES.keys()
_RESERVED_COLUMNS = ("room_id", "_room")  # the replica's own names for the room


@dataclass(frozen=True, slots=True)
class RoomSchema:
    """What one text of `sqlite_schema` means; shared by all rooms that have the same text."""

    replicated: Schema
    has_foreign_keys: bool
    generated: frozenset[tuple[str, str]]  # (table, column): computed by SQLite, shipped as values
    fulltext: Mapping[str, text.Index]  # by table, of local ones, too
    annexes: frozenset[str] = frozenset()  # which of the runtime's optional tables are there

    def computes_more_than(self, before: "RoomSchema") -> bool:
        """Whether a table that was there has a new generated column: its old rows changed, and no trigger saw it."""
        there = {table.name for table in before.replicated.tables}
        return any(table in there for table, _ in self.generated - before.generated)


def read_schema(connection: apsw.Connection, local: frozenset[str]) -> RoomSchema:
    """The replicated tables of a room.

    Raises:
      StatementRefused: a table that cannot be replicated and is not declared local.
    """
    names = _user_tables(connection)
    indexes = text.installed(connection)
    tables = tuple(_read_table(connection, name) for name in names if name not in local)
    tables = tuple(replace(t, fulltext=indexes[t.name].columns) if t.name in indexes else t for t in tables)
    foreign = any(internal(connection, f"PRAGMA foreign_key_list({quoted(name)})") for name in names)
    generated = frozenset(_generated(connection, tables))
    return RoomSchema(Schema(tables, digest(tables)), foreign, generated, indexes, annex.there(connection))


def digest(tables: Sequence[Table], *, searched: bool = True) -> str:
    """Of replicated tables; without what can be searched in them if not `searched`."""
    described = repr(tuple(tables))
    found = [(table.name, table.fulltext) for table in tables if table.fulltext]
    if found and searched:
        described += repr(found)
    return blake2b(described.encode(), digest_size=16).hexdigest()


def _generated(connection: apsw.Connection, tables: tuple[Table, ...]) -> Iterator[tuple[str, str]]:
    for table in tables:
        for _, column, _, _, _, _, hidden in internal(connection, f"PRAGMA table_xinfo({quoted(table.name)})"):
            if hidden:
                yield table.name, column


def refuse_names(connection: apsw.Connection) -> None:
    """Raises StatementRefused for a table that was renamed to a name of the runtime's (the guard sees only the old name)."""
    for (name,) in internal(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_%' ESCAPE '\\'"):
        if name not in _INTERNAL_TABLES and not name.startswith(PREFIX):
            raise StatementRefused(f"table {name}: names that begin with _ are the runtime's own; choose another name")


def _user_tables(connection: apsw.Connection) -> list[str]:
    """Ordinary tables of the user. Virtual tables and their shadows have no triggers and stay in the room."""
    rows = internal(connection, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name")
    return [name for (name,) in rows if not name.startswith(("_", "sqlite_"))]


def _read_table(connection: apsw.Connection, name: str) -> Table:
    info = internal(connection, f"PRAGMA table_xinfo({quoted(name)})")
    collations = _collations(connection, name)
    columns: list[Column] = []
    keys: list[tuple[int, str, str, bool]] = []
    for _, column, type_, not_null, default, key, hidden in info:
        if column.lower() in _RESERVED_COLUMNS:
            raise StatementRefused(
                f"table {name}: {column} is the replica's own name for the room. Rename the column, "
                f"or declare the table local: local_tables = frozenset({{'{name}'}})"
            )
        columns.append(Column(column, type_, collations.get(column, "BINARY"), _constant(default) if not hidden else None))
        if key:
            keys.append((key, column, type_, bool(not_null)))
    keys.sort()
    _check_key(name, keys)
    return Table(name, tuple(columns), tuple(column for _, column, _, _ in keys), _read_indexes(connection, name))


def _check_key(name: str, keys: list[tuple[int, str, str, bool]]) -> None:
    remedy = f"or declare it local (it then never leaves the room): local_tables = frozenset({{'{name}'}})"
    if not keys:
        raise StatementRefused(f"table {name} has no primary key, so its rows cannot be replicated. Give it one, {remedy}")
    if len(keys) == 1 and keys[0][2].upper() == "INTEGER":
        return
    loose = [column for _, column, _, not_null in keys if not not_null]
    if loose:
        raise StatementRefused(
            f"table {name}: its key allows NULL in {', '.join(loose)}. Add NOT NULL, use INTEGER PRIMARY KEY, {remedy}"
        )


def _collations(connection: apsw.Connection, name: str) -> dict[str, str]:
    """Declared collations by column; SQLite tells them only through apsw's metadata call."""
    found: dict[str, str] = {}
    for (column,) in internal(connection, "SELECT name FROM pragma_table_xinfo(?)", (name,)):
        collation = connection.column_metadata("main", name, column)[1]
        if collation and collation.upper() != "BINARY":
            found[column] = collation.upper()
    return found


def _constant(default: str | None) -> str | None:
    """A default that every reader computes alike: a literal; CURRENT_TIMESTAMP and expressions are left to the room."""
    if default is None:
        return None
    text = default.strip()
    literal = text[:1] in "'\"+-.0123456789" or text[:2] in ("x'", "X'") or text.upper() in ("NULL", "TRUE", "FALSE")
    return text if literal else None


def _read_indexes(connection: apsw.Connection, name: str) -> tuple[Index, ...]:
    indexes: list[Index] = []
    for _, index, _, origin, _ in internal(connection, f"PRAGMA index_list({quoted(name)})"):
        if origin == "pk":
            continue
        (sql,) = internal(connection, "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (index,))[0]
        if sql is not None:
            indexes.append(Index(index, index_body(sql)))
            continue
        columns = [column for _, _, column in internal(connection, f"PRAGMA index_info({quoted(index)})")]
        indexes.append(Index(f"{name}_{'_'.join(columns)}_unique", f"({', '.join(map(quoted, columns))})"))
    return tuple(sorted(indexes, key=lambda index: index.name))
