"""Full text search in a room: for each table that the class declares, an FTS5 index in the room's own file.

The index holds words and rowids, the table the text (`content=`), so that a message is not stored twice; it is kept by triggers
in the room's own transaction. A trigger that removes a row's words must know exactly those that are in the index, so ours must
run before any trigger of the user's that writes to the table again: SQLite runs the newest one first, and an index whose triggers
are not the newest of their table is made anew (`installed` does not name it). A table that keeps its own copy of what it indexed
would not care, and neither would `contentless_delete`; the one stores each text twice, the other cannot be written by programs
with a SQLite from before 2023.

Words are cut by `unicode61`: letters and digits of any alphabet, without case. `remove_diacritics 2` also takes off the marks of
letters that bear two (Vietnamese ậ), which the default keeps for the sake of older indexes. Chinese and Japanese write no
spaces, so there a whole sentence is one word; that would want `trigram`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from actors.errors import StatementRefused
from actors.statements.sql import Rows, internal
from actors.statements.sqltext import quoted
from actors.statements.words import PREFIX, expression

MATCH_ROWS_MAX = 1_000  # rows of one answer: whole rows, of which a person looks at twenty
OPTIONS = "columnsize=0, tokenize='unicode61 remove_diacritics 2'"  # no sizes of columns: only a ranking would read them

ROWIDS = ("rowid", "_rowid_", "oid")  # what SQLite calls it, where no column is called so

Declared = Mapping[str, tuple[str, ...]]
"""By table, the columns to be searched."""

NOTHING: Declared = {}


def declared(actor: str, wanted: object) -> Declared:
    """What a class says in `fulltext`. Raises TypeError."""
    example = 'fulltext = {"messages": ["body"]}'
    if not isinstance(wanted, Mapping):
        raise TypeError(f"{actor}: fulltext is a mapping of tables to their columns: {example}")
    found: dict[str, tuple[str, ...]] = {}
    for table, columns in wanted.items():  # pyright: ignore[reportUnknownVariableType]: that is what is looked at
        if not isinstance(table, str) or isinstance(columns, str) or not isinstance(columns, Sequence):
            raise TypeError(f"{actor}: fulltext names a table and a list of its columns, not {table!r}: {columns!r}; {example}")
        names: tuple[Any, ...] = tuple(columns)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
            raise TypeError(
                f"{actor}: fulltext[{table!r}] is a list of one or more columns, each once, not {columns!r}; {example}"
            )
        found[table] = names
    return found


class NotIndexed(StatementRefused):
    """No search can be made in this table here: the class does not declare it, or the room was not opened since it does."""


@dataclass(frozen=True, slots=True)
class Index:
    """The index of one table of one room. `names`: the table's columns. `query`: its rows, newest first."""

    table: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    query: str

    def search(self, connection: apsw.Connection, words: str, limit: int) -> Rows:
        """Whole rows in which all words are, newest first: by the primary key, descending. Raises TooLarge, ValueError.

        Not by how well a row fits (bm25): that depends on all rows of an index, and a replica has other rooms' beside these.
        """
        wanted = asked(words, self.columns, limit)
        return Rows(self.names, internal(connection, self.query, (wanted, limit)) if wanted else [], 0)


def search(connection: apsw.Connection, indexes: Mapping[str, Index], room: str, table: str, words: str, limit: int) -> Rows:
    """What `self.sql.match` tells, in a room. Raises NotIndexed, and as `Index.search`."""
    index = indexes.get(table)
    if index is None:
        there = f"it has {', '.join(indexes)}" if indexes else "it has none"
        raise NotIndexed(
            f"{room}: match asked table {table!r:.100}, which has no full text index ({there}). Name it in the class: "
            'fulltext = {"messages": ["body"]}',
            room=room,
        )
    return index.search(connection, words, limit)


