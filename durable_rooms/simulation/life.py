"""One life: a process's stay on a simulated disk, from its start to its orderly stop, with clients and troubles.

It always runs to the end; where it is killed or the power fails is a place in its trace, chosen afterwards.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import apsw
import trio
from trio.testing import MockClock

from actors import Actor, DiskFailed, Doors, RoomName, RoomsError
from actors.names import room_name
from actors.statements.sql import internal
from durable_rooms.runtime import Runtime, open_with_doors
from durable_rooms.simulation.client import NO_SESSION, Client, Place
from durable_rooms.simulation.disk import SimulatedDisk
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.history import Call, Cookie, Fact, History, Outcome
from durable_rooms.simulation.plan import LifePlan
from durable_rooms.simulation.scenario import Scenario, where_of
from durable_rooms.simulation.schedule import run_seeded
from durable_rooms.simulation.standstill import Patience
from durable_rooms.simulation.threads import Slow, SteppedThreads
from durable_rooms.simulation.troubles import REPLICA, SECOND, TROUBLES
from durable_rooms.simulation.world import World
from replication import SQLiteReplica

BEGAN = 1_700_000_000.0  # Unix seconds of every world's first moment
ROOMY_TIMES = 4
WATCH_SECONDS_MAX = 600.0
WATCH_SECONDS, COPIES = 0.2, 0.2  # between two looks at the replica on average; of these looks so many keep a copy
LIFE_SECONDS_MAX = 86_400.0  # virtual: who is not done by then hangs
HURDLES, HURDLE_SECONDS = 0.05, 0.003  # of the looks at the stopwatch so many find that so much time went by; a read has five
EVENTS_MAX = 300_000  # of a life; the shipped one has 3,000
OF_THE_DISK = (apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.BusyError, apsw.CorruptError, apsw.NotADBError)


def replicas_of(root: Path, *, second: bool) -> list[SQLiteReplica]:
    return [SQLiteReplica(), SQLiteReplica(root / SECOND, name="second")] if second else [SQLiteReplica()]


class Hung(Exception):
    """A life did not come to its end."""


class Life:
    """Attributes for troubles and checks: `disk`, `threads`, `runtime`, `visits`, `problems`."""

    def __init__(
        self, scenario: Scenario, plan: LifePlan, number: int, seed: str, root: Path, before: World | None, history: History
    ) -> None:
        chance = Random(f"{seed} life {number}")
        self.number = number
        self.plan = plan
        self.seed = f"{seed}.{number}"
        self.clock = MockClock(autojump_threshold=0)
        self.clock_offset = 0.0
        self.threads = SteppedThreads(Random(f"{seed} threads {number}"))
        self.disk = SimulatedDisk(root, self.threads, before, now=self.clock.current_time, wall_clock=self.wall_clock)
        self.struck: dict[str, int] = {}
        self.replica_reads = self.replica_answers = 0
        self._last_shown: dict[tuple[str, str, str], tuple[list[Any], int]] = {}
        self.lasting: list[Fault | Slow] = []  # that troubles have put in
        self.problems: list[str] = []
        self.replicas: tuple[str, ...] = (REPLICA, SECOND) if plan.second else (REPLICA,)
        self.replica_copies: list[tuple[str, bytes]] = []
        self.visits: list[trio.CancelScope | None] = []
        self.answered: dict[str, int] = {}  # by "Class.method": returned, or raised what its handler raises
        self.refused: dict[str, tuple[int, str]] = {}  # how often the runtime raised instead, and what it said last
        self.runtime: Runtime
        self._scenario = scenario
        self._history = history
        self._chance = chance
        self._hurdles = Random(f"{seed} hurdles {number}")
        self._worked = 0.0
        self._began = self.clock.current_time()
        self._patience = Patience()
        self._waiting: dict[int, str] = {}  # calls under way

    # -- for troubles -------------------------------------------------------------------------------------------------------
    def wall_clock(self) -> float:
        return BEGAN + self.number * 100_000 + self.clock.current_time() - self._began + self.clock_offset

    def met(self, name: str) -> None:
        """A fault of this name was reached."""
        self.struck[name] = self.struck.get(name, 0) + 1

    def rooms(self) -> list[RoomName]:
        return [room_name(*room.split("/", 1)) for room in self._history.rooms()]

    @property
    def virtual_seconds(self) -> float:
        return self.clock.current_time() - self._began

    # -- running --------------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Problems are collected; what the runtime raises by contract is no problem."""
        for fault in self.plan.faults:
            self.disk.fail(fault.make())
        try:
            run_seeded(self.seed, self._live, clock=self.clock, stands_still=self._stands_still)
        except (DiskFailed, RoomsError, OSError) as error:
            self._note("note", f"the runtime stopped: {error}")
            if not (self._patience.over or self.plan.faults or "disk full" in dict(self.plan.troubles)):
                self.problems.append(f"the runtime stopped though no operation of the disk failed: {error!r}")
        except Hung as error:
            self.problems.append(str(error))
        except Exception as error:
            self.problems.append(f"the runtime raised {error!r}")
        finally:
            self._scenario._told = None  # pyright: ignore[reportPrivateUsage] - lent to it for this life
            for one in {id(one): one for one in (*self.disk.faults, *self.lasting)}.values():
                if one.name and one.struck:
                    self.met(one.name)
            self.threads.end()
            self.disk.forget()
        self._look_for_leaks()

    def _look_for_leaks(self) -> None:
        if self.problems:
            return
        if self.disk.open_descriptors:
            self.problems.append(f"left open: {', '.join(self.disk.open_descriptors)}")
        if self.disk.open_files:
            self.problems.append(f"{self.disk.open_files} files of SQLite's were left open")
        if self.threads.under_way:
            self.problems.append(f"{self.threads.under_way} jobs were left in threads")

    async def _live(self) -> None:
        self._patience.scope.deadline = trio.current_time() + LIFE_SECONDS_MAX
        with self._patience.scope:
            async with self._opened() as runtime:
                self.runtime = self._patience.runtime = runtime
                await self._clients(Place(runtime, self._scenario.classes(self.number)))
        if self._patience.ran_out:
            raise Hung(self._why_it_hangs())

    def _stands_still(self) -> None:
        moment = f"virtual second {self.virtual_seconds:.3f} of life {self.number + 1}"
        self.problems.append(
            f"the runtime, or {self._scenario.name()}.client, is at work without end: time stands still at {moment}"
        )
        self._patience.end()

    def _why_it_hangs(self) -> str:
        visiting = ", ".join(str(number) for number, scope in enumerate(self.visits) if scope is not None)
        if len(self.disk.events) > EVENTS_MAX:
            return f"{self._scenario.name()}.client does not come to its end: one life has more than {EVENTS_MAX:,} events"
        if self._waiting:
            what = f"a call waits for ever: {next(iter(self._waiting.values()))}"
        elif visiting:
            what = f"no call waits, but {self._scenario.name()}.client has not come back (clients {visiting}): pause less"
        else:
            what = "the stop waits for ever"
        return f"not at its end after {LIFE_SECONDS_MAX:,.0f} virtual seconds: {what}"

    def _stopwatch(self) -> float:
        """As the clock, but that work takes time now and then: else every read would look brief, and none go to a thread."""
        if self._hurdles.random() < HURDLES:
            self._worked += HURDLE_SECONDS
        return self.clock.current_time() + self._worked

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Runtime]:
        random = Random(f"{self.seed} doors")
        doors = Doors(disk=self.disk, threads=self.threads, wall_clock=self.wall_clock, random=random, stopwatch=self._stopwatch)
        classes: Sequence[type[Actor]] = self._scenario.classes(self.number)
        limits = self._scenario.limits
        if self.plan.roomy:
            limits = replace(limits, open_rooms_max=limits.open_rooms_max * ROOMY_TIMES)
        replicas = replicas_of(self.disk.root, second=self.plan.second)
        async with open_with_doors(self.disk.root, classes, replicas=replicas, limits=limits, doors=doors) as runtime:
            yield runtime

    async def _clients(self, place: Place) -> None:
        self.place = place
        self._scenario._told = self.told  # pyright: ignore[reportPrivateUsage]
        async with trio.open_nursery() as others:
            others.start_soon(self._watch_replica)
            for name, when in self.plan.troubles:
                others.start_soon(self._trouble, name, when)
            async with trio.open_nursery() as clients:
                if not self.plan.clients:
                    clients.start_soon(self._read)
                for number in range(self.plan.clients):
                    self.visits.append(None)
                    clients.start_soon(self._client, number)
            others.cancel_scope.cancel()

    async def _client(self, number: int) -> None:
        chance = Random(f"{self.seed} client {number}")
        for visit in range(self.plan.visits):
            client = Client(self, f"{self.number}.{number}.{visit}", chance, number + 1)
            with trio.CancelScope() as scope:
                self.visits[number] = scope
                await self._visit(client)
            self.visits[number] = None
            for _ in range(chance.randrange(20)):
                await trio.lowlevel.checkpoint()
            if chance.random() < 0.1:
                await trio.sleep(chance.expovariate(1.0))

    async def _visit(self, client: Client) -> None:
        try:
            try:
                await self._scenario.client(client)
            except* (RoomsError, *OF_THE_DISK):  # in the history; as for a request, the visit is over
                pass
        except Exception as error:
            self.problems.append(f"{self._scenario.name()}.client raised {error!r} at {where_of(error, self._scenario)}")

    async def _read(self) -> None:
        """A life without clients: somebody looks at every room."""
        reader = Client(self, f"{self.number}.reader", self._chance)
        for name in self._history.rooms():
            actor, _, id = name.partition("/")
            for known in self.place.actors:
                if known.__name__ == actor:
                    methods = self._scenario.reads_of(known)
                    for method in methods:
                        await getattr(reader.room(known, id), method)()
                    if not methods:
                        await self.runtime.wake(room_name(actor, id))

    async def _trouble(self, name: str, when: float) -> None:
        await trio.sleep(when)
        self._note("fault", name, by="fault")
        if await TROUBLES[name](self, self._chance):
            self.met(name)

    async def _watch_replica(self) -> None:
        """Read the replica now and then as a stranger would: what it has shown must not disappear."""
        pause, seen = WATCH_SECONDS, 0
        while True:
            await trio.sleep(self._chance.expovariate(1 / pause))
            # Where nobody calls there is little to see, and a life that hangs would be looked at 400,000 times before its bound
            # of virtual time tells.
            pause = min(pause * 2, WATCH_SECONDS_MAX) if len(self._history.calls) == seen else WATCH_SECONDS
            for replica in self.replicas:
                with suppress(apsw.Error):  # missing, locked, damaged or half made: nothing was shown
                    self._look_at_replica(replica)
            seen = len(self._history.calls)

    def _look_at_replica(self, replica: str = REPLICA) -> None:
        if "replica corrupt" in self.struck:
            return  # what garbage says was not said by the replica
        connection = self.disk.connect(self.disk.root / replica, read_only=True)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            internal(connection, "BEGIN")
            for actor, id, seq in internal(connection, "SELECT actor, id, seq FROM _rooms"):
                for method, query in self._scenario.replica_reads_of(actor, self.number):
                    self._read_replica(connection, replica, f"{actor}/{id}", method, query, seq)
            if self._chance.random() < COPIES:
                self.replica_copies.append((replica, connection.serialize("main")))
        finally:
            connection.close()

    def _read_replica(self, connection: apsw.Connection, replica: str, room: str, method: str, query: str, seq: int) -> None:
        try:
            rows = internal(connection, query, (room.partition("/")[2],))
        except apsw.SQLError as error:  # else a check that never ran would look like one that was passed
            self.problems.append(f"{self._scenario.name()}.replica_reads[{method!r}] cannot be read: {error}")
            return
        self.replica_reads += 1
        self._shown(replica, room, method, [row[0] for row in rows], seq)

    def _shown(self, replica: str, room: str, method: str, value: list[Any], seq: int) -> None:
        if self._last_shown.get((replica, room, method)) == (value, seq):
            return  # promised already; a silent replica would fill the history with the same words
        self._last_shown[replica, room, method] = (value, seq)
        number = self._history.shown(room, method, self.number, len(self.disk.events), value, seq)
        self._note("replica", json.dumps([method, value, seq]), path=room, token=number)

    # -- the clerk --------------------------------------------------------------------------------------------------------------
    def begin(
        self,
        room: str,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        late: bool = False,
        session: int = NO_SESSION,
    ) -> int:
        place = len(self.disk.events)
        number = self._history.begin(room, method, args, kwargs, self.number, place, late=late, session=session)
        self._waiting[number] = f"{room}.{method}{args}"
        self._note("call", f"{method}{args}", path=room, token=number)
        if len(self.disk.events) > EVENTS_MAX:
            self._patience.scope.cancel()
        return number

    def settle(self, number: int, error: BaseException | None, value: Any = None, seq: int = 0, source: str = "room") -> None:
        outcome: Outcome = "returned"
        if not self._patience.scope.cancel_called:
            del self._waiting[number]
        self._count(self._history.calls[number], error)
        self.replica_answers += source != "room"
        if isinstance(error, trio.Cancelled):
            outcome = "unknown"
        elif error is not None:
            outcome = "unknown" if isinstance(error, RoomsError) and error.ran == "unknown" else "absent"
        if outcome == "unknown":
            return  # open for ever
        call = self._history.settle(number, len(self.disk.events), outcome, value, seq)
        self._note(
            "reply", json.dumps([outcome, repr(value), seq, source, repr(error) if error else ""]), path=call.room, token=number
        )

    def _count(self, call: Call, error: BaseException | None) -> None:
        name = f"{call.room.partition('/')[0]}.{call.method}"
        if isinstance(error, (RoomsError, *OF_THE_DISK)):
            self.refused[name] = self.refused.get(name, (0, ""))[0] + 1, f"{type(error).__name__}: {error}"
        elif not isinstance(error, trio.Cancelled):
            self.answered[name] = self.answered.get(name, 0) + 1

    def told(self, fact: tuple[Any, ...]) -> None:
        self._history.facts.append(Fact(fact, self.number, len(self.disk.events)))
        self._note("told", repr(fact))

    def cookie(self, number: int) -> str | None:
        return next((cookie.bookmark for cookie in reversed(self._history.cookies) if cookie.client == number), None)

    def keep_cookie(self, number: int, bookmark: str) -> None:
        self._history.cookies.append(Cookie(number, bookmark, self.number, len(self.disk.events)))

    def _note(self, kind: str, what: str, *, path: str = "", token: int = 0, by: str = "ours") -> None:
        self.disk.note(kind, path, other=what, token=token, by=by)
