"""replicated(), drain() and status()."""

import pytest
import trio

from actors import ReplicationLate
from replication import Replicator, SQLiteReplica
from tests.replication.conftest import Follow, following
from tests.replication.fakes import FakeRooms, SlowThreads, assert_equal


async def test_it_ends_under_constant_load(tmp_path, autojump_clock) -> None:
    rooms = FakeRooms(tmp_path, SlowThreads(0.02))
    a = rooms.room("a")

    async def load() -> None:
        while True:
            a.post()
            await trio.sleep(0.001)

    async with following(rooms) as replicator, trio.open_nursery() as nursery:
        nursery.start_soon(load)
        for _ in range(5):
            began = trio.current_time()
            await replicator.replicated()
            assert trio.current_time() - began < 0.5
        nursery.cancel_scope.cancel()


async def test_it_raises_at_its_deadline_and_names_the_rooms(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow() as replicator:
        for n in range(5):
            rooms.room(f"r{n}")
        await replicator.replicated()
        for room in rooms.rooms.values():
            room.sync = False
            room.post()
        began = trio.current_time()
        with pytest.raises(
            ReplicationLate, match=r"5 rooms behind \(ChatRoom/r0, ChatRoom/r1, ChatRoom/r2, …\), the oldest change 2.0 s old"
        ):
            await replicator.replicated(timeout=2)
        assert trio.current_time() - began == pytest.approx(2)


async def test_it_raises_before_the_runtime_runs() -> None:
    with pytest.raises(ReplicationLate, match="not running"):
        await Replicator(SQLiteReplica()).replicated()


async def test_it_waits_for_rooms_of_former_processes_too(rooms: FakeRooms, replica, follow: Follow) -> None:
    for n in range(20):
        rooms.room(f"r{n}").post(3)
    async with follow() as replicator:
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_drain_brings_everything_over(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=30)) as replicator:
        rooms.room("a").post(3)
        await replicator.drain()
        assert_equal(rooms, replica)
        assert trio.current_time() < 1


async def test_drain_gives_up_after_5_s(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        a.sync = False
        a.post()
        began = trio.current_time()
        await replicator.drain()
        assert trio.current_time() - began == pytest.approx(5)


async def test_changes_before_the_task_runs_are_kept(rooms: FakeRooms, replica) -> None:
    replicator = Replicator(SQLiteReplica())
    rooms.follower = replicator
    rooms.room("a").post()
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run, rooms)
        await replicator.replicated()
        nursery.cancel_scope.cancel()
    assert_equal(rooms, replica)


async def test_started_does_not_wait_for_the_replica(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica("/nowhere/at/all.db")) as replicator:
        assert trio.current_time() == pytest.approx(0, abs=0.01) or replicator.status().state in ("starting", "retrying")
        rooms.room("a").post()


async def test_status_tells_lag_rows_and_batches(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=1.0, name="r")) as replicator:
        assert replicator.status().state == "starting"
        a = rooms.room("a")
        await replicator.replicated()
        a.post(4)
        await trio.sleep(0.5)
        status = replicator.status()
        assert (status.name, status.path, status.state) == ("r", replica, "live")
        assert status.lag_seconds == pytest.approx(0.5)
        assert status.lag_entries == 4
        await trio.sleep(0.6)
        status = replicator.status()
        assert status.lag_seconds == 0
        assert status.lag_entries == 0
        assert status.lag_p99_seconds == pytest.approx(1.0, abs=0.05)
        assert (status.rows, status.batches, status.last_batch) == (4, 2, 2)
        assert a.acked == a.seq


async def test_batch_numbers_go_on_after_a_restart(rooms: FakeRooms, follow: Follow) -> None:
    a = rooms.room("a")
    for number in range(1, 4):
        async with follow() as replicator:
            a.post()
            await replicator.replicated()
            assert replicator.status().last_batch == number


@pytest.mark.parametrize("window", [-1, 61, float("nan")])
def test_a_window_out_of_range_is_refused(window: float) -> None:
    with pytest.raises(ValueError, match="window is in seconds"):
        SQLiteReplica(window=window)


async def test_it_ends_when_the_start_finds_nothing_to_do(tmp_path, autojump_clock) -> None:
    rooms = FakeRooms(tmp_path, SlowThreads(0.5))
    async with following(rooms) as replicator:
        await replicator.replicated()  # called before the replica was opened
        assert trio.current_time() < 3
