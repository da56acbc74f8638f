"""What a recovered room is built by: the statements of its schema, the migrations it had run, which tables are local."""

from dataclasses import dataclass
from typing import Any

import apsw

from actors.errors import StatementRefused
from actors.statements.sql import internal
from actors.statements.sqltext import quoted
from actors.tables.interior import make_internal_tables
from actors.tables.schema import read_schema

ORDER = ("table", "index")  # views and triggers follow when the rows are there, or the triggers would run


@dataclass(frozen=True, slots=True)
class Thing:
    """A row of sqlite_schema."""

    type: str
    name: str
    table: str
    root: int
    sql: str | None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """`migrations`: rows of `_migrations`. `local`: None where it is not known. `source`: where all this was read, in words."""

    source: str
    things: tuple[Thing, ...]
    migrations: tuple[tuple[Any, ...], ...]
    local: frozenset[str] | None = None
    whole: bool = True

    @property
    def roots(self) -> dict[str, int]:
        return {thing.name: thing.root for thing in self.things if thing.type == "table" and thing.root}

    def texts(self) -> dict[str, str]:
        """What the user made, by name: enough to say whether two rooms have the same schema."""
        return {thing.name: thing.sql for thing in self.things if thing.sql and is_users(thing)}


def is_users(thing: Thing) -> bool:
    return not thing.name.startswith(("_", "sqlite_")) and not thing.table.startswith("_")


def raise_tables(connection: apsw.Connection, blueprint: Blueprint) -> list[str]:
    """Make the tables and indexes of a blueprint in an empty database; returns what could not be made, in words."""
    make_internal_tables(connection)
    return [trouble for type in ORDER for trouble in _make(connection, blueprint, type)]


def raise_rest(connection: apsw.Connection, blueprint: Blueprint) -> list[str]:
    """Views and triggers."""
    return [trouble for type in ("view", "trigger") for trouble in _make(connection, blueprint, type)]


def _make(connection: apsw.Connection, blueprint: Blueprint, type: str) -> list[str]:
    troubles: list[str] = []
    for thing in blueprint.things:
        if thing.type != type or not thing.sql or not is_users(thing):
            continue
        if internal(connection, "SELECT 1 FROM sqlite_schema WHERE name = ?", (thing.name,)):
            continue  # the shadow of a virtual table, which has made it
        try:
            internal(connection, thing.sql)
        except (apsw.Error, UnicodeError) as error:
            troubles.append(f"{type} {thing.name} could not be made: {error}")
    return troubles


def tables_of(connection: apsw.Connection) -> list[tuple[str, str]]:
    """The user's tables that hold rows, with their kind: table, or shadow (of a virtual one)."""
    rows = internal(connection, "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')")
    return sorted((name, type) for name, type in rows if not name.startswith(("_", "sqlite_")))


def local_tables(connection: apsw.Connection, known: frozenset[str] | None) -> frozenset[str]:
    """The tables that are not replicated; where nobody knows, those that cannot be. The runtime puts it right at its opening."""
    names = [name for name, type in tables_of(connection) if type == "table"]
    local = set(known or ()) & set(names)
    for name in names:
        try:
            read_schema(connection, frozenset(names) - {name})
        except StatementRefused:
            local.add(name)
    return frozenset(local)


def digest_of(blueprint: Blueprint) -> str | None:
    """Of its replicated tables, as a replica notes it; None if it cannot be built."""
    connection = apsw.Connection(":memory:")
    try:
        if raise_tables(connection, blueprint):
            return None
        return read_schema(connection, local_tables(connection, blueprint.local)).replicated.digest
    except (apsw.Error, StatementRefused):
        return None
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of one table are kept.

    Attributes:
      columns: those that can be written. defaults: one each, for rows that are older than their column.
      stored: for each value of a record its place in `columns`, None for one that SQLite computes.
      alias: the place of the column that is the rowid itself. key: the places of the primary key.
      rowid: a name by which the rowid can be written where no column is it; None in a table that has none.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    not_null: tuple[bool, ...]
    defaults: tuple[Any, ...]
    stored: tuple[int | None, ...]
    alias: int | None
    key: tuple[int, ...]
    rowid: str | None
    without_rowid: bool


def shape_of(connection: apsw.Connection, name: str) -> Shape:
    info = internal(connection, f"PRAGMA table_xinfo({quoted(name)})")
    (without_rowid,) = internal(connection, "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (name,))[0]
    indexes = internal(connection, f"PRAGMA index_list({quoted(name)})")
    pk_index = next((index for _, index, _, origin, _ in indexes if origin == "pk"), None)
    written = [row for row in info if row[6] == 0]
    columns = [row[1] for row in written]
    keys = sorted((row[5], row[1]) for row in info if row[5])
    alias = columns.index(keys[0][1]) if len(keys) == 1 and pk_index is None and not without_rowid else None
    order = [row[1] for row in info if row[6] in (0, 3)]  # 2: computed when it is read, and not stored
    if without_rowid:
        placed = [column for _, _, column, *_ in internal(connection, f"PRAGMA index_xinfo({quoted(pk_index or name)})")]
        order = [column for column in placed if column is not None]
    taken = {column.lower() for column in columns}
    free = next((rowid for rowid in ("rowid", "_rowid_", "oid") if rowid not in taken), None)
    return Shape(
        name=name,
        columns=tuple(columns),
        types=tuple(row[2].upper() for row in written),
        not_null=tuple(bool(row[3]) for row in written),
        defaults=tuple(_constant(connection, row[4]) for row in written),
        stored=tuple(columns.index(column) if column in columns else None for column in order),
        alias=alias,
        key=tuple(columns.index(column) for _, column in keys),
        rowid=None if without_rowid or alias is not None else free,
        without_rowid=bool(without_rowid),
    )


def _constant(connection: apsw.Connection, default: str | None) -> Any:
    if default is None:
        return None
    try:
        return internal(connection, f"SELECT {default}")[0][0]
    except apsw.Error:
        return None
