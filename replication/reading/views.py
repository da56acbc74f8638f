"""Which views a reader shows, and what each reads. Pure but for reading the replica's registry.

Two layers, because SQLite names to its authorizer only the *name* of who reads a table, and a `WITH` table may have the name of
any view: what the user names reads a view of a random name, and only that one may read a base table.

    messages ─▶ "6f1c…" ─▶ _ChatRoom_messages WHERE _room = the room of this read
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import apsw

from actors import Schema
from replication.shape import ROOM, fold, listed, load_schema, quoted, registered, united
from replication.statement import literal, run

HELD_KEY = "last_insert_rowid"
"""The function that names the room of a read to SQLite: a number that the connection holds. Nothing on a read-only connection
changes it, a read may not call it, and its value is no part of a prepared statement. A function of ours would cost a Python
call, a temporary table a write for each read (24.4, 25.4 and 26.7 µs for 50 rows)."""


@dataclass(frozen=True, slots=True)
class View:
    """What the user names, and the SELECT behind it. `reads`: the tables, as (database, folded name), that only it may read."""

    name: str
    columns: tuple[str, ...]
    select: str
    reads: frozenset[tuple[str, str]]


def of_room(connection: apsw.Connection, actor: str, digest: str) -> list[View] | None:
    """The tables of a room of this schema, as the room has them; None if the replica does not know the schema."""
    for (content,) in run(connection, "SELECT content FROM main._schemas WHERE actor = ? AND digest = ?", (actor, digest)):
        tables, bases = json.loads(content)
        return [*_tables_of(load_schema(digest, tables), bases)]
    return None


def _tables_of(schema: Schema, bases: Mapping[str, str]) -> "list[View]":
    views: list[View] = []
    for table in schema.tables:
        columns = tuple(column.name for column in table.columns)
        base = bases[table.name]
        select = f"SELECT {listed(columns, 'b.')} FROM main.{quoted(base)} b WHERE b.{quoted(ROOM)} = {HELD_KEY}()"  # noqa: S608 (quoted)
        views.append(View(table.name, columns, select, frozenset({("main", fold(base))})))
    return views


def across(connection: apsw.Connection, chosen: Mapping[str, str | None]) -> list[View]:
    """The documented views of some classes. `chosen`: by class, the temporary table (key, id) that limits it; None: all rooms."""
    variants: dict[str, list[tuple[str, str, dict[str, str]]]] = {}
    for base, actor, view, content in run(connection, "SELECT base, actor, view, content FROM main._tables ORDER BY rowid"):
        if actor in chosen:
            variants.setdefault(view, []).append((base, actor, registered(content)[1]))
    return [_across_one(view, bases, chosen) for view, bases in variants.items()]


def _across_one(view: str, variants: list[tuple[str, str, dict[str, str]]], chosen: Mapping[str, str | None]) -> View:
    """As `Tables._show` makes it, but for the rooms."""
    names = united(columns for _, _, columns in variants)
    selects: list[str] = []
    reads: set[tuple[str, str]] = set()
    for base, actor, columns in variants:
        limit = chosen[actor]
        rooms = "main._rooms" if limit is None else f"temp.{quoted(limit)}"
        where = f" WHERE r.actor = {literal(actor)}" if limit is None else ""
        shown = ", ".join(f"b.{quoted(name)}" if folded in columns else "NULL" for folded, name in names.items())
        selects.append(
            f"SELECT r.id, {shown} FROM {rooms} r JOIN main.{quoted(base)} b ON b.{quoted(ROOM)} = r.key{where}"  # noqa: S608 (quoted)
        )
        reads |= {("main", fold(base)), ("main", "_rooms") if limit is None else ("temp", fold(limit))}
    return View(view, ("room_id", *names.values()), " UNION ALL ".join(selects), frozenset(reads))
