"""The auditor finds what the replica does not have as its rooms do, and nothing else."""

# ruff: noqa: ASYNC110 (virtual time)

import logging
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import trio

import replication.auditor
from durable_rooms import SQLiteReplica
from durable_rooms.testing import open_test_runtime
from durable_rooms.verify import verify
from replication.limits import AUDIT_SECONDS, AUDIT_SECONDS_MAX
from tests.replication.conftest import Follow, following
from tests.replication.fakes import FakeRooms, assert_equal
from tests.rooms.chat import ChatRoom

ROOMS = 5


def behind_its_back(replica: Path, *statements: str) -> None:
    with closing(apsw.Connection(str(replica))) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()


async def audits(replicator, count: int) -> None:
    """Wait until so many more rooms were looked at."""
    before = replicator.status().audited
    while replicator.status().audited < before + count:
        await trio.sleep(AUDIT_SECONDS)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM _ChatRoom_messages WHERE _room = 2 AND id = 2",
        "INSERT INTO _ChatRoom_messages (_room, id, author, body) VALUES (2, 77, 'eve', 'never said')",
        "UPDATE _rooms SET seq = seq - 1 WHERE key = 2",
        "UPDATE _rooms SET seq = seq + 1 WHERE key = 2",
        "UPDATE _rooms SET epoch = epoch + 1 WHERE key = 2",
        "DELETE FROM _ChatRoom_messages",
    ],
)
async def test_what_was_done_behind_its_back_is_found_and_healed(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(ROOMS):
        rooms.room(f"{number}").post(3)
    async with follow() as replicator:
        await replicator.replicated()
        for room in rooms.rooms.values():
            room.trim = False
        behind_its_back(replica, statement)
        with caplog.at_level(logging.WARNING, "durable_rooms.replication"):
            await audits(replicator, 4 * ROOMS)
        assert_equal(rooms, replica)
        counts = replicator.status().resyncs
        healed = ROOMS if statement == "DELETE FROM _ChatRoom_messages" else 1
        assert sum(counts.values()) == healed + counts.get("initial", 0)
        assert len([line for line in caplog.messages if "is not as in its room" in line]) == healed
        assert replicator.status().retries == 0


async def test_a_row_that_is_gone_is_copied_again_with_the_reason_audit(tmp_path: Path, autojump_clock: object) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for number in range(ROOMS):
            await runtime.room(ChatRoom, f"{number}").post("hello")
        await runtime.replicated()
        behind_its_back(tmp_path / "replica.db", "DELETE FROM _ChatRoom_messages WHERE _room = 3")
        await trio.sleep((3 * ROOMS + 2) * AUDIT_SECONDS)
        await runtime.replicated()
        assert runtime.status().replicas[0].resyncs == {"audit": 1}
    assert verify(tmp_path).equal


async def test_a_room_that_rests_is_audited_without_being_opened(tmp_path: Path, autojump_clock: object) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for number in range(ROOMS):
            await runtime.room(ChatRoom, f"{number}").post("hello")
        await runtime.replicated()
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        most = 0
        for _ in range(10 * ROOMS):
            await trio.sleep(AUDIT_SECONDS / 2)
            most = max(most, runtime.status().rooms_open)
        assert most == 0
        assert runtime.status().replicas[0].audited >= ROOMS
        assert not list((tmp_path / "rooms").rglob("*-wal"))
        behind_its_back(tmp_path / "replica.db", "DELETE FROM _ChatRoom_messages WHERE _room = 3")
        await trio.sleep((2 * ROOMS + 2) * AUDIT_SECONDS_MAX)  # it has found nothing for a while, and goes slower
        assert runtime.status().replicas[0].resyncs == {"audit": 1}
    assert verify(tmp_path).equal


async def test_a_healthy_replica_is_never_copied_while_rooms_write_and_rest(tmp_path: Path, autojump_clock: object) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for step in range(600):
            await runtime.room(ChatRoom, f"{step % ROOMS}").post(f"{step}")
            now = trio.current_time()
            await runtime.room(ChatRoom, "busy").post(f"{step}")
            assert trio.current_time() == now, "a post has waited for something"
            await trio.sleep(0.07)  # of no common measure with the auditor's pace or the window
        status = runtime.status().replicas[0]
        assert status.audited >= 600 * 0.07 / AUDIT_SECONDS / 2
        assert status.resyncs == {}
        assert status.lag_p99_seconds < 0.1


async def test_it_looks_at_nothing_while_there_is_something_to_catch_up_with(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    a = rooms.room("a", sync=False)
    async with follow() as replicator:
        await trio.sleep(10)
        before = replicator.status().audited
        await trio.sleep(60)  # the room's commits are not durable, so the replica waits for them
        assert replicator.status().audited == before
        a.make_durable()
        await replicator.replicated()
        await audits(replicator, 3)


async def test_what_copying_does_not_heal_is_not_copied_again_and_again(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication.auditor, "AUDIT_AGAIN_SECONDS", 60.0)
    rooms.room("a").post(3)
    async with follow() as replicator:
        await replicator.replicated()
        behind_its_back(
            replica,
            "CREATE TRIGGER spoil AFTER INSERT ON _ChatRoom_messages BEGIN DELETE FROM _ChatRoom_messages WHERE id = 2; END",
            "DELETE FROM _ChatRoom_messages WHERE id = 2",
        )
        await trio.sleep(60 * 3)
        assert 3 <= replicator.status().resyncs["audit"] <= 4


async def test_the_same_seed_looks_at_the_same_rooms(tmp_path: Path, autojump_clock: object) -> None:
    orders: list[list[str]] = []
    for life in range(2):
        world = FakeRooms(tmp_path / f"{life}")
        world.path.mkdir()
        for number in range(ROOMS):
            world.room(f"{number}").post()
        async with following(world) as replicator:
            await replicator.replicated()
            looked: list[str] = []
            for _ in range(2 * ROOMS):
                await audits(replicator, 1)
                counts = {name.id: room.log.count("census") for name, room in world.rooms.items()}
                looked.append(f"{counts}")
        orders.append(looked)
    assert orders[0] == orders[1]
