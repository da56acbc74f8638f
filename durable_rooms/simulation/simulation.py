"""One seed: a world that lives several lives, is cut at many places, and is looked at after each cut."""

import gc
import shutil
import tempfile
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import trio

from durable_rooms.simulation.cuts import Cuts, Remains
from durable_rooms.simulation.events import Event, hash_of
from durable_rooms.simulation.history import History
from durable_rooms.simulation.image import Keep, Left, Wounds, image, write_image
from durable_rooms.simulation.life import Life
from durable_rooms.simulation.look import Inspection, Notes
from durable_rooms.simulation.plan import LifePlan, Plan, plan_of
from durable_rooms.simulation.scenario import Scenario
from durable_rooms.simulation.schedule import run_seeded
from durable_rooms.simulation.world import World, world_of

RAM_DISK = Path("/dev/shm")
LAST_EVENTS = 25
READING = LifePlan("cut", clients=0, visits=0)
OPENINGS_CUT, SECOND_CUTS = 0.02, 6  # of the images so many are opened on a disk of their own as well, and each is cut so often


def temporary_directory(inside: str | None = None) -> "tempfile.TemporaryDirectory[str]":
    """In RAM where there is such a disk."""
    ram = str(RAM_DISK) if RAM_DISK.is_dir() else None
    return tempfile.TemporaryDirectory(prefix="durable-rooms-simulation-", dir=inside or ram)


