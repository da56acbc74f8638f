"""Who is in memory: a bounded number of rooms; the least recently used idle one makes room, and idle ones leave by themselves.

Places are handed over in the order of waiting. Where more rooms are in use than there are places, they take turns of a quarter
of a second: when each went as soon as it had a moment's rest, 160 rooms in use through 38 places posted 550 times a second.

A room that another room's handler calls comes in beyond the places where nobody can go: those who are in may all wait for it.
"""

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

import trio

from actors.system.wakeup import Wakeup

_IDLE_SECONDS_MIN = 0.02  # a room that was called more recently is likely to be called again at once
_STAY_SECONDS_MIN = 0.25  # of a room in use: closing and opening cost 2 ms, and one caller posts 30 times meanwhile
_PATIENCE_SECONDS = 0.1  # how long a room waits for an idle one to go before one in use must
_OUTSIDE_SECONDS = 2.0  # between two looks: somebody with an editor is not in a hurry
_OUTSIDE_AT_ONCE = 200  # rooms, 0.1 ms of the loop
_SHED_AT_ONCE = 8  # 40 descriptors
_LOOK_SECONDS = 0.01  # while rooms wait: those that have become idle or stayed long enough do not say so
_REST_SECONDS = 1.0  # a room that is called every second or more often keeps its pages
_LOOKS_PER_PERIOD = 4  # an idle room leaves at most a quarter of `idle_seconds_max` late


class Stay(Protocol):
    @property
    def idle(self) -> bool: ...
    @property
    def may_go(self) -> bool: ...
    def leave(self, *, hurried: bool = False) -> None: ...
    def rest(self) -> None: ...
    def look_outside(self) -> bool: ...


class Resident(Protocol):
    """A seat."""

    @property
    def activation(self) -> Stay | None: ...
    @property
    def awaited(self) -> bool:
        """The handler of a room waits for it. Asked only of those that wait for a place."""
        ...


S = TypeVar("S", bound=Resident)


class Residents(Generic[S]):
    def __init__(self, places: int) -> None:
        self._free = trio.Semaphore(places)
        self._used_at: OrderedDict[S, float] = OrderedDict()  # least recently used first
        self._since: dict[S, float] = {}  # longest stay first
        self._waiting: dict[S, float] = {}  # for a place, longest first
        self._beyond = 0  # places more than there are
        self._urged: dict[S, trio.CancelScope] = {}  # ends a wait for a place
        self._asked: set[S] = set()  # to go, and not gone yet
        self._wanted = Wakeup()
        self._left = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._used_at)

    @property
    def crowded(self) -> bool:
        """Rooms wait for a place."""
        return bool(self._waiting)

    async def enter(self, resident: S) -> None:
        """Wait for a place."""
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            self._waiting[resident] = trio.current_time()
            try:
                self._make_room()
                self._wanted.set()
                with trio.CancelScope() as scope:
                    self._urged[resident] = scope
                    await self._free.acquire()
                if scope.cancelled_caught:
                    self._beyond += 1
            finally:
                del self._waiting[resident], self._urged[resident]
        self._used_at[resident] = self._since[resident] = trio.current_time()

    def leave(self, resident: S) -> None:
        del self._used_at[resident], self._since[resident]
        self._asked.discard(resident)
        if self._beyond:
            self._beyond -= 1
        else:
            self._free.release()
        self._left.unpark_all()

    def used(self, resident: S) -> None:
        self._used_at[resident] = trio.current_time()
        self._used_at.move_to_end(resident)

    def rested(self) -> None:
        """A room has become idle."""
        if self._waiting or self._beyond:
            self._make_room()

    def shed(self) -> None:
        """Ask some idle rooms to go, the least recently used first: what they hold is needed elsewhere."""
        asked = 0
        for resident in self._used_at:
            if resident.activation is not None and resident.activation.idle:
                self._asked.add(resident)
                resident.activation.leave(hurried=True)
                asked += 1
                if asked == _SHED_AT_ONCE:
                    return

    async def usher(self) -> None:
        """Look again while rooms wait; runs until cancelled."""
        while True:
            await self._wanted.wait()
            while self._waiting or self._beyond:
                await trio.sleep(_LOOK_SECONDS)
                self._make_room()
                self._let_in_beyond()

    def _make_room(self) -> None:
        """Ask as many rooms to go as wait, or are in beyond the places."""
        now = trio.current_time()
        while len(self._asked) < len(self._waiting) + self._beyond:
            resident = self._next_idle(now) or self._next_in_use(now)
            if resident is None or resident.activation is None:
                return
            self._asked.add(resident)
            resident.activation.leave(hurried=True)

    def _let_in_beyond(self) -> None:
        """Where nobody has been asked to go, whoever is awaited by a room would wait for ever."""
        if self._asked:
            return
        before = trio.current_time() - _PATIENCE_SECONDS
        for resident, since in self._waiting.items():
            if since > before:
                return
            if resident.awaited:
                self._urged[resident].cancel()

    def _next_idle(self, now: float) -> S | None:
        for resident, used_at in self._used_at.items():
            if used_at > now - _IDLE_SECONDS_MIN:
                return None
            if resident.activation is not None and resident.activation.idle:
                return resident
        return None

    def _next_in_use(self, now: float) -> S | None:
        if not self._waiting or next(iter(self._waiting.values())) > now - _PATIENCE_SECONDS:
            return None
        for resident, since in self._since.items():
            if since > now - _STAY_SECONDS_MIN:
                return None
            if resident.activation is not None and resident.activation.may_go:
                return resident
        return None

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

    async def look_outside(self) -> None:
        """Look every so often whether another program has written to a room that nobody calls."""
        while True:
            await trio.sleep(_OUTSIDE_SECONDS)
            for number, resident in enumerate(list(self._used_at), 1):
                if resident.activation is not None and resident.activation.idle:
                    resident.activation.look_outside()
                if number % _OUTSIDE_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()

    async def close_all(self) -> None:
        """Ask everybody to leave and wait until they have. Who is only coming sees by itself that the runtime stops."""
        for resident in list(self._used_at):
            if resident.activation is not None:
                resident.activation.leave()
        while self._used_at:
            await self._left.park()
