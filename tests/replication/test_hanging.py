"""The replica's file hangs: its file system went away, and a job on it does not return. Nobody waits for it."""

# ruff: noqa: ASYNC110 (virtual time)

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import replication.jobs
from actors import Disk, Doors, InlineThreads, Limits, WorkerThreads
from durable_rooms import Runtime, SQLiteReplica
from durable_rooms.runtime import open_with_doors
from durable_rooms.verify import verify
from replication.file import ReplicaFile
from replication.jobs import Jobs
from replication.limits import JOB_SECONDS_MAX
from replication.replica import ReplicaHangs
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, SlowThreads, assert_equal
from tests.rooms.chat import ChatRoom

HANGING_SECONDS_MAX = 5.0  # F30


class HangingThreads(SlowThreads):
    """The next job of a kind hangs until `come_back`; one that was left alone is done then, by nobody's leave."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = ""
        self._back = trio.Event()
        self._alone: list[Any] = []

    def hang(self, kind: str) -> None:
        self.kind, self._back = kind, trio.Event()

    def come_back(self) -> None:
        self._back.set()
        while self._alone:
            self._alone.pop()()

    async def run_apart(self, job: Any, *args: Any) -> Any:
        inner = args[1].func  # what Jobs was asked to run
        if self.kind and inner.__name__ == self.kind:
            self.kind = ""
            try:
                await self._back.wait()
            except trio.Cancelled:
                self._alone.append(partial(job, *args))
                raise
        return await super().run_apart(job, *args)


@pytest.fixture
def threads() -> HangingThreads:
    return HangingThreads()


@pytest.fixture
def rooms(tmp_path: Path, threads: HangingThreads) -> FakeRooms:
    return FakeRooms(tmp_path, threads)


def opened(path: Path, threads: InlineThreads | WorkerThreads) -> Any:
    doors = Doors(disk=Disk(), threads=threads)
    return open_with_doors(path, [ChatRoom], replicas=[SQLiteReplica()], limits=Limits(), doors=doors)


async def hanging(runtime: Runtime) -> None:
    while runtime.status().replicas[0].state != "hanging":
        await trio.sleep(0.01)


async def test_f30_a_replica_that_hangs_is_told_within_5_seconds_and_rooms_go_on(
    tmp_path: Path, threads: HangingThreads, autojump_clock: object
) -> None:
    async with opened(tmp_path, threads) as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("before")
        await runtime.replicated()
        threads.hang("apply")
        began = trio.current_time()
        await room.post("during")
        await hanging(runtime)
        assert trio.current_time() - began <= HANGING_SECONDS_MAX + 1e-6 + 0.05  # the batch's window before it
        for number in range(60):
            now = trio.current_time()
            await room.post(f"{number}")
            assert trio.current_time() == now, "a post has waited for something"
            await trio.sleep(1)
        status = runtime.status().replicas[0]
        assert (status.state, status.retries) == ("hanging", 0)
        assert "no sign of life" in (status.last_error or "")
        threads.come_back()
        await runtime.replicated()
        status = runtime.status().replicas[0]
        assert (status.state, status.retries, status.resyncs) == ("live", 0, {})
    assert verify(tmp_path).equal
    assert verify(tmp_path).rows == 62


async def test_f30_a_stop_does_not_wait_for_a_replica_that_hangs_and_loses_nothing(
    tmp_path: Path, threads: HangingThreads, autojump_clock: object
) -> None:
    async with opened(tmp_path, threads) as runtime:
        await runtime.room(ChatRoom, "general").post("before")
        await runtime.replicated()
        threads.hang("apply")
        await runtime.room(ChatRoom, "general").post("during")
        await hanging(runtime)
        began = trio.current_time()
    assert trio.current_time() - began < 0.1
    async with opened(tmp_path, InlineThreads()) as runtime:  # while the first file is still open, in the thread that hangs
        await runtime.room(ChatRoom, "general").post("after")
        while runtime.status().replicas[0].state != "refused":
            await trio.sleep(0.01)
        threads.come_back()
        await runtime.replicated(timeout=10)
    assert verify(tmp_path).equal
    assert verify(tmp_path).rows == 3


@pytest.mark.parametrize("kind", ["close", "apply", "open"])
async def test_f30_a_stop_that_finds_a_replica_hanging_ends_within_its_bounds(
    tmp_path: Path, threads: HangingThreads, autojump_clock: object, kind: str
) -> None:
    """Nothing has been told yet when the stop begins: it waits for the signs of life, once, and for the catching up."""
    if kind == "open":
        threads.hang(kind)
    async with opened(tmp_path, threads) as runtime:
        if kind != "open":
            await runtime.replicated()
            threads.hang(kind)
        await runtime.room(ChatRoom, "general").post("during")
        began = trio.current_time()
    assert trio.current_time() - began <= HANGING_SECONDS_MAX + 0.1
    threads.come_back()


async def test_f30_a_room_whose_copy_hangs_is_let_go_and_what_comes_back_is_not_believed(
    rooms: FakeRooms, threads: HangingThreads, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    a = rooms.room("a")
    a.post(3)
    async with follow() as replicator:
        await replicator.replicated()
        a.acked, a.trim = 0, False
        threads.hang("_write")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replicator.recopy, a.name, "repair", 600)
            while not a.held:
                await trio.sleep(0.01)
            began = trio.current_time()
            while a.held:
                await trio.sleep(0.01)
            assert trio.current_time() - began <= HANGING_SECONDS_MAX + 0.02
            a.post(2)
            await trio.sleep(60)
            assert replicator.status().state == "hanging"
            threads.come_back()
        await replicator.replicated()
        status = replicator.status()
        assert (status.state, status.retries, status.resyncs) == ("live", 1, {"repair": 1})
        assert_equal(rooms, replica)


async def test_a_job_that_is_slow_and_lives_is_waited_for(autojump_clock: object) -> None:
    told: list[str] = []
    jobs = Jobs(SlowThreads(600.0), lambda: int(trio.current_time() // (JOB_SECONDS_MAX - 1)), told.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.watch)
        assert await jobs.holding_a_room.run(lambda: "done") == "done"
        assert trio.current_time() >= 600
        await jobs.end()
    assert told == []


async def test_f30_a_real_thread_that_hangs_holds_up_neither_rooms_nor_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication.jobs, "JOB_SECONDS_MAX", 0.2)
    monkeypatch.setattr(replication.jobs, "JOB_LOOK_SECONDS", 0.05)
    back, closed = threading.Event(), threading.Event()
    next_batch, release = ReplicaFile.next_batch, ReplicaFile.release

    def hangs(self: ReplicaFile, now: float) -> int:
        back.wait()
        return next_batch(self, now)

    def released(self: ReplicaFile) -> None:
        release(self)
        closed.set()

    async with opened(tmp_path, WorkerThreads()) as runtime:
        await runtime.room(ChatRoom, "general").post("before")
        await runtime.replicated()
        monkeypatch.setattr(ReplicaFile, "next_batch", hangs)
        monkeypatch.setattr(ReplicaFile, "release", released)
        await runtime.room(ChatRoom, "general").post("during")
        with trio.fail_after(30):
            await hanging(runtime)
            await runtime.room(ChatRoom, "general").post("beside it")
    assert not closed.is_set()
    back.set()  # its thread finishes what it was at, closes the file and gives the lock up
    assert closed.wait(30)
    monkeypatch.setattr(ReplicaFile, "next_batch", next_batch)
    async with opened(tmp_path, WorkerThreads()) as runtime:
        await runtime.replicated()
        assert runtime.status().replicas[0].resyncs == {}
    assert verify(tmp_path).rows == 3


async def test_the_next_job_waits_for_one_that_was_left_alone(threads: HangingThreads, autojump_clock: object) -> None:
    done: list[str] = []
    told: list[str] = []
    jobs = Jobs(threads, lambda: 0, told.append)

    def first() -> None:
        done.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.watch)
        threads.hang("first")
        with pytest.raises(ReplicaHangs):
            await jobs.holding_a_room.run(first)
        assert len(told) == 1
        with trio.move_on_after(60):
            await jobs.run(done.append, "too early")
        assert done == []
        threads.come_back()
        await jobs.run(done.append, "second")
        await jobs.end()
    assert done == ["first", "second"]