@contextmanager
def _collected_by_hand() -> Generator[None]:
    """Cyclic garbage (0.2 MB a look) is collected after each life: Python's own moments for it cost a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@dataclass
class Failure:
    """What a seed has found."""

    seed: int
    where: str
    problems: list[str]
    plan: Plan
    events: list[str]  # the last ones before the cut


@dataclass
class Found:
    """What one or many seeds have found."""

    seeds: int = 0
    crash_points: int = 0  # cuts: places of a trace, each with what it left; all were asked after
    images: set[bytes] = field(default_factory=set[bytes])  # by contents; each was opened by the product and checked
    faults: dict[str, int] = field(default_factory=dict[str, int])
    virtual_seconds: float = 0.0
    replica_reads: int = 0  # by a stranger in the midst of lives, each explained like a reply
    replica_answers: int = 0  # @read calls that the replica has answered
    answered: dict[str, int] = field(default_factory=dict[str, int])  # calls by "Class.method", of the lives
    refused: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])  # how often, and the last reason
    failures: list[Failure] = field(default_factory=list[Failure])
    trace: str = ""  # hash of everything that happened, of one seed

    def struck(self, name: str, times: int = 1) -> None:
        if times:
            self.faults[name] = self.faults.get(name, 0) + times

    def count_calls(self, answered: dict[str, int], refused: dict[str, tuple[int, str]]) -> None:
        for method, times in answered.items():
            self.answered[method] = self.answered.get(method, 0) + times
        for method, (times, words) in refused.items():
            self.refused[method] = self.refused.get(method, (0, ""))[0] + times, words


class Simulation:
    """A world of one seed. `run` costs 3 to 10 s; the same seed gives the same trace everywhere."""

    def __init__(self, scenario: Scenario, seed: int, *, plan: Plan | None = None, directory: Path | None = None) -> None:
        """Args: `plan` instead of the one that the seed expands to; `directory` for the files, else a temporary one in RAM."""
        self.scenario = scenario
        self.seed = seed
        self.plan = plan or plan_of(seed, scenario.clients, scenario.visits, cuts=scenario.cuts)
        self.found = Found(seeds=1)
        self._chance = Random(f"cuts {seed}")
        self._history = History()
        self._notes = Notes()
        self._given = directory
        self._wounds = Wounds()
        self._cuts = Cuts(self._chance, self._wounds)
        self._traces: list[str] = []
        self._looking: Inspection
        self._left: Left | None = None  # in the directory for looks

    def run(self) -> Found:
        """Live and cut until the plan is over or something is wrong."""
        with _collected_by_hand():
            if self._given is not None:
                self._live(self._given)
            else:
                with temporary_directory() as directory:
                    self._live(Path(directory))
        self.found.struck("kill", self._cuts.kept[Keep.ALL])
        self.found.struck("power cut", self._cuts.kept[Keep.NOTHING] + self._cuts.kept[Keep.SOME])
        self.found.struck("torn write", self._wounds.torn)
        self.found.struck("garbage in a sector", self._wounds.garbage)
        self.found.trace = hash_of(Event("life", other=trace) for trace in self._traces)
        return self.found

    def _live(self, directory: Path) -> None:
        world = World()
        for number in range(len(self.plan.lives)):
            life = self._life(directory / f"life-{number}", number, world.copy())
            end = self._end(life)
            self._cut(directory / "cut", life, world, end)
            gc.collect()
            if life.problems:
                self._fail(life, len(life.disk.events), "during the life", life.problems)
            if self.found.failures or number + 1 == len(self.plan.lives):
                return
            self._history = self._history.until(number, end)
            world = self._next(life, world, directory / f"life-{number + 1}")
            if (directory / f"life-{number}").exists():  # the first operation of the first life may have failed
                shutil.rmtree(directory / f"life-{number}")

    def _life(self, root: Path, number: int, world: World) -> Life:
        plan = self.plan.lives[number]
        life = Life(self.scenario, plan, number, str(self.seed), root, world, self._history)
        life.run()
        self._traces.append(hash_of(life.disk.events))
        self.found.virtual_seconds += life.virtual_seconds
        self.found.replica_reads += life.replica_reads
        self.found.replica_answers += life.replica_answers
        self.found.count_calls(life.answered, life.refused)
        for name, times in life.struck.items():
            self.found.struck(name, times)
        return life

    def _end(self, life: Life) -> int:
        """The place in the trace at which the life ends."""
        last = len(life.disk.events)
        end = life.plan.end
        self.found.struck({"stopped": "orderly stop", "killed": "kill", "cut": "power cut"}[end])
        return last if end == "stopped" else self._chance.randrange(last // 3, last)

    def _next(self, life: Life, world: World, root: Path) -> World:
        """The world, now at its end, in which the next life begins; its files are written."""
        if life.plan.end != "cut":
            write_image(image(world, Keep.ALL, self._chance), root)
            return world
        left = image(world, Keep.SOME, self._chance, self._wounds)
        write_image(left, root)
        return world_of(left)

    # -- cuts ---------------------------------------------------------------------------------------------------------------
    def _cut(self, directory: Path, life: Life, world: World, end: int) -> None:
        """Cut on the way to the life's end, and look at all that this leaves. The world ends where the life does."""
        events = life.disk.events[:end]
        places = self._cuts.places(events, self.plan.cuts)
        waiting = deque(self._cuts.remains(world, events, places, life.number, self._history, f"life {life.number + 1}"))
        while waiting and not self.found.failures:
            again = self._look_at(directory, life, waiting, OPENINGS_CUT)
            if again is not None:
                self._cut_again(directory, life, again)

    def _cut_again(self, directory: Path, before: Life, remains: Remains) -> None:
        """Open and read an image on a disk that writes down what happens, and cut that."""
        known, root = remains.known[-1], directory.with_name("again")
        write_image(remains.image, root)
        world = world_of(remains.image)
        number, reading = before.number + 1, replace(READING, second=before.plan.second)
        life = Life(self.scenario, reading, number, f"{self.seed} again {known.place}", root, world.copy(), known.history)
        life.run()
        words = f"{known.where}, then opened and read"
        if life.problems:
            self._fail(life, len(life.disk.events), words, life.problems)
            return
        places = sorted(self._chance.randrange(len(life.disk.events) + 1) for _ in range(SECOND_CUTS))
        self.found.struck("cut during recovery", SECOND_CUTS)
        left = deque(self._cuts.remains(world, life.disk.events, places, number, known.history, words))
        self._look_at(directory, life, left)

    def _look_at(self, directory: Path, life: Life, waiting: deque[Remains], again: float = 0.0) -> Remains | None:
        """Look at one after another, in one run, until something is wrong or one is drawn, with the chance `again`, that is to be
        cut again: it is returned."""

        async def look() -> Remains | None:
            while waiting and not self.found.failures:
                remains = waiting.popleft()
                await trio.sleep(1)  # virtual: a standstill is one of a look, and looks may take no time
                await self._look(directory, life, remains)
                if again and not self.found.failures and self._chance.random() < again:
                    return remains
            return None

        try:
            return run_seeded(f"{self.seed} {life.number}", look, stands_still=lambda: self._looking.stands_still())
        except trio.TrioInternalError as error:
            self._looking.broke_off(error)
            self._looked(life, self._looking)
            return None

    async def _look(self, directory: Path, life: Life, remains: Remains) -> None:
        """Open it, and ask after all that was known; again where the asking itself has written."""
        waiting = remains.known
        while waiting and not self.found.failures:
            there = write_image(remains.image, directory, self._left)
            looking = self._looking = Inspection(self.scenario, life.number, waiting, self._notes, second=life.plan.second)
            await looking.look(directory, f"{self.seed} {life.number} {waiting[0].place}")
            self._left = Left(there.folders | looking.disk.made, there.held | looking.disk.folders)
            self.found.images.add(remains.key)
            self._looked(life, looking)
            waiting = waiting[looking.asked :]

    def _looked(self, life: Life, looking: Inspection) -> None:
        self.found.crash_points += sum(known.cuts for known in looking.known[: looking.asked])
        if looking.problems:
            known = looking.known[min(looking.asked, len(looking.known) - 1)]
            self._fail(life, known.place, known.where, looking.problems)

    def _fail(self, life: Life, place: int, where: str, problems: list[str]) -> None:
        events = [str(event) for event in life.disk.events[max(0, place - LAST_EVENTS) : place]]
        self.found.failures.append(Failure(self.seed, where, problems, self.plan, events))
