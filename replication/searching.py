"""Searches of the replica: the rows of one room, in the room's own order, or of many rooms.

Runs on any connection to the replica that may read all of it, inside the transaction of the read that asks.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import apsw

from actors.statements.fulltext import NotIndexed, asked
from actors.statements.sql import Rows, internal
from replication.fulltext import Indexed, indexed
from replication.shape import ROOM, fold, listed, load_schema, quoted, registered, united

# Matches of one room that are fetched and sorted; where there are more, the room's rows are walked from the newest on until
# enough of them match. In a room of 44,000 rows: 10,400 matches 27 ms sorted, 8 ms walked; 1,773 matches 7 and 1; 15: 0.5 and 8.
SORTED_MAX = 1_000


class Searched(NamedTuple):
    """A table of a room's schema and where its rows are. `names`: its columns. `columns`: those that the room searches."""

    base: str
    names: tuple[str, ...]
    key: tuple[str, ...]
    columns: tuple[str, ...]


class Variant(NamedTuple):
    """A base table of those that are searched together. `names`: its columns in the answer's order; None where it lacks one."""

    base: str
    names: Sequence[str | None]
    key: Sequence[str]


class Gathered(NamedTuple):
    """What a view of the replica shows, to be searched: its columns without `room_id`, and its base tables."""

    names: tuple[str, ...]
    variants: tuple[Variant, ...]


# -- where things are -------------------------------------------------------------------------------------------------
def of_room(connection: apsw.Connection, actor: str, digest: str) -> dict[str, Searched]:
    """The tables that rooms of this schema search, by the rooms' names of them."""
    found: dict[str, Searched] = {}
    for (content,) in internal(connection, "SELECT content FROM main._schemas WHERE actor = ? AND digest = ?", (actor, digest)):
        tables, bases = json.loads(content)
        for table in load_schema(digest, tables).tables:
            if table.fulltext:
                names = tuple(column.name for column in table.columns)
                found[table.name] = Searched(bases[table.name], names, table.key, table.fulltext)
    return found


def across(connection: apsw.Connection, actors: Collection[str]) -> dict[str, Gathered]:
    """What can be searched in the rooms of some classes, by view (`ChatRoom_messages`)."""
    views: dict[str, list[tuple[str, list[str], dict[str, str]]]] = {}
    for base, actor, view, content in internal(connection, "SELECT base, actor, view, content FROM main._tables ORDER BY rowid"):
        if actor in actors:
            views.setdefault(view, []).append((base, *registered(content)))
    return {view: _gathered(bases) for view, bases in views.items() if any(indexed(connection, base) for base, _, _ in bases)}


def _gathered(bases: Sequence[tuple[str, list[str], Mapping[str, str]]]) -> Gathered:
    names = united(columns for _, _, columns in bases)
    return Gathered(
        tuple(names.values()),
        tuple(Variant(base, [columns.get(folded) for folded in names], key) for base, key, columns in bases),
    )


# -- one room ---------------------------------------------------------------------------------------------------------
def match_room(connection: apsw.Connection, table: Searched, room: int, words: str, limit: int) -> Rows:
    """Rows of one room in which all words are, newest first: what `self.sql.match` tells in the room itself.

    Args:
      room: its key in the replica.

    Raises:
      NotIndexed: these columns cannot be searched here; ask the room. TooLarge, ValueError: as in a room.
    """
    found = _index(connection, table.base, table.columns)
    wanted = asked(words, table.columns, limit)
    if wanted is None:
        return Rows(table.names, [], 0)
    wanted = f'({ROOM} : "{room}") AND ({wanted})'
    matches = f"SELECT rowid FROM main.{quoted(found.name)} WHERE {quoted(found.name)} MATCH ?1"  # noqa: S608 (quoted)
    first = internal(connection, f"{matches} LIMIT ?2", (wanted, SORTED_MAX))
    shown, base, at = listed(table.names, "m."), f"main.{quoted(table.base)}", f"m.{found.rowid}"
    newest = ", ".join(f"m.{quoted(column)} DESC" for column in table.key)
    values: tuple[str | int, ...]
    if len(first) < SORTED_MAX:
        rowids = json.dumps([rowid for (rowid,) in first])
        source, values = f"json_each(?1) f CROSS JOIN {base} m ON {at} = f.value", (rowids, limit)
    else:  # the plus keeps SQLite from fetching all rows that match: it walks the room by its key
        source, values = f"{base} m WHERE m.{ROOM} = ?3 AND +{at} IN ({matches})", (wanted, limit, room)
    query = f"SELECT {shown} FROM {source} ORDER BY {newest} LIMIT ?2"  # noqa: S608 (quoted)
    return Rows(table.names, internal(connection, query, values), 0)


