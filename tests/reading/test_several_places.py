"""Where several replicas lie: each in a file of its own, on file systems that may be ill when the runtime starts."""

import errno
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from actors import Disk, Doors, InlineThreads
from durable_rooms import SQLiteReplica
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import open_test_runtime
from tests.reading.chat import ChatRoom


def by_the_default(data: Path) -> Path:
    return data / "replica.db"


def by_a_way_round(data: Path) -> Path:
    return data / ".." / data.name / "replica.db"


def by_a_linked_directory(data: Path) -> Path:
    (data.parent / "link").symlink_to(data, target_is_directory=True)
    return data.parent / "link" / "replica.db"


def by_a_linked_file(data: Path) -> Path:
    (data.parent / "other.db").symlink_to(data / "replica.db")
    return data.parent / "other.db"


@pytest.mark.parametrize("other", [by_the_default, by_a_way_round, by_a_linked_directory, by_a_linked_file])
@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
async def test_two_replicas_in_one_file_are_refused(tmp_path, other, there, autojump_clock):
    data = tmp_path / "data"
    if there:
        async with open_test_runtime(ChatRoom, path=data, replicas=[SQLiteReplica()]):
            pass
    else:
        data.mkdir()
    replicas = [SQLiteReplica(), SQLiteReplica(other(data), name="second")]
    with pytest.raises(ValueError, match=r"one file: replica .*replica second"):
        async with open_test_runtime(ChatRoom, path=data, replicas=replicas):
            pass


async def test_files_of_one_name_in_directories_that_are_not_there_yet_are_two(tmp_path, autojump_clock):
    replicas = [SQLiteReplica(tmp_path / where / "replica.db", name=where) for where in ("one", "two")]
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=replicas) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "hello")


@pytest.mark.parametrize("name", ["room", ""])
def test_a_replica_is_not_named_like_the_room_itself_or_not_at_all(name):
    with pytest.raises(ValueError, match="name"):
        SQLiteReplica(name=name)


class IllDisk(Disk):
    """Whoever looks at the far file system is told that it is ill; the loop must not be the one."""

    def identity(self, path: Path) -> tuple[int, int] | None:
        if "far" in path.parts:
            raise OSError(errno.ESTALE, "Stale file handle")
        return super().identity(path)


@pytest.mark.parametrize("many", [False, True], ids=["alone", "several"])
async def test_a_file_system_that_is_ill_at_the_start_keeps_no_runtime_from_it(tmp_path, many, autojump_clock):
    replicas = [SQLiteReplica(tmp_path / "far" / "replica.db", name="far")] + [SQLiteReplica()] * many
    (tmp_path / "far").mkdir()
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=replicas, disk=IllDisk()) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        assert await room.bodies() == ["hello"]


class Hangs(Exception):
    """Nobody hears of it."""


class HangingDisk(Disk):
    """Whoever looks at the far file system never comes back."""

    in_a_thread = False

    def identity(self, path: Path) -> tuple[int, int] | None:
        self._come_to(path)
        return super().identity(path)

    def resolved(self, path: Path) -> Path:
        self._come_to(path)
        return super().resolved(path)

    def connect(self, path: Path, **options: Any) -> Any:
        self._come_to(path)
        return super().connect(path, **options)

    def _come_to(self, path: Path) -> None:
        if "far" in path.parts:
            assert self.in_a_thread, "the loop hangs"
            raise Hangs


class HangingThreads(InlineThreads):
    def __init__(self, disk: HangingDisk) -> None:
        self.disk = disk

    async def run_apart(self, job: Any, *args: object) -> Any:
        await trio.lowlevel.checkpoint()
        self.disk.in_a_thread = True
        try:
            return job(*args)
        except Hangs:
            await trio.sleep_forever()
        finally:
            self.disk.in_a_thread = False


@pytest.mark.parametrize("many", [False, True], ids=["alone", "several"])
async def test_a_file_system_that_hangs_at_the_start_keeps_no_runtime_from_it(tmp_path, many, autojump_clock):
    (tmp_path / "far").mkdir()
    replicas = [SQLiteReplica(tmp_path / "far" / "replica.db", name="far")] + [SQLiteReplica()] * many
    disk = HangingDisk()
    doors = Doors(disk=disk, threads=HangingThreads(disk), random=Random(0))
    began = trio.current_time()
    async with open_with_doors(tmp_path / "data", [ChatRoom], replicas=replicas, limits=None, doors=doors) as runtime:
        assert trio.current_time() - began < 5.0
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        assert await room.bodies() == ["hello"]
