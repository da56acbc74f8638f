"""The waker: has every room in memory when it must do something by itself, and lets it begin.

The catalog says of each room when that is (`wake_at`), in an index; in memory are only the rooms that are open and those that are
due, so that 100,000 rooms with alarms cost nothing, at the start neither. What the catalog says may be too early (then the room
is opened in vain, and its row put right as it closes), but never too late for an acknowledged turn: a turn that makes it earlier
takes the row into its own round.

    frontier   up to this key of (wake_at, class, id) every row of the catalog was looked at; each closed room behind it that is
               still due is in `_next`, like every open one that has something to do
    beyond     the wake_at of the first row after it, for which the waker sleeps
"""

from contextlib import AbstractAsyncContextManager
from heapq import heapify, heappop, heappush
from typing import Protocol

import apsw
import trio

from actors.activation.activation import Activation
from actors.directory.catalog import Catalog, WakeKey, wake_key
from actors.errors import DiskFailed, RoomQuarantined, RoomsError
from actors.limits import Limits
from actors.names import DataDir, RoomName
from actors.system.doors import Doors
from actors.system.wakeup import Wakeup

WAKES_AT_ONCE_MAX = 16  # closed rooms: some 1,000 openings a second, and as many places of those that people use
WAKE_SECONDS_MAX = 10.0  # that a room's duties may hold one of these; they go on without it
BEGIN_ROOMS = 32  # open ones, before others have the loop: 1 ms, or 10 where each has very many alarms due
LOAD_ROOMS = 256  # read from the catalog at once: 1 ms of the loop
LOOK_SECONDS_MAX = 1.0  # of sleep while something is to come: so late a jump of the wall clock is noticed
LOOK_SECONDS_MIN = 0.001  # a timer may end a little before the wall clock says so
HEAP_SPARE_MAX = 64  # entries that count no more, beyond one for each room
AGAIN_SECONDS = 0.05  # until a room that is still due when it has been woken is woken again
PUT_OFF_SECONDS_FIRST = 2.0  # a room whose duty failed by no fault of its own (disk full, lock, failed sync); then doubled
PUT_OFF_SECONDS_MAX = 64.0  # a disk that has space again is noticed soon; one vain opening a minute costs nothing

_FIRST: WakeKey = (float("-inf"), "", "")


class _Seat(Protocol):
    def visit(self, *, patient: bool = False, follows: bool = False) -> AbstractAsyncContextManager[Activation]: ...


class Wakeable(Protocol):
    """What the waker needs of the runtime."""

    doors: Doors
    limits: Limits
    catalog: Catalog
    directory: DataDir

    @property
    def classes(self) -> dict[str, type]: ...
    def seat(self, name: RoomName) -> _Seat: ...
    def seated(self, name: RoomName) -> Activation | None: ...
    def fail(self, error: RoomsError) -> None: ...


