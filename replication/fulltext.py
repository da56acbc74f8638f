"""Full text search in the replica: an FTS5 index for each base table that a class declares, over the rows of all rooms.

As in a room (`actors/statements/fulltext.py`): the table holds the text, triggers keep the index. The room's key is one more
column of the index, so that `_room : "17"` narrows a search to a room before a row is looked at. An index is made from the rows
that are there when a schema that wants it is first seen (some 2 µs a row), widened when one wants more columns, and never
dropped: rooms of an older version may need it.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import apsw

from actors.statements.fulltext import OPTIONS, ROWIDS, create, free_rowid, trigger_names, triggers
from actors.statements.sql import internal
from actors.statements.words import PREFIX
from replication.shape import ROOM, fold, quoted

logger = logging.getLogger("durable_rooms.replication")


def index_of(base: str) -> str:
    return PREFIX + base.removeprefix("_")


class Indexed(NamedTuple):
    """The index of a base table. `columns`: those that can be searched. `rowid`: a name of it that is no column's."""

    name: str
    rowid: str
    columns: tuple[str, ...]


def indexed(connection: apsw.Connection, base: str) -> Indexed | None:
    """The index of a base table, if it has one."""
    for (text,) in internal(connection, "SELECT sql FROM main.sqlite_schema WHERE name = ?", (index_of(base),)):
        for rowid in ROWIDS:
            if text.startswith("CREATE VIRTUAL TABLE") and f"content_rowid='{rowid}', {OPTIONS}" in text:
                names = internal(connection, "SELECT name FROM pragma_table_info(?, 'main')", (index_of(base),))
                return Indexed(index_of(base), rowid, tuple(name for (name,) in names if name != ROOM))
    return None


def carry(connection: apsw.Connection, base: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Let `wanted` columns of a base table be searched, beside those that can be. `names`: all its columns."""
    there = indexed(connection, base)
    columns = there.columns if there else ()
    columns += tuple(name for name in wanted if fold(name) not in map(fold, columns))
    rowid = free_rowid(names)
    if rowid is None:
        logger.warning("%s cannot be searched in the replica: its columns have all the names of the rowid", base)
        return
    if there == (index_of(base), rowid, columns):
        return
    index = quoted(index_of(base))
    for trigger in trigger_names(index_of(base)):
        internal(connection, f"DROP TRIGGER IF EXISTS {quoted(trigger)}")
    if there:
        internal(connection, f"DROP TABLE {index}")
    try:
        internal(connection, create(index_of(base), base, rowid, [ROOM, *columns]))
    except apsw.SQLError as error:  # `_A_b_data` is one of the tables of the index of `_A_b`
        logger.warning("%s cannot be searched in the replica, its rooms are asked: %s", base, error)
        return
    internal(connection, f"INSERT INTO {index} ({index}) VALUES ('rebuild')")  # noqa: S608 (quoted)
    for trigger in triggers(index_of(base), base, rowid, [ROOM, *columns]):
        internal(connection, trigger)


def intact(base: str, there: set[str]) -> bool:
    """Whether the triggers of a base table's index, if it has any, are all there and have an index to keep."""
    names = {*trigger_names(index_of(base))}
    return not names & there or (names | {index_of(base)}) <= there
