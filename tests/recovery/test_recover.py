"""`recover`: a sick room comes back with all that file and replica still say, and says what is missing."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from actors import DataDir, DataDirInUse, Disk, RoomName
from actors.directory.owner import Ownership
from actors.storage.rehome import wal_of
from durable_rooms import Actor, RoomQuarantined, SQLiteReplica
from durable_rooms.recovery import NotRecovered, Recovery, recover
from durable_rooms.testing import open_test_runtime
from durable_rooms.verify import verify

NAME = RoomName("Chat", "a")
PAGE = 4096


class Chat(Actor):
    migrations = [
        "CREATE TABLE people (name TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
        """CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, author TEXT NOT NULL REFERENCES people (name),
            body TEXT NOT NULL CHECK (body <> ''), sent_at REAL NOT NULL);
           CREATE INDEX by_author ON messages (author);
           CREATE UNIQUE INDEX by_body ON messages (body)""",
        "CREATE TABLE drafts (body TEXT)",
        "ALTER TABLE messages ADD COLUMN likes INTEGER NOT NULL DEFAULT 3",
        "CREATE VIEW bodies AS SELECT body FROM messages",
        "CREATE VIRTUAL TABLE words USING fts5 (body)",
        "CREATE TRIGGER indexed AFTER INSERT ON messages BEGIN INSERT INTO words (rowid, body) VALUES (new.id, new.body); END",
    ]
    local_tables = frozenset({"drafts"})

    def fill(self, rows: int) -> None:
        self.sql("INSERT OR IGNORE INTO people VALUES ('ann')")
        for n in range(rows):
            self.post(f"line {n} " + "x" * 200)
            if n % 10 == 0:
                self.sql("INSERT INTO drafts VALUES (?)", f"draft {n}")

    def post(self, body: str) -> int:
        return self.sql("INSERT INTO messages (author, body, sent_at) VALUES ('ann', ?, 2.0) RETURNING id", body).scalar()

    def forget(self, id: int) -> None:
        self.sql("DELETE FROM messages WHERE id = ?", id)

    def messages(self) -> dict[int, str]:
        return {row["id"]: row["body"] for row in self.sql("SELECT id, body, likes FROM messages")}

    def drafts(self) -> int:
        return self.sql("SELECT count(*) FROM drafts").scalar()

    def found(self, word: str) -> int:
        return self.sql("SELECT count(*) FROM words WHERE words MATCH ?", word).scalar()


@pytest.fixture
async def data(tmp_path: Path, autojump_clock) -> Path:
    """Two rooms of 400 messages, all in the replica, cleanly left."""
    path = tmp_path / "data"
    async with open_test_runtime(Chat, path=path, replicas=[SQLiteReplica()]) as runtime:
        for id in "ab":
            await runtime.room(Chat, id).fill(400)
        await runtime.replicated()
    return path


def file_of(data: Path, id: str = "a") -> Path:
    return DataDir.at(data).room(RoomName("Chat", id))


def rows_of(path: Path, query: str) -> list[Any]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def leaves(data: Path, table: str) -> Iterator[int]:
    """The offsets of a table's leaf pages."""
    path = file_of(data)
    pages = rows_of(path, f"SELECT pageno FROM dbstat WHERE name = '{table}' AND pagetype = 'leaf' ORDER BY path")
    return iter([(number - 1) * PAGE for (number,) in pages])


def destroy(data: Path, *places: int) -> None:
    content = bytearray(file_of(data).read_bytes())
    for at in places:
        content[at : at + PAGE] = b"\xa5" * PAGE
    file_of(data).write_bytes(content)


async def sickened(data: Path) -> None:
    """Somebody calls the room, and finds it damaged."""
    async with open_test_runtime(Chat, path=data) as runtime:
        for _ in range(2):
            with pytest.raises(RoomQuarantined):
                await runtime.room(Chat, "a").messages()


async def lives(data: Path, *, whole: bool = True) -> dict[int, str]:
    """The room's messages; it takes new ones if nothing of it is missing, and the replica ends equal."""
    async with open_test_runtime(Chat, path=data, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Chat, "a")
        messages = await room.messages()
        if whole:
            id = await room.post("after")
            assert id not in messages
            await room.forget(id)
        await runtime.replicated()
        assert runtime.describe(room).sick is None
    assert verify(data).equal
    return messages


def full() -> dict[int, str]:
    return {n + 1: f"line {n} " + "x" * 200 for n in range(400)}


def table(report: Recovery, name: str) -> Any:
    (found,) = [table for table in report.tables if table.name == name]
    return found


