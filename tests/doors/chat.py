"""A chat room whose handlers can be held up from outside, and runtimes of it through each door, with a disk of the test's."""

import contextvars
import threading
from typing import Any, ClassVar

import trio

from actors import Disk, Doors
from durable_rooms import Actor, Limits
from durable_rooms.asyncio.opening import Opening as AsyncioOpening
from durable_rooms.runtime import open_with_doors
from durable_rooms.sync.opening import Opening as SyncOpening

asker: contextvars.ContextVar[str] = contextvars.ContextVar("asker", default="nobody")


class Sorry(Exception):
    """What a handler raises here on purpose."""


class ChatRoom(Actor):
    migrations: ClassVar = ["CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"]

    def post(self, body: str) -> int:
        return self.sql("INSERT INTO messages (body) VALUES (?) RETURNING id", body).scalar()

    def bodies(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    def post_and_raise(self, body: str) -> None:
        self.post(body)
        raise Sorry(body)

    def stop_iteration(self) -> None:
        raise StopIteration("out of step")

    def who_asks(self) -> str:
        return asker.get()

    def ping(self) -> str:
        return "pong"

    def held_up(self, gate: str) -> str:
        """Blocks the runtime's loop until the test opens the gate."""
        started, opened = GATES[gate]
        started.set()
        assert opened.wait(30)
        return gate

    def post_then_held_up(self, gate: str) -> str:
        self.post("before")
        return self.held_up(gate)

    async def wait_for(self, gate: str) -> str:
        """Waits without blocking the loop."""
        started, opened = GATES[gate]
        started.set()
        await trio.to_thread.run_sync(opened.wait, 30, abandon_on_cancel=True)
        self.post(f"waited for {gate}")
        return gate

    async def alone(self, gate: str) -> None:
        """Keeps every other call out until the test opens the gate."""
        started, opened = GATES[gate]
        async with self.exclusive():
            started.set()
            await trio.to_thread.run_sync(opened.wait, 30)


GATES: dict[str, tuple[threading.Event, threading.Event]] = {}


def gate(name: str) -> tuple[threading.Event, threading.Event]:
    """(started, open): set by the handler when it is there; set by the test to let it go on."""
    GATES[name] = threading.Event(), threading.Event()
    return GATES[name]


def opener(path: Any, disk: Disk | None, limits: Limits | None) -> Any:
    return lambda: open_with_doors(path, [ChatRoom], replicas=(), limits=limits, doors=Doors(disk=disk or Disk()))


def for_asyncio(path: Any, *, disk: Disk | None = None, limits: Limits | None = None) -> AsyncioOpening:
    return AsyncioOpening(opener(path, disk, limits))


def for_threads(path: Any, *, disk: Disk | None = None, limits: Limits | None = None) -> SyncOpening:
    return SyncOpening(opener(path, disk, limits))
