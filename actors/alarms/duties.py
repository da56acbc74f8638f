"""Duties: what a room has to do by itself, without being called (alarms that are due, tells that wait to be delivered).

Each duty knows from the room's own tables when it is next due. After a commit that may have changed that, the earliest time goes
to the catalog, in the round of that very commit, and to the runtime's waker, which has the room in memory by then and lets the
duty begin.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import apsw
import trio

from actors.calls.envelope import Envelope
from actors.calls.mailbox import Mailbox
from actors.directory.quarantine import is_damage


class Duty(Protocol):
    """One of them, in one activation. On the loop, between turns; what it writes it writes in calls of the room."""

    @property
    def next_at(self) -> float | None:
        """Unix seconds at which it must begin; in the past: now. None: never, as of the last look.

        Of what is under way it tells nothing until that has ended (else it would be begun again), except after `end`.
        """
        ...

    @property
    def busy(self) -> bool:
        """Something that `begin` has begun is under way."""
        ...

    def look(self) -> None:
        """Read from the committed state when it is next due. Raises apsw.Error."""
        ...

    def begin(self, now: float) -> None:
        """It is due: put calls into the room's mailbox (`Duties.call_itself`), or start a task. Raises apsw.Error."""
        ...

    def end(self) -> None:
        """The activation ends, in whatever state: begin nothing any more."""
        ...


class Dutiful(Protocol):
    """What duties need of the activation."""

    @property
    def may_begin(self) -> bool: ...
    @property
    def sound(self) -> bool: ...
    @property
    def lent(self) -> bool:
        """An offloaded call has the connection."""
        ...

    def wake(self) -> None: ...
    def now(self) -> float: ...
    def damaged(self, error: apsw.Error) -> None: ...
    def break_(self, error: BaseException) -> None: ...


class Witnesses(Protocol):
    """What they need of the room's seat."""

    mailbox: Mailbox

    def due(self, at: float | None) -> None:
        """When the room next has something to do by itself; the catalog says so before the reply to the turn that made it so."""
        ...

    def put_off(self) -> None:
        """It could not do what was due, by no fault of its own."""
        ...

    def alarm_ended(self, *, dead: bool) -> None:
        """One went off, or was given up."""
        ...


class Duties:
    """Those of one activation. `next_at`: when the first of them is due, as of the last look."""

    def __init__(self, home: Dutiful, seat: Witnesses) -> None:
        self.changed = True  # since the last look a call has touched what they are told by
        self.next_at: float | None = None
        self.ended = False
        self.seat = seat
        self._home = home
        self._told = False
        self._duties: list[Duty] = []
        self._settled: trio.lowlevel.ParkingLot | None = None

    def add(self, duty: Duty) -> None:
        self._duties.append(duty)

    # -- when they are due ----------------------------------------------------------------------------------------------------
    def touched(self) -> None:
        """The running call changes what one of them is told by; looked at after its commit."""
        self.changed = True

    def look(self) -> None:
        """Find out when the first is due, and tell. 8 µs for each duty whose table the room has."""
        # Where a sync failed nothing is read any more (rule 21), and the next opening finds what is due; where the connection is
        # lent, it is read as soon as that is over.
        if not self._home.sound or self._home.lent:
            self.changed = True
            return
        with self._reading():
            for duty in self._duties:
                duty.look()
            self.changed = False
            self._tell()

    def _tell(self) -> None:
        next_at = min((at for duty in self._duties if (at := duty.next_at) is not None), default=None)
        if next_at != self.next_at or not self._told:
            self._told, self.next_at = True, next_at
            self.seat.due(next_at)

    @property
    def may_begin(self) -> bool:
        """They begin only in a room that stays."""
        return self._home.may_begin and not (self._home.lent or self.ended)

    def begin(self) -> None:
        """The waker has come: let those begin that are due."""
        if not self.may_begin:
            return
        now = self._home.now()
        with self._reading():
            for duty in self._duties:
                at = duty.next_at
                if at is not None and at <= now:
                    duty.begin(now)
            self._tell()

    @contextmanager
    def _reading(self) -> Generator[None]:
        try:
            yield
        except apsw.BusyError:  # another program is at work on the file
            self.changed = True
            self.seat.put_off()
        except apsw.Error as error:
            if is_damage(error):
                self._home.damaged(error)
            else:
                self._home.break_(error)

    # -- what they do -----------------------------------------------------------------------------------------------------------
    def call_itself(self, envelope: Envelope) -> None:
        """Put a call of the runtime's own into the room's mailbox. Whoever does bounds how many there are."""
        self.seat.mailbox.put_own(envelope)
        self._home.wake()

    @property
    def busy(self) -> bool:
        return any(duty.busy for duty in self._duties)

    def settled(self) -> None:
        """Something that was begun has ended."""
        if self._settled is not None and not self.busy:
            self._settled.unpark_all()

    async def until_settled(self) -> None:
        """Wait until nothing that was begun is under way."""
        if self._settled is None:
            self._settled = trio.lowlevel.ParkingLot()
        while self.busy and not self.ended:
            await self._settled.park()

    # -- their end --------------------------------------------------------------------------------------------------------------
    def end(self) -> None:
        """The activation ends: what is under way counts no more, so that `next_at` is all that the closed room has to do.

        If that cannot be found out, `changed` stays True.
        """
        self.ended = self.changed = True
        for duty in self._duties:
            duty.end()
        if self._settled is not None:
            self._settled.unpark_all()
        self.look()

    def cut(self) -> None:
        """Nobody needs them any more: cut their circles (see Activation.end). The seat stays: calls that they have put into its
        mailbox may be refused, or run, after this stay."""
        self._duties.clear()
        del self._home
