"""The replica of other rooms, of an older day, shared, full, pinned, or far behind: found out by itself, put right, told."""

# ruff: noqa: ASYNC110 (small files of the test, and virtual time)

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import replication.batch
import replication.file
import replication.replicator
import replication.status
from actors import Position, RoomName
from actors.errors import ReplicationLate
from replication import SQLiteReplica
from replication.candidates import behind
from replication.collector import Collector
from replication.file import ReplicaFile
from replication.house import House
from replication.limits import TOKENS_KEPT
from replication.standing import Mark
from tests.replication.conftest import Follow, following
from tests.replication.fakes import FakeRooms, TestDisk, assert_equal, replica_rows


async def until(condition) -> None:
    while not condition():
        await trio.sleep(0.01)


def directory(path: Path, author: str) -> FakeRooms:
    """Rooms a and b, at the same positions in every directory; only the author differs."""
    path.mkdir()
    rooms = FakeRooms(path)
    rooms.doors.random = Random(author)
    for id in "ab":
        rooms.room(id).post(3, author=author)
    return rooms


async def replicate(rooms: FakeRooms) -> None:
    async with following(rooms) as replicator:
        await replicator.replicated()


def tokens(rooms: FakeRooms) -> list[str]:
    return (rooms.path / "replica-tokens").read_text().split()


async def test_a_replica_whose_first_sector_a_power_cut_left_as_garbage_is_made_anew(rooms: FakeRooms, replica: Path) -> None:
    """Nothing in the file says that it is ours; its place and the directory's tokens do. It is put aside, not deleted."""
    rooms.room("a").post(3)
    await replicate(rooms)
    garbage = b"\x9c" * 512 + replica.read_bytes()[512:]
    replica.write_bytes(garbage)
    await replicate(rooms)
    assert_equal(rooms, replica)
    assert replica.with_name("replica.db.damaged-1").read_bytes() == garbage


async def test_a_new_replica_of_which_a_power_cut_leaves_garbage_is_made_anew(
    rooms: FakeRooms, replica: Path, monkeypatch
) -> None:
    """The directory's note of its replica is durable before the file is made, or the garbage would be called a stranger's."""
    noted: list[bool] = []
    make_file = rooms.doors.disk.make_file

    def watched(path: Path) -> bool:
        noted.append((rooms.path / "replica-tokens").exists())
        return make_file(path)

    monkeypatch.setattr(rooms.doors.disk, "make_file", watched)
    rooms.room("a").post(3)
    await replicate(rooms)
    assert noted == [True]


# -- F33: deleted, old, of others -----------------------------------------------------------------------------------
async def test_f33_a_replica_deleted_while_the_runtime_was_down_is_made_again(rooms: FakeRooms, replica: Path) -> None:
    """F33; no command is needed, design.md §5: the replica may be deleted at any time."""
    rooms.room("a").post(3)
    await replicate(rooms)
    replica.unlink()
    await replicate(rooms)
    assert_equal(rooms, replica)


async def test_f33_an_old_copy_of_the_replica_is_brought_up_to_date(rooms: FakeRooms, replica: Path) -> None:
    """F33: what the outbox still has is applied, what was trimmed is a gap, and the room is copied."""
    a, b = rooms.room("a", trim=False), rooms.room("b")
    a.post(3)
    b.post(3)
    await replicate(rooms)
    old = replica.read_bytes()
    a.post(3)
    b.post(3)
    await replicate(rooms)
    replica.write_bytes(old)
    async with following(rooms) as replicator:
        await replicator.replicated()
        assert replicator.status().resyncs == {"gap": 1}
        assert replicator.status().last_error is None
    assert_equal(rooms, replica)


async def test_f33_a_copy_older_than_the_tokens_kept_is_made_anew(rooms: FakeRooms, replica: Path) -> None:
    rooms.room("a").post(3)
    await replicate(rooms)
    old = replica.read_bytes()
    for _ in range(TOKENS_KEPT):
        await replicate(rooms)
    assert len(tokens(rooms)) == TOKENS_KEPT
    replica.write_bytes(old)
    await replicate(rooms)
    assert (rooms.path / "replica.db.foreign-1").exists()
    assert_equal(rooms, replica)


async def test_f33_a_replica_of_other_rooms_at_the_same_positions_is_not_believed(tmp_path: Path) -> None:
    """F33: positions agree by chance, rows do not."""
    ours, theirs = directory(tmp_path / "ours", "ann"), directory(tmp_path / "theirs", "bob")
    await replicate(ours)
    await replicate(theirs)
    content = (theirs.path / "replica.db").read_bytes()
    shutil.copyfile(theirs.path / "replica.db", ours.path / "replica.db")
    async with following(ours) as replicator:
        await replicator.replicated()
        assert "another data directory" in (replicator.status().last_error or "")
        assert "replica.db.foreign-1" in (replicator.status().last_error or "")
        assert replicator.status().state == "live"
    assert_equal(ours, ours.path / "replica.db")
    assert (ours.path / "replica.db.foreign-1").read_bytes() == content


