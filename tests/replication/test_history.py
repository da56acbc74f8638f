"""Where the replica stands in a room's history: epochs, gaps, rewound rooms and replicas, exactly once."""

import apsw
import pytest
import trio

from actors import EpochStart, Position
from replication.batch import Drain, apply
from replication.file import ReplicaFile
from replication.standing import Mark, in_history, judge
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, TestDisk, assert_equal, replica_marks, replica_rows, shutil_copy_replica

MARK = Mark(Position(2, 10), "x", True)


@pytest.mark.parametrize(
    ("position", "timeline", "first", "expected"),
    [
        (Position(2, 12), [(1, 0), (2, 4)], 5, None),
        (Position(2, 10), [(1, 0), (2, 4)], 10, None),
        (Position(2, 12), [(1, 0), (2, 4)], 11, None),
        (Position(2, 12), [(1, 0), (2, 4)], 12, "gap"),
        (Position(2, 9), [(1, 0), (2, 4)], 5, "rewound"),
        (Position(1, 30), [(1, 0)], 1, "older copy"),
        (Position(3, 12), [(1, 0), (2, 4), (3, 10)], 5, None),
        (Position(3, 12), [(1, 0), (2, 4), (3, 9)], 5, "new epoch"),
        (Position(4, 12), [(3, 11), (4, 11)], 5, None),
        (Position(5, 12), [(4, 11), (5, 11)], 5, "new epoch"),  # epoch 3 began at a seq that nobody knows any more
        (Position(3, 20), [(1, 0), (2, 4), (3, 15)], 15, "gap"),
    ],
)
def test_rule_31_and_28_where_a_replica_at_epoch_2_seq_10_stands(position, timeline, first, expected) -> None:
    assert judge(MARK, position, [EpochStart(*row) for row in timeline], first) == expected


def test_rule_31_the_first_epoch_after_decides() -> None:
    timeline = [EpochStart(1, 0), EpochStart(2, 7), EpochStart(3, 50)]
    assert in_history(Position(1, 7), timeline)
    assert not in_history(Position(1, 8), timeline)


@pytest.mark.parametrize(("seq", "first", "expected"), [(0, None, None), (5, 1, None), (5, 2, "initial"), (5, None, "initial")])
def test_a_room_that_the_replica_does_not_know(seq, first, expected) -> None:
    assert judge(None, Position(1, seq), [EpochStart(1, 0)], first) == expected


async def test_rooms_older_than_the_replica_are_copied_whole(rooms: FakeRooms, replica, follow: Follow) -> None:
    for n in range(30):
        room = rooms.room(f"r{n}")
        room.post(3)
        room.trim_to(99)
    async with follow() as replicator:
        await replicator.replicated()
        assert replicator.status().resyncs == {"initial": 30}
        assert_equal(rooms, replica)
        rooms.room("r7").post()
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_rule_18_a_start_looks_at_active_rooms_and_those_that_differ(rooms: FakeRooms, replica, follow: Follow) -> None:
    a, b, c = (rooms.room(id) for id in "abc")
    async with follow() as replicator:
        await replicator.replicated()
    b.post()  # nobody told
    c.active = True
    for room in (a, b, c):
        room.log.clear()
    async with follow() as replicator:
        await replicator.replicated()
        assert a.log == []
        assert "collect 1" in b.log
        assert "collect 1" in c.log
        assert_equal(rooms, replica)


async def test_rule_28_a_gap_is_noticed_and_resynced(rooms: FakeRooms, replica, follow: Follow) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        rooms.follower = None
        a.post(5)
        a.write("DELETE FROM messages WHERE id = 2")
        a.trim_to(99)
        rooms.follower = replicator
        a.post()
        await replicator.replicated()
        assert replicator.status().resyncs == {"gap": 1}
        assert_equal(rooms, replica)


async def test_rule_29_a_rewound_replica_finds_the_gap(rooms: FakeRooms, replica, follow: Follow) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    async with follow() as replicator:
        a.post(2)
        await replicator.replicated()
        shutil_copy_replica(replica, rooms.path / "old")
        a.post(3)
        a.write("DELETE FROM messages WHERE id = 1")
        await replicator.replicated()
        assert a.run("SELECT count(*) FROM _outbox") == [(1,)]
    shutil_copy_replica(rooms.path / "old", replica)
    async with follow() as replicator:
        await replicator.replicated()
        assert replicator.status().resyncs == {"gap": 1}
        assert b.acked == b.seq
        assert_equal(rooms, replica)


async def test_rule_29_a_rewound_replica_whose_room_kept_its_outbox_needs_no_resync(
    rooms: FakeRooms, replica, follow: Follow
) -> None:
    a = rooms.room("a", trim=False)
    async with follow() as replicator:
        await replicator.replicated()
        shutil_copy_replica(replica, rooms.path / "old")
        a.post(3)
        await replicator.replicated()
    shutil_copy_replica(rooms.path / "old", replica)
    async with follow() as replicator:
        await replicator.replicated()
        assert replicator.status().resyncs == {}
        assert_equal(rooms, replica)


async def test_rule_31_a_new_epoch_alone_is_no_reason_to_resync(rooms: FakeRooms, replica, follow: Follow) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        a.post(3)
        await replicator.replicated()
        a.new_epoch = True
        a.post()
        await replicator.replicated()
        assert replicator.status().resyncs == {}
        assert replica_marks(replica)["a"].epoch == 2
        assert_equal(rooms, replica)


