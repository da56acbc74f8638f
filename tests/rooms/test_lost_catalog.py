"""A lost catalog is made again from the room files, and says the same."""

import json
import sqlite3

import apsw
import pytest

from actors import Disk
from actors.directory.catalog import FORMAT
from actors.names import DataDir, RoomName
from durable_rooms import DiskUnfit
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom


def lose_catalog(path):
    for file in path.glob("catalog.db*"):
        file.unlink()


async def made(path, ids=("a", "b")):
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        for id in ids:
            await runtime.room(ChatRoom, id).post(f"in {id}")
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        return runtime.list_rooms(ChatRoom)


async def test_a_lost_catalog_is_made_again_from_the_room_files(tmp_path, autojump_clock):
    before = await made(tmp_path)
    lose_catalog(tmp_path)
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        again = runtime.list_rooms(ChatRoom)
        assert [(room.id, room.seq, room.epoch, room.bytes, room.version) for room in again] == [
            (room.id, room.seq, room.epoch, room.bytes, room.version) for room in before
        ]
        assert runtime.status().rooms_open == 0
        assert not any(active for _, _, active in runtime.positions())
        assert await runtime.room(ChatRoom, "b").bodies() == ["in b"]


async def test_after_an_unclean_stop_every_room_of_a_lost_catalog_counts_as_active(tmp_path, autojump_clock):
    await made(tmp_path)
    lose_catalog(tmp_path)
    (tmp_path / "clean-stop").unlink()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert [active for _, _, active in runtime.positions()] == [True, True]
        assert await runtime.room(ChatRoom, "a").bodies() == ["in a"]


async def test_a_rebuild_that_was_cut_short_begins_again(tmp_path, autojump_clock):
    await made(tmp_path)
    lose_catalog(tmp_path)
    (tmp_path / "catalog.db.rebuilt").write_bytes(b"half a catalog")
    (tmp_path / "catalog.db.rebuilt-wal").write_bytes(b"and half a WAL")
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert [room.id for room in runtime.list_rooms(ChatRoom)] == ["a", "b"]
    assert not list(tmp_path.glob("*.rebuilt*"))


async def test_rule_10_the_wal_of_the_lost_catalog_is_not_replayed_into_the_new_one(tmp_path, autojump_clock):
    ids = [f"room-{number}" for number in range(300)]
    await made(tmp_path, ids)
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for id in ids[::40]:
            await runtime.room(ChatRoom, id).post("again")
        stale = (tmp_path / "catalog.db-wal").read_bytes()
    (tmp_path / "catalog.db").unlink()
    (tmp_path / "catalog.db-wal").write_bytes(stale)
    (tmp_path / "clean-stop").unlink()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert runtime.catalog._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert sorted(name.id for name, _, _ in runtime.positions()) == sorted(ids)


async def test_an_empty_file_in_the_catalogs_place_is_a_lost_catalog(tmp_path, autojump_clock):
    await made(tmp_path)
    lose_catalog(tmp_path)
    (tmp_path / "catalog.db").touch()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert [room.id for room in runtime.list_rooms(ChatRoom)] == ["a", "b"]


async def test_a_rebuild_leaves_the_room_files_as_they_were(tmp_path, autojump_clock):
    await made(tmp_path)
    lose_catalog(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("rooms/*/*")}
    async with open_test_runtime(ChatRoom, path=tmp_path):
        assert {path: path.read_bytes() for path in tmp_path.glob("rooms/*/*")} == before


class Refusing(Disk):
    """SQLite refuses to open one file, once, for a reason that says nothing of the file."""

    def __init__(self, path, error):
        self.path, self.error = path, error

    def connect(self, path, **options):
        if path == self.path and self.error is not None:
            error, self.error = self.error, None
            raise error
        return super().connect(path, **options)

    def has_descriptors(self):
        return False


@pytest.mark.parametrize("error", [apsw.CantOpenError("unable to open database file"), apsw.BusyError("database is locked")])
async def test_a_sound_room_that_cannot_be_read_during_a_rebuild_is_never_called_sick(tmp_path, autojump_clock, error):
    await made(tmp_path)
    lose_catalog(tmp_path)
    path = DataDir(tmp_path).room(RoomName("ChatRoom", "a"))
    with pytest.raises(DiskUnfit, match=path.name):
        async with open_test_runtime(ChatRoom, path=tmp_path, disk=Refusing(path, error)):
            pass
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert await runtime.room(ChatRoom, "a").bodies() == ["in a"]
    assert not (tmp_path / "quarantine").exists()


async def test_rooms_in_quarantine_stay_known_when_the_catalog_is_lost(tmp_path, autojump_clock):
    await made(tmp_path, ["a"])
    lose_catalog(tmp_path)
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "abc.1.db").write_bytes(b"damaged")
    (tmp_path / "quarantine" / "abc.1.json").write_text(json.dumps({"actor": "ChatRoom", "id": "ill", "reason": "flipped bits"}))
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert [(room.id, room.sick) for room in runtime.list_rooms(ChatRoom)] == [("a", None), ("ill", "flipped bits")]


async def test_a_catalog_of_the_first_format_gets_the_new_columns(tmp_path, autojump_clock):
    await made(tmp_path)
    with sqlite3.connect(tmp_path / "catalog.db") as catalog:
        catalog.execute("DROP INDEX rooms_to_wake")
        catalog.execute("DROP INDEX rooms_sick")
        catalog.execute("DROP TABLE tombstones")
        for column in ("version", "created", "last_active", "bytes", "sick", "wake_at"):
            catalog.execute(f"ALTER TABLE rooms DROP COLUMN {column}")
        catalog.execute("DROP TABLE classes")
        catalog.execute("PRAGMA user_version = 0")
    catalog.close()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert [(room.id, room.created, room.bytes) for room in runtime.list_rooms(ChatRoom)] == [("a", 0.0, 0), ("b", 0.0, 0)]
        await runtime.room(ChatRoom, "a").post("more")
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert runtime.list_rooms(ChatRoom)[0].bytes > 0


async def test_f49_a_catalog_of_a_newer_format_is_refused_with_both_formats(tmp_path, autojump_clock):
    await made(tmp_path)
    with sqlite3.connect(tmp_path / "catalog.db") as catalog:
        catalog.execute(f"PRAGMA user_version = {FORMAT + 1}")
    catalog.close()
    with pytest.raises(DiskUnfit, match=f"format {FORMAT + 1}.*knows {FORMAT}"):
        async with open_test_runtime(ChatRoom, path=tmp_path):
            pass
