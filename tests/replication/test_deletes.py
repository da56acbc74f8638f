"""Deleted rooms leave every replica, also one that was away, and nothing late brings them back."""

import shutil

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import RoomName
from durable_rooms import ReplicationLate, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from replication import Replicators, replicators_of
from tests.reading.chat import ChatRoom
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, replica_marks, replica_rows, shutil_copy_replica


class Searched(ChatRoom):
    fulltext = {"messages": ["body"]}


def texts(path):
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute("SELECT room_id, body FROM ChatRoom_messages ORDER BY 1, 2").fetchall()
    finally:
        connection.close()


async def test_a_deleted_room_leaves_the_replica_and_the_others_stay(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for id in ("a", "b"):
            await runtime.room(ChatRoom, id).post("ann", f"in {id}")
        await runtime.replicated()
        await runtime.delete(runtime.room(ChatRoom, "a"))
        await runtime.replicated()
        assert texts(tmp_path / "replica.db") == [("b", "in b")]
        assert list(replica_marks(tmp_path / "replica.db")) == ["b"]
        await trio.sleep(1000)  # retries, the auditor
        assert [room.id for room in runtime.list_rooms()] == ["b"]
        (status,) = runtime.status().replicas
        assert (status.state, status.lag_rooms, status.parked, status.last_error) == ("live", 0, {}, None)
        assert not status.resyncs


async def test_the_new_incarnation_is_all_that_the_replica_has(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(ChatRoom, "a")
        for number in range(5):
            await room.post("ann", f"old {number}")
        await runtime.replicated()
        await runtime.delete(room)
        await room.post("ann", "new")
        await runtime.replicated()
        assert texts(tmp_path / "replica.db") == [("a", "new")]
        assert replica_marks(tmp_path / "replica.db")["a"].epoch == runtime.describe(room).epoch


@pytest.mark.parametrize("again", [False, True], ids=["gone", "begun anew"])
async def test_a_replica_that_was_away_learns_of_it_when_it_comes_back(tmp_path, autojump_clock, again) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for id in ("a", "b"):
            await runtime.room(ChatRoom, id).post("ann", f"old {id}")
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        await runtime.delete(runtime.room(ChatRoom, "a"))
        if again:
            await runtime.room(ChatRoom, "a").post("ann", "new a")
    assert ("a", "old a") in texts(tmp_path / "replica.db")
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        await runtime.replicated()
        assert texts(tmp_path / "replica.db") == [*([("a", "new a")] if again else []), ("b", "old b")]
        assert [room.id for room in runtime.list_rooms()] == (["a", "b"] if again else ["b"])


async def test_an_older_copy_of_the_replica_loses_the_room_again(tmp_path, autojump_clock) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    async with open_test_runtime(ChatRoom, path=data, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "old")
        await runtime.replicated()
        shutil_copy_replica(data / "replica.db", copy)
        await runtime.delete(runtime.room(ChatRoom, "a"))
        await runtime.replicated()
        assert texts(data / "replica.db") == []
    for suffix in ("", "-wal"):
        if (tmp_path / f"copy.db{suffix}").exists():
            shutil.copy(tmp_path / f"copy.db{suffix}", f"{data}/replica.db{suffix}")
    assert texts(data / "replica.db") == [("a", "old")]
    async with open_test_runtime(ChatRoom, path=data, replicas=[SQLiteReplica()]) as runtime:
        await runtime.replicated()
        assert texts(data / "replica.db") == []


async def test_every_replica_loses_it(tmp_path, autojump_clock) -> None:
    replicas = [SQLiteReplica(tmp_path / f"{name}.db", name=name) for name in ("near", "far")]
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=replicas) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "old")
        await runtime.replicated()
        assert isinstance(runtime.follower, Replicators)
        await runtime.delete(room)
        await runtime.replicated()
        assert [texts(tmp_path / f"{name}.db") for name in ("near", "far")] == [[], []]
        await room.post("ann", "new")
        await runtime.replicated()
        assert [texts(tmp_path / f"{name}.db") for name in ("near", "far")] == [[("a", "new")]] * 2


async def test_a_read_after_a_delete_shows_nothing_old_though_the_replica_lags(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica(window=30)]) as runtime:
        room, session = runtime.room(ChatRoom, "a"), runtime.session()
        await session.room(ChatRoom, "a").post("ann", "old")
        await runtime.replicated()
        assert await room.bodies() == ["old"]
        before = session.bookmark
        await runtime.delete(room)
        assert texts(tmp_path / "replica.db") == [("a", "old")]  # it lags
        assert (await runtime.across({ChatRoom: "all"}).sql("SELECT body FROM ChatRoom_messages")).scalars() == []
        assert await room.bodies() == []
        assert await runtime.session(before).room(ChatRoom, "a").bodies() == []
        await room.post("ann", "new")
        assert await runtime.session(before).room(ChatRoom, "a").bodies() == ["new"]
        assert await room.bodies() == ["new"]


