"""`self.sql` of a read on a room's own file: the user's tables, and nothing of the runtime's."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import apsw

from actors.errors import StatementRefused
from actors.limits import Limits
from actors.reads.purity import READ, ReadGuard
from actors.statements import fulltext
from actors.statements.deadline import Deadline
from actors.statements.guard import Guard
from actors.statements.sql import READING, SQL, Manner, Rows, Scope
from actors.sync.space import Fullness, Roomy
from actors.system.threads import this_thread

_known: set[str] = set()  # texts that were checked, of the reads of all rooms: each would be looked through anew in each room
_ROOMY = Roomy()  # a read fills nothing

Indexes = Callable[[], Mapping[str, fulltext.Index]]


class Statements(Protocol):
    """Whose connection it is: a room's transaction, between two turns, or nobody else's."""

    connection: Any
    guard: Guard
    room: str
    statement_began: float | None
    statement_seconds_max: float


@dataclass(slots=True)
class Alone:
    """A connection that is one read's alone."""

    connection: Any
    guard: Guard
    room: str
    statement_seconds_max: float
    statement_began: float | None = None


class ReadScope:
    """What the SQL of one read stands on (see sql.Scope)."""

    __slots__ = ("_guard", "_indexes", "_statements", "connection", "entered", "room", "space", "thread")

    manner: Manner = READ
    prepare_flags: int = READING

    def __init__(self, statements: Statements, guard: ReadGuard, indexes: Indexes) -> None:
        self.connection = statements.connection
        self.room = statements.room
        self.space: Fullness = _ROOMY
        self.entered = True
        self.thread = this_thread()
        self._statements = statements
        self._guard = guard
        self._indexes = indexes

    @property
    def call_bound(self) -> str:
        return ""

    @property
    def statement_seconds_max(self) -> float:
        return self._statements.statement_seconds_max

    @property
    def statement_began(self) -> float | None:
        return self._statements.statement_began

    @statement_began.setter
    def statement_began(self, at: float | None) -> None:
        self._statements.statement_began = at

    def enter(self, query: str) -> None:
        raise StatementRefused(
            f"{self.room}: self.sql was used after its read had ended. Nothing ran of: {query:.200}", room=self.room
        )

    def search(self, table: str, words: str, limit: int) -> Rows:
        """See sql.SQL.match. The guard looks away: no text of a read's can name the index."""
        self._guard.ours = True
        try:
            return fulltext.search(self.connection, self._indexes(), self.room, table, words, limit)
        finally:
            self._guard.ours = False

    def refusal(self) -> str | None:
        return self._guard.take_refusal()

    def look_for_rollback(self, error: apsw.Error) -> None:
        """A read writes nothing that could be rolled back."""


@contextmanager
def shown(statements: Statements, indexes: Indexes) -> Generator[SQL]:
    """Let a read use the connection, on which a transaction was begun for it. `indexes`: what can be searched there."""
    guard = statements.guard
    guard.reading = judge = ReadGuard(own_tables)
    guard.handler_runs = judge.handler_runs = True
    scope = ReadScope(statements, judge, indexes)
    try:
        yield SQL(cast(Scope, scope), _known)  # its properties are no attributes to the type checker
    finally:
        scope.entered = guard.handler_runs = False
        guard.reading = None


def alone(connection: apsw.Connection, room: str, limits: Limits, stopwatch: Callable[[], float]) -> Alone:
    """Make a connection of its own fit for a read, before it begins its transaction."""
    statements = Alone(connection, Guard(), room, limits.statement_seconds_max)
    statements.guard.install(connection, limits)
    Deadline(statements, stopwatch).install_in_thread()
    return statements


def own_tables(table: str, column: str, database: str | None, accessor: str | None) -> bool:
    """In a room's own file: everything but what is the runtime's."""
    return not table.startswith("_")
