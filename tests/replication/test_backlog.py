"""A room's long outbox, applied by SQLite itself: the same as row by row, and as careful."""

import tempfile
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import replication.candidates
import replication.collector
from actors import Column, Position, RoomCopy, Table
from replication.backlog import _advance, statements
from replication.file import ReplicaFile
from replication.resync import Unfit, _attach
from replication.standing import Mark
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, assert_equal, replica_marks, replica_rows
from tests.replication.test_property import action, live


@pytest.fixture(autouse=True)
def every_outbox_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication.collector, "BACKLOG_ENTRIES_MIN", 0)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(action, min_size=8, max_size=40))
def test_the_replica_equals_the_rooms_by_way_of_their_files(actions: list[tuple[str, int, Any]]) -> None:
    with tempfile.TemporaryDirectory() as path:
        trio.run(live, FakeRooms(Path(path)), actions, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_keys_of_every_kind(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    room = rooms.room(
        "a",
        "CREATE TABLE people (name TEXT PRIMARY KEY COLLATE NOCASE NOT NULL, n INTEGER)",
        "CREATE TABLE pairs (a INTEGER NOT NULL, b TEXT NOT NULL COLLATE NOCASE, n, PRIMARY KEY (a, b))",
        "CREATE TABLE loose (key PRIMARY KEY NOT NULL, n)",
    )
    steps = (
        "INSERT INTO people VALUES ('ann', 1), ('bob', 2), ('O''Neil', 3)",
        "INSERT INTO pairs VALUES (1, 'x', 1), (1, 'y', 2), (2, 'X', 3)",
        "INSERT INTO loose VALUES (1, 'integer'), ('1', 'text'), (x'31', 'blob'), (1.5, 'real')",
        "UPDATE people SET name = 'ANN' WHERE name = 'ann'",
        "UPDATE pairs SET b = 'X', n = 9 WHERE a = 1 AND b = 'x'",
        "UPDATE pairs SET a = 7 WHERE b = 'y'",
        "UPDATE loose SET key = 'moved' WHERE key = '1'",
        "DELETE FROM loose WHERE key = x'31'",
        "INSERT INTO loose VALUES ('1', 'again')",
        "DELETE FROM people WHERE n = 2",
    )
    async with follow() as replicator:
        await replicator.replicated()
        for step in steps:
            room.write(step)
            await replicator.replicated()
            assert_equal(rooms, replica)
        assert replicator.status().resyncs == {}
        assert replicator.status().rows >= len(steps)


async def test_rule_26_a_backlog_waits_until_what_it_read_is_durable(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        a.sync = False
        a.post(3)
        await trio.sleep(1)
        assert replica_rows(replica, "ChatRoom_messages") == []
        a.make_durable()
        a.sync = True
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_rule_26_a_backlog_of_a_room_that_breaks_is_rolled_back(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        a.post(3)
        await replicator.replicated()
        before = a.snapshot()
        a.sync = False
        a.post()
        await trio.sleep(1)
        a.break_activation()
        a.restore(before)
        a.sync = True
        a.make_durable()
        a.tell(0)
        await replicator.replicated()
        assert len(replica_rows(replica, "ChatRoom_messages", "a")) == 3


async def test_rule_28_a_backlog_with_a_gap_is_a_resync(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    a = rooms.room("a", trim=False)
    async with follow() as replicator:
        a.post(3)
        await replicator.replicated()
        a.run("INSERT INTO messages (author, body) VALUES ('ann', 'x'), ('ann', 'y')")
        a.run("DELETE FROM _outbox WHERE seq < (SELECT max(seq) FROM _outbox)")
        a.post()
        await replicator.replicated()
        assert replicator.status().resyncs == {"gap": 1}
        assert_equal(rooms, replica)


async def test_a_backlog_of_a_former_process_goes_the_same_way(
    rooms: FakeRooms, replica: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication.candidates, "BACKLOG_ENTRIES_MIN", 10)
    a, b = rooms.room("a", active=True), rooms.room("b")
    async with follow() as replicator:
        await replicator.replicated()
    a.post(50)
    b.post(3)
    a.log.clear()
    async with follow() as replicator:
        await replicator.replicated()
        assert_equal(rooms, replica)
    assert a.log == [f"durable {a.committed}", f"collect {a.seq}", f"durable {a.committed}"]  # no row by way of Python


def test_rule_32_a_backlog_goes_only_onto_the_mark_it_was_judged_by(rooms: FakeRooms, replica: Path) -> None:
    a = rooms.room("a")
    a.post(3)
    file = ReplicaFile(rooms.disk, replica)
    file.open()
    copy = RoomCopy(a.name, a.path, a.timeline, a.schema(), a.commit_now)
    _attach(file, copy)
    with pytest.raises(Unfit) as unknown, file.transaction():
        _advance(file, copy, a.position, Mark(Position(1, 1), a.schema().digest, True), 0.0)
    assert unknown.value.reason is None
    assert unknown.value.mark is None
    assert replica_marks(replica) == {}
    file.close()


def test_a_backlog_seeks_keys_and_scans_nothing() -> None:
    columns = tuple(Column(name, type, "BINARY", None) for name, type in (("id", "INTEGER"), ("b", "TEXT"), ("n", "")))
    connection = apsw.Connection(":memory:")
    for statement in (
        "ATTACH ':memory:' AS room",
        "CREATE TABLE room._outbox (seq INTEGER PRIMARY KEY, tbl, pk)",
        "CREATE TABLE room.one (id INTEGER PRIMARY KEY, b TEXT, n)",
        "CREATE TABLE room.two (id INTEGER NOT NULL, b TEXT NOT NULL, n, PRIMARY KEY (id, b))",
        "CREATE TABLE base_one (_room INTEGER NOT NULL, id INTEGER, b TEXT, n, UNIQUE (_room, id))",
        "CREATE TABLE base_two (_room INTEGER NOT NULL, id INTEGER, b TEXT, n, UNIQUE (_room, id, b))",
    ):
        connection.execute(statement).fetchall()
    for name, key in (("one", ("id",)), ("two", ("id", "b"))):
        for statement in statements(Table(name, columns, key, ()), f"base_{name}"):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", (1, 5, 1))]
            assert not [step for step in plan if step.startswith("SCAN")], plan
