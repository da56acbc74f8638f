"""Looking at what a cut has left: the product's own start opens it, then every promise is asked after.

Nothing here knows how the product keeps its promises: it calls rooms, reads the replica, and compares with what callers knew.
"""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import trio

from actors import Actor, Doors, InlineThreads
from actors.names import DataDir, room_name
from actors.tables.schemas import Schemas
from actors.tables.template import Templates
from durable_rooms.runtime import Runtime, open_with_doors
from durable_rooms.simulation.client import Place
from durable_rooms.simulation.cuts import Known
from durable_rooms.simulation.explain import Explained, Unexplained, explain
from durable_rooms.simulation.history import Call, History
from durable_rooms.simulation.life import BEGAN, replicas_of
from durable_rooms.simulation.scenario import After, Scenario, where_of
from durable_rooms.simulation.schedule import reseed, run_seeded
from durable_rooms.simulation.standstill import Patience
from durable_rooms.simulation.troubles import REPLICA, SECOND
from durable_rooms.simulation.unsynced import UnsyncedDisk
from durable_rooms.verify import verify
from durable_rooms.verify.report import RoomEntry
from durable_rooms.verify.words import told

REPLICATED_SECONDS = 600.0  # virtual; a replica that was refused is tried again within a minute
WORDS_MAX = 300  # of a difference: it holds values
PLACES = 64  # rooms that are read twice stay open meanwhile
LOOK_SECONDS_MAX = 7_200.0  # virtual; opening, reads and the stop


class Notes:
    """What looks of one seed share, for no two need find it out: what is explained already, and what the texts of schemas and
    migrations come to, which is the same in every image and would be a tenth of each look."""

    def __init__(self) -> None:
        self.explained: dict[str, Explained] = {}
        self.schemas = Schemas()
        self._templates: dict[tuple[type[Actor], ...], Templates] = {}

    def templates(self, release: Sequence[type[Actor]]) -> Templates:
        return self._templates.setdefault(tuple(release), Templates())


@dataclass
class Shown:
    """What an opened image shows, and the asking alone has not changed. `reads`: by room, of those that could be read."""

    seqs: dict[str, int]  # as the catalog has them
    active: set[str]
    reads: dict[str, list[Call]]


