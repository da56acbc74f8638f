"""A loan: a room's connection, lent to the worker thread of one offloaded call until that ends.

Meanwhile nothing else may touch the connection, and every statement of the call passes here first: it must come from that
thread, within its time, and not after the call was cut. `over` never goes back: whoever passes over the error meets it again.
"""

from collections.abc import Callable

import apsw

from actors.errors import DeadlineExceeded, RoomsError, StatementRefused, TurnVoid
from actors.statements.deadline import look_from_thread
from actors.system.threads import this_thread


class Loan:
    """Made on the loop; `begin`, `check` and `interrupts` run in the thread, `cut` on the loop."""

    __slots__ = (
        "_connection",
        "_method",
        "_room",
        "_stopwatch",
        "_thread",
        "_until",
        "_why",
        "ended",
        "entered",
        "error",
        "over",
    )

    def __init__(
        self, connection: apsw.Connection, room: str, method: str, seconds: float, why: str, stopwatch: Callable[[], float]
    ) -> None:
        self.entered = False  # its savepoint is open
        self.over: RoomsError | None = None  # why nothing more of it may run: all that it wrote is rolled back
        self.ended = False  # its thread is done with the connection
        self.error: BaseException | None = None  # what it raised
        self._connection = connection
        self._room = room
        self._method = method
        self._until = stopwatch() + seconds
        self._why = why  # the bound, in words
        self._stopwatch = stopwatch
        self._thread: int | None = None

    def begin(self) -> None:
        self._thread = this_thread()
        look_from_thread(self._connection, self.interrupts)

    def check(self, query: str = "") -> None:
        """Before each statement, and when the handler has returned.

        Raises:
          StatementRefused: from elsewhere, while or before its thread uses the connection. RoomsError: it is over.
        """
        if this_thread() != self._thread:
            raise StatementRefused(
                f"{self._room}: self.sql was used outside of the offloaded handler {self._method}, which runs in this room now "
                f"(from a child task or a thread). Nothing ran of: {query:.200}",
                room=self._room,
            )
        if self.interrupts():
            raise self.refusal()

    def interrupts(self) -> bool:
        """SQLite asks in the middle of a statement: True ends it, and rolls back what it wrote."""
        if self.over is None and self._stopwatch() > self._until:
            self.over = DeadlineExceeded(
                f"{self._room}: {self._method} ran longer than {self._why}; what it wrote was rolled back. Let it do less in one "
                "call, or give it more time.",
                room=self._room,
            )
        return self.over is not None

    def refusal(self) -> RoomsError:
        """A new one each time: the handler may have caught the last."""
        over = self.over
        if over is None:  # somebody else interrupted the connection
            return TurnVoid(
                f"{self._room}: a statement of {self._method} was interrupted; what the call wrote was rolled back. It may be "
                "repeated.",
                room=self._room,
                ran="rolled back",
            )
        return type(over)(str(over), room=self._room, ran=over.ran)

    def cut(self, over: RoomsError) -> None:
        """End it: the statement that runs now, and whatever it tries next."""
        self.over = self.over or over
        self._connection.interrupt()
