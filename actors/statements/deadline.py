"""A deadline for each statement of a handler, because the loop stands still while it runs, and every room with it; and the one of
its call, if it has one.

SQLite calls the progress handler every so many steps of its virtual machine, also inside one long statement; a true answer
interrupts it. A write that is interrupted makes SQLite roll back the whole transaction (see Transaction.look_for_rollback).
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import apsw

from actors.system.yielding import give_way, lock_is_wanted

# Steps of SQLite's virtual machine between two looks: 0.1 ms of computing, or at worst so many pages read from a cold disk.
# A look costs 0.3 µs, so 1,000 cost an insert nothing that could be measured (11.5 µs with and without; at 100: a scan +27 %).
STEPS = 1_000

# The same on a connection that a worker thread uses. A look needs Python's lock there. Where the loop waits now and then, the
# lock is free and a look lets the loop have the processor as well: each 1 ms of computing (system/yielding.py). At 1,000 two
# readers of 5 ms queries did seven tenths of what they do at 10,000.
THREAD_STEPS = 10_000

# Where the loop is busy: 10 ms. Each look waits for up to 2 ms there; with 10,000 an offloaded query of 5 ms took 100 ms, not 28.
BUSY_STEPS = 100_000


def look_from_thread(connection: apsw.Connection, look: Callable[[], bool]) -> None:
    """Let `look` be asked in the middle of each statement; before its thread begins to use the connection."""
    if lock_is_wanted():
        connection.set_progress_handler(look, BUSY_STEPS)
        return

    def give_way_and_look() -> bool:
        if not lock_is_wanted():  # it may have become so: after giving way the lock would have to be waited for once more
            give_way()
        return look()

    connection.set_progress_handler(give_way_and_look, THREAD_STEPS)


class CallTime:
    """Until when the running call may go on; of one room's transaction."""

    __slots__ = ("passed", "until", "words")

    def __init__(self) -> None:
        self.until = math.inf  # on the stopwatch
        self.words = ""  # what bounds it
        self.passed = False  # a statement was interrupted for it

    def bound(self, until: float, words: str) -> None:
        self.until = until
        self.words = words
        self.passed = False

    def unbound(self) -> None:
        self.until = math.inf
        self.passed = False


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
        """On the loop. Only once a room is open: migrations run in a worker thread and may be long."""
        self._statements.connection.set_progress_handler(self, STEPS)

    def install_in_thread(self) -> None:
        """For the statements that follow: each time a thread begins with some."""
        look_from_thread(self._statements.connection, self)

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


class CallDeadline(Deadline):
    """Of a room's own connection, on which calls run."""

    __slots__ = ("_time",)

    def __init__(self, statements: Statements, stopwatch: Callable[[], float], time: CallTime) -> None:
        super().__init__(statements, stopwatch)
        self._time = time

    def __call__(self) -> bool:
        time = self._time
        if time.until != math.inf and self._statements.guard.handler_runs and self._stopwatch() > time.until:
            time.passed = True
            return True
        return super().__call__()
