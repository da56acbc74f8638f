"""The replica deleted, foreign, damaged, locked, full or fed with rows it cannot take. Rooms never notice."""

# ruff: noqa: ASYNC110 (small files of the test, and virtual time)

import logging
from pathlib import Path

import apsw
import pytest
import trio

import replication.batch
from actors.errors import ReplicationLate
from actors.names import RoomName
from replication import SQLiteReplica
from replication.file import ReplicaFile
from replication.limits import WAL_BYTES_MAX
from tests.replication.conftest import Follow
from tests.replication.fakes import FakeRooms, TestDisk, assert_equal, replica_rows


async def until(condition) -> None:
    while not condition():
        await trio.sleep(0.01)


async def test_a_deleted_replica_is_made_again(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    a.post(3)
    async with follow() as replicator:
        b.post(2)
        await replicator.replicated()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{replica}{suffix}").unlink()
        a.post()
        await replicator.replicated()
        assert_equal(rooms, replica)
        assert replicator.status().retries == 1
        assert "deleted or replaced" in (replicator.status().last_error or "")
        assert replicator.status().state == "live"


async def test_a_replica_deleted_between_runs_ignores_its_stale_wal(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    rooms.room("a").post(3)
    async with follow() as replicator:
        await replicator.replicated()
        wal = Path(f"{replica}-wal").read_bytes()
    replica.unlink()
    Path(f"{replica}-wal").write_bytes(wal)
    async with follow() as replicator:
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_a_foreign_database_is_refused_and_left_alone(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock
) -> None:
    foreign = apsw.Connection(str(replica))
    foreign.execute("CREATE TABLE precious (x)").fetchall()
    foreign.close()
    content = replica.read_bytes()
    async with follow() as replicator:
        rooms.room("a").post()
        await until(lambda: replicator.status().state == "refused")
        await trio.sleep(20)
        status = replicator.status()
        assert status.state == "refused"
        assert "another program" in (status.last_error or "")
        assert 3 <= status.retries <= 6
        assert replica.read_bytes() == content
        await replicator.drain()  # at once: nothing would come of waiting
        assert trio.current_time() < 21
        replica.rename(rooms.path / "moved.db")
        await replicator.replicated(timeout=10)
        assert_equal(rooms, replica)


async def test_a_file_that_is_no_database_is_refused(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock) -> None:
    replica.write_bytes(b"my diary\n" * 1000)
    async with follow() as replicator:
        await until(lambda: replicator.status().state == "refused")
        assert replica.read_bytes() == b"my diary\n" * 1000


async def test_another_format_is_refused(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock) -> None:
    async with follow() as replicator:
        rooms.room("a")
        await replicator.replicated()
    connection = apsw.Connection(str(replica))
    connection.execute("PRAGMA user_version = 99").fetchall()
    connection.close()
    async with follow() as replicator:
        await until(lambda: replicator.status().state == "refused")
        assert "format 99" in (replicator.status().last_error or "")


async def test_an_empty_file_becomes_the_replica(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    replica.touch()
    async with follow() as replicator:
        rooms.room("a").post()
        await replicator.replicated()
        assert_equal(rooms, replica)


@pytest.mark.parametrize("where", [0, 100, 4096 * 2], ids=["header", "schema", "tables"])
async def test_a_damaged_replica_is_put_aside_and_made_anew(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, where: int
) -> None:
    a = rooms.room("a")
    a.post(500)
    async with follow() as replicator:
        await replicator.replicated()
    content = bytearray(replica.read_bytes())
    end = where + 60 if where == 0 else len(content)
    content[where:end] = b"\xa5" * (end - where)
    replica.write_bytes(content)
    async with follow() as replicator:
        a.post()
        await replicator.replicated()
        assert_equal(rooms, replica)
        assert (rooms.path / "replica.db.damaged-1").exists()
        assert "damaged" in (replicator.status().last_error or "")


async def test_a_replica_damaged_while_running_is_made_anew(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, monkeypatch
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        a.post(200)
        await replicator.replicated()
        original = ReplicaFile.put_marks

        def corrupt(self: ReplicaFile, *args: object) -> None:
            monkeypatch.setattr(ReplicaFile, "put_marks", original)
            raise apsw.CorruptError("database disk image is malformed")

        monkeypatch.setattr(ReplicaFile, "put_marks", corrupt)
        a.post()
        await replicator.replicated()
        assert (rooms.path / "replica.db.damaged-1").exists()
        assert replicator.status().resyncs == {"initial": 1}
        assert_equal(rooms, replica)


async def test_damaged_files_are_bounded(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    rooms.room("a").post()
    for _ in range(5):
        async with follow() as replicator:
            await replicator.replicated()
        content = replica.read_bytes()
        replica.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))
    assert len(list(rooms.path.glob("replica.db.damaged-?"))) == 3


async def test_tables_removed_by_another_hand_are_made_again(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock
) -> None:
    a = rooms.room("a")
    a.post(3)
    async with follow() as replicator:
        await replicator.replicated()
        other = apsw.Connection(str(replica))
        for statement in ("DROP VIEW ChatRoom_messages", "DROP TABLE _ChatRoom_messages"):
            other.execute(statement).fetchall()
        other.close()
        a.post()
        await replicator.replicated()
        assert replicator.status().parked == {}
        assert_equal(rooms, replica)


async def test_a_locked_replica_is_tried_again_and_catches_up(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        other = apsw.Connection(str(replica))
        other.execute("BEGIN IMMEDIATE").fetchall()
        a.post()
        await trio.sleep(60)
        status = replicator.status()
        assert status.state == "retrying"
        assert 12 <= status.retries <= 80  # doubled up to 5 s, with jitter
        assert "locked" in (status.last_error or "")
        assert 59 < status.lag_seconds < 61
        assert status.lag_entries == 1
        other.close()
        await replicator.replicated(timeout=6)
        assert replicator.status().state == "live"
        assert_equal(rooms, replica)


async def test_a_missing_directory_is_waited_for(rooms: FakeRooms, follow: Follow, autojump_clock) -> None:
    path = rooms.path / "later" / "replica.db"
    async with follow(SQLiteReplica(path)) as replicator:
        rooms.room("a").post()
        await trio.sleep(3)
        assert replicator.status().state == "retrying"
        path.parent.mkdir()
        await replicator.replicated(timeout=6)
        assert_equal(rooms, path)


async def test_a_full_disk_is_waited_for(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, monkeypatch) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        original = ReplicaFile.put_marks

        def full(self: ReplicaFile, *args: object) -> None:
            raise apsw.FullError("database or disk is full")

        monkeypatch.setattr(ReplicaFile, "put_marks", full)
        a.post(4)
        await trio.sleep(3)
        assert "FullError" in (replicator.status().last_error or "")
        assert replica_rows(replica, "ChatRoom_messages") == []
        monkeypatch.setattr(ReplicaFile, "put_marks", original)
        await replicator.replicated(timeout=6)
        assert_equal(rooms, replica)


async def test_rule_24_after_an_error_the_wal_is_rehomed_and_watermarks_are_read_again(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, monkeypatch
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        original = ReplicaFile.commit
        failures = [apsw.IOError("disk I/O error")]

        def commit(self: ReplicaFile) -> None:
            original(self)
            if failures:  # committed, but nobody can tell: the position decides, not the error
                raise failures.pop()

        monkeypatch.setattr(ReplicaFile, "commit", commit)
        rooms.disk.calls.clear()
        before = replicator.status().last_batch
        a.post(4)
        await replicator.replicated()
        assert ("copy_synced", "replica.db-wal") in rooms.disk.calls
        assert replicator.status().last_batch == before + 1
        assert_equal(rooms, replica)


async def test_rule_19_the_name_of_the_wal_is_synced_at_each_open(rooms: FakeRooms, follow: Follow) -> None:
    async with follow() as replicator:
        rooms.room("a")
        await replicator.replicated()
        assert ("sync_directory", rooms.path.name) in rooms.disk.calls


async def test_a_row_that_the_replica_cannot_take_parks_its_room_only(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, monkeypatch
) -> None:
    a, b, c = (rooms.room(id) for id in "abc")
    async with follow() as replicator:
        await replicator.replicated()
        original = replication.batch.run_bulk

        def picky(connection, statement, bulk, rows):
            rows = list(rows)
            if any(row[2] == "poison" for row in rows if len(row) > 2):
                raise apsw.TooBigError("string or blob too big")
            original(connection, statement, bulk, rows)

        monkeypatch.setattr(replication.batch, "run_bulk", picky)
        a.post()
        b.post(author="poison")
        c.post()
        with pytest.raises(ReplicationLate, match=r"ChatRoom/b.*too big"):
            await replicator.replicated()
        status = replicator.status()
        assert list(status.parked) == [b.name]
        assert "too big" in status.parked[b.name]
        assert status.state == "live"
        assert [row[0] for row in replica_rows(replica, "ChatRoom_messages")] == ["a", "c"]
        c.post()
        await replicator.drain()  # does not wait for the parked room
        assert len(replica_rows(replica, "ChatRoom_messages", "c")) == 2
        monkeypatch.setattr(replication.batch, "run_bulk", original)
        await replicator.replicated(timeout=61)
        assert replicator.status().parked == {}
        assert_equal(rooms, replica)


async def test_a_damaged_room_does_not_cost_the_replica(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    a.post(300)
    a.trim_to(9999)
    a.run("PRAGMA wal_checkpoint(TRUNCATE)")
    good = a.path.read_bytes()
    async with follow() as replicator:
        rows = a.rows("messages")
        a.path.write_bytes(good[: 4096 * 8] + b"\xa5" * (len(good) - 4096 * 8))
        b.post()
        await trio.sleep(3)
        assert len(replica_rows(replica, "ChatRoom_messages", "b")) == 1
        assert replicator.status().retries == 0
        assert "RoomUnreadable" in (replicator.status().last_error or "")
        a.path.write_bytes(good)
        await replicator.replicated(timeout=60)
        assert replica_rows(replica, "ChatRoom_messages", "a") == rows
        assert not list(rooms.path.glob("*damaged*"))


async def test_the_wal_stays_small(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        for n in range(12):
            a.write(*[("INSERT INTO messages VALUES (?, 'ann', ?)", (n * 200 + i, f"{n} {i}" * 1_000)) for i in range(200)])
            await replicator.replicated()
        assert Path(f"{replica}-wal").stat().st_size < 2 * WAL_BYTES_MAX
        assert_equal(rooms, replica)
    assert not Path(f"{replica}-wal").exists()  # after a stop the one file is the whole replica


def test_rule_30_the_replica_runs_at_normal_in_wal(tmp_path: Path) -> None:
    file = ReplicaFile(TestDisk(), tmp_path / "replica.db")
    file.open()
    assert file.run("PRAGMA synchronous") == [(1,)]
    assert file.run("PRAGMA journal_mode") == [("wal",)]
    assert file.run("PRAGMA wal_autocheckpoint") == [(0,)]
    assert file.run("PRAGMA busy_timeout") == [(0,)]
    file.close()


class ComingBack(TestDisk):
    """A disk on which a missing directory comes back the moment after somebody looked for a file in it."""

    def __init__(self, gone: Path) -> None:
        super().__init__()
        self.gone = gone

    def exists(self, path: Path) -> bool:
        there = super().exists(path)
        if not there and path.name == "replica.db" and self.gone.exists():
            self.gone.rename(path.parent)
        return there


def test_a_replica_that_comes_back_while_it_is_looked_for_keeps_its_wal(tmp_path: Path) -> None:
    place, gone = tmp_path / "place", tmp_path / "gone"
    place.mkdir()
    file = ReplicaFile(TestDisk(), place / "replica.db")
    file.open()
    with file.transaction():
        file.intern(RoomName("ChatRoom", "a"))
    file.close()
    assert (place / "replica.db-wal").stat().st_size > 0
    place.rename(gone)
    again = ReplicaFile(ComingBack(gone), place / "replica.db")
    again.open()
    assert again.room(RoomName("ChatRoom", "a")) is not None
    again.close()


async def test_changes_of_state_are_logged(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, caplog) -> None:
    caplog.set_level(logging.INFO, "durable_rooms.replication")
    async with follow() as replicator:
        a = rooms.room("a")
        await replicator.replicated()
        replica.unlink()
        a.post()
        await replicator.replicated()
    texts = [record.getMessage() for record in caplog.records]
    assert any("live (was starting)" in text for text in texts)
    assert any("retrying (was live)" in text and "deleted" in text for text in texts)
    assert any("live (was retrying)" in text for text in texts)


async def test_a_bug_in_a_source_does_not_end_the_task(rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    async with follow() as replicator:
        await replicator.replicated()
        a.fails = ZeroDivisionError("bug")
        a.post()
        b.post()
        await trio.sleep(1)
        a.fails = None
        await replicator.replicated(timeout=60)
        assert_equal(rooms, replica)