async def test_what_the_file_lost_comes_from_the_replica_and_nothing_is_missing(data: Path, autojump_clock) -> None:
    pages = list(leaves(data, "messages"))
    destroy(data, *pages[3:6])
    damaged = file_of(data).read_bytes()
    await sickened(data)
    report = recover(data, NAME)
    assert report.complete, report
    assert report.sources == ["file", "replica"]
    messages = table(report, "messages")
    assert messages.from_file + messages.from_replica == 400
    assert 0 < messages.from_replica < 100
    assert table(report, "drafts").from_file == 40
    assert report.file is not None
    assert report.file.read_bytes() == damaged
    assert rows_of(file_of(data), "PRAGMA integrity_check") == [("ok",)]
    assert await lives(data) == full()


async def test_the_recovered_room_has_its_constraints_triggers_views_full_text_and_defaults(data: Path, autojump_clock) -> None:
    destroy(data, next(leaves(data, "messages")))
    before = rows_of(file_of(data, "b"), "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '\\_%' ESCAPE '\\'")
    await sickened(data)
    recover(data, NAME)
    after = rows_of(file_of(data), "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '\\_%' ESCAPE '\\'")
    assert set(after) == set(before)
    assert rows_of(file_of(data), "SELECT DISTINCT likes FROM messages") == [(3,)]
    async with open_test_runtime(Chat, path=data) as runtime:
        room = runtime.room(Chat, "a")
        assert await room.found("line") == 400
        with pytest.raises(apsw.ConstraintError):
            await room.post("")
        await room.post("needle")
        assert await room.found("needle") == 1


async def test_a_flipped_byte_in_a_value_that_sqlite_cannot_see_is_put_right_from_the_replica(data: Path, autojump_clock) -> None:
    content = bytearray(file_of(data).read_bytes())
    (leaf,) = [at for at in leaves(data, "messages") if b"line 123 " in content[at : at + PAGE]]
    at = content.index(b"line 123 ", leaf)
    content[at : at + 4] = b"lime"
    file_of(data).write_bytes(content)
    report = recover(data, NAME)
    assert table(report, "messages").put_right == 1
    assert report.complete
    assert await lives(data) == full()


async def test_rows_written_and_deleted_after_the_replicas_position_are_as_the_file_has_them(data: Path, autojump_clock) -> None:
    async with open_test_runtime(Chat, path=data) as runtime:  # no replica follows
        room = runtime.room(Chat, "a")
        assert await room.post("newer") == 401
        await room.forget(7)
    destroy(data, list(leaves(data, "messages"))[4])
    await sickened(data)
    report = recover(data, NAME)
    assert report.complete or table(report, "messages").missing
    found = await lives(data)
    assert found[401] == "newer"
    assert 7 not in found
    assert len(found) == 400


async def test_from_the_file_alone_says_which_rows_are_missing(data: Path, autojump_clock) -> None:
    destroy(data, list(leaves(data, "messages"))[4])
    await sickened(data)
    report = recover(data, NAME, source="file")
    assert report.sources == ["file"]
    assert not report.complete
    assert any("cannot be read (rows behind rowid" in text for text in table(report, "messages").missing)
    found = await lives(data)
    assert found.items() < full().items()
    assert len(found) == table(report, "messages").from_file


async def test_from_the_replica_alone_says_that_local_tables_are_missing(data: Path, autojump_clock) -> None:
    file_of(data).write_bytes(b"")
    await sickened(data)
    report = recover(data, NAME)
    assert report.sources == ["replica"]
    assert report.schema == "room Chat/b"
    assert table(report, "drafts").missing
    assert await lives(data) == full()


async def test_a_destroyed_first_page_costs_nothing_while_a_sister_room_shows_where_the_tables_are(
    data: Path, autojump_clock
) -> None:
    destroy(data, 0)
    await sickened(data)
    report = recover(data, NAME, source="file")
    assert report.schema == "room Chat/b"
    assert table(report, "drafts").from_file == 40
    assert await lives(data) == full()


async def test_without_file_and_sister_the_schema_is_what_the_replica_knows(data: Path, autojump_clock) -> None:
    async with open_test_runtime(Chat, path=data) as runtime:
        file_of(data, "b").write_bytes(b"")
        with pytest.raises(RoomQuarantined):
            await runtime.room(Chat, "b").messages()
    file_of(data).write_bytes(b"gone")
    report = recover(data, NAME)
    assert report.schema == "the replica"
    assert any("CHECK" in text for text in report.missing)
    assert rows_of(file_of(data), "SELECT count(*) FROM messages") == [(400,)]


