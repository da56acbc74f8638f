"""F49: data directories of the first version, one closed cleanly and one killed under load, are ours like any other; what a newer
version wrote is refused with both formats named.

The archives and expected.json were written once, by that version (`write.py`). Where the case says "migrates in txn", design.md
does so room by room, at the room's next activation; the catalog in one transaction as it is opened.
"""

import json
import sqlite3
import tarfile
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import apsw
import pytest
import trio

import actors.directory.catalog
import actors.tables.interior
import replication.file
from actors.names import RoomName, room_file
from durable_rooms import DiskUnfit, RoomUnfit, Runtime, SchemaTooNew, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from durable_rooms.verify import verify
from tests.cli.running import command
from tests.demo.hand_made import files
from tests.upgrade import write

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
ARCHIVES_BYTES_MAX = 200 * 1024  # every clone carries them


class Channel(write.Channel):
    migrations: ClassVar = [
        *write.Channel.migrations,
        "ALTER TABLE messages ADD COLUMN edited_at REAL; CREATE INDEX messages_by_time ON messages (sent_at);"
        "CREATE TABLE topics (id INTEGER PRIMARY KEY, topic TEXT NOT NULL); INSERT INTO topics VALUES (1, 'none yet')",
    ]


class Notes(write.Notes):
    migrations: ClassVar = [*write.Notes.migrations, "ALTER TABLE notes ADD COLUMN size AS (length(value)) VIRTUAL"]


CLASSES = {"Channel": Channel, "Notes": Notes}
ADDED = {"edited_at", "size"}


def extracted(name: str, tmp_path: Path) -> Path:
    data = tmp_path / name
    with tarfile.open(HERE / f"{name}.tar.gz") as archive:
        archive.extractall(data, filter="data")
    return data


