"""F38: however many rooms lie on the disk, a start looks at none but those that a crash left active, and a call at its own."""

import inspect
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import pytest

from actors import Disk
from actors.names import RoomName, room_file
from benchmarks.chat_room import ChatRoom
from benchmarks.rooms_on_disk import make_rooms, room_id
from durable_rooms import Limits, SQLiteReplica, open_runtime
from durable_rooms.testing import open_test_runtime

START_SECONDS_MAX = 5.0
WAKE_SECONDS_MAX = 0.020


class Watching(Disk):
    """The real disk, and which paths below `rooms/` it was asked about; a descriptor had a path when it was opened."""

    def __init__(self, data: Path) -> None:
        self._rooms = data / "rooms"
        self.touched: set[str] = set()

    def note(self, operation: str, arguments: Iterable[Any]) -> None:
        paths = [
            path.relative_to(self._rooms) for path in arguments if isinstance(path, Path) and path.is_relative_to(self._rooms)
        ]
        if operation == "list" and any(path.parts for path in paths):  # `rooms` itself has 256 names, however many rooms
            self.touched.add("a scan")
        self.touched |= {path.as_posix().partition(".db")[0] for path in paths if len(path.parts) > 1}


def noted(operation: str, function: Any) -> Any:
    def method(self: Watching, *arguments: Any, **options: Any) -> Any:
        self.note(operation, [*arguments, *options.values()])
        return function(self, *arguments, **options)

    return method


for operation, function in inspect.getmembers(Disk, inspect.isfunction):
    if not operation.startswith("_"):
        setattr(Watching, operation, noted(operation, function))


def files_of(numbers: Iterable[int]) -> set[str]:
    return {room_file(RoomName("ChatRoom", room_id(number))).removesuffix(".db") for number in numbers}


def kill(data: Path, active: Iterable[int]) -> None:
    """Make it a directory as a SIGKILL leaves it, with these rooms in memory."""
    (data / "clean-stop").unlink()
    with closing(sqlite3.connect(data / "catalog.db")) as catalog, catalog:
        for number in active:
            catalog.execute("UPDATE rooms SET active = 1 WHERE id = ?", (room_id(number),))


async def touched_by_a_start(data: Path, called: int) -> set[str]:
    """Open it, call one room, wait until the replica has been compared with all of them."""
    disk = Watching(data)
    async with open_test_runtime(ChatRoom, path=data, replicas=[SQLiteReplica()], disk=disk) as runtime:
        assert await runtime.room(ChatRoom, room_id(called)).history(50)
        await runtime.replicated(timeout=60)
        return disk.touched


async def test_f38_a_start_touches_no_room_and_a_call_only_its_own(tmp_path: Path):
    data = tmp_path / "data"
    await make_rooms(data, 300, lambda _share: None, replicated=True)
    assert await touched_by_a_start(data, 7) == files_of([7])
    kill(data, [1, 2, 3])
    assert await touched_by_a_start(data, 7) == files_of([1, 2, 3, 7])
    (data / "replica.db").unlink()  # the watch sees what it is there to see: now all are looked at
    assert await touched_by_a_start(data, 7) == files_of(range(300))


@pytest.mark.slow
async def test_f38_with_100_000_rooms_on_disk_it_starts_and_wakes_within_the_bounds(tmp_path: Path):
    """Bounds far above what `benchmarks start` and `benchmarks wake` measure: to catch a scan, not a slow day."""
    data, rooms, chance = tmp_path / "data", 100_000, Random(38)
    try:
        await make_rooms(data, rooms, lambda _share: None, replicated=True)
        for killed in (False, True):
            active = chance.sample(range(rooms), 100 * killed)
            if killed:
                kill(data, active)
            assert await touched_by_a_start(data, 7) == files_of([7, *active])
        kill(data, active)
        began = perf_counter()
        async with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()], limits=Limits(open_rooms_max=500)) as runtime:
            assert await runtime.room(ChatRoom, room_id(7)).history(50)
            assert perf_counter() - began < START_SECONDS_MAX
            took: list[float] = []
            for number in chance.sample(range(rooms), 1_000):
                began = perf_counter()
                assert await runtime.room(ChatRoom, room_id(number)).history(50)
                took.append(perf_counter() - began)
            assert sorted(took)[990] < WAKE_SECONDS_MAX
    finally:
        shutil.rmtree(data)  # 3.6 GB