async def test_a_destroyed_interior_page_does_not_cost_the_leaves_below_it(data: Path, autojump_clock) -> None:
    (root,) = rows_of(file_of(data), "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")[0]
    destroy(data, (root - 1) * PAGE)
    report = recover(data, NAME, source="file")
    assert table(report, "messages").from_file == 400
    assert any("abandoned pages" in text for text in table(report, "messages").missing)


async def test_a_sound_room_is_left_alone(data: Path) -> None:
    before = file_of(data).read_bytes()
    assert recover(data, NAME).sound
    assert file_of(data).read_bytes() == before
    assert (data / "clean-stop").exists()


async def test_a_good_copy_put_in_the_place_of_a_sick_room_is_what_it_is_recovered_from(data: Path, autojump_clock) -> None:
    good = file_of(data).read_bytes()
    destroy(data, *list(leaves(data, "messages"))[:8])
    await sickened(data)
    file_of(data).write_bytes(good)
    report = recover(data, NAME, source="file")
    assert report.complete
    assert await lives(data) == full()


async def test_what_lies_behind_a_damaged_frame_of_the_wal_is_brought_back(data: Path, autojump_clock) -> None:
    """An opening would stop at the damaged frame and go on from there."""
    async with open_test_runtime(Chat, path=data) as runtime:
        room = runtime.room(Chat, "a")
        for n in range(6):
            await room.post(f"late {n}")
        content, log = (file.read_bytes() for file in (file_of(data), wal_of(file_of(data))))
    (data / "clean-stop").unlink()  # as after a crash
    damaged = bytearray(log)
    damaged[32 + (len(log) - 32) // 2 // 4120 * 4120 + 24 + 2_000] ^= 0xFF
    file_of(data).write_bytes(content)
    wal_of(file_of(data)).write_bytes(damaged)
    report = recover(data, NAME)
    assert any("frame of the WAL is damaged" in text for text in report.damage)
    assert report.file is not None
    assert wal_of(report.file).read_bytes() == damaged
    found = await lives(data)
    assert [body for body in found.values() if body.startswith("late")] == [f"late {n}" for n in range(6)]


async def test_a_room_may_fall_sick_again_after_its_recovery(data: Path, autojump_clock) -> None:
    for time in range(2):
        destroy(data, list(leaves(data, "messages"))[2])
        await sickened(data)
        assert recover(data, NAME).complete
        assert await lives(data) == full()
        assert len(list((data / "quarantine").glob("*.db"))) == time + 1


async def test_nothing_is_done_while_a_process_owns_the_directory(data: Path) -> None:
    ownership = Ownership.take(Disk(), DataDir.at(data))
    try:
        with pytest.raises(DataDirInUse, match="pid"):
            recover(data, NAME)
    finally:
        ownership.give_up()


async def test_a_room_that_nobody_knows_is_not_made(data: Path) -> None:
    with pytest.raises(NotRecovered, match="neither the catalog nor the replica knows"):
        recover(data, RoomName("Chat", "stranger"))
    assert not DataDir.at(data).room(RoomName("Chat", "stranger")).exists()


def damage(data: Path, chance: random.Random) -> None:
    """Any damage anywhere in the file."""
    content = bytearray(file_of(data).read_bytes())
    for _ in range(chance.choice([1, 5, 50])):
        at = chance.randrange(len(content))
        if chance.random() < 0.4:
            at -= at % PAGE - chance.randrange(40)
        length = chance.choice([1, 1, 8, 300, PAGE])
        content[at : at + length] = chance.choice([b"\0", b"\xff", bytes([chance.randrange(256)])]) * length
    if chance.random() < 0.2:
        del content[chance.randrange(len(content)) :]
    file_of(data).write_bytes(content)


@pytest.mark.parametrize("source", [None, "file", "replica"])
@pytest.mark.parametrize("group", range(5))
async def test_whatever_the_damage_the_room_is_whole_afterwards_or_said_to_be_lost(
    source: Any, group: int, data: Path, tmp_path: Path, autojump_clock
) -> None:
    for seed in range(group * 8, group * 8 + 8):
        copy = tmp_path / f"{seed}"
        shutil.copytree(data, copy)
        damage(copy, random.Random(seed))
        try:
            report = recover(copy, NAME, source=source)
        except NotRecovered:
            assert source == "file"
            continue
        assert rows_of(file_of(copy), "PRAGMA integrity_check") == [("ok",)]
        if report.sound:
            continue
        if source is None:
            assert rows_of(file_of(copy), "SELECT count(*) FROM messages") >= [(400,)]
        if seed % 4 == 0 or (report.complete and source is None):
            messages = await lives(copy, whole=source != "file")
            if source is None and report.complete:
                assert messages == full()
        shutil.rmtree(copy)