def _index(connection: apsw.Connection, base: str, columns: Sequence[str]) -> Indexed:
    found = indexed(connection, base)
    if found is None or not {*map(fold, columns)} <= {*map(fold, found.columns)}:
        raise NotIndexed("the replica cannot search this table yet: none of its rooms was opened since the class declares it")
    return found


# -- many rooms -------------------------------------------------------------------------------------------------------
def match_rooms(
    connection: apsw.Connection, view: Gathered, rooms: str | None, words: str, limit: int, columns: Sequence[str] = ()
) -> Rows:
    """Rows of many rooms in which all words are, the room's id in front, by the key, descending; of equal keys by the room's id.

    By the key alone: keys that hold the time (`self.new_id()`) put all rooms in one order, numbers of each room's own cannot.
    Each row that has the words costs 0.5 µs, in whatever room it is: for the commonest word of 230,000 messages 30 ms.

    Args:
      rooms: a table of (key, id) with the rooms to look in, as SQL; None: all of them.
      columns: where to look; none: wherever it can be looked.

    Raises:
      As `match_room`.
    """
    shown = ("room_id", *view.names)
    width = max(len(variant.key) for variant in view.variants)
    parts: list[str] = []
    values: list[str | int] = [limit]
    columns = columns or [*dict.fromkeys(fold(name) for variant in view.variants for name in _searched(connection, variant))]
    for variant in view.variants:
        there = {fold(name) for name in variant.names if name is not None}
        mine = [column for column in columns if fold(column) in there]
        wanted = asked(words, mine, limit)
        if wanted is None:
            return Rows(shown, [], 0)
        if mine:
            values.append(wanted)
            parts.append(_newest(variant, _index(connection, variant.base, mine), rooms or "main._rooms", width, len(values)))
    order = ", ".join([*(f"k{place} DESC" for place in range(width)), "c0"])
    cells = ", ".join(f"c{place}" for place in range(len(shown)))
    query = f"SELECT {cells} FROM ({' UNION ALL '.join(parts)}) ORDER BY {order} LIMIT ?1"  # noqa: S608 (quoted)
    return Rows(shown, internal(connection, query, values), 0)


def _searched(connection: apsw.Connection, variant: Variant) -> Sequence[str]:
    found = indexed(connection, variant.base)
    return found.columns if found else ()


def _newest(variant: Variant, found: Indexed, rooms: str, width: int, place: int) -> str:
    """The newest matches of one base table: first which they are, by the key alone, then their rows."""
    index, base, at = quoted(found.name), f"main.{quoted(variant.base)}", f"m.{found.rowid}"
    newest = ", ".join(f"m.{quoted(column)} DESC" for column in variant.key)
    cells = ["r.id", *("NULL" if name is None else f"m.{quoted(name)}" for name in variant.names)]
    keys = [*(f"m.{quoted(column)}" for column in variant.key), *["NULL"] * (width - len(variant.key))]
    shown = [*(f"{cell} AS c{number}" for number, cell in enumerate(cells)), *(f"{key} AS k{n}" for n, key in enumerate(keys))]
    return (
        f"SELECT {', '.join(shown)} FROM (SELECT {at} AS place "  # noqa: S608 (quoted)
        f"FROM main.{index} f CROSS JOIN {base} m ON {at} = f.rowid CROSS JOIN {rooms} r ON r.key = m.{ROOM} "
        f"WHERE f.{index} MATCH ?{place} ORDER BY {newest}, r.id LIMIT ?1) n "
        f"CROSS JOIN {base} m ON {at} = n.place CROSS JOIN {rooms} r ON r.key = m.{ROOM}"
    )