async def test_f33_a_replica_replaced_while_running_by_one_of_other_rooms_is_not_believed(
    tmp_path: Path, autojump_clock: object
) -> None:
    ours, theirs = directory(tmp_path / "ours", "ann"), directory(tmp_path / "theirs", "bob")
    await replicate(theirs)
    async with following(ours) as replicator:
        await replicator.replicated()
        for suffix in ("-wal", "-shm"):
            (ours.path / f"replica.db{suffix}").unlink()
        (theirs.path / "replica.db").replace(ours.path / "replica.db")
        ours.room("a").post()
        await replicator.replicated()
        assert_equal(ours, ours.path / "replica.db")
        assert (ours.path / "replica.db.foreign-1").exists()


async def test_f33_a_copied_directory_that_went_its_own_way_has_a_replica_of_its_own(tmp_path: Path) -> None:
    ours = directory(tmp_path / "ours", "ann")
    await replicate(ours)
    for room in ours.rooms.values():
        room.run("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(ours.path, tmp_path / "copy")
    copy = FakeRooms(tmp_path / "copy")
    copy.doors.random = Random("copy")
    for name in ours.rooms:
        copied = copy.path / f"{name.actor}-{name.id}.db"
        content = copied.read_bytes()
        copied.unlink()
        copy.room(name.id).restore(content)
    for rooms, author in ((ours, "ann"), (copy, "bob")):
        rooms.room("a").post(author=author)
        await replicate(rooms)
    shutil.copyfile(ours.path / "replica.db", copy.path / "replica.db")
    await replicate(copy)
    assert_equal(copy, copy.path / "replica.db")
    assert (copy.path / "replica.db.foreign-1").exists()


async def test_f33_a_lost_note_of_tokens_costs_a_new_replica_and_no_row(rooms: FakeRooms, replica: Path) -> None:
    rooms.room("a").post(3)
    await replicate(rooms)
    (rooms.path / "replica-tokens").unlink()
    await replicate(rooms)
    assert_equal(rooms, replica)
    assert len(tokens(rooms)) == 1
    await replicate(rooms)
    assert not (rooms.path / "replica.db.foreign-2").exists()


def unsigned(replica: Path) -> None:
    """As v0.1.0 left it."""
    connection = apsw.Connection(str(replica))
    connection.execute("DROP TABLE _house").fetchall()
    connection.close()


async def test_a_replica_of_v0_1_0_is_taken_over_as_it_is(rooms: FakeRooms, replica: Path) -> None:
    rooms.room("a").post(3)
    await replicate(rooms)
    unsigned(replica)
    (rooms.path / "replica-tokens").unlink()
    rooms.room("a").post(2)
    async with following(rooms) as replicator:
        await replicator.replicated()
        assert replicator.status().resyncs == {}
        assert replicator.status().last_error is None
    assert_equal(rooms, replica)
    assert not list(rooms.path.glob("*foreign*"))


async def test_an_unsigned_replica_is_taken_over_once_only(rooms: FakeRooms, replica: Path) -> None:
    rooms.room("a").post(3)
    await replicate(rooms)
    unsigned(replica)
    await replicate(rooms)
    assert (rooms.path / "replica.db.foreign-1").exists()
    assert_equal(rooms, replica)


async def test_replicas_of_other_rooms_are_kept_aside_but_not_without_end(tmp_path: Path) -> None:
    ours, theirs = directory(tmp_path / "ours", "ann"), directory(tmp_path / "theirs", "bob")
    await replicate(theirs)
    for _ in range(5):
        shutil.copyfile(theirs.path / "replica.db", ours.path / "replica.db")
        await replicate(ours)
    assert len(list(ours.path.glob("replica.db.foreign-?"))) == 3


def test_a_locked_replica_notes_no_token(tmp_path: Path) -> None:
    """An outage is many tries to open: they must not push out the tokens that tell the own replica."""
    house = House(TestDisk(), tmp_path, "first", lambda: "1")
    file = ReplicaFile(TestDisk(), tmp_path / "replica.db", house)
    file.open()
    file.close(tidy=True)
    file.release()
    other = apsw.Connection(str(tmp_path / "replica.db"))
    other.execute("BEGIN IMMEDIATE").fetchall()
    again = ReplicaFile(TestDisk(), tmp_path / "replica.db", House(TestDisk(), tmp_path, "second", lambda: "2"))
    with pytest.raises(apsw.BusyError):
        again.open()
    again.release()
    other.close()
    assert (tmp_path / "replica-tokens").read_text().split() == ["first"]


# -- one replica, two runtimes --------------------------------------------------------------------------------------
async def test_a_second_runtime_is_kept_away_from_a_replica_that_is_in_use(tmp_path: Path, autojump_clock: object) -> None:
    ours, theirs = directory(tmp_path / "ours", "ann"), directory(tmp_path / "theirs", "bob")
    shared = tmp_path / "shared.db"
    async with following(theirs, SQLiteReplica(shared)) as second:
        await second.replicated()
        async with following(ours, SQLiteReplica(shared)) as first:
            await until(lambda: first.status().state == "refused")
            assert "written by another runtime: 'pid " in (first.status().last_error or "")
            with pytest.raises(ReplicationLate):
                await first.replicated()
            theirs.room("a").post()
            await second.replicated()
            assert_equal(theirs, shared)
        assert second.status().state == "live"


async def test_a_refused_runtime_takes_the_replica_over_when_it_is_free(tmp_path: Path, autojump_clock: object) -> None:
    ours, theirs = directory(tmp_path / "ours", "ann"), directory(tmp_path / "theirs", "bob")
    shared = SQLiteReplica(tmp_path / "shared.db")
    async with trio.open_nursery() as nursery, following(ours, shared) as first:
        await first.replicated()
        leave = trio.Event()

        async def second(task_status: trio.TaskStatus[None]) -> None:
            async with following(theirs, shared) as replicator:
                await until(lambda: replicator.status().state == "refused")
                task_status.started()
                await leave.wait()
                await replicator.replicated(timeout=6)
                assert_equal(theirs, tmp_path / "shared.db")

        await nursery.start(second)
        assert first._running is not None
        first._running.file.close(tidy=True)
        first._running.file.release()
        leave.set()


async def test_a_runtime_that_another_signed_over_stops_writing_there(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    """The lock does not hold everywhere (a path through a hard link, a file system without locks)."""
    a = rooms.room("a")
    async with follow() as replicator:
        a.post()
        await replicator.replicated()
        other = apsw.Connection(str(replica))
        other.execute("UPDATE _house SET token = 'somebody else'").fetchall()
        other.close()
        a.post()
        await replicator.replicated()
        assert "another data directory" in (replicator.status().last_error or "")
        assert replicator.status().retries == 1
        assert (rooms.path / "replica.db.foreign-1").exists()
        assert_equal(rooms, replica)


async def test_a_signature_removed_by_another_hand_is_made_again(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    a = rooms.room("a")
    async with follow() as replicator:
        a.post()
        await replicator.replicated()
        unsigned(replica)
        a.post()
        await replicator.replicated()
        assert replicator.status().parked == {}
        assert_equal(rooms, replica)


# -- full, poisoned, pinned -----------------------------------------------------------------------------------------
async def test_a_replica_that_may_not_grow_is_retried_until_it_may(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object
) -> None:
    """SQLite's own SQLITE_FULL, in the middle of a batch."""
    a = rooms.room("a")
    async with follow() as replicator:
        a.post()
        await replicator.replicated()
        assert replicator._running is not None
        connection = replicator._running.file.connection
        connection.execute("PRAGMA max_page_count = 1").fetchall()  # as many as there are, until it is opened again
        a.write(*[("INSERT INTO messages (author, body) VALUES ('ann', ?)", (f"{n} ".ljust(3_000, "x"),)) for n in range(50)])
        await replicator.replicated()
        assert "FullError" in (replicator.status().last_error or "")
        assert replicator.status().retries == 1
        assert replicator.status().resyncs == {}
        assert_equal(rooms, replica)


async def test_f31_a_refused_row_in_a_large_batch_is_found_by_halves(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F31: the room is parked with the reason, 127 others are applied, in about 2 · log2(128) transactions instead of 128."""
    members = [rooms.room(f"{n:03}") for n in range(128)]
    async with follow() as replicator:
        await replicator.replicated()
        original, real, tries = replication.batch.run_bulk, replication.replicator.apply, []

        def picky(connection, statement, bulk, rows):
            rows = list(rows)
            if any("poison" in row for row in rows):
                raise apsw.TooBigError("string or blob too big")
            original(connection, statement, bulk, rows)

        def counted(file, drains, now):
            tries.append(len(drains))
            return real(file, drains, now)

        monkeypatch.setattr(replication.batch, "run_bulk", picky)
        monkeypatch.setattr(replication.replicator, "apply", counted)
        for number, room in enumerate(members):
            room.post(author="poison" if number == 77 else "ann")
        with pytest.raises(ReplicationLate, match=r"ChatRoom/077.*too big"):
            await replicator.replicated()
        assert list(replicator.status().parked) == [members[77].name]
        assert len(replica_rows(replica, "ChatRoom_messages")) == 127
        assert tries[0] == 128
        assert len(tries) <= 1 + 2 * 7
        monkeypatch.undo()
        await replicator.replicated(timeout=61)
        assert_equal(rooms, replica)


async def test_a_long_reader_does_not_stop_the_replica_and_is_reported(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(replication.file, "WAL_BYTES_MAX", 100_000)
    monkeypatch.setattr(replication.file, "WAL_BYTES_TRUNCATED", 400_000)
    monkeypatch.setattr(replication.status, "WAL_BYTES_TRUNCATED", 400_000)
    checkpoints: list[int] = []
    a = rooms.room("a")
    async with follow() as replicator:
        a.post()
        await replicator.replicated()
        real = ReplicaFile._checkpoint

        def noted(self: ReplicaFile) -> None:
            before = self._checkpoint_at
            real(self)
            checkpoints.extend([self._checkpoint_at] * (self._checkpoint_at > before))

        monkeypatch.setattr(ReplicaFile, "_checkpoint", noted)
        reader = apsw.Connection(str(replica), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN").fetchall()
        reader.execute("SELECT count(*) FROM _rooms").fetchall()

        async def write() -> None:
            a.write(*[("INSERT INTO messages (author, body) VALUES ('ann', hex(randomblob(1000)))", ()) for _ in range(20)])
            await replicator.replicated()

        for _ in range(20):
            await write()
        pinned = replicator.status().wal_bytes
        assert pinned > 400_000
        assert Path(f"{replica}-wal").stat().st_size >= pinned
        assert len(checkpoints) <= pinned // 100_000  # not one a batch, for nothing
        told = [record for record in caplog.records if "a reader has kept a transaction open" in record.getMessage()]
        assert len(told) == 1
        assert told[0].levelno == logging.WARNING
        reader.close()
        for _ in range(8):
            await write()
        assert replicator.status().wal_bytes < 400_000
        assert replicator.status().retries == 0
        assert_equal(rooms, replica)


# -- the candidates of a start --------------------------------------------------------------------------------------
NAMES = st.tuples(st.sampled_from(["A", "B", "a"]), st.text("ab\xe9\U0001f600", min_size=1, max_size=3)).map(
    lambda pair: RoomName(*pair)
)
STANDS = st.tuples(st.integers(1, 2), st.integers(0, 2), st.booleans())


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, STANDS, max_size=12), st.dictionaries(NAMES, STANDS, max_size=12))
def test_rule_18_candidates_are_active_rooms_and_those_that_stand_elsewhere(
    catalog: dict[RoomName, tuple[int, int, bool]], replica: dict[RoomName, tuple[int, int, bool]]
) -> None:
    file = ReplicaFile(TestDisk(), Path(":memory:"))
    file._connection = apsw.Connection(":memory:")
    for statement in replication.file.SCHEMA:
        file.run(statement)
    for name, (epoch, seq, settled) in replica.items():
        file.put_marks([(file.intern(name), Mark(Position(epoch, seq), "", settled))], 0.0)
    there = {name: Position(epoch, seq) for name, (epoch, seq, settled) in replica.items() if settled}
    wanted = [name for name, (epoch, seq, active) in sorted(catalog.items()) if active or there.get(name) != (epoch, seq)]

    def positions() -> Iterator[tuple[RoomName, Position, bool]]:
        for name, (epoch, seq, active) in sorted(catalog.items()):
            yield name, Position(epoch, seq), active

    assert [candidate.name for candidate in behind(file, positions)] == wanted
    file.close()


def test_positions_out_of_order_are_an_error_and_no_missed_room(tmp_path: Path) -> None:
    file = ReplicaFile(TestDisk(), tmp_path / "replica.db")
    file.open()
    rows = [(RoomName("A", id), Position(1, 1), False) for id in "ba"]
    with pytest.raises(ValueError, match="not in order"):
        behind(file, lambda: rows)
    file.close()


async def test_candidates_are_handed_out_in_pages_and_replicated_waits_for_all(
    rooms: FakeRooms, replica: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(100):
        rooms.room(f"{n:03}").post()
    monkeypatch.setattr(replication.replicator, "CANDIDATES_MAX", 10)
    handed_out: list[int] = []
    behind: list[int] = []
    real = Collector.ready

    def ready(self: Collector) -> object:
        handed_out.append(len(self.dirty()))
        assert rooms.follower is not None
        behind.append(rooms.follower.status().lag_rooms)
        return real(self)

    monkeypatch.setattr(Collector, "ready", ready)
    async with following(rooms) as replicator:
        await replicator.replicated()
        assert replicator.status().lag_rooms == 0
    assert max(handed_out) == 10
    assert behind[0] == 100
    assert_equal(rooms, replica)