def asked(words: str, columns: Sequence[str], limit: int) -> str | None:
    """The expression of a search; None: no row fits. Raises TooLarge, ValueError."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MATCH_ROWS_MAX:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"limit is a number of rows from 1 to {MATCH_ROWS_MAX:,}, not {limit!r}")
    return expression(words, columns)


@dataclass(frozen=True, slots=True)
class _Content:
    """A table that can be searched. `order`: its rows by key, descending, of `m` and the index `f`."""

    table: str
    names: tuple[str, ...]
    rowid: str
    order: str


# -- the indexes of a file --------------------------------------------------------------------------------------------
def installed(connection: apsw.Connection) -> dict[str, Index]:
    """The indexes that are there and can be believed, by table. 20 µs in a room without any."""
    found: dict[str, Index] = {}
    named = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name GLOB '_fulltext_*' AND sql GLOB 'CREATE VIRTUAL*'"
    for name, sql in internal(connection, named):
        table = name.removeprefix(PREFIX)
        columns = tuple(column for (column,) in internal(connection, "SELECT name FROM pragma_table_info(?)", (name,)))
        try:
            content = _content(connection, table)
        except StatementRefused:
            continue
        if sql == create(name, table, content.rowid, columns) and _is_kept(connection, content, columns):
            found[table] = Index(table, columns, content.names, _query(content))
    return found


def _is_kept(connection: apsw.Connection, content: _Content, columns: tuple[str, ...]) -> bool:
    """Whether its triggers are there, and the newest but for those of capture, which write to no table of the user's."""
    query = (
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name NOT GLOB '_capture_*'"
        " ORDER BY rowid DESC LIMIT 3"
    )
    newest = {sql for (sql,) in internal(connection, query, (content.table,))}
    return newest == set(triggers(PREFIX + content.table, content.table, content.rowid, columns))


def fits(indexes: Mapping[str, Index], wanted: Declared) -> bool:
    """Whether `install` would have nothing to do."""
    return {table: index.columns for table, index in indexes.items()} == wanted


def install(connection: apsw.Connection, indexes: Mapping[str, Index], wanted: Declared) -> None:
    """Make the indexes of a file those that the class wants, inside the open transaction. Some 2 µs a row of a new one.

    Raises:
      StatementRefused: the table is missing, or cannot be searched.
    """
    keep = {table for table, index in indexes.items() if wanted.get(table) == index.columns}
    drop_all_but(connection, keep)
    for table, columns in wanted.items():
        if table not in keep:
            _make(connection, table, columns)


def drop_all_but(connection: apsw.Connection, keep: set[str]) -> None:
    """Also what is left of an index whose table is gone or has another name now."""
    kept = {PREFIX + table for table in keep}
    kept_triggers = {trigger for table in keep for trigger in trigger_names(PREFIX + table)}
    for (trigger,) in internal(connection, "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_fulltext_*'"):
        if trigger not in kept_triggers:
            internal(connection, f"DROP TRIGGER {quoted(trigger)}")
    named = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_fulltext_*' AND sql GLOB 'CREATE VIRTUAL*'"
    for (name,) in internal(connection, named):
        if name not in kept:
            internal(connection, f"DROP TABLE {quoted(name)}")


def _make(connection: apsw.Connection, table: str, columns: tuple[str, ...]) -> None:
    content = _content(connection, table)
    missing = [column for column in columns if column not in content.names]
    if missing:
        raise _refused(table, f"it has no column {', '.join(missing)} (it has {', '.join(content.names)}, spelled so)")
    name = quoted(PREFIX + table)
    try:
        internal(connection, create(PREFIX + table, table, content.rowid, columns))
        internal(connection, f"INSERT INTO {name} ({name}) VALUES ('rebuild')")  # noqa: S608 - a quoted name
        for trigger in triggers(PREFIX + table, table, content.rowid, columns):
            internal(connection, trigger)
    except apsw.SQLError as error:  # a column called `rank`, a table `notes_data` beside `notes`
        raise _refused(table, f"FTS5 refuses it: {error}") from error


def _refused(table: str, why: str) -> StatementRefused:
    return StatementRefused(f"fulltext names table {table}, and {why}. Change `fulltext`, or add a migration")


