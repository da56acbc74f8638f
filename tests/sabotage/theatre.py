"""A theatre for directed scenarios: lives whose every step is given, cut where it matters, with images as dense as it takes.

A window of one image in 10,000 is never met by chance. Here a job is held at the place that matters, the power fails there,
and the same inspection looks at what is left as after a random cut.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits, RoomName
from actors.activation.activation import Activation
from actors.names import room_file
from durable_rooms.simulation.chat import Chat, ChatScenario
from durable_rooms.simulation.client import Client, Place, SimulatedRoom
from durable_rooms.simulation.cuts import Known
from durable_rooms.simulation.history import History
from durable_rooms.simulation.image import Image, Keep, image, key_of, write_image
from durable_rooms.simulation.life import Life
from durable_rooms.simulation.look import REPLICATED_SECONDS, Inspection, Notes
from durable_rooms.simulation.plan import LifePlan
from durable_rooms.simulation.threads import Hold
from durable_rooms.simulation.troubles import REPLICA, take_away
from durable_rooms.simulation.world import Node, World, world_of

ROOMY = Limits(wal_bytes_max=100_000, broken_rooms_max=1_000)  # nothing leaves or is checkpointed unless the scene wants it
KEPT = {Keep.NOTHING: "nothing", Keep.SOME: "some", Keep.ALL: "all"}


class OneRelease(ChatScenario):
    """The shipped chat without a second release, so that no migration comes between two lives."""

    releases = ()
    limits = ROOMY


class Shown(Exception):
    """Something is wrong: the scene is over."""


class Theatre:
    """One world and its lives. `problems`: of the first look that found some."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scenario = OneRelease()
        self.world = World()
        self.history = History()
        self.lives = 0
        self.crash_points = 0
        self.problems: list[str] = []
        self.where = ""
        self._seen: set[bytes] = set()
        self._notes = Notes()

    def live(self, program: Callable[["Stage"], Awaitable[None]], limits: Limits = ROOMY) -> "Stage":
        """One life, to its orderly stop, then looks at the places that its program has noted.

        Raises:
          Shown: something is wrong.
          AssertionError: the program's own: it did not come to its moment.
        """
        self.scenario.limits = limits
        stage = Stage(self, program)
        stage.run()
        if stage.missed is not None:
            raise stage.missed
        self._look_at_all(stage)
        self.found("during the life", stage.problems)
        return stage

    def cut(self, stage: "Stage", first: int, last: int | None = None, *, draws: int = 3, uncalled: bool = False) -> None:
        """Note where to look: at what a power cut, and a kill, leave at each of these places, before the next life begins.

        Args:
          draws: so many images of each place have some of the unsynced.
          uncalled: nobody calls a room in them: only the replica is waited for, and compared.
        """
        stage.cuts.append((first, first if last is None else last, draws, uncalled))

    def _look_at_all(self, stage: "Stage") -> None:
        for first, last, draws, uncalled in stage.cuts:
            self._look_at_these(stage, first, last, draws, uncalled=uncalled)

    def _look_at_these(self, stage: "Stage", first: int, last: int, draws: int, *, uncalled: bool) -> None:
        world, chance = self.world.copy(), Random(f"{self.lives} {first}")
        for place, event in enumerate([*stage.disk.events, None]):
            if place > last:
                return
            if place >= first:
                for keep in (Keep.NOTHING, Keep.ALL, *[Keep.SOME] * draws):
                    self._look(stage, place, image(world, keep, chance), KEPT[keep], uncalled=uncalled)
            if event is not None:
                world.apply(event)

    def _look(self, stage: "Stage", place: int, left: Image, kept: str, *, uncalled: bool) -> None:
        key = key_of(left) + place.to_bytes(4, "big")  # more was promised at a later place
        if key in self._seen:
            return
        self._seen.add(key)
        self.crash_points += 1
        directory = self.directory / "cut"
        write_image(left, directory)
        where = f"life {self.lives}, cut after event {place:,}, of the unsynced: {kept}"
        known = [Known(self.history.until(stage.number, place), where)]
        looking = (Uncalled if uncalled else Inspection)(self.scenario, stage.number, known, self._notes)
        self.found(where, looking.look_alone(directory, f"{self.lives} {place}"))

    def found(self, where: str, problems: list[str]) -> None:
        """Problems, or none."""
        if problems:
            self.where, self.problems = where, problems
            raise Shown

    def go_on(self, stage: "Stage", place: int | None = None, keep: Keep = Keep.ALL) -> None:
        """The life ended here: by a kill or its orderly stop (ALL), or by a power cut."""
        end = len(stage.disk.events) if place is None else place
        self.world.play(stage.disk.events[:end])
        self.history = self.history.until(stage.number, end)
        left = image(self.world, keep, Random(end))
        write_image(left, self.directory / f"life-{self.lives}")
        if keep is not Keep.ALL:
            self.world = world_of(left)

    def content(self, path: str) -> bytes:
        """Of a file, as the next life finds it."""
        return bytes(self.world.node(self.world.names[path]).now())

    def replace(self, path: str, content: bytes) -> None:
        """Somebody puts another file in its place, durably, while nothing runs."""
        self.world.nodes[self.world.names[path]] = Node(bytearray(content))
        (self.directory / f"life-{self.lives}" / path).write_bytes(content)


