"""When a batch is cut, and what is in it."""

# ruff: noqa: ASYNC110 (virtual time)

import apsw
import trio
import trio.lowlevel

from replication import SQLiteReplica
from replication.limits import BATCH_ROWS_MAX
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, SlowThreads, assert_equal


async def until_batch(replicator, number):
    while replicator.status().last_batch < number:
        await trio.sleep(0.001)


async def test_a_batch_is_cut_50_ms_after_the_first_change(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    async with follow() as replicator:
        a, b = rooms.room("a"), rooms.room("b")
        await replicator.replicated()
        before = replicator.status().last_batch
        began = trio.current_time()
        a.post()
        await trio.sleep(0.04)
        b.post()
        assert replicator.status().last_batch == before
        await until_batch(replicator, before + 1)
        assert 0.05 <= trio.current_time() - began <= 0.06
        assert_equal(rooms, replica)


async def test_the_window_is_the_users(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=2.0)) as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        a.post()
        await trio.sleep(1.9)
        assert replicator.status().last_batch == 1
        await trio.sleep(0.2)
        assert replicator.status().last_batch == 2


async def test_a_batch_is_cut_at_2000_rows_without_waiting(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=10.0)) as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        began = trio.current_time()
        a.post(1_990)
        await trio.sleep(1)
        assert replicator.status().last_batch == 1
        a.post(10)
        await until_batch(replicator, 2)
        assert trio.current_time() - began < 1.1
        assert_equal(rooms, replica)


async def test_a_batch_is_cut_at_256_kb_without_waiting(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=10.0)) as replicator:
        a = rooms.room("a")
        for n in range(30):  # learns the size of a row
            a.write(("INSERT INTO messages VALUES (?, 'ann', ?)", (n, f"{n}" * 5_000)))
            await replicator.replicated()
        before = replicator.status().last_batch
        began = trio.current_time()
        for n in range(100, 160):
            a.write(("INSERT INTO messages VALUES (?, 'ann', ?)", (n, f"{n}" * 5_000)))
        await until_batch(replicator, before + 1)
        assert trio.current_time() - began < 1


async def test_a_waiting_reader_cuts_at_once(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=10.0)) as replicator:
        rooms.room("a").post()
        began = trio.current_time()
        await replicator.replicated()
        assert trio.current_time() - began < 0.01


async def test_a_reader_that_comes_later_cuts_too(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow(SQLiteReplica(window=10.0)) as replicator:
        rooms.room("a").post()
        await trio.sleep(3)
        await replicator.replicated()
        assert trio.current_time() < 3.1


async def test_the_window_runs_while_a_batch_is_applied(tmp_path, autojump_clock) -> None:
    from tests.replication.conftest import following

    threads = SlowThreads()
    rooms = FakeRooms(tmp_path, threads)
    async with following(rooms) as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        threads.seconds = 0.2
        a.post()
        await trio.sleep(0.06)  # the apply began at 0.05 and lasts until 0.25
        a.post()
        before = replicator.status().last_batch
        await until_batch(replicator, before + 2)
        assert trio.current_time() < 0.47  # 0.25 + its own apply: no second window


async def test_rule_27_a_drain_is_never_split_and_a_large_room_goes_alone(rooms: FakeRooms, replica, follow: Follow) -> None:
    small, large = rooms.room("small"), rooms.room("large")
    async with follow() as replicator:
        await replicator.replicated()
        before = replicator.status()
        small.post(5)
        large.post(3 * BATCH_ROWS_MAX)
        await replicator.replicated()
        after = replicator.status()
        assert after.last_batch == before.last_batch + 3  # small; large; and large again, without rows, to be settled
        assert after.rows - before.rows == 5 + 3 * BATCH_ROWS_MAX
        assert_equal(rooms, replica)


async def test_rule_27_a_large_room_that_nobody_announced_goes_alone_too(rooms: FakeRooms, replica, follow: Follow) -> None:
    rooms.room("small").post(5)
    rooms.room("large").post(2 * BATCH_ROWS_MAX)
    async with follow() as replicator:
        await replicator.replicated()
        assert replicator.status().batches == 2
        assert_equal(rooms, replica)


async def test_caps_end_a_batch_between_rooms(rooms: FakeRooms, replica, follow: Follow) -> None:
    async with follow() as replicator:
        for n in range(5):
            rooms.room(f"r{n}")
        await replicator.replicated()
        before = replicator.status().last_batch
        for room in rooms.rooms.values():
            room.post(900)
        await replicator.replicated()
        assert replicator.status().last_batch == before + 3  # 2 + 2 + 1 rooms
        assert_equal(rooms, replica)


async def test_changes_of_many_rooms_share_a_transaction(rooms: FakeRooms, replica, follow: Follow) -> None:
    async with follow() as replicator:
        for n in range(50):
            rooms.room(f"r{n}").post(2)
        await replicator.replicated()
        assert replicator.status().batches == 1
        assert_equal(rooms, replica)


async def test_an_empty_look_writes_nothing(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    async with follow() as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        a.tell(0)
        a.tell(5)  # more was announced than there is
        await replicator.replicated()
        assert replicator.status().batches == 1
        assert replicator.status().lag_entries == 0


async def test_an_opened_room_that_is_up_to_date_is_not_collected(rooms: FakeRooms, follow: Follow) -> None:
    async with follow() as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        a.log.clear()
        a.acked = 0
        a.tell(0)
        await replicator.replicated()
        assert a.log == []
        assert a.acked == a.seq


async def test_candidates_of_the_start_do_not_hold_up_live_rooms(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    for n in range(60):
        room = rooms.room(f"old{n}")
        room.post(2)
        room.trim_to(99)
    live = rooms.room("live")
    async with follow() as replicator:
        live.post()
        while not replicator.status().batches:
            await trio.lowlevel.checkpoint()
        assert sum(replicator.status().resyncs.values()) <= 20
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_candidates_of_the_start_are_not_starved_by_live_rooms(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    quiet, live = rooms.room("quiet"), rooms.room("live")
    quiet.post(3)
    async with follow() as replicator:
        while "collect 0" not in quiet.log:
            live.post(2_500)  # every batch is full before a room without news comes to its turn
            await trio.sleep(0.1)
            assert trio.current_time() < 3
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_after_an_outage_batches_are_larger(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    members = [rooms.room(f"{n:02}") for n in range(30)]
    async with follow() as replicator:
        await replicator.replicated()
        other = apsw.Connection(str(replica))
        other.execute("BEGIN IMMEDIATE").fetchall()
        for room in members:
            room.post(200)
        await trio.sleep(3)
        other.close()
        before = replicator.status().batches
        await replicator.replicated(timeout=6)
        assert replicator.status().batches == before + 1
        assert_equal(rooms, replica)