def _content(connection: apsw.Connection, table: str) -> _Content:
    """Raises StatementRefused: there is no such table, or FTS5 could not know its rows."""
    listed = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ? COLLATE BINARY"
    found = internal(connection, listed, (table,))
    if not found or table.startswith(("_", "sqlite_")):
        raise _refused(table, "the room has no such table")
    if found[0][0]:
        raise _refused(table, "a table WITHOUT ROWID cannot be searched: FTS5 knows rows by their rowid")
    info = internal(connection, f"PRAGMA table_xinfo({quoted(table)})")
    names = tuple(row[1] for row in info)
    rowid = free_rowid(names)
    if rowid is None:
        raise _refused(table, "its columns have all the names of the rowid, by which FTS5 knows rows")
    key = [name for _, name in sorted((row[5], row[1]) for row in info if row[5])]
    indexed = any(origin == "pk" for _, _, _, origin, _ in internal(connection, f"PRAGMA index_list({quoted(table)})"))
    # A key that is the rowid itself, as the index has it: SQLite then stops after `limit` rows instead of sorting all.
    order = ", ".join(f"m.{quoted(name)} DESC" for name in key) if indexed else "f.rowid DESC"
    return _Content(table, names, rowid, order)


def free_rowid(names: Sequence[str]) -> str | None:
    """A name of the rowid that no column takes away."""
    taken = {name.lower() for name in names}
    return next((rowid for rowid in ROWIDS if rowid not in taken), None)


def _query(content: _Content) -> str:
    columns = ", ".join(f"m.{quoted(name)}" for name in content.names)
    index, table = quoted(PREFIX + content.table), quoted(content.table)
    return (
        f"SELECT {columns} FROM {index} f CROSS JOIN {table} m ON m.{content.rowid} = f.rowid "  # noqa: S608 - quoted names
        f"WHERE f.{index} MATCH ? ORDER BY {content.order} LIMIT ?"
    )


# -- statements, also of the replica's indexes ------------------------------------------------------------------------
def create(name: str, table: str, rowid: str, columns: Sequence[str]) -> str:
    listed, content = ", ".join(map(quoted, columns)), table.replace("'", "''")
    return f"CREATE VIRTUAL TABLE {quoted(name)} USING fts5({listed}, content='{content}', content_rowid='{rowid}', {OPTIONS})"


def triggers(name: str, table: str, rowid: str, columns: Sequence[str]) -> list[str]:
    """They keep the index equal to the table. An update that leaves the text and the rowid leaves the index alone.

    Texts are compared byte by byte: in a column without a type 1 equals 1.0, and they are other words.
    """
    index, listed = quoted(name), ", ".join(map(quoted, columns))
    old, new = (", ".join(f"{row}.{quoted(column)}" for column in columns) for row in ("old", "new"))
    add = f"INSERT INTO {index} (rowid, {listed}) VALUES (new.{rowid}, {new});"  # noqa: S608 - quoted names
    remove = f"INSERT INTO {index} ({index}, rowid, {listed}) VALUES ('delete', old.{rowid}, {old});"  # noqa: S608
    texts = [f"CAST(old.{quoted(c)} AS TEXT) IS NOT CAST(new.{quoted(c)} AS TEXT) COLLATE BINARY" for c in columns]
    changed = " OR ".join([f"old.{rowid} IS NOT new.{rowid}", *texts])
    inserted, deleted, updated = (quoted(trigger) for trigger in trigger_names(name))
    on = f"ON {quoted(table)}"
    return [
        f"CREATE TRIGGER {inserted} AFTER INSERT {on} BEGIN {add} END",
        f"CREATE TRIGGER {deleted} AFTER DELETE {on} BEGIN {remove} END",
        f"CREATE TRIGGER {updated} AFTER UPDATE {on} WHEN {changed} BEGIN {remove} {add} END",
    ]


def trigger_names(name: str) -> list[str]:
    return [f"{name}_{event}" for event in ("insert", "delete", "update")]
