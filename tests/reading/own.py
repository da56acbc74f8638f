"""A room that is read by its own answers (never on a replica), and what its tests look at."""

import contextlib
import hashlib
from typing import Any

import trio

from actors import InlineThreads
from durable_rooms import Limits, read
from tests.reading.chat import ChatRoom


class Told(Exception):
    """What a read raises about what it saw."""


class Room(ChatRoom):
    @read(fresh="room")
    def tells(self) -> None:
        raise Told(", ".join(self.sql("SELECT body FROM messages ORDER BY id").scalars()))

    @read(fresh="room")
    def seen(self, _round: int = 0) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @read(fresh="room")
    def spins(self) -> int:
        return self.sql("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n").scalar()

    async def waits_alone(self, seconds: float) -> None:
        async with self.exclusive():
            self.sql("INSERT INTO messages (author, body) VALUES ('ann', 'begun')")
            await trio.sleep(seconds)
            self.sql("INSERT INTO messages (author, body) VALUES ('ann', 'ended')")

    async def reads_another(self, other: Any) -> Any:
        self.sql("INSERT INTO messages (author, body) VALUES ('ann', 'asks')")
        return await ASKED[other]()


ASKED: dict[str, Any] = {}


class HeldThreads(InlineThreads):
    """Jobs begin when the test lets them; `begun` has the names of all that did."""

    def __init__(self) -> None:
        self.free = trio.Event()
        self.free.set()
        self.waiting: list[str] = []
        self.begun: list[str] = []

    async def run(self, job: Any, *args: object) -> Any:
        name = getattr(job, "__name__", "")
        self.waiting.append(name)
        with trio.CancelScope(shield=True):
            await self.free.wait()
        self.waiting.remove(name)
        self.begun.append(name)
        return await super().run(job, *args)


def print_of(path) -> list[tuple[str, str, int]]:
    """The files of a room: name, content, time of the last change."""
    return sorted(
        (file.name, hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in path.parent.glob(f"{path.name}*")
    )


def file_of(runtime, id: str = "general"):
    return runtime.directory.room(runtime.address(Room, id)[0])


async def rest(runtime) -> None:
    """Until no room is in memory."""
    while runtime.status().rooms_open:  # noqa: ASYNC110 - virtual time
        await trio.sleep(1)


SOON = Limits(idle_seconds_max=1)


async def make_slow(runtime, room, method: str) -> None:
    """Two of its reads took long on the loop, so the next ones go to a thread."""
    ticks = iter([0.0, 10.0, 10.0, 20.0])
    stopwatch, runtime.doors.stopwatch = runtime.doors.stopwatch, lambda: next(ticks, 20.0)
    for _ in range(2):
        with contextlib.suppress(Told):
            await getattr(room, method)()
    runtime.doors.stopwatch = stopwatch
