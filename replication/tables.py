"""The replica's tables: one base table per table of an actor class, with the room in front, following the rooms' schemas.

Rooms migrate one by one, so the replica holds the union of the columns of all versions. A version whose key, or whose type of
a column, does not fit an existing base table gets a base table of its own (a variant); the view shows all variants of a table
together. A room's rows are in one variant at a time: which one is decided when a schema is first seen, and kept.

Everything here runs in a worker thread inside the replica's transaction; after a rollback, call `reload`.
"""

import json
import logging
from dataclasses import dataclass
from typing import Any

import apsw

from actors import Column, Schema, SQLValue, Table
from replication import fulltext
from replication.shape import (
    ROOM,
    Placement,
    carried_index,
    declaration,
    dump_schema,
    fold,
    gained,
    kind,
    load_schema,
    lost,
    placement,
    quoted,
    to_json,
    united,
)
from replication.statement import literal, run

logger = logging.getLogger("durable_rooms.replication")

TABLES_SCHEMA = (
    "CREATE TABLE _tables (base TEXT PRIMARY KEY, actor TEXT NOT NULL, tbl TEXT NOT NULL, view TEXT NOT NULL,"
    " content TEXT NOT NULL)",
    "CREATE TABLE _schemas (actor TEXT NOT NULL, digest TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (actor, digest))",
)


@dataclass(slots=True)
class Base:
    """A base table. `columns`, by folded name: the column, and its default as a literal (None: not known as a constant)."""

    name: str
    actor: str
    table: str
    view: str
    key: list[str]
    columns: dict[str, tuple[Column, str | None]]
    indexes: dict[str, str]  # body → name in the replica


@dataclass(slots=True)
class Known:
    """A schema that some room has or had, and the base table of each of its tables."""

    schema: Schema
    bases: dict[str, str]


