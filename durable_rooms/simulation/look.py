"""Looking at what a cut has left: the product's own start opens it, then every promise is asked after.

Nothing here knows how the product keeps its promises: it calls rooms, reads the replica, and compares with what callers knew.
"""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from random import Random

import apsw
import trio

from actors import Disk, Doors, InlineThreads
from actors.names import DataDir, room_name
from durable_rooms.runtime import Runtime, open_with_doors
from durable_rooms.simulation.explain import Explained, Unexplained, explain
from durable_rooms.simulation.history import Call, History
from durable_rooms.simulation.life import BEGAN
from durable_rooms.simulation.scenario import After, Place, Scenario, where_of
from durable_rooms.simulation.schedule import run_seeded
from durable_rooms.simulation.troubles import REPLICA
from durable_rooms.verify import verify
from durable_rooms.verify.words import told
from replication import SQLiteReplica

REPLICATED_SECONDS = 600.0  # virtual; a replica that was refused is tried again within a minute
WORDS_MAX = 300  # of a difference: it holds values
PLACES = 64  # rooms that are read twice stay open meanwhile
LOOK_SECONDS_MAX = 7_200.0  # virtual; opening, reads and the stop


class UnsyncedDisk(Disk):
    """For looking: nothing is cut any more. `folders` is those in which a look may have left files."""

    def __init__(self) -> None:
        self.folders: set[str] = set()

    def connect(self, path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
        self.folders.add(str(path.parent))
        return super().connect(path, create=create, read_only=read_only)

    def open(self, path: Path, *, create: bool = False) -> int:
        self.folders.add(str(path.parent))
        return super().open(path, create=create)

    def rename(self, old: Path, new: Path) -> None:
        self.folders.add(str(new.parent))
        super().rename(old, new)

    def write_synced(self, path: Path, content: bytes) -> None:
        self.folders.add(str(path.parent))
        super().write_synced(path, content)

    def mount(self, path: Path) -> None:
        return None

    def sync_data(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass

    def sync_file_system(self, fd: int) -> None:
        pass


class Inspection:
    """One look at one directory; `problems` in words a caller would use."""

    def __init__(self, scenario: Scenario, life: int, history: History, where: str, explained: dict[str, Explained]) -> None:
        self.problems: list[str] = []
        self.disk = UnsyncedDisk()
        self._scenario = scenario
        self._life = life
        self._history = history
        self._where = where
        self._explained = explained
        self._read: set[str] = set()  # rooms whose `seq` a reply told

    def look(self, directory: Path, seed: str) -> list[str]:
        """Open the directory, check, close it. Returns the problems."""
        try:
            run_seeded(seed, self._look, directory, Random(seed))
        except Exception as error:
            self.problems.append(f"the runtime did not open it: {error!r}")
        if not self.problems:
            self._compare(directory)
        return self.problems

    async def _look(self, directory: Path, chance: Random) -> None:
        with trio.move_on_after(LOOK_SECONDS_MAX) as patience:
            async with self._opened(directory, chance) as runtime:
                place = Place(runtime, self._scenario.classes(self._life + 1))
                await self._ask(place)
                if not self.problems:
                    await self._check(After(place, self._history, self._where))
                if not self.problems:
                    await runtime.replicated(REPLICATED_SECONDS)
        if patience.cancelled_caught:
            self.problems.append(f"opening it, reading it or stopping again was not over after {LOOK_SECONDS_MAX:g} virtual s")

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
        replicas = [SQLiteReplica()]
        limits = replace(self._scenario.limits, open_rooms_max=PLACES)
        async with open_with_doors(directory, classes, replicas=replicas, limits=limits, doors=doors) as runtime:
            yield runtime

    async def _ask(self, place: Place) -> None:
        """Read every room, and explain all replies."""
        seqs = {str(name): position.seq for name, position, _ in place.runtime.positions()}
        active = {str(name) for name, _, is_active in place.runtime.positions() if is_active}
        for name in self._history.rooms():
            calls = [call for call in self._history.calls.values() if call.room == name]
            known = [call for call in calls if call.outcome == "returned"]
            told = max((call.seq for call in known), default=0)
            if told and name not in active and seqs.get(name, -1) < told:
                self.problems.append(f"{name}: the catalog has {seqs.get(name)}, and seq {told} was acknowledged or shown")
            reads = await self._reads(place, name)
            if reads is None:
                continue
            now = max((read.seq for read in reads), default=None)
            self._read |= {name} if reads else set()
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
            explain(model, known, unknown, self._explained.setdefault(name, Explained()))
        except Unexplained as error:
            self.problems.append(f"{name}: {error}")
        except Exception as error:
            self.problems.append(f"{name}: the model {model.__name__} raised {error!r} at {where_of(error, self._scenario)}")

    def _compare(self, directory: Path) -> None:
        """Files are sound, and the replica equals the rooms."""
        for name in self._history.rooms():
            file = DataDir(directory).room(room_name(*name.split("/", 1)))
            if file.exists() and not is_sound(file):
                self.problems.append(f"{name}: its file is damaged")
        report = verify(directory)
        if not report.equal:
            first = "; ".join(told(one)[:WORDS_MAX] for one in report.differences[:2])
            behind = ", ".join(f"{room} is behind by {changes}" for room, changes in report.behind.items())
            self.problems.append(f"the replica differs from the rooms: {first or behind}")
        else:
            self._compare_seqs(directory)

    def _compare_seqs(self, directory: Path) -> None:
        """Rooms that no read has asked: the replica, now equal to them, tells how far they are."""
        told = [call for call in self._history.calls.values() if call.outcome == "returned" and call.room not in self._read]
        if not told:
            return
        with closing(sqlite3.connect(DataDir(directory).path / REPLICA)) as connection:
            seqs = {f"{actor}/{id}": seq for actor, id, seq in connection.execute("SELECT actor, id, seq FROM _rooms")}
        for call in told:
            if seqs.get(call.room, 0) < call.seq:
                self.problems.append(f"{call}, but after the restart the room is at seq {seqs.get(call.room, 0)}")
                return


def is_sound(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


def _wall_clock() -> float:
    return BEGAN + 10_000_000


def _last(calls: list[Call]) -> Call:
    return max(calls, key=lambda call: call.seq)
