"""Rule 26: nothing reaches the replica before it is durable; and rooms that cannot be read hold up nobody."""

import trio

from actors import RoomUnfit
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, assert_equal, replica_marks, replica_rows


async def test_rule_26_a_batch_waits_for_the_commit_at_which_rows_were_read(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        a.sync = False
        a.post()
        await trio.sleep(1)
        assert replica_rows(replica, "ChatRoom_messages") == []
        assert "collect 1" in a.log
        a.make_durable()
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_rule_26_rows_of_a_broken_activation_are_thrown_away(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    async with follow() as replicator:
        await replicator.replicated()
        before = a.snapshot()
        a.sync = False
        a.post()
        b.post()
        await trio.sleep(0.1)  # collected, waiting for a round that will fail
        a.restore(before)
        a.break_activation()
        a.sync = True
        a.post(author="eve")
        await replicator.replicated()
        assert [row[2] for row in replica_rows(replica, "ChatRoom_messages")] == ["eve", "ann"]
        assert_equal(rooms, replica)


async def test_rule_26_a_resync_waits_for_what_it_copied(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    a = rooms.room("a")
    a.post(3)
    a.trim_to(99)
    a.sync = False
    a.post()
    async with follow() as replicator:
        await trio.sleep(1)
        assert replica_marks(replica) == {}
        a.make_durable()
        await replicator.replicated()
        assert replicator.status().resyncs == {"initial": 1}
        assert_equal(rooms, replica)


async def test_rule_26_a_resync_of_a_room_that_breaks_is_rolled_back(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    a.post(3)
    a.trim_to(99)
    before = a.snapshot()
    a.sync = False
    a.post()
    async with follow() as replicator:
        await trio.sleep(1)
        a.break_activation()
        a.restore(before)
        a.sync = True
        a.make_durable()
        await replicator.replicated()
        assert len(replica_rows(replica, "ChatRoom_messages", "a")) == 3
        b.post()
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_a_room_that_cannot_be_read_is_thrown_out_and_stays_dirty(
    rooms: FakeRooms, replica, follow: Follow, autojump_clock
) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    async with follow() as replicator:
        await replicator.replicated()
        a.fails = RoomUnfit("damaged")
        a.post()
        b.post()
        await trio.sleep(5)
        assert replica_marks(replica)["b"] == b.position
        assert replica_marks(replica)["a"] < a.position
        assert replicator.status().lag_seconds > 4
        assert replicator.status().state == "live"
        tries = a.log.count("collect 1")
        assert 3 <= tries <= 20  # with backoff
        a.fails = None
        await replicator.replicated(timeout=60)
        assert_equal(rooms, replica)


async def test_rooms_change_while_their_changes_wait(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        a.sync = False
        a.post()
        await trio.sleep(0.1)
        a.post()  # after the rows were read; its own commit is not durable either
        a.durable = a.committed - 1
        a.lot.unpark_all()
        await trio.sleep(0.01)
        assert len(replica_rows(replica, "ChatRoom_messages")) == 1
        a.make_durable()
        await replicator.replicated()
        assert_equal(rooms, replica)
