"""Who is in memory: a bounded number of rooms; the least recently used idle one makes room, and idle ones leave by themselves.

Places are handed over in the order of waiting. Where more rooms are busy than there are places, busy ones take turns.
"""

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

import trio

_PATIENCE_SECONDS = 0.25  # how long a room waits for one to become idle before a busy one must go; closing and opening cost 2 ms
_REST_SECONDS = 1.0  # a room that is called every second or more often keeps its pages
_LOOKS_PER_PERIOD = 4  # an idle room leaves at most a quarter of `idle_seconds_max` late


class Stay(Protocol):
    @property
    def idle(self) -> bool: ...
    @property
    def may_go(self) -> bool: ...
    def leave(self, *, hurried: bool = False) -> None: ...
    def rest(self) -> None: ...


class Resident(Protocol):
    """A seat."""

    @property
    def activation(self) -> Stay | None: ...


S = TypeVar("S", bound=Resident)


class Residents(Generic[S]):
    def __init__(self, places: int) -> None:
        self._free = trio.Semaphore(places)
        self._used_at: OrderedDict[S, float] = OrderedDict()  # least recently used first
        self._waiting = 0  # rooms that wait for a place
        self._left = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._used_at)

    async def enter(self, resident: S) -> None:
        """Wait for a place."""
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            self._waiting += 1
            try:
                await self._wait()
            finally:
                self._waiting -= 1
        self._used_at[resident] = trio.current_time()

    async def _wait(self) -> None:
        self._make_room()
        while True:
            with trio.move_on_after(_PATIENCE_SECONDS):
                await self._free.acquire()
                return
            self._make_room(busy=True)

    def leave(self, resident: S) -> None:
        del self._used_at[resident]
        self._free.release()
        self._left.unpark_all()

    def used(self, resident: S) -> None:
        self._used_at[resident] = trio.current_time()
        self._used_at.move_to_end(resident)

    def rested(self) -> None:
        """A room has become idle."""
        if self._waiting:
            self._make_room()

    def _make_room(self, *, busy: bool = False) -> None:
        """Ask the least recently used idle room to hibernate; where none is idle, the next that becomes so, or now a busy one."""
        for resident in self._used_at:
            activation = resident.activation
            if activation is not None and (activation.idle or (busy and activation.may_go)):
                activation.leave(hurried=True)
                return

    @property
    def crowded(self) -> bool:
        """Rooms wait for a place."""
        return self._waiting > 0

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

    async def rest_idle(self) -> None:
        """Let rooms that were not called for a second give back the memory that they need only while they work."""
        while True:
            await trio.sleep(_REST_SECONDS)
            now = trio.current_time()
            for resident, used_at in reversed(list(self._used_at.items())):
                if used_at <= now - 2 * _REST_SECONDS:
                    break  # this one has rested since the last look, and so have all before it
                if used_at <= now - _REST_SECONDS and resident.activation is not None and resident.activation.idle:
                    resident.activation.rest()

    async def close_all(self) -> None:
        """Ask everybody to leave and wait until they have. Who is only coming sees by itself that the runtime stops."""
        for resident in list(self._used_at):
            if resident.activation is not None:
                resident.activation.leave()
        while self._used_at:
            await self._left.park()