class Inspection:
    """One look at one directory; `problems` in words a caller would use.

    `known` is what was known at the cuts that left it, at each more than at the one before: each is asked after in one opening,
    for as long as the scenario's check has only read. `asked`: so many of them hold, or the next one has the problems.
    """

    def __init__(self, scenario: Scenario, life: int, known: Sequence[Known], notes: Notes, *, second: bool = False) -> None:
        """`second`: the life had two replicas, and so has whoever looks."""
        self.problems: list[str] = []
        self.asked = 0
        self.disk = UnsyncedDisk()
        self._scenario = scenario
        self._life = life
        self._second = second
        self.known = known
        self._all = known[-1].history
        self._notes = notes
        self._read: set[str] = set()  # rooms whose `seq` a reply told
        self._patience = Patience()

    def look_alone(self, directory: Path, seed: str) -> list[str]:
        """`look` in a run of its own."""
        try:
            run_seeded(seed, self.look, directory, seed, stands_still=self.stands_still)
        except trio.TrioInternalError as error:
            self.broke_off(error)
        return self.problems

    async def look(self, directory: Path, seed: str) -> None:
        """Open the directory, check, close it; in a seeded run, with nothing beside it. Notes the problems."""
        reseed(seed)
        try:
            await self._look(directory, Random(seed))
        except Exception as error:
            self.broke_off(error)
        if not self.problems:
            self._compare(directory)

    def broke_off(self, error: Exception) -> None:
        """Where it stood still, what ended it is no news; also the run itself may have had to be ended (TrioInternalError)."""
        if not self._patience.over:
            self.problems.append(f"the runtime did not open it: {error!r}")

    async def _look(self, directory: Path, chance: Random) -> None:
        self._patience.scope.deadline = trio.current_time() + LOOK_SECONDS_MAX
        with self._patience.scope:
            async with self._opened(directory, chance) as runtime:
                self._patience.runtime = runtime
                await self._ask(Place(runtime, self._scenario.classes(self._life + 1)))
                if not self.problems:
                    await runtime.replicated(REPLICATED_SECONDS)
        if self._patience.ran_out:
            self.problems.append(f"opening it, reading it or stopping again was not over after {LOOK_SECONDS_MAX:g} virtual s")

    def stands_still(self) -> None:
        """Virtual time does not go on: note that, and end what is at work."""
        self.problems.append("opening it, reading it or stopping again has no end: virtual time stands still")
        self._patience.end()

    async def _ask(self, place: Place) -> None:
        """Read every room once; all that was known must be true of it."""
        shown = await self._show(place)
        before = place.runtime.status().commits
        answers = {room: {read.method: read.value for read in reads} for room, reads in shown.reads.items()}
        for known in self.known:
            self._judge(shown, known.history)
            if not self.problems:
                await self._check(After(place, known.history, known.where, answers))
            if self.problems:
                return
            self.asked += 1
            if known is not self.known[-1] and place.runtime.status().commits != before:
                return  # a check has written: this is not what the cut has left any more

    async def _check(self, after: After) -> None:
        try:
            await self._scenario.check(after)
        except AssertionError as error:
            self.problems.append(str(error) or f"{self._scenario.name()}.check: false at {where_of(error, self._scenario)}")
        except Exception as error:
            self.problems.append(f"{self._scenario.name()}.check raised {error!r} at {where_of(error, self._scenario)}")

    @asynccontextmanager
    async def _opened(self, directory: Path, chance: Random) -> AsyncGenerator[Runtime]:
        doors = Doors(disk=self.disk, threads=InlineThreads(), wall_clock=_wall_clock, random=chance)
        classes = self._scenario.classes(self._life + 1)
        replicas = replicas_of(directory, second=self._second)
        limits = replace(self._scenario.limits, open_rooms_max=PLACES)
        async with open_with_doors(directory, classes, replicas=replicas, limits=limits, doors=doors) as runtime:
            runtime.schemas, runtime.templates = self._notes.schemas, self._notes.templates(classes)
            yield runtime

    async def _show(self, place: Place) -> Shown:
        shown = Shown({}, set(), {})
        for name in self._all.rooms():
            known = place.runtime.catalogued(room_name(*name.split("/", 1)))
            if known is not None:
                position, active = known
                shown.seqs[name] = position.seq
                shown.active |= {name} if active else set()
        for name in self._all.rooms():
            reads = await self._reads(place, name)
            if reads is not None:
                shown.reads[name] = reads
            self._read |= {name} if reads else set()
        return shown

    def _judge(self, shown: Shown, history: History) -> None:
        """Explain all replies."""
        deleted = history.deleted()
        for name, calls in history.by_room().items():
            if name in deleted:
                continue
            known = [call for call in calls if call.outcome == "returned"]
            told = max((call.seq for call in known), default=0)
            if told and name not in shown.active and shown.seqs.get(name, -1) < told:
                self.problems.append(f"{name}: the catalog has {shown.seqs.get(name)}, and seq {told} was acknowledged or shown")
            reads = shown.reads.get(name)
            if reads is None:
                continue
            now = max((read.seq for read in reads), default=None)
            if now is not None and now < told:
                self.problems.append(f"{name} is at seq {now}, and seq {told} was acknowledged or shown before: {_last(known)}")
            elif self._scenario.model is not None:
                self._explain(name, [*known, *reads], [call for call in calls if call.outcome == "unknown"])

    async def _reads(self, place: Place, name: str) -> list[Call] | None:
        actor, _, id = name.partition("/")
        room = next((place.room(one, id) for one in place.actors if one.__name__ == actor), None)
        if room is None:
            return None
        reads: list[Call] = []
        methods = self._scenario.reads_of(room.actor)
        if not methods and not await self._opens(place.runtime, name):
            return None
        for number, method in enumerate(methods, 1):
            try:
                reply = await room.ask(getattr(room.actor, method))
            except Exception as error:
                self.problems.append(f"{name}.{method}() after the restart raised {error!r}")
                return None
            reads.append(Call(-number, name, method, (), {}, self._life + 1, 0, 0, "returned", reply.value, reply.seq))
        return reads

    async def _opens(self, runtime: Runtime, name: str) -> bool:
        """A room that nobody reads is opened all the same: until then its file may be litter of a birth, and looks damaged."""
        try:
            await runtime.wake(room_name(*name.split("/", 1)))
        except Exception as error:
            self.problems.append(f"{name} after the restart did not open: {error!r}")
            return False
        return True

    def _explain(self, name: str, known: list[Call], unknown: list[Call]) -> None:
        model = self._scenario.model
        assert model is not None
        known, unknown = ([call for call in calls if hasattr(model, call.method)] for calls in (known, unknown))
        try:
            explain(model, known, unknown, self._notes.explained.setdefault(name, Explained()))
        except Unexplained as error:
            self.problems.append(f"{name}: {error}")
        except Exception as error:
            self.problems.append(f"{name}: the model {model.__name__} raised {error!r} at {where_of(error, self._scenario)}")

    def _compare(self, directory: Path) -> None:
        """Files are sound, and each replica equals the rooms."""
        reports = {"the replica": verify(directory, examine=self._examine)}
        if self._second:
            reports["the second replica"] = verify(directory, directory / SECOND)
        for which, report in reports.items():
            if not report.equal:
                first = "; ".join(told(one)[:WORDS_MAX] for one in report.differences[:2])
                behind = ", ".join(f"{room} is behind by {changes}" for room, changes in report.behind.items())
                self.problems.append(f"{which} differs from the rooms: {first or behind}")
        if all(report.equal for report in reports.values()):
            self._compare_seqs(directory)

    def _examine(self, room: RoomEntry, file: sqlite3.Connection) -> None:
        if file.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            self.problems.append(f"{room}: its file is damaged")

    def _compare_seqs(self, directory: Path) -> None:
        """Rooms that no read has asked: the replica, now equal to them, tells how far they are."""
        history = self.known[max(self.asked, 1) - 1].history  # the last that this opening was asked after
        asked = self._read | history.deleted()
        told = [call for call in history.calls.values() if call.outcome == "returned" and call.room not in asked]
        if not told:
            return
        with closing(sqlite3.connect(DataDir(directory).path / REPLICA)) as connection:
            seqs = {f"{actor}/{id}": seq for actor, id, seq in connection.execute("SELECT actor, id, seq FROM _rooms")}
        for call in told:
            if seqs.get(call.room, 0) < call.seq:
                self.problems.append(f"{call}, but after the restart the room is at seq {seqs.get(call.room, 0)}")
                return


def _wall_clock() -> float:
    return BEGAN + 10_000_000


def _last(calls: list[Call]) -> Call:
    return max(calls, key=lambda call: call.seq)
