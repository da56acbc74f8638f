"""Damaged room files: moved to quarantine byte for byte, never made again in silence, refused until recovered."""

import json
import logging
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from actors import Disk, RoomName
from durable_rooms import RoomQuarantined, RoomUnfit, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_room, outcome, path_of, together

Harm = Callable[[Path, Path], None]


def wal_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def overwritten(file: Path, other: Path) -> None:
    file.write_bytes(b"\xff" * file.stat().st_size)


def header_torn(file: Path, other: Path) -> None:
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])


def cut_in_the_middle(file: Path, other: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 7])


def emptied(file: Path, other: Path) -> None:
    file.write_bytes(b"")


def another_rooms(file: Path, other: Path) -> None:
    shutil.copy(other, file)


def foreign(file: Path, other: Path) -> None:
    file.unlink()
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE precious (x)").fetchall()
    connection.close()


def flipped_in_the_schema(file: Path, other: Path) -> None:
    content = bytearray(file.read_bytes())
    at = content.index(b"CREATE TABLE messages")
    content[at : at + 6] = b"\x00\xff\x00\xff\x00\xff"
    file.write_bytes(content)


def name_in_no_utf8(file: Path, other: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE _room SET id = CAST(x'ff' AS TEXT)").fetchall()
    connection.close()


def without_epoch(file: Path, other: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute("DELETE FROM _timeline").fetchall()
    connection.close()


HARMS = [
    name_in_no_utf8,
    without_epoch,
    overwritten,
    header_torn,
    cut_in_the_middle,
    emptied,
    another_rooms,
    foreign,
    flipped_in_the_schema,
]


class FullTextRoom(ChatRoom):
    migrations = [
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE VIRTUAL TABLE words USING fts5 (body, content = 'notes', content_rowid = 'id')",
    ]

    def break_index(self) -> None:
        self.sql("INSERT INTO notes VALUES (1, 'one')")
        self.sql("INSERT INTO words (words, rowid, body) VALUES ('delete', 1, 'never indexed')")
        self.sql("INSERT INTO words (words) VALUES ('integrity-check')")

    def notes(self) -> list[str]:
        return self.sql("SELECT body FROM notes").scalars()


@pytest.fixture
async def path(tmp_path: Path, autojump_clock) -> Path:
    """A data directory with two rooms, cleanly left."""
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for name in "ab":
            await runtime.room(ChatRoom, name).post(f"in {name}")
    return tmp_path


def in_quarantine(path: Path) -> list[Path]:
    return sorted((path / "quarantine").glob("*.db"))


async def refused(call: Callable[[], Any]) -> RoomQuarantined:
    with pytest.raises(RoomQuarantined) as caught:
        await call()
    return caught.value


@pytest.mark.parametrize("with_wal", [False, True], ids=["no WAL", "with its WAL"])
@pytest.mark.parametrize("harm", HARMS)
async def test_f13_f14_a_damaged_file_goes_to_quarantine_byte_for_byte_and_harms_no_other(
    harm: Harm, with_wal: bool, path: Path, autojump_clock
) -> None:
    """Instead of `RoomCorrupt` the error is RoomQuarantined."""
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a, b = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "b")
        file = path_of(runtime, a)
        harm(file, path_of(runtime, b))
        if with_wal:
            wal_of(file).write_bytes(b"a WAL as it was found" * 50)
        before = file.read_bytes()
        error = await refused(lambda: a.post("no"))
        (moved,) = in_quarantine(path)
        assert moved.read_bytes() == before
        assert wal_of(moved).exists() is with_wal
        if with_wal:
            assert wal_of(moved).read_bytes() == b"a WAL as it was found" * 50
        assert not file.exists()
        assert not wal_of(file).exists()
        assert error.ran == "no"
        assert not error.retryable
        assert error.room == "ChatRoom/a"
        for words in (str(moved), "Nothing ran and nothing was written", f"durable-rooms recover {path} ChatRoom/a"):
            assert words in str(error)
        assert await b.bodies() == ["in b"]
        assert runtime.status().rooms_broken == 0
        assert runtime.describe(a).sick is not None


@pytest.mark.parametrize("harm", HARMS)
async def test_a_sick_room_stays_refused_after_a_restart_and_is_never_made_again(harm: Harm, path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a = runtime.room(ChatRoom, "a")
        harm(path_of(runtime, a), path_of(runtime, runtime.room(ChatRoom, "b")))
        first = await refused(a.bodies)
    (path / "clean-stop").unlink()
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a = runtime.room(ChatRoom, "a")
        for call in (lambda: a.post("no"), a.bodies, a.ping):
            again = await refused(call)
            assert str(again) == str(first)
        assert not path_of(runtime, a).exists()
        assert [name.id for name, _, _ in runtime.positions()] == ["b"]
    assert len(in_quarantine(path)) == 1


async def test_the_note_in_quarantine_says_which_room_it_was_and_what_was_found(path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a = runtime.room(ChatRoom, "a")
        path_of(runtime, a).write_bytes(b"")
        await refused(a.bodies)
        note = json.loads(in_quarantine(path)[0].with_suffix(".json").read_text())
        assert (note["actor"], note["id"], note["reason"]) == ("ChatRoom", "a", "the file is empty")


class Interrupted(Disk):
    """A process that dies as it moves the database."""

    def rename(self, old: Path, new: Path) -> None:
        if new.parent.name == "quarantine" and new.suffix == ".db":
            raise OSError("died here")
        super().rename(old, new)


async def test_the_catalog_calls_a_room_sick_before_its_file_moves_and_the_next_call_ends_the_move(
    path: Path, autojump_clock
) -> None:
    async with open_test_runtime(ChatRoom, path=path, disk=Interrupted()) as runtime:
        a = runtime.room(ChatRoom, "a")
        file = path_of(runtime, a)
        file.write_bytes(b"damage")
        assert "still in its place" in str(await refused(a.bodies))
        connection = apsw.Connection(str(path / "catalog.db"), flags=apsw.SQLITE_OPEN_READONLY)
        ((sick,),) = connection.execute("SELECT sick FROM rooms WHERE id = 'a'").fetchall()
        connection.close()
        assert sick is not None
        assert file.read_bytes() == b"damage"
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        await refused(runtime.room(ChatRoom, "a").bodies)
    assert [file.read_bytes() for file in in_quarantine(path)] == [b"damage"]


async def test_a_file_that_somebody_put_in_the_place_of_a_sick_room_is_left_to_recover(path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a = runtime.room(ChatRoom, "a")
        file = path_of(runtime, a)
        good = file.read_bytes()
        file.write_bytes(b"damage")
        await refused(a.bodies)
        file.write_bytes(good)
        await refused(a.bodies)
        assert file.read_bytes() == good


async def test_an_unreadable_file_that_a_rebuilt_catalog_has_met_is_its_rooms_once_that_is_called(
    path: Path, autojump_clock
) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        file = path_of(runtime, runtime.room(ChatRoom, "a"))
    file.write_bytes(b"damage")
    for lost in path.glob("catalog.db*"):
        lost.unlink()
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a = runtime.room(ChatRoom, "a")
        await refused(a.bodies)
        assert [one.read_bytes() for one in in_quarantine(path)] == [b"damage"]
        await runtime.room(ChatRoom, "b").bodies()
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        assert [entry.name for entry in runtime.catalog.entries()] == [RoomName("ChatRoom", "a"), RoomName("ChatRoom", "b")]
        await refused(runtime.room(ChatRoom, "a").bodies)


class MigratedRoom(ChatRoom):
    migrations = [*ChatRoom.migrations, "CREATE INDEX by_body ON messages (body, id)"]


MigratedRoom.__name__ = "ChatRoom"


async def test_damage_that_a_migration_meets_is_damage_and_no_failed_migration(path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        file = path_of(runtime, runtime.room(ChatRoom, "a"))
    content = bytearray(file.read_bytes())
    (at,) = [at for at in range(0, len(content), 4096) if content[at] == 0x0D and b"in a" in content[at : at + 4096]]
    content[at] = 0xA5
    file.write_bytes(content)
    async with open_test_runtime(MigratedRoom, path=path) as runtime:
        await refused(runtime.room(MigratedRoom, "a").bodies)
        assert await runtime.room(MigratedRoom, "b").bodies() == ["in b"]


# -- found while the room runs ----------------------------------------------------------------------------------------
class LargeRoom(ChatRoom):
    """More rows than SQLite keeps in memory, so that it reads the file again."""

    def fill(self, rows: int) -> None:
        self.sql.many("INSERT INTO messages (body) VALUES (?)", [(f"{n} " + "x" * 1_000,) for n in range(rows)])

    def count(self) -> int:
        return self.sql("SELECT count(body) FROM messages WHERE body LIKE '%x'").scalar()

    def post_and_look(self, body: str) -> int:
        self.post(body)
        return self.count()

    def look_and_pass_over(self, body: str) -> str:
        self.post(body)
        with suppress(apsw.Error):
            self.count()
        return "nothing happened"

    async def sleep_and_look(self, seconds: float) -> int:
        await trio.sleep(seconds)
        return self.count()


def zero_leaves(file: Path) -> None:
    """Overwrite some leaves of the table in the middle of the file, in place: the room has it open."""
    content = file.read_bytes()
    rows = [at for at in range(0, len(content), 4096) if content[at] == 0x0D and b"x" * 500 in content[at : at + 4096]]
    with file.open("r+b") as opened:
        for at in rows[len(rows) // 3 : len(rows) // 2]:
            opened.seek(at)
            opened.write(b"\xa5" * 4096)


async def damaged_room(runtime: Any) -> Any:
    """A room that is open, whose file is then damaged where it will be read."""
    room = runtime.room(LargeRoom, "a")
    await room.fill(6_000)
    (activation,) = [runtime.seated(RoomName("LargeRoom", "a"))]
    apsw_path = path_of(runtime, room)
    checkpointing = apsw.Connection(str(apsw_path))
    checkpointing.pragma("wal_checkpoint", "TRUNCATE")
    checkpointing.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    checkpointing.close()
    activation.rest()
    zero_leaves(apsw_path)
    return room


async def test_f13_damage_that_a_statement_meets_voids_its_turn_and_puts_the_file_into_quarantine(
    tmp_path: Path, autojump_clock
) -> None:
    async with open_test_runtime(LargeRoom, path=tmp_path) as runtime:
        room, other = await damaged_room(runtime), runtime.room(LargeRoom, "b")
        file = path_of(runtime, room)
        before = file.read_bytes()
        found = await together(lambda: room.post("a neighbour"), lambda: room.post_and_look("no"))
        assert [type(error) for error in found] == [RoomQuarantined] * 2
        assert found[1].ran == "rolled back"
        assert "Nothing of this turn was written" in str(found[1])
        assert (await refused(lambda: room.post("later"))).ran == "no"
        (moved,) = in_quarantine(tmp_path)
        assert moved.read_bytes() == before
        assert b"a neighbour" not in wal_of(moved).read_bytes()
        assert await other.post("fine") == 1
        assert runtime.status().rooms_broken == 0


@pytest.mark.parametrize("call", ["look_and_pass_over", "sleep_and_look"])
async def test_f13_damage_is_found_out_though_a_handler_passes_over_it_or_sleeps(
    call: str, tmp_path: Path, autojump_clock
) -> None:
    async with open_test_runtime(LargeRoom, path=tmp_path) as runtime:
        room = await damaged_room(runtime)
        (error,) = await together(
            lambda: room.look_and_pass_over("no") if call == "look_and_pass_over" else room.sleep_and_look(1)
        )
        assert (type(error), error.ran) == (RoomQuarantined, "rolled back")
        await refused(room.ping)


async def test_what_was_committed_before_the_damage_was_met_is_acknowledged_and_lies_in_quarantine(
    tmp_path: Path, autojump_clock
) -> None:
    async with open_test_runtime(LargeRoom, path=tmp_path) as runtime:
        room = await damaged_room(runtime)
        await room.post("acknowledged")
        await refused(room.count)
        await refused(room.ping)
        (moved,) = in_quarantine(tmp_path)
        assert b"acknowledged" in wal_of(moved).read_bytes()


async def test_a_follower_of_a_sick_room_gets_its_reason_and_follows_the_others(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(LargeRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room, other = await damaged_room(runtime), runtime.room(LargeRoom, "b")
        await refused(room.count)
        await other.post("fine")
        await trio.sleep(120)
        connection = apsw.Connection(str(tmp_path / "replica.db"), flags=apsw.SQLITE_OPEN_READONLY)
        assert connection.execute("SELECT body FROM LargeRoom_messages WHERE room_id = 'b'").fetchall() == [("fine",)]
        connection.close()
        assert runtime.status().replicas[0].state == "live"


async def test_a_full_text_index_at_odds_with_its_table_is_no_damage_of_the_file(autojump_clock) -> None:
    async with one_room(FullTextRoom) as room:
        with pytest.raises(apsw.CorruptError):
            await room.break_index()
        assert await room.notes() == []


async def test_a_commit_that_finds_the_file_damaged_leaves_its_outcome_unknown_and_is_no_failed_sync(
    tmp_path: Path, autojump_clock
) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("before")
        activation = runtime.seated(RoomName("ChatRoom", "a"))
        activation.commit_unknown(apsw.CorruptError("found by COMMIT"))
        assert "its file is damaged" in str(activation.gate.broken)
        await refused(room.ping)
        assert len(in_quarantine(tmp_path)) == 1
        assert runtime.status().rooms_broken == 0


@pytest.mark.parametrize("seed", range(40))
async def test_f13_whatever_the_damage_only_its_room_feels_it(seed: int, path: Path, autojump_clock) -> None:
    chance = random.Random(seed)
    async with open_test_runtime(ChatRoom, path=path, replicas=[SQLiteReplica()]) as runtime:
        a, b = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "b")
        file = path_of(runtime, a)
        content = bytearray(file.read_bytes())
        for _ in range(chance.choice([1, 3, 30, 300])):
            at = chance.randrange(len(content))
            used = [place for place in range(at, min(at + 4096, len(content))) if content[place]]
            content[used[0] if used else at] = chance.randrange(256)
        file.write_bytes(content)
        for call in (a.bodies, lambda: a.post("x"), a.bodies, a.ping):
            await outcome(call)
        await b.post("fine")
        assert await b.bodies() == ["in b", "fine"]
        await trio.sleep(100)
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        await outcome(runtime.room(ChatRoom, "a").bodies)
        assert await runtime.room(ChatRoom, "b").bodies() == ["in b", "fine"]


# -- not damage ---------------------------------------------------------------------------------------------------------
class MayOnlyRead(Disk):
    """Opens as SQLite does where this user may not write."""

    def connect(self, path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
        return super().connect(path, create=create, read_only=read_only or path.parent.parent.name == "rooms")


async def test_a_file_that_may_only_be_read_is_refused_with_the_remedy_and_left_in_its_place(path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path, disk=MayOnlyRead()) as runtime:
        room = runtime.room(ChatRoom, "a")
        with pytest.raises(RoomUnfit, match=r"only read it.*chmod") as caught:
            await room.post("no")
        assert type(caught.value) is RoomUnfit
        assert path_of(runtime, room).exists()
        assert not in_quarantine(path)
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        assert await runtime.room(ChatRoom, "a").bodies() == ["in a"]


async def test_f15_a_damaged_end_of_the_wal_opens_at_the_last_valid_commit_and_the_difference_is_reported(
    path: Path, autojump_clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The catalog knows where the room stood when it left memory; what a crash left in the WAL beyond that nobody tells."""
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        room = runtime.room(ChatRoom, "a")
        for body in ("kept", "lost 1", "lost 2"):
            await room.post(body)
        file = path_of(runtime, room)
        kept, wal = file.read_bytes(), wal_of(file).read_bytes()
        shutil.copy(file, path / "copy")
    position = 0
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        position = runtime.describe(runtime.room(ChatRoom, "a")).seq
    frames = [24 + n * (4096 + 24) for n in range((len(wal) - 32) // (4096 + 24))]
    at = wal.index(b"lost 1")
    damaged = bytearray(wal)
    damaged[max(32 + (at - 32) // 4120 * 4120 + 24, frames[0]) + 100] ^= 0xFF
    file.write_bytes(kept)
    wal_of(file).write_bytes(damaged)
    with caplog.at_level(logging.ERROR):
        async with open_test_runtime(ChatRoom, path=path) as runtime:
            room = runtime.room(ChatRoom, "a")
            assert await room.bodies() == ["in a", "kept"]
            (told,) = [record.getMessage() for record in caplog.records if "ends at epoch" in record.getMessage()]
            assert told.startswith("ChatRoom/a")
            assert f"seq {position}" in told
            assert f"seq {position - 2}" in told
            await room.post("goes on")
            assert runtime.seated(RoomName("ChatRoom", "a")).position.epoch == 2


async def test_a_first_sector_that_a_cut_checkpoint_left_as_garbage_is_read_from_the_wal(path: Path, autojump_clock) -> None:
    """A disk writes a sector whole or leaves garbage; the page is in the WAL, for that is what a checkpoint copies from."""
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        room = runtime.room(ChatRoom, "a")
        for number in range(100):  # the database grows, and its first page says how large it is
            await room.post(f"{number} {'x' * 500}")
        file = path_of(runtime, room)
        database, wal = file.read_bytes(), wal_of(file).read_bytes()
        bodies = await room.bodies()
    file.write_bytes(b"\x9c" * 512 + database[512:])
    wal_of(file).write_bytes(wal)
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        assert await runtime.room(ChatRoom, "a").bodies() == bodies
        assert not in_quarantine(path)