async def test_a_loaded_room_is_copied_whole(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[SQLiteReplica()]) as runtime:
        one, other = runtime.room(ChatRoom, "one"), runtime.room(ChatRoom, "other")
        for number in range(3):
            await one.post("ann", f"one {number}")
        await runtime.dump(one, tmp_path / "dump.db")
        for number in range(9):
            await other.post("bob", f"other {number}")
        await runtime.replicated()
        await runtime.load(other, tmp_path / "dump.db", replace=True)
        assert await other.bodies() == ["one 0", "one 1", "one 2"]
        await runtime.replicated()
        assert [text for text in texts(tmp_path / "data" / "replica.db") if text[0] == "other"] == [
            ("other", f"one {number}") for number in range(3)
        ]
        await other.post("ann", "after")
        await runtime.replicated()
        assert ("other", "after") in texts(tmp_path / "data" / "replica.db")


async def test_a_batch_of_the_old_incarnation_that_arrives_late_is_removed_with_it(
    rooms: FakeRooms, replica, follow: Follow
) -> None:
    """It was collected, and waits for its commit, while the room is deleted: nobody is told before it is out again."""
    async with follow() as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        a.sync = False
        a.post()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replicator.replicated)
            await wait_all_tasks_blocked()
            assert a.log[-1].startswith("collect")
            replicator.deleted(a, a.position.epoch + 1)
            a.durable = a.committed
            a.lot.unpark_all()
        await replicator.replicated()
        assert replica_marks(replica) == {}
        assert replica_rows(replica, "ChatRoom_messages") == []


async def test_a_refused_row_holds_up_no_removal(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    """A room that cannot be read is tried again with growing pauses; deleted, it leaves at once."""
    async with follow() as replicator:
        a = rooms.room("a")
        a.post()
        await replicator.replicated()
        a.fails = RuntimeError("unreadable")
        a.post()
        await trio.sleep(100)
        began = trio.current_time()
        replicator.deleted(a, a.position.epoch + 1)
        await replicator.replicated()
        assert trio.current_time() - began < 1
        assert replica_marks(replica) == {}


async def test_a_removal_survives_a_replica_in_trouble(rooms: FakeRooms, replica, follow: Follow, autojump_clock) -> None:
    async with follow() as replicator:
        a = rooms.room("a")
        a.post()
        await replicator.replicated()
        locker = apsw.Connection(str(replica))
        locker.execute("BEGIN IMMEDIATE")
        replicator.deleted(a, a.position.epoch + 1)
        rooms.buried[RoomName("ChatRoom", "a")] = a.position.epoch + 1
        del rooms.rooms[a.name]
        rooms.source = lambda name: a  # type: ignore[method-assign]
        await trio.sleep(1)
        assert "a" in replica_marks(replica)
        locker.execute("ROLLBACK")
        locker.close()
        await replicator.replicated(60)
        assert replica_marks(replica) == {}


async def test_a_deleted_rooms_words_are_found_no_more(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(Searched, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for id in ("a", "b"):
            await runtime.room(Searched, id).post("ann", "wireless")
        await runtime.replicated()
        across = runtime.across({Searched: "all"})
        assert [row["room_id"] for row in await across.match(Searched, "messages", "wireless")] == ["a", "b"]
        await runtime.delete(runtime.room(Searched, "a"))
        assert [row["room_id"] for row in await across.match(Searched, "messages", "wireless")] == ["b"]


async def test_a_room_deleted_before_the_replica_has_looked_at_it_holds_up_nobody(tmp_path, autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr("replication.replicator.CANDIDATES_MAX", 1)
    ids = [f"{number:02}" for number in range(30)]
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for id in ids:
            await runtime.room(ChatRoom, id).post("ann", id)
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        (replicator,) = replicators_of(runtime.follower)
        while not replicator.arrivals.compared:
            await replicator.arrivals.changed()
        assert ids[-1] in [candidate.name.id for candidate in replicator.arrivals.candidates]
        await runtime.delete(runtime.room(ChatRoom, ids[-1]))
        assert ids[-1] in [candidate.name.id for candidate in replicator.arrivals.candidates]
        await runtime.replicated()
        assert texts(tmp_path / "replica.db") == [(id, id) for id in ids[:-1]]
        assert [room.id for room in runtime.list_rooms()] == ids[:-1]
        assert runtime.status().replicas[0].last_error is None


async def test_a_delete_that_has_not_arrived_is_lag(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica(window=60)]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "old")
        await runtime.replicated()
        across = runtime.across({ChatRoom: "all"}, fresh=5)
        assert (await across.sql("SELECT body FROM ChatRoom_messages")).scalars() == ["old"]
        await runtime.delete(room)
        await trio.sleep(30)
        with pytest.raises(ReplicationLate):
            await across.sql("SELECT body FROM ChatRoom_messages")
        await trio.sleep(60)
        assert (await across.sql("SELECT body FROM ChatRoom_messages")).scalars() == []
