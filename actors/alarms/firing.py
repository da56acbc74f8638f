"""Firing: an alarm that is due becomes a call of the room, in its mailbox like any other, which runs the class's `on_alarm`.

Inside the call the row is read again, so that one that was cancelled or moved meanwhile does nothing, and none runs early. For a
`def` handler it goes, or moves to its next time, before the handler runs and in the same transaction; for an async one with its
last slice. A failure is written down by a call of its own, because the failed one is rolled back with all that it did.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import apsw

from actors.actor_class import ActorClass
from actors.alarms.alarms import Alarms, Row, Table
from actors.alarms.duties import Duties
from actors.calls.envelope import Envelope
from actors.calls.faults import overstayed, voided_its_turn
from actors.calls.handlers import Handler
from actors.errors import (
    NoDescriptors,
    OutcomeUnknown,
    RoomLocked,
    RoomReset,
    RoomsError,
    RoomUnfit,
    RuntimeClosed,
    StorageFull,
    TurnVoid,
)
from actors.limits import RETRY_SECONDS_FIRST, Limits
from actors.reason import reason
from actors.statements.codec import unpacked
from actors.statements.sql import internal
from actors.statements.transaction import Transaction
from actors.system.doors import Doors
from actors.tables.annex import ALARMS

logger = logging.getLogger("durable_rooms.actors")

ALARMS_AT_ONCE_MAX = 128  # of one room, under way: some 5 ms of turns, for which its callers wait
ALARMS_MORE_MIN = 32  # ended, before more are begun beside those that have not
RETRY_JITTER_MAX = 0.25  # of the delay, so that what failed together does not come back together

_DUE = "SELECT name, due FROM _alarms WHERE due <= ? ORDER BY due, name LIMIT ?"
_NEXT = "SELECT name, due FROM _alarms WHERE due IS NOT NULL ORDER BY due, name LIMIT ?"
_VAIN = (None,)  # the reply to a call whose handler is not to run
_OF_THE_ROOM = (StorageFull, RoomLocked, RoomUnfit, NoDescriptors)
_OF_THE_DISK = (apsw.IOError, apsw.FullError, apsw.BusyError, apsw.CantOpenError, apsw.NoMemError)


class AlarmCall(Envelope):
    """A call whose caller is the room itself: its outcome is told once it is released at the gate, or refused."""

    __slots__ = ("settle",)

    def __init__(self, handler: Handler, args: list[Any], settle: Callable[[BaseException | None], None]) -> None:
        super().__init__(handler, args, {}, 0)
        self.settle = settle

    def release(self) -> None:
        self.settle(self.error)

    def refuse(self, error: BaseException) -> None:
        self.settle(error)


class Firing:
    """The duty that alarms are, of one activation (see duties.Duty)."""

    def __init__(
        self, duties: Duties, transaction: Transaction, handler: Handler, running: dict[str, int], doors: Doors, retries_max: int
    ) -> None:
        self.handler = handler
        self.running = running  # see Alarms
        self.now = doors.wall_clock
        self.ended = False
        self.next_at: float | None = None
        self.room = transaction.room
        self._duties = duties
        self._transaction = transaction
        self._random = doors.random
        self._retries_max = retries_max
        self._begun: dict[str, float] = {}  # under way, with the time at which each was due
        self._full = False  # as many as may be

    # -- the duty -----------------------------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return bool(self._begun)

    def look(self) -> None:
        self.next_at = None
        if self._full or ALARMS not in self._transaction.annexes:
            return
        for name, due in internal(self._transaction.connection, _NEXT, (len(self._begun) + 1,)):
            if self._begun.get(name) != due:  # else it is what is under way
                self.next_at = due
                return

    def begin(self, now: float) -> None:
        begun = self._begun
        for name, due in internal(self._transaction.connection, _DUE, (now, ALARMS_AT_ONCE_MAX + len(begun))):
            if name in begun:
                continue
            if len(begun) >= ALARMS_AT_ONCE_MAX:
                self._full = True
                break
            begun[name] = due
            fire = Fire(self, name)
            call = AlarmCall(self.handler, fire.args, partial(self._fired, fire))
            call.once = fire
            self._duties.call_itself(call)
        self.look()

    def end(self) -> None:
        self.ended = True
        self._full = False
        self._begun.clear()
        self.running.clear()

    def touched(self) -> None:
        """The running call changes the table."""
        self._duties.touched()

    # -- how a call went ------------------------------------------------------------------------------------------------------
    def _fired(self, fire: "Fire", error: BaseException | None) -> None:
        self.running.pop(fire.name, None)
        if error is None:
            if fire.row is not None:
                self._duties.seat.alarm_ended(dead=False)
            self._over(fire.name, look=fire.row is None)
        elif fire.row is None or self.ended or not is_its_own(error, self.room):
            self._duties.seat.put_off()
            self._over(fire.name, look=True)
        else:
            note = Note(self, fire.row, error, self._after(fire.row, error))
            call = AlarmCall(_NOTE, [], partial(self._noted, note))
            call.once = note
            self._duties.call_itself(call)

    def _after(self, row: Row, error: BaseException) -> float | None:
        """In how many seconds it is tried again; None: no more."""
        if row.tries >= self._retries_max:
            logger.error(
                "%s: on_alarm failed %d times for the alarm %r, which is given up%s",
                self.room,
                row.tries + 1,
                row.name,
                "" if row.every is None else " for this time",
                exc_info=error,
            )
            return None
        seconds = RETRY_SECONDS_FIRST * 2**row.tries * self._random.uniform(1, 1 + RETRY_JITTER_MAX)
        logger.warning("%s: on_alarm failed for the alarm %r (%s); again in %.1f s", self.room, row.name, reason(error), seconds)
        return seconds

    def _noted(self, note: "Note", error: BaseException | None) -> None:
        if error is not None:  # the row is as it was: due, and tried again without having been counted
            self._duties.seat.put_off()
        elif note.seconds is None:
            self._duties.seat.alarm_ended(dead=True)
        self._over(note.row.name, look=error is not None)

    def _over(self, name: str, *, look: bool) -> None:
        self._begun.pop(name, None)
        if self._full and (not self._begun or ALARMS_AT_ONCE_MAX - len(self._begun) >= ALARMS_MORE_MIN):
            self._full = False
            look = True
        if look and not self.ended:
            self._duties.look()
        self._duties.settled()


class Fire:
    """Lets one alarm go off (see envelope.Once). `row`: as it was then; None: it was not due any more."""

    __slots__ = ("_firing", "args", "name", "row")

    def __init__(self, firing: Firing, name: str) -> None:
        self._firing = firing
        self.name = name
        self.args: list[Any] = []  # of the call, known once its turn has come
        self.row: Row | None = None

    def answered(self, transaction: Transaction) -> tuple[Any] | None:
        firing = self._firing
        self.row = None
        if firing.ended:  # the next activation has a duty of its own
            return _VAIN
        now, table = firing.now(), Table(transaction)
        row = table.row(self.name)
        if row is None or row.due is None or row.due > now:
            return _VAIN
        self.row = row
        self.args[:] = [row.name, unpacked(row.payload)]
        if firing.handler.takes(3):
            self.args.append(row.alarm(missed=0 if row.every is None else row.after(now)[1]))
        firing.touched()
        if firing.handler.is_async:
            firing.running[row.name] = row.number
        else:
            table.done(row, now)
        return None

    def ran(self, transaction: Transaction, value: Any) -> None:
        firing = self._firing
        if self.row is not None and firing.handler.is_async:
            firing.touched()
            Table(transaction).done(self.row, firing.now())


class Note:
    """Writes down that an alarm failed (see envelope.Once). `seconds`: until it is tried again; None: it is given up."""

    __slots__ = ("_firing", "_reason", "row", "seconds")

    def __init__(self, firing: Firing, row: Row, error: BaseException, seconds: float | None) -> None:
        self._firing = firing
        self.row = row
        self._reason = reason(error)
        self.seconds = seconds

    def answered(self, transaction: Transaction) -> tuple[Any] | None:
        self._firing.touched()
        now, table = self._firing.now(), Table(transaction)
        if self.seconds is not None:
            table.failed(self.row, now + self.seconds, self._reason)
        elif self.row.every is None:
            table.failed(self.row, None, self._reason)
        else:
            table.goes_on(self.row, self.row.after(now)[0], self._reason)
        return _VAIN

    def ran(self, transaction: Transaction, value: Any) -> None:
        raise AssertionError("a note has no handler that could run")


def _note(actor: object) -> None:
    raise AssertionError("a note has no handler that could run")


_NOTE = Handler("on_alarm", _note)
_NOTE.uses_sql = True  # its turn begins the transaction first, and waits there for another program's lock


def is_its_own(error: BaseException, room: str) -> bool:
    """Whether a handler failed by itself, so that it counts: not the room, the disk or a neighbour in its turn."""
    if isinstance(error, TurnVoid):
        return voided_its_turn(error)
    if isinstance(error, RoomReset | OutcomeUnknown) and error.room in ("", room):
        return overstayed(error)
    if isinstance(error, (RuntimeClosed, *_OF_THE_DISK)):
        return False
    return not (isinstance(error, RoomsError) and isinstance(error, _OF_THE_ROOM) and error.room in ("", room))


def alarms_of(duties: Duties, transaction: Transaction, actor_class: ActorClass, doors: Doors, limits: Limits) -> Alarms:
    """The alarms of a room that is open, which go off by themselves from now on."""
    alarms = Alarms(
        transaction,
        payload_bytes_max=limits.call_bytes_max,
        now=doors.wall_clock,
        draw=doors.random.getrandbits,
        changed=duties.touched,
        why_none=actor_class.why_no_alarms,
    )
    duties.add(Firing(duties, transaction, actor_class.on_alarm, alarms.running, doors, limits.alarm_retries_max))
    return alarms
