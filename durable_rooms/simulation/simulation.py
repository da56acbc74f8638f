"""One seed: a world that lives several lives, is cut at many places, and is looked at after each cut."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from durable_rooms.simulation.events import Event, hash_of
from durable_rooms.simulation.explain import Explained
from durable_rooms.simulation.history import History
from durable_rooms.simulation.image import Image, Keep, Wounds, image, key_of, write_image
from durable_rooms.simulation.life import Life
from durable_rooms.simulation.look import Inspection
from durable_rooms.simulation.plan import LifePlan, Plan, plan_of
from durable_rooms.simulation.scenario import Scenario
from durable_rooms.simulation.world import World, world_of

RAM_DISK = Path("/dev/shm")
LAST_EVENTS = 25
READING = LifePlan("cut", clients=0, visits=0)
SECOND_CUTS = 0.1  # of the images are opened on a disk of their own, and cut again during the opening


def temporary_directory(inside: str | None = None) -> "tempfile.TemporaryDirectory[str]":
    """In RAM where there is such a disk."""
    ram = str(RAM_DISK) if RAM_DISK.is_dir() else None
    return tempfile.TemporaryDirectory(prefix="durable-rooms-simulation-", dir=inside or ram)


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
    crash_points: int = 0  # places that were cut
    images: set[bytes] = field(default_factory=set[bytes])  # by contents; each was opened by the product and checked
    faults: dict[str, int] = field(default_factory=dict[str, int])
    virtual_seconds: float = 0.0
    replica_reads: int = 0  # in the midst of lives, each explained like a reply
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
    """A world of one seed. `run` costs 1 to 5 s; the same seed gives the same trace everywhere."""

    def __init__(self, scenario: Scenario, seed: int, *, plan: Plan | None = None, directory: Path | None = None) -> None:
        """Args: `plan` instead of the one that the seed expands to; `directory` for the files, else a temporary one in RAM."""
        self.scenario = scenario
        self.seed = seed
        self.plan = plan or plan_of(seed, scenario.clients, scenario.visits)
        self.found = Found(seeds=1)
        self._chance = Random(f"cuts {seed}")
        self._history = History()
        self._explained: dict[str, Explained] = {}
        self._seen: set[tuple[bytes, int]] = set()  # an image again, of which more was promised by then, is looked at again
        self._given = directory
        self._wounds = Wounds()
        self._traces: list[str] = []
        self._folders: set[str] | None = None  # of the directory for looks, that the last one may have left files in

    def run(self) -> Found:
        """Live and cut until the plan is over or something is wrong."""
        if self._given is not None:
            self._live(self._given)
        else:
            with temporary_directory() as directory:
                self._live(Path(directory))
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
        """Play the trace until its end, and look at images on the way. The world ends where the life does."""
        places = self._places(life.disk.events[:end])
        for place in range(end + 1):
            for _ in range(places.count(place)):
                if not self.found.failures:
                    keep = self._chance.choice((Keep.NOTHING, Keep.SOME, Keep.SOME, Keep.SOME, Keep.ALL))
                    self.found.struck("kill" if keep is Keep.ALL else "power cut")
                    self._look(directory, life, place, image(world, keep, self._chance, self._wounds), keep.name.lower())
            if place < end:
                world.apply(life.disk.events[place])

    def _places(self, events: list[Event]) -> list[int]:
        """Where to cut: anywhere, with syncs in flight, just after replies (a promise is youngest there), after faults."""
        if not events:
            return []
        anywhere = range(len(events))
        in_flight = [place for place in anywhere if events[place].kind in ("sync returned", "file system sync returned")]
        replied = [place + 1 for place in anywhere if events[place].kind in ("reply", "told", "replica")]
        failed = [min(place + self._chance.randrange(1, 40), len(events)) for place in anywhere if events[place].kind == "fault"]
        kinds = [kind for kind in (list(anywhere), in_flight, replied, failed) if kind]
        return sorted(self._chance.choice(self._chance.choice(kinds)) for _ in range(self.plan.cuts))

    def _look(self, directory: Path, life: Life, place: int, left: Image, keep: str) -> None:
        self.found.crash_points += 1
        number, history = life.number, self._history.until(life.number, place)
        seen = key_of(left), history.promises()
        if seen in self._seen:
            return
        self._seen.add(seen)
        where = f"life {number + 1}, cut after event {place:,}, of the unsynced: {keep}"
        if self._chance.random() < SECOND_CUTS:
            number, history, left = self._cut_again(directory.with_name("again"), number + 1, history, left)
            where += ", cut again while it was opened and read"
        write_image(left, directory, self._folders)
        looking = Inspection(self.scenario, number, history, where, self._explained)
        problems = looking.look(directory, f"{self.seed} {life.number} {place}")
        written = {str((directory / path).parent) for path, content in left.items() if content is not None}
        self._folders = looking.disk.folders | written
        self.found.images.add(key_of(left))
        if problems:
            self._fail(life, place, where, problems)

    def _cut_again(self, directory: Path, number: int, history: History, left: Image) -> tuple[int, History, Image]:
        """Open and read the image on a disk that writes down what happens, and cut that."""
        self.found.struck("cut during recovery")
        self.found.crash_points += 1
        write_image(left, directory)
        world = world_of(left)
        life = Life(self.scenario, READING, number, f"{self.seed} again", directory, world.copy(), history)
        life.run()
        if life.problems:
            self._fail(life, len(life.disk.events), "while an image was opened and read", life.problems)
        end = self._chance.randrange(len(life.disk.events) + 1)
        world.play(life.disk.events[:end])
        return number, history.until(number, end), image(world, Keep.SOME, self._chance, self._wounds)

    def _fail(self, life: Life, place: int, where: str, problems: list[str]) -> None:
        events = [str(event) for event in life.disk.events[max(0, place - LAST_EVENTS) : place]]
        self.found.failures.append(Failure(self.seed, where, problems, self.plan, events))