class Tables:
    """The tables of one open replica."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._bases: dict[str, Base] = {}
        self._known: dict[tuple[str, str], Known] = {}
        self._placements: dict[tuple[str, str], dict[str, Placement]] = {}
        self.reload()

    def reload(self) -> None:
        """Forget what a rolled back transaction may have added, and read what the file holds."""
        self._known.clear()
        self._placements.clear()
        self._bases = {}
        for base, actor, table, view, content in self._rows("SELECT base, actor, tbl, view, content FROM _tables ORDER BY rowid"):
            key, columns, indexes = json.loads(content)
            by_name = {fold(column[0]): (Column(*column), default) for column, default in columns}
            self._bases[base] = Base(base, actor, table, view, key, by_name, indexes)

    def intact(self) -> bool:
        """Whether every table we registered is still there."""
        there = {name for (name,) in self._rows("SELECT name FROM sqlite_schema")}
        return all(
            base.name in there and base.view in there and fulltext.intact(base.name, there) for base in self._bases.values()
        )

    def bases(self, actor: str) -> list[str]:
        """Every base table that may hold rows of a room of this class."""
        return [base.name for base in self._bases.values() if base.actor == actor]

    def placements(self, actor: str, schema: Schema) -> dict[str, Placement]:
        """Where the tables of a schema are, by table name. Makes and widens tables when the schema is new."""
        placed = self._placements.get((actor, schema.digest))
        if placed is None:
            known = self._find(actor, schema.digest) or self._learn(actor, schema)
            placed = {table.name: placement(table, known.bases[table.name]) for table in schema.tables}
            self._placements[actor, schema.digest] = placed
        return placed

    def obstacle(self, actor: str, old_digest: str, schema: Schema) -> str | None:
        """Why a room that changed its schema must be resynced; None if what its outbox says is enough.

        An added column fills existing rows with its default and leaves no outbox entry: the replica's rows have the right value
        only if the replica's column has the same default.
        """
        old = self._find(actor, old_digest)
        if old is None:
            return "its former schema is not known"
        if (reason := lost(old.schema, schema)) is not None:
            return reason
        placed = self.placements(actor, schema)
        before = {fold(table.name): table for table in old.schema.tables}
        for table in schema.tables:
            former = before.get(fold(table.name))
            if former is None:
                continue
            base = placed[table.name].base
            if old.bases[former.name] != base:
                return f"table {table.name} lives in {base} now"
            for column in gained(former, table):
                default = self._literal(column)
                if default is None or self._bases[base].columns[fold(column.name)][1] != default:
                    return f"column {table.name}.{column.name} has another default in the replica"
        return None

    # -- schemas ----------------------------------------------------------------------------------------------------
    def _find(self, actor: str, digest: str) -> Known | None:
        known = self._known.get((actor, digest))
        if known is None:
            for (content,) in self._rows("SELECT content FROM _schemas WHERE actor = ? AND digest = ?", (actor, digest)):
                tables, bases = json.loads(content)
                known = self._known[actor, digest] = Known(load_schema(digest, tables), bases)
        return known

    def _learn(self, actor: str, schema: Schema) -> Known:
        bases = {table.name: self._place(actor, table).name for table in schema.tables}
        known = self._known[actor, schema.digest] = Known(schema, bases)
        content = to_json([dump_schema(schema), bases])
        self._rows("INSERT INTO _schemas (actor, digest, content) VALUES (?, ?, ?)", (actor, schema.digest, content))
        return known

    # -- base tables ------------------------------------------------------------------------------------------------
    def _place(self, actor: str, table: Table) -> Base:
        """The newest variant that fits, widened; else a new one."""
        variants = [base for base in self._bases.values() if base.actor == actor and fold(base.table) == fold(table.name)]
        base = next((base for base in reversed(variants) if _fits(base, table)), None)
        if base is None:
            base = self._create(actor, table, variants[0].view if variants else self._free(f"{actor}_{table.name}"))
        else:
            for column in table.columns:
                if fold(column.name) not in base.columns:
                    default = self._literal(column)
                    self._rows(f"ALTER TABLE {quoted(base.name)} ADD COLUMN {declaration(column, default)}")
                    base.columns[fold(column.name)] = (column, default)
        self._carry_indexes(base, table)
        for variant in [known for known in self._bases.values() if known.view == base.view]:
            self._carry_fulltext(variant, table)  # rooms of older versions are found as well
        self._register(base)
        self._show(base.view)
        return base

    def _create(self, actor: str, table: Table, view: str) -> Base:
        name = self._free(f"_{actor}_{table.name}")
        columns = {fold(column.name): (column, self._literal(column)) for column in table.columns}
        declared = [declaration(column, default) for column, default in columns.values()]
        unique = ", ".join(quoted(column) for column in [ROOM, *table.key])
        self._rows(f"CREATE TABLE {quoted(name)} ({quoted(ROOM)} INTEGER NOT NULL, {', '.join(declared)}, UNIQUE ({unique}))")
        base = self._bases[name] = Base(name, actor, table.name, view, list(table.key), columns, {})
        return base

    def _carry_indexes(self, base: Base, table: Table) -> None:
        """Add the indexes that are not there yet. None is ever dropped: rooms of an older version may still need it."""
        for index in table.indexes:
            if index.body in base.indexes:
                continue
            name = self._free(f"_{base.actor}_{index.name}")
            try:
                self._rows(carried_index(name, base.name, index.body))
            except apsw.SQLError as error:  # a function that only rooms know; slower reads are no reason to hold rows back
                logger.warning("index %s of %s is not carried to the replica: %s", index.name, base.actor, error)
                name = ""
            base.indexes[index.body] = name

    def _carry_fulltext(self, base: Base, table: Table) -> None:
        names = {folded: column.name for folded, (column, _) in base.columns.items()}
        wanted = [names[fold(column)] for column in table.fulltext if fold(column) in names]
        if wanted or fulltext.indexed(self._connection, base.name):  # a column that was added may have taken the rowid's name
            fulltext.carry(self._connection, base.name, [*names.values()], wanted)

    def _register(self, base: Base) -> None:
        columns = [
            [[column.name, column.type, column.collation, column.default], default] for column, default in base.columns.values()
        ]
        self._rows(
            "INSERT INTO _tables (base, actor, tbl, view, content) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (base) DO UPDATE SET content = excluded.content",
            (base.name, base.actor, base.table, base.view, to_json([base.key, columns, base.indexes])),
        )

    def _show(self, view: str) -> None:
        """Make the view again: the room's id, then the columns of all variants; NULL where a variant lacks one."""
        variants = [base for base in self._bases.values() if base.view == view]
        names = united({folded: column.name for folded, (column, _) in base.columns.items()} for base in variants)
        selects: list[str] = []
        for base in variants:
            columns = [f"b.{quoted(name)}" if folded in base.columns else "NULL" for folded, name in names.items()]
            # The class is named although the join is enough: only with it does `room_id = ?` use the index on (actor, id).
            selects.append(
                f"SELECT r.id, {', '.join(columns)}"  # noqa: S608 (quoted)
                f" FROM {quoted(base.name)} b JOIN _rooms r ON r.key = b.{ROOM} WHERE r.actor = {literal(base.actor)}"
            )
        self._rows(f"DROP VIEW IF EXISTS {quoted(view)}")
        head = ", ".join(quoted(name) for name in ["room_id", *names.values()])
        self._rows(f"CREATE VIEW {quoted(view)} ({head}) AS {' UNION ALL '.join(selects)}")

    # -- small ------------------------------------------------------------------------------------------------------
    def _free(self, wanted: str) -> str:
        """`wanted`, or with the first number that makes it free: class `A_b` with table `c` meets `A` with `b_c`."""
        if fold(wanted).startswith("sqlite_"):  # reserved by SQLite
            wanted = f"v_{wanted}"
        taken = {fold(name) for (name,) in self._rows("SELECT name FROM sqlite_schema")}
        taken.update(fold(base.view) for base in self._bases.values())
        name, number = wanted, 1
        while fold(name) in taken:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def _literal(self, column: Column) -> str | None:
        """A constant default in one spelling, so that two can be compared; "NULL" without one, None if it is no constant here."""
        if column.default is None:
            return "NULL"
        if fold(column.type) == "any":  # STRICT or not decides about its affinity, and that is not known here
            return None
        try:
            ((value,),) = self._rows(f"SELECT {column.default}")
        except (apsw.SQLError, ValueError):
            return None
        return literal(value)

    def _rows(self, statement: str, values: tuple[SQLValue, ...] = ()) -> list[tuple[Any, ...]]:
        return run(self._connection, statement, values)


def _fits(base: Base, table: Table) -> bool:
    if [fold(name) for name in base.key] != [fold(name) for name in table.key]:
        return False
    shared = [(base.columns[fold(column.name)][0], column) for column in table.columns if fold(column.name) in base.columns]
    return all(kind(there) == kind(here) for there, here in shared)
