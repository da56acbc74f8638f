"""A deadline for each statement of a handler: the loop stands still while it runs, and every room with it.

SQLite calls the progress handler every so many steps of its virtual machine, also inside one long statement; a true answer
interrupts it. A write that is interrupted makes SQLite roll back the whole transaction (see Transaction.look_for_rollback).
"""

from collections.abc import Callable
from typing import Any, Protocol

# Steps of SQLite's virtual machine between two looks: 0.1 ms of computing, or at worst so many pages read from a cold disk.
# A look costs 0.3 µs, so 1,000 cost an insert nothing that could be measured (11.5 µs with and without; at 100: a scan +27 %).
STEPS = 1_000


class Judge(Protocol):
    @property
    def handler_runs(self) -> bool: ...


class Statements(Protocol):
    """What a deadline needs of a transaction, or of a read."""

    connection: Any
    statement_began: float | None
    statement_seconds_max: float

    @property
    def guard(self) -> Judge: ...


class Deadline:
    """The progress handler of one connection. It interrupts handlers' statements only, never the runtime's own."""

    __slots__ = ("_statements", "_stopwatch")

    def __init__(self, statements: Statements, stopwatch: Callable[[], float]) -> None:
        self._statements = statements
        self._stopwatch = stopwatch

    def install(self) -> None:
        """Only once a room is open: migrations run in a worker thread and may be long."""
        self._statements.connection.set_progress_handler(self, STEPS)

    def __call__(self) -> bool:
        """True to interrupt. The first look notes the time, so that the many statements that end before it cost no clock."""
        statements = self._statements
        if not statements.guard.handler_runs:
            return False
        now = self._stopwatch()
        if statements.statement_began is None:
            statements.statement_began = now
            return False
        return now - statements.statement_began > statements.statement_seconds_max