async def test_rule_31_a_replica_beyond_the_start_of_the_next_epoch_is_resynced(
    rooms: FakeRooms, replica, follow: Follow
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        a.post(2)
        await replicator.replicated()
        before = a.snapshot()
        a.post(3)
        await replicator.replicated()
        a.restore(before)
        a.new_epoch = True
        a.post(8, author="eve")
        await replicator.replicated()
        assert replicator.status().resyncs == {"new epoch": 1}
        assert_equal(rooms, replica)


async def test_rule_32_a_room_rewound_without_notice_gets_a_new_epoch(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        before = a.snapshot()
        a.post(3)
        await replicator.replicated()
        a.restore(before)
        a.tell(0)
        await replicator.replicated()
        assert a.rewinds == 1
        assert replicator.status().resyncs == {"rewound": 1}
        assert replica_rows(replica, "ChatRoom_messages") == []
        a.post()
        await replicator.replicated()
        assert replica_marks(replica)["a"].epoch == 2
        assert_equal(rooms, replica)


async def test_rule_32_an_older_copy_of_a_room_is_fenced(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        before = a.snapshot()
        a.new_epoch = True
        a.post(3)
        await replicator.replicated()
        a.restore(before)
        a.post(20, author="eve")  # more entries than the replica has, in a lower epoch
        await replicator.replicated()
        assert replicator.status().resyncs == {"older copy": 1}
        assert a.rewinds == 1
        assert_equal(rooms, replica)


async def open_file(rooms: FakeRooms) -> ReplicaFile:
    file = ReplicaFile(TestDisk(), rooms.path / "replica.db")
    file.open()
    return file


async def test_rule_32_the_mark_in_the_file_decides_not_the_one_in_memory(rooms: FakeRooms, replica) -> None:
    """Whatever was collected after another position, or before a higher epoch arrived, writes nothing."""
    a = rooms.room("a")
    a.post(2)
    file = await open_file(rooms)
    drain = Drain(await a.collect(0), None)
    (first,) = apply(file, [drain], 1.0).outcomes
    assert first.result == "applied"
    fenced = Mark(Position(9, 1), first.mark.schema, True)
    file.connection.execute("UPDATE _rooms SET epoch = 9, seq = 1").fetchall()
    a.post()
    late = Drain(await a.collect(2), first.mark)
    applied = apply(file, [late], 2.0)
    assert applied.batch == 0
    assert applied.outcomes == [("moved", fenced, "")]
    assert len(replica_rows(replica, "ChatRoom_messages")) == 2
    file.close()


async def test_applying_twice_equals_once(rooms: FakeRooms, replica) -> None:
    a = rooms.room("a", trim=False)
    a.post(5)
    a.write("DELETE FROM messages WHERE id = 2", "UPDATE messages SET id = 40 WHERE id = 4")
    file = await open_file(rooms)
    (outcome,) = apply(file, [Drain(await a.collect(0), None)], 1.0).outcomes
    once = replica_rows(replica, "ChatRoom_messages")
    again = apply(file, [Drain(await a.collect(0), outcome.mark)], 2.0)
    assert again.outcomes[0].result == "applied"
    assert replica_rows(replica, "ChatRoom_messages") == once
    file.close()
    assert_equal(rooms, replica)


async def test_rows_and_watermark_are_one_transaction(rooms: FakeRooms, replica, follow: Follow, monkeypatch) -> None:
    """A crash at any statement of a batch leaves the replica as it was before it."""
    a, b = rooms.room("a"), rooms.room("b")
    file = await open_file(rooms)
    apply(file, [Drain(await room.collect(0), None) for room in (a, b)], 1.0)
    before = replica_rows(replica, "ChatRoom_messages"), replica_marks(replica)
    a.post(2)
    b.post(2)
    marks = file.marks([a.name, b.name])
    for step in ("put_marks", "next_batch", "commit"):
        with monkeypatch.context() as patch:

            def crash(*_: object) -> None:
                raise OSError("crash")

            patch.setattr(file, step, crash)
            with pytest.raises(OSError, match="crash"):
                apply(file, [Drain(await room.collect(1), marks[room.name]) for room in (a, b)], 2.0)
        assert (replica_rows(replica, "ChatRoom_messages"), replica_marks(replica)) == before
    file.close()


async def test_a_resync_of_a_room_happens_once_a_second_at_most(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        for _ in range(50):
            before = a.snapshot()
            a.post()
            await trio.sleep(0.06)
            a.restore(before)  # a room that rewinds all the time
            a.tell(0)
            await trio.sleep(0.06)
        assert 2 <= sum(replicator.status().resyncs.values()) <= 8


async def test_changes_during_a_resync_follow_it(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    a = rooms.room("a")
    a.post(3)
    a.trim_to(99)
    a.during_copy = ["DELETE FROM messages WHERE id = 1"]
    async with follow() as replicator:
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_a_schema_change_during_a_resync_is_noticed(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    """The schema was looked at before the rows: rows of the new table would be passed over for ever."""
    a = rooms.room("a")
    a.post(3)
    a.trim_to(99)
    a.during_copy = ["ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 0"]
    async with follow() as replicator:
        await replicator.replicated(timeout=10)
        assert replicator.status().resyncs == {"initial": 1, "schema": 1}
        assert_equal(rooms, replica)


async def test_an_unsettled_resync_is_looked_at_after_a_restart(rooms: FakeRooms, replica, follow: Follow) -> None:
    a = rooms.room("a")
    a.post(3)
    a.trim_to(99)
    async with follow() as replicator:
        await replicator.replicated()
    connection = apsw.Connection(str(replica))
    connection.execute("UPDATE _rooms SET settled = 0, schema = 'another'").fetchall()
    connection.close()
    async with follow() as replicator:
        await replicator.replicated()
        assert replicator.status().resyncs == {"schema": 1}
        assert_equal(rooms, replica)
