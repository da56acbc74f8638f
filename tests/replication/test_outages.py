"""A replica that is away for long, or refuses one room for long: rooms do not notice, and everything arrives when it can."""

from pathlib import Path

import apsw
import pytest
import trio

import replication.batch
from durable_rooms import Runtime, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from durable_rooms.verify import verify
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, assert_equal, replica_rows
from tests.rooms.chat import ChatRoom

MINUTES = 10
ROOMS = 5


async def post_each_second(runtime: Runtime, seconds: int) -> list[tuple[float, int]]:
    """Into every room; returns the replica's lag (seconds, entries) as it was told meanwhile."""
    lags: list[tuple[float, int]] = []
    for second in range(seconds):
        now = trio.current_time()
        for number in range(ROOMS):
            await runtime.room(ChatRoom, f"{number}").post(f"{now} {second}")
        assert trio.current_time() == now, "a post has waited for something"
        status = runtime.status().replicas[0]
        lags.append((status.lag_seconds, status.lag_entries))
        await trio.sleep(1)
    return lags


async def test_f29_a_replica_that_is_away_for_10_minutes_under_load_is_seen_and_catches_up_exactly(
    tmp_path: Path, autojump_clock: object
) -> None:
    """F29; what an outage costs the writers (p99), and how fast the replica catches up, are figures of `benchmarks catch_up`."""
    data, away = tmp_path / "data", tmp_path / "away"
    away.mkdir()
    replica = SQLiteReplica(away / "replica.db")
    async with open_test_runtime(ChatRoom, path=data, replicas=[replica]) as runtime:
        assert all(seconds <= 1 and entries <= ROOMS for seconds, entries in await post_each_second(runtime, 60))
        away.rename(tmp_path / "elsewhere")
        lags = await post_each_second(runtime, 60 * MINUTES)
        status = runtime.status().replicas[0]
        assert status.state == "retrying"
        assert status.last_error
        late = lags[10:]
        assert late == sorted(late), "it grows and grows"
        assert late[-1][0] == pytest.approx(60 * MINUTES, abs=5)
        assert late[-1][1] == pytest.approx(60 * MINUTES * ROOMS, abs=5 * ROOMS)
        (tmp_path / "elsewhere").rename(away)
        await post_each_second(runtime, 60)
        await runtime.replicated(timeout=60)
        status = runtime.status().replicas[0]
        assert (status.state, status.lag_entries, status.resyncs) == ("live", 0, {})
    report = verify(data, away / "replica.db")  # neither a gap nor a double
    assert report.equal
    assert report.rows == ROOMS * 60 * (1 + MINUTES + 1)


async def test_f22_a_poison_room_is_tried_once_a_minute_and_everything_else_proceeds(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F22: the outbox is the one durable queue there is so far (alarms and `tell` come later).

    Where F22 asks for a dead letter after three tries: a batch carries state, not messages, so nothing may be thrown away
    (design.md §5). The room waits, its reason in the status, and arrives whole, with what came meanwhile, once the cause is gone.
    """
    good, bad = rooms.room("good"), rooms.room("bad")
    original, tries = replication.batch.run_bulk, []

    def picky(connection, statement, bulk, rows):
        rows = list(rows)
        if any("poison" in row for row in rows):
            tries.append(trio.current_time())
            raise apsw.TooBigError("string or blob too big")
        original(connection, statement, bulk, rows)

    async with follow() as replicator:
        await replicator.replicated()
        monkeypatch.setattr(replication.batch, "run_bulk", picky)
        began = trio.current_time()
        bad.post(author="poison")
        for number in range(60 * MINUTES):
            good.post(author=f"{number}")
            await trio.sleep(1)
            assert len(replica_rows(replica, "ChatRoom_messages", "good")) == number + 1
            assert list(replicator.status().parked) == [bad.name]
        assert replica_rows(replica, "ChatRoom_messages", "bad") == []
        assert len({round(at - began) for at in tries}) == pytest.approx(MINUTES, abs=1)
        assert replicator.status().retries == 0
        bad.post(author="behind it")
        monkeypatch.undo()
        await replicator.replicated(timeout=61)
        assert replicator.status().parked == {}
        assert len(replica_rows(replica, "ChatRoom_messages", "bad")) == 2
        assert_equal(rooms, replica)
