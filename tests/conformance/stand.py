"""What the tests of the yardstick stand on: a room, callers who wait, a disk that stands still, one that is full, a power cut."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from actors import Doors, InlineThreads, Limits, RoomName, SQLValue
from durable_rooms import Actor, Room, Runtime
from durable_rooms.runtime import open_with_doors
from durable_rooms.simulation.disk import SimulatedDisk
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from durable_rooms.testing import TEST_TIME
from tests.rooms.chat import ChatRoom, outcome

T = TypeVar("T")


class Notes(ChatRoom):
    """A chat room with a memory, and a handler that runs any statement."""

    migrations = (
        *ChatRoom.migrations,
        "CREATE TABLE replies (id INTEGER PRIMARY KEY, message INTEGER NOT NULL REFERENCES messages (id) "
        "DEFERRABLE INITIALLY DEFERRED)",
    )

    def __init__(self) -> None:
        self.memory: list[str] = []

    def remember(self, word: str) -> list[str]:
        self.memory.append(word)
        return self.memory

    def run(self, query: str, *values: SQLValue) -> list[dict[str, Any]]:
        return self.sql(query, *values).dicts()

    def reply_to(self, message: int) -> None:
        self.sql("INSERT INTO replies (message) VALUES (?)", message)


class Callers:
    """Each call runs in a task of its own; its outcome, a value or an exception, is in `outcomes` once it has come."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.outcomes: dict[str, Any] = {}

    async def start(self, name: str, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Make a call, and let everything run as far as it can."""
        self._nursery.start_soon(self._keep, name, call, args)
        await wait_all_tasks_blocked()

    async def settle(self) -> dict[str, Any]:
        """Let everything run as far as it can; the outcomes that have come by then."""
        await wait_all_tasks_blocked()
        return self.outcomes

    async def _keep(self, name: str, call: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self.outcomes[name] = await outcome(lambda: call(*args))


class StillDisk(InlineThreads):
    """The thread door of a disk that can stand still: jobs that come meanwhile (a round's sync, an opening) wait."""

    def __init__(self) -> None:
        self.still = False
        self._waiting: deque[trio.Event] = deque()

    async def run(self, job: Callable[..., T], *args: object) -> T:
        if self.still:
            moves = trio.Event()
            self._waiting.append(moves)
            await moves.wait()
        return await super().run(job, *args)

    @property
    def jobs(self) -> int:
        """That have begun and wait for the disk."""
        return len(self._waiting)

    async def finish_one(self) -> None:
        """Let the oldest job end, and everything that waits for it alone go on."""
        self._waiting.popleft().set()
        await wait_all_tasks_blocked()

    async def move(self) -> None:
        self.still = False
        while self._waiting:
            self._waiting.popleft().set()
        await wait_all_tasks_blocked()


@asynccontextmanager
async def on_still_disk(
    path: Path, *actors: type[Actor], limits: Limits | None = None, stopwatch: Callable[[], float] = trio.current_time
) -> AsyncGenerator[tuple[Runtime, StillDisk, Callers]]:
    """A runtime, its disk that can stand still, and callers that wait while the test looks on. `stopwatch`: how long a
    statement takes."""
    disk = StillDisk()
    async with trio.open_nursery() as nursery:
        doors = Doors(threads=disk, wall_clock=_wall_clock, random=Random(0), stopwatch=stopwatch)
        async with open_with_doors(path, actors, replicas=(), limits=limits, doors=doors) as runtime:
            try:
                yield runtime, disk, Callers(nursery)
            finally:
                await disk.move()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def on_faulty_disk(path: Path, *actors: type[Actor]) -> AsyncGenerator[tuple[Runtime, SimulatedDisk]]:
    """A runtime on the simulator's disk, which fails where it is told and knows what a power cut would leave."""
    disk = SimulatedDisk(path, None, None)
    try:
        doors = Doors(disk=disk, threads=InlineThreads(), wall_clock=_wall_clock, random=Random(0))
        async with open_with_doors(path, actors, replicas=(), limits=None, doors=doors) as runtime:
            yield runtime, disk
    finally:
        disk.forget()


def cut_power(disk: SimulatedDisk, keep: Keep, into: Path, chance: Random) -> None:
    """Write what a power cut would leave of everything up to now: all, nothing or some of what was not synced."""
    world = World()
    world.play(disk.events)
    write_image(image(world, keep, chance), into)


def fill_up(runtime: Runtime, room: Room[Any], pages: int = 1) -> None:
    """Let the room's database have so many pages more, and then be full."""
    activation = runtime.seated(RoomName(room.actor.__name__, room.id))
    assert activation is not None
    connection = activation.storage.connection
    (count,) = connection.execute("PRAGMA page_count").fetchall()[0]
    connection.execute(f"PRAGMA max_page_count = {count + pages}").fetchall()


def make_space(runtime: Runtime, room: Room[Any]) -> None:
    fill_up(runtime, room, 1_000_000)


def _wall_clock() -> float:
    return TEST_TIME + trio.current_time()