class Uncalled(Inspection):
    """A look at an image in which nobody calls a room: the start alone must bring the replica up to date."""

    async def _look(self, directory: Path, chance: Random) -> None:
        async with self._opened(directory, chance) as runtime:
            await runtime.replicated(REPLICATED_SECONDS)


class Stage(Life):
    """One directed life: troubles come only where the program calls for them."""

    def __init__(self, theatre: Theatre, program: Callable[["Stage"], Awaitable[None]]) -> None:
        plan = LifePlan("stopped", clients=0, visits=0)
        root = theatre.directory / f"life-{theatre.lives}"
        super().__init__(theatre.scenario, plan, theatre.lives, "scene", root, theatre.world.copy(), theatre.history)
        theatre.lives += 1
        self.threads._chance = None  # jobs stop at holds only
        self._program = program
        self.cuts: list[tuple[int, int, int, bool]] = []
        self._nursery: trio.Nursery
        self.missed: AssertionError | None = None  # the program did not come to its moment
        self.errors: list[Exception] = []  # what callers were told, beside replies

    async def _clients(self, place: Place) -> None:
        self.place = place
        self._scenario._told = self.told
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await self._program(self)
            except AssertionError as missed:
                self.missed = missed
            finally:
                self.threads.release_all()

    # -- for programs -------------------------------------------------------------------------------------------------------
    @property
    def now(self) -> int:
        """The place in the trace."""
        return len(self.disk.events)

    def room(self, id: str) -> SimulatedRoom:
        """Its calls and replies enter the history."""
        return self.client().room(Chat, id)

    def client(self) -> Client:
        """The one of all lives."""
        return Client(self, "a client", self._chance, 1)

    def copy_of_replica(self) -> bytes:
        connection = self.disk.connect(self.disk.root / REPLICA, read_only=True)
        try:
            return connection.serialize("main")
        finally:
            connection.close()

    def put_replica(self, content: bytes) -> None:
        """Somebody puts a copy in its place while everything runs."""
        take_away(self)
        self.disk.put(self.disk.root / REPLICA, content)

    async def start(self, *calls: Awaitable[Any]) -> None:
        """Begin calls at once, and let everything run as far as it can. A call may fail; its outcome is in the history."""
        for call in calls:
            self._nursery.start_soon(self._wait, call)
        await wait_all_tasks_blocked()

    async def _wait(self, call: Awaitable[Any]) -> None:
        try:
            await call
        except Exception as error:
            self.errors.append(error)

    def hold(self, kind: str, pattern: str = "*") -> Hold:
        return self.threads.hold(kind, pattern)

    async def rest(self, seconds: float = 0.0) -> None:
        await trio.sleep(seconds)
        await wait_all_tasks_blocked()

    def activation(self, id: str) -> Activation:
        found = self.runtime.seated(RoomName("Chat", id))
        assert found is not None
        return found

    async def hibernate(self, id: str, *, hurried: bool = False) -> None:
        self.activation(id).leave(hurried=hurried)
        while self.runtime.seated(RoomName("Chat", id)) is not None:
            await self.rest(0.01)
        await self.rest()

    def look_at_replica(self) -> None:
        """As a stranger would, who must never see it taken back."""
        self._look_at_replica()


def path_of(id: str) -> str:
    """A room's file below the data directory."""
    return f"rooms/{room_file(RoomName('Chat', id))}"


def wal(id: str) -> str:
    return path_of(id) + "-wal"
