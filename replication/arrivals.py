"""Arrivals: how far the replica is with each room, and who waits for it to come so far. On the loop."""

import math
from collections import deque
from collections.abc import Callable, Iterable

import trio

from actors import Position, ReplicationLate, RoomName
from replication.candidates import Candidate
from replication.collector import Collector, Dirty
from replication.standing import Mark, Moment
from replication.status import Tally

JUST_NOW_SECONDS = 1e-9  # the age of a change of this very moment: not none


class Arrivals:
    """Of one replica. The replicator keeps it; readers ask and wait."""

    def __init__(self, tally: Tally) -> None:
        self.marks: dict[RoomName, Mark | None] = {}  # as the file has them; believed until the next error
        self.compared = False  # the candidates of the start are known
        self.checked = False  # the same, since the file was last opened
        self.candidates: deque[Candidate] = deque()  # those that the collector has not got yet; about 200 bytes each
        self.generation = ""  # of the file; "" before it was first opened
        self.collector: Collector | None = None  # while the replicator runs
        self._tally = tally
        self._waiting = trio.lowlevel.ParkingLot()  # for rooms of all kinds
        self._waiting_for_room: dict[RoomName, trio.lowlevel.ParkingLot] = {}

    def tell(self, rooms: Iterable[RoomName] | None = None) -> None:
        """Something has arrived of these rooms; None: of any, or nothing will for a while. Who waits for another room sleeps on:
        of 64 readers a batch is news for three."""
        self._waiting.unpark_all()
        if self._waiting_for_room:
            for name in list(self._waiting_for_room) if rooms is None else rooms:
                if (lot := self._waiting_for_room.get(name)) is not None:
                    lot.unpark_all()

    async def changed(self) -> None:
        """Wait for the next time that it is told."""
        await self._waiting.park()

    # -- for readers ------------------------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        return self._tally.name

    @property
    def stuck(self) -> str | None:
        """Why nothing arrives in the replica now; None while it is live."""
        return None if self._tally.state == "live" else f"{self._tally.state}, {self._tally.last_error or 'just begun'}"

    @property
    def moment(self) -> Moment:
        """What was last written. A file that stands before it is another one, which somebody has put in its place."""
        return Moment(self.generation, self._tally.last_batch)

    def mark(self, name: RoomName) -> Mark | None:
        """Where the replica stands with a room, if that is known here."""
        return self.marks.get(name)

    @property
    def whole(self) -> bool:
        """Whether the replica has every room as new as when its file was opened, or newer: a power cut may have rewound it."""
        if self.collector is None or not self.checked or self.candidates:
            return False
        return self.collector.all_known

    @property
    def lag_seconds(self) -> float:
        """The age of the oldest change that is not in the replica."""
        if self.collector is None or not self.compared or self.candidates:
            return math.inf
        return max(0.0, trio.current_time() - self.collector.oldest)

    def staleness(self, name: RoomName) -> float:
        """How many seconds ago the room may have changed without the replica knowing; 0 only if it has everything."""
        if self.collector is None or not self.compared or self.candidates:
            return math.inf
        since = self.collector.dirty_since(name)
        return 0.0 if since is None else max(trio.current_time() - since, JUST_NOW_SECONDS)

    async def reached(self, name: RoomName, position: Position, deadline: float) -> bool:
        """Wait until the replica has the room at this position or later; a batch is cut at once. False: not by the deadline, or
        nothing arrives at all now."""
        if self.has(name, position):
            return True
        collector = self.collector
        if collector is None:
            return False
        collector.readers += 1
        collector.hurry()
        try:
            with trio.move_on_at(deadline):
                while self.stuck is None and name not in self._tally.parked:
                    await self._waiting_for_room.setdefault(name, trio.lowlevel.ParkingLot()).park()
                    if self.has(name, position):
                        return True
            return False
        finally:
            collector.readers -= 1
            if not self._waiting_for_room.get(name, True):  # the last one of them
                del self._waiting_for_room[name]

    def has(self, name: RoomName, position: Position) -> bool:
        """Whether the replica has the room at this position or later, as far as is known here."""
        mark = self.marks.get(name)
        if mark is not None:
            return mark.position >= position
        return self.staleness(name) == 0.0  # it is not among those that are behind

    async def caught_up(
        self,
        timeout: float,  # noqa: ASYNC109 (its error says more)
        *,
        parked: bool,
        of: Callable[[RoomName], bool] = lambda _: True,
    ) -> None:
        """Wait until everything committed so far is in the replica, but for rooms that are `parked` unless these count, too.

        `of`: the rooms that matter; one that the replica cannot take holds up no question about others.

        Raises:
          ReplicationLate: not within `timeout` seconds; says how far behind, and why.
        """
        collector = self.collector
        if collector is None:
            raise ReplicationLate(f"replica {self.name}: the runtime is not running, so nothing is replicated.")
        tick = collector.tick

        def late_rooms() -> list[Dirty]:
            late = [dirty for dirty in collector.late(tick) if of(dirty.name)]
            return late if parked else [dirty for dirty in late if dirty.name not in self._tally.parked]

        collector.readers += 1
        collector.hurry()
        try:
            with trio.move_on_after(timeout):
                while not self.compared or self.candidates or late_rooms():
                    await self._waiting.park()
                return
        finally:
            collector.readers -= 1
        raise self._late(late_rooms(), timeout)

    def _late(self, late: list[Dirty], timeout: float) -> ReplicationLate:
        rooms = ", ".join(str(dirty.name) for dirty in late[:3]) + (", …" if len(late) > 3 else "")
        oldest = max((trio.current_time() - dirty.since for dirty in late), default=0.0)
        count = len(late) + len(self.candidates)
        what = f"{count} rooms behind ({rooms}), the oldest change {oldest:.1f} s old" if count else "not opened yet"
        cause = next((dirty.trouble for dirty in late if dirty.trouble), None) or self._tally.last_error or "none"
        return ReplicationLate(f"replica {self.name} ({self._tally.state}) after {timeout:g} s: {what}; last error: {cause}")
