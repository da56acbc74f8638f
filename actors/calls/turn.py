"""A turn: calls that wait for the same room run one after another and share one commit. Synchronous, on the loop."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import apsw

from actors.actor import Actor
from actors.calls import timeouts
from actors.calls.envelope import Envelope, cannot_cross, result_too_large
from actors.calls.mailbox import Mailbox
from actors.calls.pace import PASS_SECONDS
from actors.directory.quarantine import is_damage
from actors.errors import RoomQuarantined, RoomReset, RoomsError, StorageFull, TurnVoid
from actors.limits import Limits
from actors.statements.codec import by_value
from actors.statements.transaction import Transaction, void_turn
from actors.system.watchdog import Note
from actors.tables.replies import LOOK_AHEAD_CALLS_MIN

# Errors after which SQLite has rolled back and synced nothing; the file may be used on (rule 25).
_ROLLED_BACK = frozenset({apsw.SQLITE_FULL, apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_NOMEM, apsw.SQLITE_NOMEM})


class Ledger(Protocol):
    """Where a turn's results go; the activation."""

    def committed(self, *, wrote: bool) -> None: ...
    def commit_unknown(self, error: apsw.Error) -> None: ...
    def turn_void(self) -> None: ...
    def damaged(self, error: apsw.Error) -> None: ...


