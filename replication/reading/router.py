"""The router: where a read runs. A replica that is fresh enough if there is one, otherwise the room.

acknowledged, seconds, any ─▶ breaker ─▶ is the room's mark there? ─▶ readers ─▶ answer
                                 │            └── wait for this write ──┘  │
                                 └──────────▶ the room's read lane ◀───────┘
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Protocol

import apsw
import trio

from actors import Answer, Doors, Freshness, Limits, Overloaded, Position, ReadCall, ReplicationLate, RoomName
from actors.calls.handlers import Handler
from actors.reads.read import IN_ROOM
from replication.arrivals import Arrivals
from replication.reading.across import RoomIds, Run
from replication.reading.bookmark import Bookmark
from replication.reading.breaker import Breaker
from replication.reading.reader import Reader, Seen, Stale, Unanswerable
from replication.reading.readers import HERE_SECONDS_MAX, NoAnswer, Readers
from replication.reading.scoped import FILE_ERRORS
from replication.reading.status import ReadStatus, RouteStatus
from replication.replica import ReplicaDamaged, ReplicaGone
from replication.replicator import Replicator

WAIT_SECONDS_MAX = 0.15  # for one write to arrive in a replica: three windows; the room answers what takes longer
ALIKE_SECONDS = 0.05  # of lag, a window: replicas that differ by less are as good as each other
ACROSS_SECONDS_MAX = 1.0  # for everything that had returned to arrive in some replica: there is no room to ask instead

_TROUBLE = (ReplicaGone, ReplicaDamaged, NoAnswer, *FILE_ERRORS, apsw.NoMemError)
"""What is wrong with the replica, or with its file. What else SQLite says is about the statement, and the caller's."""


class Lane(Protocol):
    """The rooms themselves."""

    def acknowledged(self, name: RoomName) -> Position | None:
        """Where the newest command that has returned left the room; None: only the room can tell."""
        ...

    def at_hand(self, call: ReadCall) -> bool:
        """Whether the room would answer on the loop at once."""
        ...

    async def read(self, call: ReadCall) -> Answer[Any]: ...


@dataclass(slots=True)
class Route:
    """A way to one replica."""

    arrivals: Arrivals
    readers: Readers[Reader]
    breaker: Breaker
    weight: float = 1.0

    def life_of(self, generation: str) -> str:
        """What a bookmark knows this replica by: a file that was begun as a copy of another one's has its generation, too, and
        counts other batches since."""
        return f"{generation} {self.arrivals.name}"


def route_to(replicator: Replicator, doors: Doors, limits: Limits, *, near: bool) -> Route:
    """A way to this replicator's replica; its readers begin with `readers.run`. `near`: on the file system of the rooms. One that
    hangs alone must never hang the loop; where the rooms are on it, too, they hang anyway."""

    secret = Random(doors.secret(32))  # names of views that nobody may guess

    def connect(hurry: float | None = None) -> Reader:
        return Reader(doors.disk, replicator.path, secret, limits, doors.stopwatch, replicator.token, hurry)

    readers = Readers(connect, doors.threads, doors.stopwatch, connect_here=partial(connect, HERE_SECONDS_MAX) if near else None)
    breaker = Breaker(replicator.arrivals.name, trio.current_time, doors.random.uniform)
    return Route(replicator.arrivals, readers, breaker, replicator.weight)


def _among(rooms: RoomIds) -> Callable[[RoomName], bool]:
    named = {actor: None if ids is None else frozenset(ids) for actor, ids in rooms.items()}

    def among(name: RoomName) -> bool:
        if name.actor not in named:
            return False
        ids = named[name.actor]
        return ids is None or name.id in ids

    return among


