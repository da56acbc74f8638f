"""A full disk, and one that is nearly full: nothing half done, reads and deletions go on, and space is all that is needed."""

import errno

import pytest
import trio

from actors import Disk, Limits
from actors.names import RoomName
from actors.sync.space import fills
from durable_rooms import Actor, DiskFailed, StorageFull
from durable_rooms.testing import open_test_runtime
from tests.durability.callers import Callers, room, wal
from tests.durability.chat import opened
from tests.durability.recording import RecordingDisk

GIB = 2**30
A = wal("a")


class NearlyFull(Disk):
    free = 10 * GIB

    def free_bytes(self, path):
        return self.free


class Notes(Actor):
    migrations = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",)

    def add(self, body: str) -> int:
        return self.sql("INSERT INTO notes (body) VALUES (?) RETURNING id", body).scalar()

    def add_many(self, bodies: list[str]) -> int:
        return self.sql.many("INSERT INTO notes (body) VALUES (?)", [(body,) for body in bodies])

    def edit(self, id: int, body: str) -> None:
        self.sql("UPDATE notes SET body = ? WHERE id = ?", body, id)

    def add_by_query(self) -> None:
        self.sql("WITH fresh (body) AS (VALUES ('x')) INSERT INTO notes (body) SELECT body FROM fresh")

    def add_after_a_word(self) -> None:
        self.sql("/* a word */ INSERT INTO notes (body) VALUES ('x')")

    def read_by_query(self) -> list[str]:
        return self.sql("WITH all_of_it AS (SELECT body FROM notes ORDER BY id) SELECT body FROM all_of_it").scalars()

    def all(self) -> list[str]:
        return self.sql("SELECT body FROM notes ORDER BY id").scalars()

    def drop(self, id: int) -> int:
        return self.sql("DELETE FROM notes WHERE id = ?", id).changes


async def test_f10_below_the_floor_reads_and_deletions_work_and_nothing_is_added(tmp_path, autojump_clock):
    disk = NearlyFull()
    async with open_test_runtime(Notes, path=tmp_path, disk=disk, limits=Limits(free_bytes_min=1 * GIB)) as runtime:
        notes = runtime.room(Notes, "a")
        assert [await notes.add(body) for body in ("one", "two")] == [1, 2]
        disk.free = GIB // 2
        await trio.sleep(1.5)
        assert (runtime.status().full, runtime.status().free_bytes) == (True, GIB // 2)
        for call in (notes.add("x"), notes.add_many(["x"]), notes.edit(1, "x"), notes.add_by_query(), notes.add_after_a_word()):
            with pytest.raises(StorageFull, match=r"536,870,912 bytes free, less than free_bytes_min = 1,073,741,824") as caught:
                await call
            assert (caught.value.ran, caught.value.retryable, caught.value.room) == ("no", True, "Notes/a")
        with pytest.raises(StorageFull, match="no room is born"):
            await runtime.room(Notes, "new").all()
        assert await notes.all() == await notes.read_by_query() == ["one", "two"]
        assert await notes.drop(1) == 1
        disk.free = GIB + 1  # over the floor, but hardly
        await trio.sleep(1.5)
        assert runtime.status().full
        disk.free = 2 * GIB
        await trio.sleep(1.5)
        assert not runtime.status().full
        assert await notes.add("three") == 3
        assert await notes.all() == ["two", "three"]
        assert await runtime.room(Notes, "new").all() == []


async def test_f10_a_start_on_a_nearly_full_disk_serves_reads(tmp_path, autojump_clock):
    async with open_test_runtime(Notes, path=tmp_path) as runtime:
        await runtime.room(Notes, "a").add("one")
    disk = NearlyFull()
    disk.free = 1
    async with open_test_runtime(Notes, path=tmp_path, disk=disk) as runtime:
        assert await runtime.room(Notes, "a").all() == ["one"]
        with pytest.raises(StorageFull):
            await runtime.room(Notes, "a").add("two")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("insert into t values (1)", True),
        ("\n  UPDATE t SET a = 1", True),
        ("REPLACE INTO t VALUES (1)", True),
        ("CREATE TABLE t (a)", True),
        ("select 1", False),
        ("DELETE FROM t", False),
        ("DROP TABLE t", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", None),
        ("-- why\nINSERT INTO t VALUES (1)", None),
        ("INSERT", True),
        ("", None),
    ],
)
def test_a_statement_that_fills_is_known_by_its_first_word(query, answer):
    assert fills(query) is answer


async def test_f09_a_full_disk_voids_the_turn_and_space_is_all_that_is_needed(tmp_path, autojump_clock):
    disk = RecordingDisk(tmp_path)
    try:
        async with opened(tmp_path, disk) as runtime:
            assert await room(runtime, "a").post("1") == 1
            disk.fails("write", A, by="sqlite", code=errno.ENOSPC, times=float("inf"))
            with pytest.raises(StorageFull) as caught:
                await room(runtime, "a").post("2", "x" * 1_000)
            assert (caught.value.ran, caught.value.retryable) == ("no", True)
            assert await room(runtime, "a").ids() == ["1"]
            disk.repair()
            assert await room(runtime, "a").post("3") == 2
            assert await room(runtime, "a").ids() == ["1", "3"]
    finally:
        disk.forget()


async def test_f09_sqlites_own_bound_is_told_like_a_full_disk(tmp_path, autojump_clock):
    async with open_test_runtime(Notes, path=tmp_path) as runtime:
        notes = runtime.room(Notes, "a")
        await notes.add("one")
        connection = runtime.seated(RoomName("Notes", "a")).storage.connection
        pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}").fetchall()
        with pytest.raises(StorageFull):
            await notes.add("x" * 100_000)
        assert await notes.all() == ["one"]
        connection = runtime.seated(RoomName("Notes", "a")).storage.connection
        connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        assert await notes.add("two") == 2


async def test_f09_a_catalog_that_cannot_be_written_holds_replies_back_until_there_is_space(tmp_path, autojump_clock):
    """Rule 17: no reply leaves before its room's row is durable; and a full disk is no reason to stop."""
    disk = RecordingDisk(tmp_path)
    try:
        async with opened(tmp_path, disk) as runtime, trio.open_nursery() as nursery:
            assert await room(runtime, "a").post("1") == 1
            disk.fails("write", "catalog.db-wal", by="sqlite", code=errno.ENOSPC, times=float("inf"))
            callers = Callers(nursery, disk)
            nursery.start_soon(callers._wait, "birth", room(runtime, "other").post("1"))
            await trio.sleep(5)
            assert "birth" not in callers
            assert runtime.status().full
            disk.repair()
            await callers.came("birth")
            assert callers["birth"] == 1
            assert not runtime.status().full
    finally:
        disk.forget()


async def test_f09_a_stop_on_a_disk_that_stays_full_ends_and_says_so(tmp_path, autojump_clock):
    disk = RecordingDisk(tmp_path)
    outcomes = []

    async def post(runtime):
        try:
            outcomes.append(await room(runtime, "other").post("1"))
        except Exception as error:
            outcomes.append(error)

    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                with pytest.raises(DiskFailed, match="could not be written"):
                    async with opened(tmp_path, disk) as runtime:
                        assert await room(runtime, "a").post("1") == 1
                        disk.fails("write", "catalog.db-wal", by="sqlite", code=errno.ENOSPC, times=float("inf"))
                        nursery.start_soon(post, runtime)
                        await trio.sleep(1)
        assert isinstance(outcomes[0], Exception)
    finally:
        disk.forget()
    async with opened(tmp_path) as runtime:
        assert await room(runtime, "a").ids() == ["1"]