class Turns:
    """Runs the turns of one activation. Knows nothing of tasks, rounds or gates."""

    def __init__(
        self,
        actor: Actor,
        transaction: Transaction,
        limits: Limits,
        ledger: Ledger,
        now: Callable[[], float],
        note: Note | None = None,
    ) -> None:
        self._now = now  # seconds on any clock
        self._note = note or Note()
        self._actor = actor
        self._transaction = transaction
        self._limits = limits
        self._seconds_max = min(limits.turn_seconds_max, PASS_SECONDS)  # of a turn, but for its last call
        self._ledger = ledger
        self._room = transaction.room
        transaction.limit_statements(limits.statement_seconds_max, now)

    def run(self, mailbox: Mailbox) -> tuple[list[Envelope], Envelope | None, bool]:
        """Run calls until the mailbox is empty, a bound is reached or one is next that runs apart; then commit.

        Returns the settled calls, the async or offloaded call that must be started next, and whether another program's lock
        stopped the turn.
        """
        transaction = self._transaction
        settled: list[Envelope] = []
        now, note = self._now, self._note
        note.room = self._room
        note.turns += 1
        at = now()
        until = at + self._seconds_max
        locked = False
        next_apart = None
        replies = transaction.replies
        if len(mailbox) >= LOOK_AHEAD_CALLS_MIN:
            replies.turn_begins(mailbox.keys(self._limits.turn_calls_max))
        while len(settled) < self._limits.turn_calls_max:
            envelope = mailbox.take()
            if envelope is None:
                break
            handler = envelope.handler
            if envelope.deadline != math.inf and timeouts.expired(envelope):
                envelope.refuse(timeouts.not_begun(envelope, self._room))
                continue
            needs = handler.uses_sql is not False or envelope.once is not None
            if needs and not transaction.begun and not self.try_begin():
                mailbox.put_back(envelope)
                locked = True
                break
            if handler.apart:
                next_apart = envelope
                break
            settled.append(envelope)
            note.began = at
            note.envelope = envelope
            whole = self._call(envelope, settled)
            at = now()
            if not whole or at >= until:
                break
        note.envelope = None
        replies.turn_ends()
        self.commit(settled)
        return settled, next_apart, locked

    def try_begin(self) -> bool:
        """False while another program holds the write lock, and if the file cannot be read any more."""
        try:
            self._transaction.begin()
        except apsw.BusyError:
            return False
        except apsw.Error as error:
            if is_damage(error):
                self._damaged(error, [])
            else:
                self._ledger.commit_unknown(error)
            return False
        return True

    def _call(self, envelope: Envelope, settled: list[Envelope]) -> bool:
        """Run one `def` handler; False if the whole turn was rolled back with it."""
        transaction = self._transaction
        transaction.call_begins()
        try:
            once = envelope.once
            answer = once.answered(transaction) if once is not None else None
            if answer is None:
                handler = envelope.handler
                if handler.is_timed or envelope.deadline != math.inf:
                    value = self._in_time(envelope)
                else:
                    value = handler.function(self._actor, *envelope.args, **envelope.kwargs)
                self.keep(envelope, value)
            else:
                envelope.value = answer[0]
                transaction.call_ends()
        except Exception as error:
            envelope.error = error
            return self.undo(error, settled, envelope)
        except BaseException:  # KeyboardInterrupt: the process is about to end, nothing of this turn stays
            transaction.rollback()
            raise
        return True

    def _in_time(self, envelope: Envelope) -> Any:
        """Run a `def` handler that has a deadline. Raises DeadlineExceeded, and what the handler raises."""
        time = self._transaction.time
        timeouts.bind(envelope, time, self._now)
        try:
            value = envelope.handler.function(self._actor, *envelope.args, **envelope.kwargs)
            timeouts.in_time(envelope, self._room, time, self._now)
            return value
        finally:
            time.unbound()

    def slice_begins(self, envelope: Envelope) -> None:
        if envelope.deadline != math.inf:
            timeouts.bind(envelope, self._transaction.time, self._now)
        note = self._note
        note.room = self._room
        note.turns += 1
        note.began = self._now()
        note.envelope = envelope

    def slice_in_time(self, envelope: Envelope) -> None:
        """A slice has come to its end. Raises DeadlineExceeded."""
        timeouts.in_time(envelope, self._room, self._transaction.time, self._now)

    def slice_ends(self) -> None:
        self._note.envelope = None
        self._transaction.time.unbound()

    def keep(self, envelope: Envelope, value: object) -> None:
        """End the running call with its result. Raises what makes the call fail."""
        self.carry(envelope, value)
        self._transaction.call_ends()

    def carry(self, envelope: Envelope, value: object) -> None:
        """Take the running call's result by value. Raises what makes the call fail."""
        transaction = self._transaction
        handler = envelope.handler
        try:
            envelope.value, size = by_value(value)
        except ValueError as error:
            raise cannot_cross(self._room, handler, error, "The call was rolled back") from error
        if size > self._limits.result_bytes_max:
            bytes_max = self._limits.result_bytes_max
            raise result_too_large(self._room, handler, size, bytes_max, "The call was rolled back", "rolled back")
        if envelope.once is not None:
            envelope.once.ran(transaction, envelope.value)
        if transaction.entered:
            handler.uses_sql = True
        elif handler.uses_sql is None:
            handler.uses_sql = False

    def undo(self, error: BaseException, settled: list[Envelope], envelope: Envelope) -> bool:
        """Undo the running call; False if SQLite rolled the whole turn back, which voids the neighbours, too."""
        damage = self._transaction.damage or (error if isinstance(error, apsw.Error) and is_damage(error) else None)
        if damage is not None:
            self._damaged(damage, [*settled, envelope])
            return False
        if isinstance(error, RoomsError) and not error.room:
            error.room = self._room
        if isinstance(error, apsw.FullError):
            envelope.error = void_turn(error, self._room)
            envelope.error.__cause__ = error
        if not (isinstance(error, RoomsError) and error.ran == "no" and error.room == self._room):
            error.add_note(f"(raised in room {self._room} by {envelope.handler.name}; what the call wrote was rolled back)")
        try:
            if self._transaction.call_fails():
                return True
        except apsw.Error:  # the savepoint itself cannot be rolled back: give up the turn
            self._transaction.rollback()
        cause = error.__cause__ if isinstance(error, TurnVoid | StorageFull) else None
        self._void(cause or error, settled, envelope)
        return False

    def commit(self, settled: list[Envelope]) -> None:
        """Commit the turn and tell the ledger. Errors become the calls' outcomes."""
        transaction = self._transaction
        if not transaction.begun:
            return
        try:
            wrote = transaction.commit()
        except apsw.Error as error:
            codes: Any = error  # apsw's stubs leave these two attributes out
            if codes.extendedresult in _ROLLED_BACK or codes.result in _ROLLED_BACK:
                transaction.rollback()
                self._void(error, settled, None)
            elif is_damage(error) and not transaction.committing:
                self._damaged(error, settled)
            else:
                transaction.begun = False
                self._ledger.commit_unknown(error)
            return
        if transaction.foreign_commit:
            transaction.foreign_commit = False
            wrote = True
        self._ledger.committed(wrote=wrote)

    def _damaged(self, error: apsw.Error, turn: list[Envelope]) -> None:
        """The file was found damaged in the middle of a turn: nothing of it stays."""
        self._transaction.give_up(error)
        for envelope in turn:
            envelope.error = damaged_turn(error, self._room)
            envelope.error.__cause__ = error
        self._ledger.damaged(error)

    def _void(self, error: BaseException, settled: list[Envelope], culprit: Envelope | None) -> None:
        for envelope in settled:
            if envelope is not culprit or isinstance(error, apsw.FullError):
                envelope.error = void_turn(error, self._room)
        self._ledger.turn_void()


def damaged_turn(error: apsw.Error, room: str) -> RoomQuarantined:
    """The error for every call of a turn in which the room's file was found damaged."""
    return RoomQuarantined(
        f"{room}: its file was found damaged while this call ran ({error}). Nothing of this turn was written. The file is moved "
        "to quarantine; the next call tells where it lies and how to recover the room. Other rooms are not affected.",
        room=room,
        ran="rolled back",
    )


def reset_call(room: str, why: str, refusal: RoomsError | None) -> RoomReset:
    """The error for a call under way of which nothing stays, when its room's memory is thrown away. `refusal`: what calls are
    told that had not begun; where those are not to be repeated, this one is not, either."""
    again = refusal is None or refusal.retryable
    error = RoomReset(
        f"{room}: the room was reset while this call was under way ({why}). Nothing of it stays{'; repeat it' if again else ''}.",
        room=room,
    )
    error.retryable = again
    return error
