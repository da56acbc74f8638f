"""Duties: what a room has to do by itself, without being called (alarms that are due, tells that wait to be delivered).

Each duty knows from the room's own tables when it is next due. After a commit that may have changed that, the earliest time goes
to the catalog, in the round of that very commit, and to the runtime's waker, which has the room in memory by then and lets the
duty begin.
"""

from collections.abc import Callable
from typing import Protocol

import trio


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
        """It is due: put calls into the room's mailbox, or start a task. Raises apsw.Error."""
        ...

    def end(self) -> None:
        """The activation ends, in whatever state: begin nothing any more."""
        ...


class Duties:
    """Those of one activation. `next_at`: when the first of them is due, as of the last look."""

    def __init__(self, tell: Callable[[float | None], None]) -> None:
        self.changed = True  # since the last look, a call has touched something that they are told by
        self.next_at: float | None = None
        self.ended = False
        self._tell = tell
        self._told = False
        self._duties: list[Duty] = []
        self._settled: trio.lowlevel.ParkingLot | None = None

    def add(self, duty: Duty) -> None:
        self._duties.append(duty)

    def look(self) -> None:
        """Find out when the first is due, and tell. 3 µs for each duty whose table the room has. Raises apsw.Error."""
        for duty in self._duties:
            duty.look()
        self.changed = False
        self.tell()

    def tell(self) -> None:
        """Of what is under way something has ended, or begun."""
        next_at = min((at for duty in self._duties if (at := duty.next_at) is not None), default=None)
        if next_at != self.next_at or not self._told:
            self._told, self.next_at = True, next_at
            self._tell(next_at)

    def begin(self, now: float) -> None:
        """Let those begin that are due. Raises apsw.Error."""
        if self.ended:
            return
        for duty in self._duties:
            at = duty.next_at
            if at is not None and at <= now:
                duty.begin(now)
        self.tell()

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

    def end(self) -> None:
        """The activation ends: what is under way counts no more, so that `next_at` is all that the closed room has to do."""
        self.ended = self.changed = True
        for duty in self._duties:
            duty.end()
        if self._settled is not None:
            self._settled.unpark_all()
