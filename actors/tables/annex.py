"""The runtime's own tables that a room gets when it first needs one: most rooms never have an alarm or a key, and a table that is
not there costs neither its 4 KiB nor a byte of the sync that a birth waits for.

Statements on them run inside the running call, so that what they write is kept or undone with it.
"""

from typing import Any, Protocol

import apsw

from actors.errors import StorageFull
from actors.statements.sql import SQLValue, internal
from actors.sync.space import Fullness
from actors.system.threads import this_thread

KV = "_kv"
TELLS = "_tells"
TELLS_DEAD = "_tells_dead"
TOLD = "_told"
REPLIES = "_replies"
ALARMS = "_alarms"

TABLES = {
    KV: "CREATE TABLE _kv (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID",
    # A row without a receiver is settled, and stays while it is the newest: numbers never restart (see tells).
    TELLS: """CREATE TABLE _tells (number INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, actor TEXT, id TEXT, method TEXT,
        arguments BLOB, told_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_at REAL)""",
    TELLS_DEAD: """CREATE TABLE _tells_dead (number INTEGER PRIMARY KEY, actor TEXT NOT NULL, id TEXT NOT NULL,
        method TEXT NOT NULL, arguments BLOB NOT NULL, told_at REAL NOT NULL, dead_at REAL NOT NULL,
        attempts INTEGER NOT NULL, reason TEXT NOT NULL)""",
    TOLD: """CREATE TABLE _told (actor TEXT NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (actor, id)) WITHOUT ROWID""",
    # Its ids are the order in which replies expire, as long as the clock does not jump; the reply is last, so that what stands
    # before it is read without it.
    REPLIES: "CREATE TABLE _replies (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, method TEXT NOT NULL, "
    "digest BLOB NOT NULL, expires_at REAL NOT NULL, reply BLOB NOT NULL)",
    # `due` finds the next one by the index that UNIQUE makes; NULL: dead. See alarms.Row.
    ALARMS: "CREATE TABLE _alarms (name TEXT PRIMARY KEY NOT NULL, due REAL, at REAL NOT NULL, every REAL,"
    " payload BLOB NOT NULL, number INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
    " UNIQUE (due, name)) WITHOUT ROWID",
}
"""By name; never changed once released. `Annex` makes them, `schema` knows their names as the runtime's own."""

WAKES = {
    ALARMS: "SELECT min(due) FROM _alarms",
    TELLS: "SELECT min(0.0) FROM _tells WHERE actor IS NOT NULL",  # at once
}
"""When a room must be awake for what is in such a table, for a catalog that is made again from the files."""


def there(connection: apsw.Connection) -> frozenset[str]:
    """Which of them a room has."""
    names = internal(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return frozenset(name for (name,) in names) & TABLES.keys()


class Call(Protocol):
    """What these tables need of the transaction of the running call."""

    connection: apsw.Connection
    room: str
    entered: bool
    thread: int
    space: Fullness

    @property
    def annexes(self) -> frozenset[str]:
        """Which of them this room has."""
        ...

    def enter(self, query: str) -> None: ...
    def own(self, query: str, values: tuple[SQLValue, ...]) -> list[tuple[Any, ...]]: ...
    def annexed(self) -> None:
        """A table was made."""
        ...


class Annex:
    """One such table of one room."""

    __slots__ = ("_call", "_table")

    def __init__(self, call: Call, table: str) -> None:
        self._call = call
        self._table = table

    @property
    def exists(self) -> bool:
        return self._table in self._call.annexes

    def read(self, query: str, *values: SQLValue) -> list[tuple[Any, ...]]:
        """Rows of it; none where the room has no such table. Raises as `self.sql`."""
        call = self._call
        if not call.entered or this_thread() != call.thread:
            call.enter(query)
        return call.own(query, values) if self.exists else []

    def write(self, query: str, *values: SQLValue) -> list[tuple[Any, ...]]:
        """Add to it or change it; the table is made first where the room has none.

        Raises:
          StorageFull: there is too little free space; nothing was written.
          As `self.sql` otherwise.
        """
        call = self._call
        if not call.entered or this_thread() != call.thread:
            call.enter(query)
        if call.space.full:
            raise StorageFull(
                f"{call.room}: {call.space.words}. Nothing was written; the call may be repeated when there is space.",
                room=call.room,
            )
        if not self.exists:
            call.own(TABLES[self._table], ())
            call.own("UPDATE _room SET format = 2 WHERE format = 1", ())  # see interior.FORMAT
            call.annexed()
        return call.own(query, values)

    def remove(self, query: str, *values: SQLValue) -> list[tuple[Any, ...]]:
        """Delete from it, on a full disk, too. Raises as `self.sql`."""
        return self.read(query, *values)
