"""Callers that wait at the gate while a test looks on, and what the record must show of each reply."""

from collections.abc import Awaitable
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from actors.activation.activation import Activation
from actors.names import RoomName, room_file
from durable_rooms import Room, Runtime
from tests.durability.chat import Chat
from tests.durability.recording import RecordingDisk


class Callers:
    """Each call runs in a task of its own; its outcome is a value or an exception, recorded among the disk's events."""

    def __init__(self, nursery: trio.Nursery, disk: RecordingDisk) -> None:
        self._nursery = nursery
        self._disk = disk
        self.outcomes: dict[str, Any] = {}
        self._came = trio.lowlevel.ParkingLot()

    async def start(self, name: str, call: Awaitable[Any]) -> None:
        """Begin a call and let everything run as far as it can."""
        self._nursery.start_soon(self._wait, name, call)
        await wait_all_tasks_blocked()

    async def _wait(self, name: str, call: Awaitable[Any]) -> None:
        try:
            outcome: Any = await call
        except Exception as error:
            outcome = error
        self.outcomes[name] = outcome
        self._disk.reply(name)
        self._came.unpark_all()

    async def came(self, *names: str) -> None:
        """Wait for the outcomes of calls."""
        while not self.outcomes.keys() >= set(names):
            await self._came.park()

    def __contains__(self, name: str) -> bool:
        return name in self.outcomes

    def __getitem__(self, name: str) -> Any:
        return self.outcomes[name]


async def recorded(disk: RecordingDisk, name: str, call: Awaitable[Any]) -> Any:
    """Await a call and record its reply, or its exception, which is returned."""
    try:
        outcome = await call
    except Exception as error:
        outcome = error
    disk.reply(name)
    return outcome


def room(runtime: Runtime, id: str) -> Room[Chat]:
    (actor,) = [known.actor for known in runtime._classes.values()]
    return runtime.room(actor, id)


def path_of(id: str) -> str:
    """A room's file below the data directory."""
    return f"rooms/{room_file(RoomName('Chat', id))}"


def wal(id: str) -> str:
    return path_of(id) + "-wal"


def activation(runtime: Runtime, id: str) -> Activation:
    found = runtime._seats[RoomName("Chat", id)].activation
    assert found is not None
    return found


def is_open(runtime: Runtime, id: str) -> bool:
    seat = runtime._seats.get(RoomName("Chat", id))
    return seat is not None and seat.activation is not None


def reply_place(disk: RecordingDisk, name: str) -> int:
    (place,) = [place for place, event in enumerate(disk.events) if event.kind == "reply" and event.other == name]
    return place


def commit_place(disk: RecordingDisk, id: str, body: str) -> int:
    """The last write of the commit that first carried `body` into the room's WAL."""
    place = disk.where("write", wal(id), holding=body.encode())[0]
    for event in disk.events[place + 1 :]:
        if (event.kind, event.path) != ("write", wal(id)):
            break
        place += 1
    return place


def syncs(disk: RecordingDisk, path: str) -> list[tuple[int, int]]:
    """Began and returned of every sync that made this file's contents durable."""
    began = {
        event.token: place for place, event in enumerate(disk.events) if event.kind in ("sync began", "file system sync began")
    }
    return [
        (began[event.token], place)
        for place, event in enumerate(disk.events)
        if event.kind == "file system sync returned" or (event.kind == "sync returned" and event.path == path)
    ]


def covering_sync(disk: RecordingDisk, path: str, after: int) -> tuple[int, int]:
    """The first sync that began after a place."""
    later = [sync for sync in syncs(disk, path) if sync[0] > after]
    assert later, f"no sync of {path} began after event {after}"
    return later[0]


def assert_durable_before_reply(disk: RecordingDisk, id: str, body: str, reply: str) -> None:
    """write < sync began < sync returned < reply"""
    write = commit_place(disk, id, body)
    began, returned = covering_sync(disk, wal(id), write)
    assert write < began < returned < reply_place(disk, reply)
