"""Reads under way in a runtime: bounded for each room and in all; a stop waits for them, and at its bound cuts them."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import trio

from actors.errors import Overloaded
from actors.limits import Limits
from actors.names import RoomName


class UnderWay:
    """They wait for a reader of a replica, for a write to arrive there, for their room to open, or at its gate."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._scopes: dict[trio.CancelScope, None] = {}
        self._of_rooms: dict[RoomName, int] = {}
        self._over = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._scopes)

    @contextmanager
    def one(self, room: RoomName | None = None, deadline: float = math.inf) -> Generator[None]:
        """Around a read (`room` None: of many); what follows is reached only by one that was cut, or not over by `deadline`, of
        trio's clock. Raises Overloaded, at once."""
        of_rooms = self._of_rooms
        count = 0 if room is None else of_rooms.get(room, 0)
        if count >= self._limits.room_reads_max or len(self._scopes) >= self._limits.reads_max:
            raise self._refusal(room, count)
        scope = trio.CancelScope(deadline=deadline)
        self._scopes[scope] = None
        if room is not None:
            of_rooms[room] = count + 1
        try:
            with scope:
                yield
        finally:
            del self._scopes[scope]
            if room is not None:
                left = of_rooms[room] - 1
                if left:
                    of_rooms[room] = left
                else:
                    del of_rooms[room]
            if not self._scopes:
                self._over.unpark_all()

    def cut(self) -> int:
        """Returns how many there were."""
        for scope in self._scopes:
            scope.cancel()
        return len(self._scopes)

    async def until_none(self) -> None:
        while self._scopes:
            await self._over.park()

    def _refusal(self, room: RoomName | None, count: int) -> Overloaded:
        limits = self._limits
        where = "reads across rooms" if room is None else str(room)
        if room is not None and count >= limits.room_reads_max:
            what = f"{count:,} reads of this room are under way; room_reads_max is {limits.room_reads_max:,}"
        else:
            what = f"{len(self._scopes):,} reads are under way in this runtime; reads_max is {limits.reads_max:,}"
        return Overloaded(
            f"{where}: {what}. Nothing ran; try again later, a little longer each time.", room="" if room is None else str(room)
        )