def _was_read(route: Route, bookmark: Bookmark | None) -> bool:
    """Whether it is the one that the session has read last."""
    if bookmark is None or not bookmark.generation:
        return False
    return bookmark.generation == route.life_of(route.arrivals.generation)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How new one read must be: the room at `position` at least, and `seconds` old at most."""

    position: Position | None
    seconds: float | None = None


class Router:
    def __init__(self, routes: Sequence[Route], lane: Lane, random: Random | None = None) -> None:
        """`random`: chooses among several replicas that could answer alike; not needed for one."""
        self.routes = routes
        self._random = random
        self._lane = lane
        self._only_in_rooms: set[tuple[Handler, str]] = set()  # reads that no replica can answer for rooms of this schema
        self._reads: Counter[tuple[str, str]] = Counter()  # by source and by why it was chosen

    def status(self) -> ReadStatus:
        by_source, by_why = Counter[str](), Counter[str]()
        for (source, why), count in self._reads.items():
            by_source[source] += count
            by_why[why] += count
        routes = {
            route.arrivals.name: RouteStatus(route.breaker.state, route.breaker.reason, route.readers.waiting)
            for route in self.routes
        }
        return ReadStatus(dict(by_source), dict(by_why), routes)

    def read_now(self, call: ReadCall, fresh: Freshness, bookmark: Bookmark | None) -> Answer[Any] | None:
        """What a replica can tell at once, on the loop: most reads. None: `read` finds out what to do and what is wrong. Raises
        what the read raises."""
        wanted = self._wanted(call.name, fresh, bookmark) if fresh != "room" and self.routes else None
        if wanted is None:
            return None
        name, route = call.name, self._in_order(bookmark, call.name, wanted.position)[0]
        arrivals = route.arrivals
        needed, why = self._needed(route, call, wanted)
        if why or arrivals.stuck or route.breaker.state != "closed" or (needed is not None and not arrivals.has(name, needed)):
            return None
        try:
            seen = route.readers.here(lambda reader: reader.read(name, needed, call), (name.actor, call.handler.name))
        except (Stale, Unanswerable, *_TROUBLE):
            return None
        if seen is None:
            return None
        route.breaker.succeeded()
        answer, _ = self._accepted(route, name, seen, bookmark)
        if answer is not None:
            self._reads[answer.source, "fresh"] += 1
        return answer

    async def read(self, call: ReadCall, fresh: Freshness, bookmark: Bookmark | None) -> Answer[Any]:
        """Run one read where it belongs. Raises what the read raises, and what the room's lane raises."""
        why = "asked for" if self.routes else "no replica"
        if fresh != "room" and self.routes:
            wanted = self._wanted(call.name, fresh, bookmark)
            why = "unknown to replicas"
            if wanted is not None and bookmark is None and self._is_nearer(call, wanted):
                why = "room at hand"
            elif wanted is not None:
                deadline = trio.current_time() + WAIT_SECONDS_MAX
                for route in self._in_order(bookmark, call.name, wanted.position):
                    answer, why = await self._ask(route, call, wanted, bookmark, deadline)
                    if answer is not None:
                        self._reads[answer.source, "fresh"] += 1
                        return answer
        answer = await self._lane.read(call)
        self._reads[IN_ROOM, why] += 1
        if bookmark is not None:
            bookmark.saw_room(call.name, answer.position)
        return answer

    def _wanted(self, name: RoomName, fresh: Freshness, bookmark: Bookmark | None) -> Wanted | None:
        """None: only the room knows."""
        seen = bookmark.needs(name) if bookmark is not None else None
        if fresh == "any":
            return Wanted(seen)
        if fresh != "acknowledged":
            return Wanted(seen, float(fresh))
        told = self._lane.acknowledged(name)
        if told is None:
            return None
        return Wanted(told if seen is None else max(told, seen))

    def _is_nearer(self, call: ReadCall, wanted: Wanted) -> bool:
        """Whether the room answers before any replica can: it was just written to, so it is in memory. The read costs the same in
        both, and a wait of some 10 ms fewer there (`mixed`)."""
        needed = wanted.position
        if needed is None or wanted.seconds is not None or any(route.arrivals.has(call.name, needed) for route in self.routes):
            return False
        return self._lane.at_hand(call)

    def _in_order(self, bookmark: Bookmark | None, name: RoomName, needed: Position | None) -> Sequence[Route]:
        """Those that have what is needed first, those with weight before others, the session's last one, by lag, by weight."""

        def rank(route: Route, drawn: float, lagging: float) -> tuple[bool, bool, bool, float, float]:
            lacking = needed is not None and not route.arrivals.has(name, needed)
            return lacking, not route.weight, not _was_read(route, bookmark), lagging, drawn

        return self._ranked(rank)  # of breakers nothing: only who is asked can be found well

    def _in_order_across(self, bookmark: Bookmark | None) -> Sequence[Route]:
        """Those that are at work and have nearly everything first: whoever else is asked is waited for."""

        def rank(route: Route, drawn: float, lagging: float) -> tuple[bool, float, bool, bool, float]:
            return route.arrivals.stuck is not None, lagging, not route.weight, not _was_read(route, bookmark), drawn

        return self._ranked(rank)

    def _ranked(self, rank: Callable[[Route, float, float], tuple[float, ...]]) -> Sequence[Route]:
        """By what `rank` says of a route, a number drawn for it, and its lag: 0 where it is as good as the least."""
        routes, random = self.routes, self._random
        if len(routes) == 1:
            return routes
        assert random is not None, "several replicas are chosen from by chance"
        lags = [route.arrivals.lag_seconds for route in routes]
        alike = min(lags) + ALIKE_SECONDS
        # Exponential variates with the weights as rates: each is the smallest as often as its weight says.
        draws = [random.expovariate(route.weight) if route.weight else math.inf for route in routes]
        ranks = [rank(route, drawn, lag if lag > alike else 0.0) for route, drawn, lag in zip(routes, draws, lags, strict=True)]
        return [routes[number] for number in sorted(range(len(routes)), key=ranks.__getitem__)]

    async def _ask(
        self, route: Route, call: ReadCall, wanted: Wanted, bookmark: Bookmark | None, deadline: float
    ) -> tuple[Answer[Any] | None, str]:
        """The replica's answer, or None and why it has none."""
        breaker, mark = route.breaker, route.arrivals.mark(call.name)
        needed, why = self._needed(route, call, wanted)
        if why:
            return None, why
        ticket = breaker.admits()
        if ticket is None:
            return None, "breaker open"
        try:
            seen = await self._seen(route, call, needed, deadline)
        except Stale as stale:
            if route.arrivals.stuck:
                breaker.failed(f"no progress: {route.arrivals.stuck}")
            return None, "not there in time" if stale.position else "unknown to replicas"
        except Unanswerable:
            if mark is not None:
                self._only_in_rooms.add((call.handler, mark.schema))
            return None, "only the room can"
        except _TROUBLE as error:
            breaker.failed(f"{type(error).__name__}: {error}")
            return None, "replica in trouble"
        except Overloaded:
            return None, "readers are busy"
        else:
            breaker.succeeded()
            return self._accepted(route, call.name, seen, bookmark)
        finally:
            breaker.gave_up(ticket)

    def _needed(self, route: Route, call: ReadCall, wanted: Wanted) -> tuple[Position | None, str]:
        """Where the room must stand in what this replica shows, and why it cannot be asked, if so."""
        arrivals, needed = route.arrivals, wanted.position
        mark = arrivals.mark(call.name)
        if mark is not None and (call.handler, mark.schema) in self._only_in_rooms:
            return needed, "only the room can"
        if wanted.seconds is not None:
            if arrivals.staleness(call.name) > wanted.seconds:
                return needed, "too old"
            if mark is not None:  # an older copy of the file may have been put in its place since
                needed = max(mark.position, needed or mark.position)
        return needed, ""

    async def _seen(self, route: Route, call: ReadCall, needed: Position | None, deadline: float) -> Seen[Any]:
        """What the replica shows as soon as the room stands where it must. Raises Stale if that is not in time."""
        arrivals, name = route.arrivals, call.name
        for last in (False, True):
            if needed is not None and not await arrivals.reached(name, needed, deadline):
                mark = arrivals.mark(name)
                raise Stale(mark.position if mark else None)
            try:
                kind = (name.actor, call.handler.name) if arrivals.stuck is None else None
                return await route.readers.ask(lambda reader: reader.read(name, needed, call), kind)
            except Stale:  # the file is another one than the loop last heard of: once more, if that may help
                if needed is None or last:
                    raise
        raise AssertionError("the last try returns or raises")

    def _accepted(
        self, route: Route, name: RoomName, seen: Seen[Any], bookmark: Bookmark | None
    ) -> tuple[Answer[Any] | None, str]:
        assert seen.position is not None, "one room was read"
        if bookmark is not None:
            if bookmark.vague(name) and not self._covers(route, name, seen, bookmark):
                return None, "older than the session"
            bookmark.saw_replica(name, seen.position, route.life_of(seen.generation), seen.batch)
        return Answer(seen.value, seen.position, route.arrivals.name), "fresh"

    def _covers(self, route: Route, name: RoomName, seen: Seen[Any], bookmark: Bookmark) -> bool:
        """Whether a replica shows all that a session saw of a room whose position it has forgotten."""
        arrivals = route.arrivals
        whole = seen.generation == arrivals.generation and arrivals.whole
        if bookmark.trusts(name, route.life_of(seen.generation), seen.batch, whole=whole):
            return True
        told = self._lane.acknowledged(name)  # nobody has seen more: whatever was shown anywhere was durable
        return told is not None and seen.position is not None and seen.position >= told

    # -- across rooms -----------------------------------------------------------------------------------------------
    async def across(self, rooms: RoomIds, run: Run, fresh: Freshness, bookmark: Bookmark | None) -> Any:
        """Run SQL over many rooms on a replica that is fresh enough. Raises ReplicationLate, and what the SQL raises."""
        refusals: list[ReplicationLate | Overloaded] = []
        deadline = trio.current_time() + ACROSS_SECONDS_MAX
        for route in self._in_order_across(bookmark):
            try:
                seen = await self._across(route, rooms, run, fresh, bookmark, deadline)
            except (ReplicationLate, Overloaded) as error:
                refusals.append(error)
                continue
            self._reads[route.arrivals.name, "across"] += 1
            if bookmark is not None:
                bookmark.saw_across(route.life_of(seen.generation), seen.batch)
            return seen.value
        if len(refusals) == 1 or all(isinstance(refusal, Overloaded) for refusal in refusals):
            raise refusals[0]
        raise ReplicationLate(" ".join(str(refusal) for refusal in refusals))

    async def _across(
        self, route: Route, rooms: RoomIds, run: Run, fresh: Freshness, bookmark: Bookmark | None, deadline: float
    ) -> Seen[Any]:
        arrivals, breaker = route.arrivals, route.breaker
        since = None if fresh == "any" and bookmark is None else arrivals.moment  # an older copy may have been put in its place
        if fresh == "acknowledged" or bookmark is not None:  # a session has seen what no position here can tell of "all" rooms
            await arrivals.caught_up(max(0.0, deadline - trio.current_time()), parked=True, of=_among(rooms))
            since = arrivals.moment
        elif fresh != "any" and (lag := arrivals.lag_seconds) > float(fresh):
            raise ReplicationLate(
                f"replica {arrivals.name} ({arrivals.stuck or 'live'}) is {lag:.1f} s behind, and {fresh:g} s are allowed. "
                "Nothing ran."
            )
        ticket = breaker.admits()
        if ticket is None:
            raise ReplicationLate(f"replica {arrivals.name} is not asked now: {breaker.reason}. Nothing ran; try again soon.")
        try:
            seen = await route.readers.ask(lambda reader: reader.across(rooms, since, run))
        except Stale as error:
            raise ReplicationLate(
                f"replica {arrivals.name} is an older copy of the file that was last written; its replicator puts that right. "
                "Nothing ran; try again soon."
            ) from error
        except _TROUBLE as error:
            breaker.failed(f"{type(error).__name__}: {error}")
            raise ReplicationLate(f"replica {arrivals.name} cannot be read: {error}. Nothing ran; try again soon.") from error
        else:
            breaker.succeeded()
            return seen
        finally:
            breaker.gave_up(ticket)
