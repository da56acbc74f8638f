"""F37: too few file descriptors cost time, never a call, a room or a promise."""

import errno
import subprocess
import sys

import pytest
import trio

from actors.names import RoomName
from durable_rooms import NoDescriptors
from tests.durability.callers import is_open, path_of, recorded, room, wal
from tests.durability.chat import opened
from tests.durability.recording import RecordingDisk

A, FOLDER = path_of("a"), path_of("a").rpartition("/")[0]

MANY_ROOMS = """
import os, resource, sys, trio
files, rooms, callers, rounds = map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
sys.path.insert(0, os.getcwd())
from durable_rooms import Actor, SQLiteReplica, open_runtime

class Chat(Actor):
    migrations = ("CREATE TABLE m (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",)
    def post(self, body: str) -> int:
        return self.sql("INSERT INTO m (body) VALUES (?) RETURNING id", body).scalar()
    def count(self) -> int:
        return self.sql("SELECT count(*) FROM m").scalar()

async def main():
    most = 0
    async with open_runtime(sys.argv[1], [Chat], replicas=[SQLiteReplica()]) as runtime:
        for number in range(1, rounds + 1):
            waiting = iter(range(rooms))
            async def caller():
                nonlocal most
                for id in waiting:
                    room = runtime.room(Chat, f"room-{id}")
                    assert await room.post("hello") == number
                    assert await room.count() == number
                    most = max(most, len(os.listdir("/proc/self/fd")))
            async with trio.open_nursery() as nursery:
                for _ in range(callers):
                    nursery.start_soon(caller)
        await runtime.replicated(timeout=120)
        assert len(runtime.list_rooms(Chat, limit=1000)) == min(rooms, 1000)
        while runtime.tidying or len(runtime._seats) > runtime.limits.open_rooms_max:
            await trio.sleep(0.1)
    print("most", most, "of", files)

trio.run(main)
"""


def run_many(tmp_path, files: int, rooms: int, callers: int, rounds: int) -> None:
    numbers = [str(number) for number in (files, rooms, callers, rounds)]
    command = [sys.executable, "-c", MANY_ROOMS, str(tmp_path / "data"), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    most = int(done.stdout.split()[1])
    assert 0 < most <= files


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc/self/fd")
def test_f37_300_rooms_are_used_over_and_over_with_256_open_files(tmp_path):
    run_many(tmp_path, files=256, rooms=300, callers=64, rounds=2)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc/self/fd")
def test_f37_10_000_rooms_are_used_with_4_096_open_files(tmp_path):
    run_many(tmp_path, files=4_096, rooms=10_000, callers=128, rounds=1)


class Exhausted(RecordingDisk):
    none_left = False

    def has_descriptors(self):
        return not self.none_left


async def test_f37_an_opening_waits_for_a_descriptor_and_idle_rooms_make_place(tmp_path, autojump_clock):
    disk = Exhausted(tmp_path)
    try:
        async with opened(tmp_path, disk) as runtime:
            for id in ("a", "b"):
                await room(runtime, id).post("1")
            disk.none_left = True
            fault = disk.fails("open", "rooms/*", by="ours", code=errno.EMFILE, times=float("inf"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room(runtime, "new").post, "1")
                await trio.sleep(1)
                assert not is_open(runtime, "a")
                assert not is_open(runtime, "b")
                disk.faults.remove(fault)
                disk.none_left = False
            assert await room(runtime, "new").ids() == ["1"]
            assert await room(runtime, "a").ids() == ["1"]
    finally:
        disk.forget()


async def test_f37_a_call_that_finds_no_descriptor_is_refused_after_a_while_and_may_be_repeated(tmp_path, autojump_clock):
    disk = Exhausted(tmp_path)
    try:
        async with opened(tmp_path, disk) as runtime:
            disk.none_left = True
            disk.fails("open", "rooms/*", by="ours", code=errno.EMFILE, times=float("inf"))
            raised = await recorded(disk, "refused", room(runtime, "a").post("1"))
            assert isinstance(raised, NoDescriptors)
            assert (raised.ran, raised.retryable, raised.room) == ("no", True, "Chat/a")
            disk.none_left = False
            disk.repair()
            assert await room(runtime, "a").post("1") == 1
    finally:
        disk.forget()


async def test_f37_a_round_that_cannot_open_a_directory_breaks_no_room(tmp_path, autojump_clock):
    disk = RecordingDisk(tmp_path)
    try:
        async with opened(tmp_path, disk) as runtime:
            disk.fails("directory sync", FOLDER, code=errno.EMFILE, times=float("inf"))
            assert await room(runtime, "a").post("1") == 1
            assert runtime.status().rooms_broken == 0
            assert disk.where("file system sync returned")
    finally:
        disk.forget()


async def test_f37_a_close_without_a_descriptor_leaves_the_wal(tmp_path, autojump_clock, monkeypatch):
    disk = RecordingDisk(tmp_path)
    try:
        async with opened(tmp_path, disk) as runtime:
            await room(runtime, "a").post("1")
            import apsw

            connect = disk.connect

            def refuse(path, **options):
                if path.name == A.rpartition("/")[2]:
                    raise apsw.CantOpenError("unable to open database file")
                return connect(path, **options)

            monkeypatch.setattr(disk, "connect", refuse)
            runtime.seated(RoomName("Chat", "a")).leave()
            await trio.sleep(1)
            assert not is_open(runtime, "a")
            monkeypatch.undo()
            assert (tmp_path / wal("a")).stat().st_size > 0
            assert runtime.status().rooms_broken == 0
            assert await room(runtime, "a").ids() == ["1"]
    finally:
        disk.forget()
