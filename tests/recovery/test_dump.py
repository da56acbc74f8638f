"""A dump is one moment of a room in one file, made while the room works; it overwrites nothing."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from actors import Disk, RoomName
from durable_rooms import Actor, RoomQuarantined, RoomUnfit, RuntimeClosed, dumping
from durable_rooms.dumping import dump_beside
from durable_rooms.testing import open_test_runtime
from tests.cli.running import command, service


class Ledger(Actor):
    """Two tables that always hold the same number of rows."""

    migrations = ["CREATE TABLE a (id INTEGER PRIMARY KEY, body TEXT)", "CREATE TABLE b (id INTEGER PRIMARY KEY)"]

    def add(self, rows: int = 1) -> int:
        for _ in range(rows):
            self.sql("INSERT INTO a (body) VALUES (?)", "x" * 100)
            self.sql("INSERT INTO b DEFAULT VALUES")
        return self.sql("SELECT count(*) FROM a").scalar()


def asked(path: Path, query: str) -> Any:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def only(path: Path, *names: str) -> bool:
    return sorted(file.name for file in path.iterdir()) == sorted(names)


async def test_a_dump_is_the_room_as_it_was_and_says_how_large_it_is(tmp_path: Path, autojump_clock) -> None:
    out = tmp_path / "out"
    out.mkdir()
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        room = runtime.room(Ledger, "r")
        reply = await room.ask(Ledger.add, 500)
        done = await runtime.dump(room, out / "r.db")
        await room.add()
        assert (done.room, done.seq, done.epoch, done.rows) == ("Ledger/r", reply.seq, 1, {"a": 500, "b": 500})
        assert done.bytes == (out / "r.db").stat().st_size
    assert only(out, "r.db")
    assert asked(out / "r.db", "PRAGMA integrity_check") == [("ok",)]
    assert asked(out / "r.db", "SELECT actor, id FROM _room") == [("Ledger", "r")]


async def test_a_room_that_is_not_in_memory_is_dumped_too(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        await runtime.room(Ledger, "r").add(3)
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        assert (await runtime.dump(runtime.room(Ledger, "r"), tmp_path / "r.db")).rows == {"a": 3, "b": 3}


async def test_calls_go_on_while_a_room_is_dumped_and_the_dump_is_of_one_moment(tmp_path: Path) -> None:
    from durable_rooms import open_runtime

    async with open_runtime(tmp_path / "data", [Ledger]) as runtime:
        room = runtime.room(Ledger, "r")
        await room.add(5_000)
        async with trio.open_nursery() as nursery:

            async def go_on() -> None:
                while True:
                    await room.add()

            nursery.start_soon(go_on)
            for n in range(5):
                before = await room.add()
                done = await runtime.dump(room, tmp_path / f"{n}.db")
                assert done.rows["a"] == done.rows["b"] >= before
            nursery.cancel_scope.cancel()


async def test_a_dump_overwrites_nothing(tmp_path: Path, autojump_clock) -> None:
    (tmp_path / "r.db").write_bytes(b"precious")
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        room = runtime.room(Ledger, "r")
        await room.add()
        with pytest.raises(FileExistsError, match="overwrites nothing"):
            await runtime.dump(room, tmp_path / "r.db")
    assert (tmp_path / "r.db").read_bytes() == b"precious"


async def test_a_room_that_was_never_called_is_not_made_by_a_dump(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        with pytest.raises(RoomUnfit, match="never called"):
            await runtime.dump(runtime.room(Ledger, "r"), tmp_path / "r.db")
        assert runtime.list_rooms() == []
        room = runtime.room(Ledger, "r")
    with pytest.raises(RuntimeClosed):
        await runtime.dump(room, tmp_path / "r.db")
    assert only(tmp_path, "data")


async def test_a_sick_room_is_not_dumped_and_leaves_no_file(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        room = runtime.room(Ledger, "r")
        await room.add()
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        runtime.directory.room(RoomName("Ledger", "r")).write_bytes(b"")
        with pytest.raises(RoomQuarantined):
            await runtime.dump(runtime.room(Ledger, "r"), tmp_path / "r.db")
    assert only(tmp_path, "data")


class NoSpace(Disk):
    def sync_data(self, fd: int) -> None:
        raise OSError(28, "No space left on device")


async def test_a_dump_that_cannot_be_made_durable_leaves_no_file(tmp_path: Path, autojump_clock, monkeypatch) -> None:
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        room = runtime.room(Ledger, "r")
        await room.add()
        monkeypatch.setattr(Disk, "sync_data", NoSpace.sync_data)
        with pytest.raises(OSError, match="No space"):
            await runtime.dump(room, tmp_path / "r.db")
        monkeypatch.undo()
    assert only(tmp_path, "data")


async def test_of_dumps_to_one_place_at_once_one_is_made_and_the_others_find_it(tmp_path: Path, autojump_clock) -> None:
    outcomes: list[str] = []

    async def dump() -> None:
        try:
            outcomes.append((await runtime.dump(room, tmp_path / "r.db")).room)
        except FileExistsError:
            outcomes.append("found")

    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        room = runtime.room(Ledger, "r")
        await room.add()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(dump)
    assert sorted(outcomes) == ["Ledger/r", "found", "found", "found"]
    assert only(tmp_path, "data", "r.db")


async def test_a_dump_that_is_cancelled_leaves_no_file(tmp_path: Path, autojump_clock, monkeypatch) -> None:
    copy = dumping._copy_open

    def copy_and_cancel(*place: Any) -> None:
        copy(*place)
        whoever_asks.cancel()

    monkeypatch.setattr(dumping, "_copy_open", copy_and_cancel)
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        room = runtime.room(Ledger, "r")
        await room.add()
        with trio.CancelScope() as whoever_asks:
            await runtime.dump(room, tmp_path / "r.db")
        assert whoever_asks.cancelled_caught
        assert await room.add() == 2
    assert only(tmp_path, "data")


async def test_a_file_of_another_room_is_not_passed_off_as_this_one(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Ledger, path=tmp_path / "data") as runtime:
        await runtime.room(Ledger, "r").add()
    path = runtime.directory.room(RoomName("Ledger", "r"))
    with pytest.raises(RoomUnfit):
        dump_beside(path, RoomName("Ledger", "other"), tmp_path / "r.db")
    assert only(tmp_path, "data")


def test_the_command_dumps_a_room_at_rest_and_leaves_its_folder_as_it_was(tmp_path: Path) -> None:
    async def make() -> None:
        from durable_rooms import open_runtime

        async with open_runtime(tmp_path / "data", [Ledger]) as runtime:
            await runtime.room(Ledger, "r").add(7)

    trio.run(make)
    before = sorted(tmp_path.glob("data/rooms/*/*"))
    done = json.loads(command("dump", tmp_path / "data", "Ledger/r", tmp_path / "r.db", "--json").stdout)
    assert (done["room"], done["rows"]) == ("Ledger/r", {"a": 7, "b": 7})
    assert sorted(tmp_path.glob("data/rooms/*/*")) == before
    assert "overwrites nothing" in command("dump", tmp_path / "data", "Ledger/r", tmp_path / "r.db", code=2).stderr
    assert "never called" in command("dump", tmp_path / "data", "Ledger/other", tmp_path / "o.db", code=1).stderr
    assert "names no room" in command("dump", tmp_path / "data", "Ledger", tmp_path / "o.db", code=2).stderr
    assert "14 rows in 2 tables" in command("dump", tmp_path / "data", "Ledger/r", tmp_path / "2.db").stdout


def test_the_command_dumps_beside_a_running_process_and_recover_is_refused_with_its_pid(tmp_path: Path) -> None:
    with service(tmp_path / "data") as process:
        rooms = command("rooms", tmp_path / "data", "--json").stdout.splitlines()
        room = json.loads(rooms[0])
        name = f"{room['actor']}/{room['id']}"
        done = json.loads(command("dump", tmp_path / "data", name, tmp_path / "r.db", "--json").stdout)
        assert done["seq"] > 0
        assert asked(tmp_path / "r.db", "PRAGMA integrity_check") == [("ok",)]
        assert str(process.pid) in command("recover", tmp_path / "data", name, code=1).stderr


def test_recover_by_command_tells_what_it_did(tmp_path: Path) -> None:
    async def make() -> Path:
        from durable_rooms import open_runtime

        async with open_runtime(tmp_path / "data", [Ledger]) as runtime:
            await runtime.room(Ledger, "r").add(400)
            await runtime.room(Ledger, "s").add(1)
            return runtime.directory.room(RoomName("Ledger", "r"))

    path = trio.run(make)
    assert "is sound" in command("recover", tmp_path / "data", "Ledger/r").stdout
    path.write_bytes(b"\xa5" * 4096 + path.read_bytes()[4096:])
    told = json.loads(command("recover", tmp_path / "data", "Ledger/r", "--json").stdout)
    assert (told["recovered"], told["complete"], told["rows"], told["sources"]) == (True, True, 800, ["file"])
    path.write_bytes(b"")
    assert "was not recovered" in command("recover", tmp_path / "data", "Ledger/r", code=1).stderr
    assert "names no room" in command("recover", tmp_path / "data", "Ledger", code=2).stderr
    assert "recover" in command("recover", tmp_path / "nothing", "Ledger/r", code=2).stderr
    assert "SICK" in command("rooms", tmp_path / "data").stdout
