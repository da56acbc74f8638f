"""Who is in memory: a bounded number of rooms; the least recently used idle one makes room, and idle ones leave by themselves."""

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

import trio

_LOOKS_PER_PERIOD = 4  # an idle room leaves at most a quarter of `idle_seconds_max` late


class Stay(Protocol):
    @property
    def idle(self) -> bool: ...
    def leave(self) -> None: ...


class Resident(Protocol):
    """A seat."""

    @property
    def activation(self) -> Stay | None: ...


S = TypeVar("S", bound=Resident)


class Residents(Generic[S]):
    def __init__(self, places: int) -> None:
        self._places = places
        self._used_at: OrderedDict[S, float] = OrderedDict()  # least recently used first
        self._left = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._used_at)

    async def enter(self, resident: S) -> None:
        """Wait for a place."""
        while len(self._used_at) >= self._places:
            self._make_room()
            await self._left.park()
        self._used_at[resident] = trio.current_time()

    def leave(self, resident: S) -> None:
        del self._used_at[resident]
        self._left.unpark()

    def used(self, resident: S) -> None:
        self._used_at[resident] = trio.current_time()
        self._used_at.move_to_end(resident)

    def rested(self) -> None:
        """A room has become idle."""
        if self._left:
            self._make_room()

    def _make_room(self) -> None:
        """Ask the least recently used idle room to hibernate; where none is idle, the next that becomes so."""
        for resident in self._used_at:
            activation = resident.activation
            if activation is not None and activation.idle:
                activation.leave()
                return

    async def hibernate_idle(self, idle_seconds_max: float) -> None:
        """Ask rooms that nobody has called for so long to hibernate; runs until cancelled."""
        while True:
            await trio.sleep(idle_seconds_max / _LOOKS_PER_PERIOD)
            before = trio.current_time() - idle_seconds_max
            for resident, used_at in list(self._used_at.items()):
                if used_at > before:
                    break
                if resident.activation is not None and resident.activation.idle:
                    resident.activation.leave()

    async def close_all(self) -> None:
        """Ask everybody to leave and wait until they have."""
        while self._used_at:
            for resident in list(self._used_at):
                if resident.activation is not None:
                    resident.activation.leave()
            await self._left.park()
