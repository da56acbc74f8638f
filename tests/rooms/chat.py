"""A chat room and the few moves that the tests of rooms share."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import apsw
import trio
from trio.testing import wait_all_tasks_blocked

from actors import RoomName
from durable_rooms import Actor, Room, Runtime
from durable_rooms.testing import open_test_runtime


class Sorry(Exception):
    """What a handler raises here on purpose."""


class ChatRoom(Actor):
    migrations: ClassVar = ["CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE)"]

    def post(self, body: str) -> int:
        return self.sql("INSERT INTO messages (body) VALUES (?) RETURNING id", body).scalar()

    def bodies(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    def post_and_raise(self, body: str) -> None:
        self.post(body)
        raise Sorry(body)

    def ping(self) -> str:
        return "pong"


@asynccontextmanager
async def one_room(actor: type[Actor], id: str = "general", **options: Any) -> AsyncGenerator[Room[Any]]:
    """A runtime of one class, and one of its rooms."""
    async with open_test_runtime(actor, **options) as runtime:
        yield runtime.room(actor, id)


def path_of(runtime: Runtime, room: Room[Any]) -> Path:
    return runtime.directory.room(RoomName(room.actor.__name__, room.id))


@contextmanager
def other_program(path: Path) -> Generator[apsw.Connection]:
    """Another program's connection to a room's file.

    By apsw: two SQLite libraries in one process would not see each other's locks (POSIX locks belong to a process).
    """
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call returned, or the exception that it raised."""
    try:
        return await call()
    except Exception as error:
        return error


async def together(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Outcomes of calls that wait for the room at the same time."""
    found: list[Any] = [None] * len(calls)

    async def keep(place: int, call: Callable[[], Awaitable[Any]]) -> None:
        found[place] = await outcome(call)

    async with trio.open_nursery() as nursery:
        for place, call in enumerate(calls):
            nursery.start_soon(keep, place, call)
    return found


async def one_after_another(nursery: trio.Nursery, *calls: Callable[[], Awaitable[Any]]) -> None:
    """Start calls so that they reach the room in this order, and wait for none of them."""
    for call in calls:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