@pytest.fixture(params=["clean", "killed"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory as the first version left it; its name says how."""
    return extracted(request.param, tmp_path)


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def count(data: Path) -> int:
    """Of the catalog's rooms; one born at the kill may be there without anybody having been told. On a copy: SQLite tidies up."""
    with TemporaryDirectory() as temporary:
        for path in data.glob("catalog.db*"):
            copy(path, temporary)
        return ask(Path(temporary, "catalog.db"), "SELECT count(*) FROM rooms")[0][0]


def kept(data: Path) -> dict[str, bytes]:
    """But for -shm: working memory of whoever has the file open, of which every reader writes its own marks."""
    return {name: content for name, content in files(data).items() if not name.endswith("-shm")}


def told(row: dict[str, Any]) -> str:
    """A row as the old version told it, types included; a column that a later migration added with its default is left out."""
    there = {name: write.as_json(value) for name, value in row.items() if name not in ADDED}
    return json.dumps(({"pinned": 0} | there) if "sent_at" in row else there, sort_keys=True)


async def check(runtime: Runtime, expected: dict[str, Any]) -> None:
    """All that was acknowledged is there, what was deleted is not, and no more besides than the calls under way at a kill."""
    more = 0
    for room, tables in expected.items():
        actor, id = room.split("/", 1)
        for table, said in tables.items():
            rows = [told(row) for row in await runtime.room(CLASSES[actor], id).rows(table)]
            there, gone = set(map(told, said["there"])), set(map(told, said["gone"]))
            assert there <= set(rows), f"{room} lost rows of {table}"
            assert not gone & set(rows), f"{room} has deleted rows of {table}"
            assert len(rows) == len(set(rows))
            more += sum('"author": "system"' not in row for row in set(rows) - there)  # those come with the third migration
    assert more <= write.CALLERS


# -- up -----------------------------------------------------------------------------------------------------------------
async def test_f49_what_the_first_version_acknowledged_is_there_works_and_is_replicated(old: Path, autojump_clock):
    expected, rooms = deepcopy(EXPECTED[old.name]), count(old)
    for stay in (1, 2):
        async with open_test_runtime(*CLASSES.values(), path=old, replicas=[SQLiteReplica()]) as runtime:
            await check(runtime, expected)
            row = await runtime.room(Channel, "general").post("new", f"in stay {stay} of the new version")
            assert row["edited_at"] is None
            await runtime.room(Channel, f"born in stay {stay}").post("new", "first")
            for room in expected:
                if room.startswith("Channel/"):
                    (topic,) = await runtime.room(Channel, room.split("/", 1)[1]).rows("topics")
                    assert topic == {"id": 1, "topic": "none yet"}
            await runtime.replicated(timeout=60)
            assert [room.sick for actor in CLASSES.values() for room in runtime.list_rooms(actor) if room.sick] == []
            expected["Channel/general"]["messages"]["there"].append(row)
        report = verify(old)
        assert report.equal
        assert report.rooms == rooms + stay
        assert ask(old / "replica.db", "SELECT count(*) FROM Channel_messages WHERE author = 'new'") == [(2 * stay,)]
    assert ask(old / "catalog.db", "SELECT DISTINCT actor, version FROM rooms ORDER BY 1") == [("Channel", 4), ("Notes", 2)]
    assert not list((old / "quarantine").glob("*"))


async def test_f49_rooms_nobody_calls_stay_at_their_version_and_the_replica_serves_both(tmp_path: Path, autojump_clock):
    data = extracted("killed", tmp_path)
    async with open_test_runtime(*CLASSES.values(), path=data, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(Channel, "general").post("new", "the only call")
        await runtime.replicated(timeout=60)
    assert verify(data).equal
    versions = dict(ask(data / "catalog.db", "SELECT id, version FROM rooms WHERE actor = 'Channel'"))
    assert versions["general"] == 4
    early = data / "rooms" / room_file(RoomName("Channel", "early"))
    assert ask(early, "SELECT max(version) FROM _migrations") == [(1,)]
    query = "SELECT room_id, pinned, edited_at FROM Channel_messages WHERE body IN ('the only call', 'in version 1') ORDER BY 1"
    assert ask(data / "replica.db", query) == [("early", 0, None), ("general", 0, None)]


async def test_f49_the_upgrade_alone_copies_no_room_into_the_replica(old: Path, autojump_clock):
    """It goes on from where the first version's replicator stood, in a replica that nobody signed."""
    rooms = count(old)
    async with open_test_runtime(write.Channel, write.Notes, path=old, replicas=[SQLiteReplica()]) as runtime:
        await runtime.replicated(timeout=60)
        assert runtime.status().replicas[0].resyncs == {}
        assert runtime.status().replicas[0].last_error is None
    report = verify(old)
    assert report.equal
    assert report.rooms == rooms
    assert not list(old.glob("replica.db.*-*"))


def test_f49_the_old_directory_may_be_looked_at_without_touching_it(old: Path):
    before = kept(old)
    rooms = count(old)
    listed = [json.loads(line) for line in command("rooms", old, "--json").stdout.splitlines()]
    assert {f"{room['actor']}/{room['id']}" for room in listed} >= set(EXPECTED[old.name])
    assert f"{rooms} rooms in 2 classes" in " ".join(command("status", old, code=None).stdout.split())
    died = old.name == "killed"
    report = json.loads(command("verify", old, "--json", code=int(died)).stdout)
    assert (report["rooms"], report["differing"], report["equal"]) == (rooms, 0, not died)
    assert bool(report["behind"]) == died
    changed = {name for name, _ in kept(old).items() ^ before.items()}
    assert not changed


def test_f49_the_kept_directories_are_what_they_are_said_to_be(tmp_path: Path):
    """Else the tests above would prove less than they say: a replica that is behind, rooms in WALs, a birth not proven."""
    assert sum(path.stat().st_size for path in HERE.glob("*.tar.gz")) < ARCHIVES_BYTES_MAX
    clean, killed = extracted("clean", tmp_path), extracted("killed", tmp_path)
    assert (clean / "clean-stop").exists()
    assert not list(clean.rglob("*-wal"))
    assert not (killed / "clean-stop").exists()
    assert sum(path.stat().st_size > 0 for path in (killed / "rooms").rglob("*-wal")) > 20
    for data in (clean, killed):
        assert ask(data / "catalog.db", "PRAGMA user_version") == [(0,)]
        assert "version" not in [column for _, column, *_ in ask(data / "catalog.db", "PRAGMA table_info(rooms)")]
        early = data / "rooms" / room_file(RoomName("Channel", "early"))
        assert ask(early, "SELECT count(*) FROM _migrations") == [(1,)]
    assert ask(killed / "catalog.db", "SELECT count(*) FROM rooms WHERE NOT proven")[0][0]


# -- down ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def data(tmp_path: Path) -> Path:
    return extracted("clean", tmp_path)


def renumber(path: Path, statement: str) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(statement).fetchall()


async def test_f49_a_newer_catalog_is_refused_with_both_formats_and_left_alone(data: Path, autojump_clock):
    newer = actors.directory.catalog.FORMAT + 1
    renumber(data / "catalog.db", f"PRAGMA user_version = {newer}")
    before = (data / "catalog.db").read_bytes()
    with pytest.raises(DiskUnfit, match=f"format {newer}.*newer version.*knows {newer - 1}.*run the newer version"):
        async with open_test_runtime(*CLASSES.values(), path=data):
            pass
    assert (data / "catalog.db").read_bytes() == before


async def test_f49_a_newer_room_is_refused_with_both_formats_and_the_others_live(data: Path, autojump_clock):
    newer = actors.tables.interior.FORMAT + 1
    path = data / "rooms" / room_file(RoomName("Channel", "general"))
    renumber(path, f"UPDATE _room SET format = {newer}")
    before = path.read_bytes()
    async with open_test_runtime(*CLASSES.values(), path=data, replicas=[SQLiteReplica()]) as runtime:
        with pytest.raises(RoomUnfit, match=f"format {newer}.*newer.*knows {newer - 1}.*[Rr]un the newer version") as caught:
            await runtime.room(Channel, "general").rows("messages")
        assert caught.value.ran == "no"
        assert await runtime.room(Notes, "general").rows("notes")
    assert path.read_bytes() == before


async def test_f49_a_newer_replica_is_refused_with_both_formats_and_rooms_do_not_notice(data: Path, autojump_clock):
    newer = replication.file.FORMAT + 1
    renumber(data / "replica.db", f"PRAGMA user_version = {newer}")
    before = (data / "replica.db").read_bytes()
    async with open_test_runtime(*CLASSES.values(), path=data, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(Channel, "general").post("new", "goes on")
        await trio.sleep(60)  # virtual; it looks again every 5 s
        status = runtime.status().replicas[0]
        assert status.state == "refused"
        assert f"format {newer}" in (status.last_error or "")
        assert f"this version has {newer - 1}" in (status.last_error or "")
    assert (data / "replica.db").read_bytes() == before


async def test_f49_a_room_migrated_by_the_newer_program_is_refused_by_the_older_one(data: Path, autojump_clock):
    async with open_test_runtime(*CLASSES.values(), path=data) as runtime:
        await runtime.room(Channel, "general").post("new", "migrated now")
    async with open_test_runtime(write.Channel, path=data) as runtime:
        with pytest.raises(SchemaTooNew, match=r"stands at migration 4 .*this program knows 3"):
            await runtime.room(write.Channel, "general").rows("messages")
        assert await runtime.room(write.Channel, "only born").rows("messages")
