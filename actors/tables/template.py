"""Births from a template: the file of a room that has just been migrated, made once for each class and written for each new room.

A birth by SQL parses and runs every migration and every capture trigger anew (2 ms); writing 40 kB costs 0.05 ms. A template is
only what does not depend on the room: the leading steps that are SQL text and leave no row behind. A step that is a function, or
one that inserts (it may use randomblob or the clock), runs in each room as it always did.
"""

from collections.abc import Sequence

import apsw

from actors.errors import RoomsError
from actors.limits import Limits
from actors.statements.fulltext import NOTHING, Declared
from actors.statements.guard import Guard
from actors.statements.sql import internal
from actors.statements.sqltext import quoted
from actors.statements.transaction import Transaction
from actors.tables.interior import make_internal_tables, migrate
from actors.tables.migration import Migration
from actors.tables.schemas import Schemas

_WAL_VERSIONS = slice(18, 20)  # of SQLite's header: how the file is read and written; 2 stands for WAL


class Templates:
    """The templates of one runtime, by class. Used in worker threads: two may make the same one, which does no harm."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def of(self, actor: str, migrations: Sequence[Migration], local: frozenset[str], searched: Declared, limits: Limits) -> bytes:
        """The bytes of a room's file without the room's name; its `_migrations` say which steps it has. 3 ms the first time."""
        template = self._known.get(actor)
        if template is None:
            template = self._known[actor] = _make(actor, migrations, local, searched, limits)
        return template


def _make(actor: str, migrations: Sequence[Migration], local: frozenset[str], searched: Declared, limits: Limits) -> bytes:
    steps = 0
    while steps < len(migrations) and isinstance(migrations[steps].up, str):
        steps += 1
    while True:
        connection = apsw.Connection(":memory:")
        try:
            indexes = searched if 0 < steps == len(migrations) else NOTHING  # the other steps may make its tables
            if _migrated(connection, actor, migrations[:steps], local, indexes, limits):
                content = bytearray(connection.serialize("main"))
                content[_WAL_VERSIONS] = b"\x02\x02"
                return bytes(content)
        except RoomsError:
            if not steps:
                raise
        finally:
            connection.close()
        steps -= 1  # a step that fails does so in the room itself, in its own name


def _migrated(
    connection: apsw.Connection,
    actor: str,
    migrations: Sequence[Migration],
    local: frozenset[str],
    searched: Declared,
    limits: Limits,
) -> bool:
    """Run the steps; False if they left rows behind."""
    internal(connection, "PRAGMA recursive_triggers = 1")
    internal(connection, "PRAGMA foreign_keys = 1")
    guard = Guard()
    guard.install(connection, limits)
    make_internal_tables(connection)
    migrate(Transaction(connection, guard, Schemas(), local, f"{actor}, its template", searched), migrations, 0.0)
    tables = internal(connection, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')")
    names = [name for (name,) in tables if not name.startswith("_") and name != "sqlite_schema"]
    return not any(internal(connection, f"SELECT EXISTS (SELECT 1 FROM {quoted(name)})")[0][0] for name in names)  # noqa: S608