class Waker:
    """Of one runtime. Open rooms tell when they are next due, closed ones are found in the catalog."""

    def __init__(self, house: Wakeable) -> None:
        self.alarms_fired = 0
        self.alarms_dead = 0
        self._house = house
        self._next: dict[RoomName, float] = {}  # when each is due, in Unix seconds
        self._heap: list[tuple[float, RoomName]] = []  # at that time or earlier; who has moved is put in again as it comes up
        self._in_heap: dict[RoomName, float] = {}  # the entry of the heap that counts
        self._due: dict[RoomName, None] = {}  # closed rooms that wait to be opened, in order
        self._visiting: set[RoomName] = set()
        self._put_off: dict[RoomName, tuple[float, float]] = {}  # not before this time of trio's; by how many seconds
        self._frontier = _FIRST
        self._beyond: float | None = _FIRST[0]
        self._wakeup = Wakeup()
        self._scope = trio.CancelScope()

    # -- what seats tell it ---------------------------------------------------------------------------------------------------
    def due(self, name: RoomName, at: float | None) -> None:
        """When an open room is next due; None: never, or not before what is under way there has ended."""
        if at is None:
            self._next.pop(name, None)
        else:
            self._next[name] = at
            self._push(name)

    def left(self, name: RoomName, at: float | None) -> None:
        """A room has left memory, and this is what the catalog says of it."""
        if at is not None and (at, *name) <= self._frontier:
            self.due(name, at)
            return
        self._next.pop(name, None)
        if at is None:
            self._put_off.pop(name, None)
        elif self._beyond is None or at < self._beyond:
            self._beyond = at
            self._wakeup.set()

    def put_off(self, name: RoomName) -> None:
        """The room could not do what was due, by no fault of its own: not again before a while, longer each time in a row."""
        now = trio.current_time()
        until, delay = self._put_off.get(name, (now, PUT_OFF_SECONDS_FIRST / 2))
        if until <= now + LOOK_SECONDS_MIN:  # else this is one more failure of the same moment
            delay = min(2 * delay, PUT_OFF_SECONDS_MAX)
            self._put_off[name] = (now + delay, delay)

    def went_well(self, name: RoomName) -> None:
        self._put_off.pop(name, None)

    def alarm_ended(self, name: RoomName, *, dead: bool) -> None:
        self.went_well(name)
        self.alarms_fired += not dead
        self.alarms_dead += dead

    def forget(self, name: RoomName) -> None:
        """The room is no more, or sick."""
        self._next.pop(name, None)
        self._due.pop(name, None)
        self._put_off.pop(name, None)

    # -- its task -------------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until `stop`."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                while True:
                    seconds = self._serve(nursery)
                    await trio.lowlevel.checkpoint()
                    with trio.move_on_after(seconds):
                        await self._wakeup.wait()

    def stop(self) -> None:
        """Begin nothing any more. What has begun goes on, like any call."""
        self._scope.cancel()

    def _serve(self, nursery: trio.Nursery) -> float:
        """Begin all that is due; returns how many seconds there is nothing to do."""
        now = self._house.doors.wall_clock()
        taken = 0
        while True:
            while self._heap and self._heap[0][0] <= now:
                self._take(now)
                taken += 1
                if taken % BEGIN_ROOMS == 0:
                    return 0.0
            while self._due and len(self._visiting) < WAKES_AT_ONCE_MAX:
                self._begin_visit(nursery, now)
            if self._due or self._beyond is None or self._beyond > now:
                break
            self._load(now)
        if self._due:
            return LOOK_SECONDS_MAX  # a visit that ends wakes us
        times = [at for at in (self._heap[0][0] if self._heap else None, self._beyond) if at is not None]
        return min(max(min(times) - now, LOOK_SECONDS_MIN), LOOK_SECONDS_MAX) if times else float("inf")

    def _take(self, now: float) -> None:
        """The first of the heap: let an open room begin; a closed one waits to be opened."""
        at, name = heappop(self._heap)
        if self._in_heap.get(name) != at:
            return
        del self._in_heap[name]
        if name not in self._next or name in self._visiting or name in self._due:
            return
        if self._time_of(name) > now:
            self._push(name)
            return
        activation = self._house.seated(name)
        if activation is None or not activation.duties.may_begin:
            self._due[name] = None
            return
        activation.duties.begin()
        self._push(name, not_before=now + AGAIN_SECONDS)

    def _begin_visit(self, nursery: trio.Nursery, now: float) -> None:
        name = next(iter(self._due))
        del self._due[name]
        if name in self._next and self._time_of(name) <= now:
            self._visiting.add(name)
            nursery.start_soon(self._visit, name)

    async def _visit(self, name: RoomName) -> None:
        """Open a room, let it do what is due, and let it go again if nobody else needs it."""
        house = self._house
        try:
            if not self._is_there(name):
                self.forget(name)
                return
            was_open = house.seated(name) is not None
            async with house.seat(name).visit(patient=True, follows=True) as activation:  # deleted meanwhile: not made anew
                activation.duties.begin()
                with trio.move_on_after(WAKE_SECONDS_MAX):
                    await activation.duties.until_settled()
            soon = house.doors.wall_clock() + house.limits.idle_seconds_max
            if not was_open and activation.idle and self._next.get(name, soon) >= soon:
                activation.leave()
        except RoomQuarantined:
            self.forget(name)  # until it is recovered, and the runtime started again
        except RoomsError:
            self.put_off(name)
        finally:
            self._visiting.discard(name)
            self._push(name, not_before=house.doors.wall_clock() + AGAIN_SECONDS)
            self._wakeup.set()

    def _is_there(self, name: RoomName) -> bool:
        """No room is born by being woken: the row may be of one that was deleted meanwhile, or never came to be."""
        house = self._house
        entry = house.catalog.get(name)
        if entry is None or entry.sick is not None:
            return False
        return entry.proven or house.seated(name) is not None or house.doors.disk.exists(house.directory.room(name))

    def _load(self, now: float) -> None:
        """Read on in the catalog, as far as rooms are due."""
        house, classes = self._house, self._house.classes
        try:
            entries = house.catalog.to_wake(self._frontier, LOAD_ROOMS)
        except apsw.BusyError:  # another program holds the catalog
            self._beyond = now + LOOK_SECONDS_MAX
            return
        except apsw.Error as error:
            self._beyond = None
            house.fail(DiskFailed(f"the catalog of {house.directory.path} could not be read ({error}). The runtime stopped."))
            return
        self._beyond = None
        for entry in entries:
            key = wake_key(entry)
            self._beyond = key[0]
            if key[0] > now:
                return
            self._frontier, name = key, entry.name
            if name.actor in classes and entry.sick is None and name not in self._next and house.seated(name) is None:
                self.due(name, key[0])

    # -- its memory -----------------------------------------------------------------------------------------------------------
    def _time_of(self, name: RoomName) -> float:
        at = self._next[name]
        off = self._put_off.get(name)
        if off is not None and (seconds := off[0] - trio.current_time()) > 0:
            return max(at, self._house.doors.wall_clock() + seconds)
        return at

    def _push(self, name: RoomName, *, not_before: float = float("-inf")) -> None:
        """Into the heap, unless it comes up there before."""
        if name not in self._next:
            return
        at = max(self._time_of(name), not_before)
        known = self._in_heap.get(name)
        if known is not None and known <= at:
            return
        self._in_heap[name] = at
        heappush(self._heap, (at, name))
        if self._heap[0][1] == name:
            self._wakeup.set()
        if len(self._heap) > 2 * len(self._next) + HEAP_SPARE_MAX:  # of rooms that have left and of times that count no more
            self._in_heap = {room: known for room, known in self._in_heap.items() if room in self._next}
            self._heap = [(known, room) for room, known in self._in_heap.items()]
            heapify(self._heap)
