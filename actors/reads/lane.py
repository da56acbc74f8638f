"""The read lane: a room's own answer to a read, past its mailbox and without its actor.

    in memory             on the loop, between two turns, on the room's own connection; the answer waits at the gate like a reply
    at rest, closed well  in a worker thread, from the file, which nobody opens as a room: no place, no actor, no sync
    anything else         the room is opened first (unclean after a crash, to be migrated, never called): then as in memory

Where two reads of a method in a row were slow on the loop, the next ones go to a worker thread, on connections of their own.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apsw
import trio

from actors.activation.activation import Activation
from actors.activation.seat import Seat
from actors.activation.source import noticing_damage
from actors.directory.catalog import Catalog
from actors.directory.quarantine import is_damage
from actors.errors import RoomUnfit
from actors.follower import Commit, Position
from actors.limits import Limits
from actors.names import DataDir, RoomName
from actors.reads.read import IN_ROOM, Answer, ReadCall
from actors.reads.read_scope import alone, shown
from actors.statements.fulltext import NotIndexed, installed
from actors.statements.sql import SQL, internal
from actors.storage.storage import beside
from actors.system.doors import Doors
from actors.system.threads import Brevity
from actors.tables import capture

LANES_MAX = 4  # files of rooms at rest that are read at once: an outage of the replica must not open 50,000
UNREADABLE = (
    OSError,
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ReadOnlyError,
)


class Seats(Protocol):
    """What the lane needs of the runtime."""

    doors: Doors
    catalog: Catalog
    directory: DataDir
    limits: Limits

    def seat(self, name: RoomName) -> Seat: ...
    def seated(self, name: RoomName) -> Activation | None: ...


class Lane:
    """Of one runtime."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._limiter: trio.CapacityLimiter | None = None
        # How the reads of each class fared on the loop.
        self._brevities = defaultdict[tuple[str, str], Brevity](lambda: Brevity(forgiving=True))

    def acknowledged(self, name: RoomName) -> Position | None:
        """Where the newest command that has returned left the room; None: it must be asked itself."""
        activation = self._seats.seated(name)
        if activation is not None:
            return None if activation.broken else activation.durable
        entry = self._seats.catalog.get(name)
        return None if entry is None or entry.active or entry.sick is not None else entry.position

    def at_hand(self, call: ReadCall) -> bool:
        """Whether the room would answer on the loop at once: it is in memory, between two turns, and such reads are brief."""
        activation = self._seats.seated(call.name)
        if activation is None or not activation.sound or activation.storage.transaction.running:
            return False
        brevity = self._brevities.get((call.name.actor, call.handler.name))
        return brevity is None or not brevity.hops_left

    async def read(self, call: ReadCall) -> Answer[Any]:
        """Run a read on the room itself.

        Raises:
          What the read raises, StatementRefused and DeadlineExceeded among it; CallRefused: the room cannot be opened.
          OutcomeUnknown: what it saw did not become durable; ask again.
        """
        activation = self._seats.seated(call.name)
        if activation is None:
            answer = await self._at_rest(call)
            if answer is not None:
                return answer
        brevity = self._brevities[call.name.actor, call.handler.name]
        seat = self._seats.seat(call.name)
        async with seat.visit(patient=True) as activation:
            # A handler that asks its own room is in the middle of a slice, which ends as it waits for the thread.
            # An offloaded one has the connection in its thread.
            if not activation.storage.transaction.running and brevity.on_loop():
                saw, commit = self._between_turns(activation, call, brevity)
            else:
                saw, commit = await self._in_thread(seat, activation, call)
        await commit.durable()
        return saw.answer()

    def _between_turns(self, activation: Activation, call: ReadCall, brevity: Brevity) -> "tuple[_Saw, Commit]":
        stopwatch = self._seats.doors.stopwatch
        transaction = activation.storage.transaction
        connection = transaction.connection
        began = stopwatch()
        try:
            with noticing_damage(activation):
                internal(connection, "BEGIN")
                try:
                    _, seq = capture.bounds(connection)
                    commit = activation.commit_now(reading=True)
                    position = Position(transaction.epoch, seq)
                    with shown(transaction, lambda: transaction.schema.fulltext) as sql:
                        return _saw(call, sql, position), commit
                finally:
                    if connection.in_transaction:
                        internal(connection, "COMMIT")
        finally:
            brevity.took(stopwatch() - began)

    async def _in_thread(self, seat: Seat, activation: Activation, call: ReadCall) -> "tuple[_Saw, Commit]":
        async with seat.lock:
            _still_sound(activation)  # it may have waited for a checkpoint
            with noticing_damage(activation):
                saw = await self._seats.doors.threads.run(self._from_file, call, activation.storage.path)
                _still_sound(activation)
                return saw, activation.commit_now()  # after the reading: it covers all that was seen (rule 26)

    async def _at_rest(self, call: ReadCall) -> Answer[Any] | None:
        """From the file of a room that is not in memory; None if it must be opened for that: never called, not closed in order,
        to be migrated, damaged, or changed by another program since."""
        entry = self._seats.catalog.get(call.name)
        if entry is None or not entry.at_rest:
            return None
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(LANES_MAX)
        seat = self._seats.seat(call.name)
        with seat.borrowed():
            if entry.version != len(seat.actor_class.migrations):
                return None
            async with self._limiter, seat.lock:
                if seat.activation is not None or self._seats.catalog.get(call.name) != entry:
                    return None
                path = self._seats.directory.room(call.name)
                try:
                    saw = await self._seats.doors.threads.run(self._from_file, call, path)
                except UNREADABLE:
                    return None  # the opening says what is wrong with it
        if isinstance(saw.error, NotIndexed):  # declared since the room was last open: the opening makes the index
            return None
        return saw.answer() if saw.position == entry.position else None

    def _from_file(self, call: ReadCall, path: Path) -> "_Saw":
        """On a connection of its own. Blocks; the loop may commit meanwhile."""
        with beside(self._seats.doors.disk, path) as connection:
            statements = alone(connection, str(call.name), self._seats.limits, self._seats.doors.stopwatch)
            position = capture.position(connection)
            with shown(statements, lambda: installed(connection)) as sql:
                return _saw(call, sql, position)


@dataclass(frozen=True, slots=True)
class _Saw:
    """What a read saw: its result, or the error that it raised about it; both wait at the gate (rule 2)."""

    position: Position
    value: Any = None
    error: Exception | None = None

    def answer(self) -> Answer[Any]:
        """Raises what the read raised."""
        if self.error is not None:
            raise self.error
        return Answer(self.value, self.position, IN_ROOM)


def _saw(call: ReadCall, sql: SQL, position: Position) -> _Saw:
    """Run the read. Raises what the file is the cause of, and not the read's own question."""
    try:
        return _Saw(position, call(sql))
    except Exception as error:
        if is_damage(error) or isinstance(error, apsw.IOError | apsw.BusyError):
            raise
        return _Saw(position, error=error)  # its caller's


def _still_sound(activation: Activation) -> None:
    """Raises RoomUnfit: the room broke or was found damaged while its read waited or ran elsewhere."""
    if not activation.sound:
        room = activation.storage.transaction.room
        raise RoomUnfit(f"{room}: the room is being put right or put away. Nothing was written; ask again.", room=room)
