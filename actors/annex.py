"""The runtime's own tables that a room gets when it first needs one: most rooms never have an alarm or a key, and a table that is
not there costs neither its 4 KiB nor a byte of the sync that a birth waits for.

Statements on them run inside the running call, so that what they write is kept or undone with it.
"""

from typing import Any, Protocol

import apsw

from actors.errors import StorageFull
from actors.space import Fullness
from actors.sql import SQLValue
from actors.threads import this_thread

KV = "_kv"

TABLES = {
    KV: "CREATE TABLE _kv (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID",
}
"""By name; never changed once released. `Annex` makes them, `schema` knows their names as the runtime's own."""


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
