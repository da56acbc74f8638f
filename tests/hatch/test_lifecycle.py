"""`durable-rooms delete` and `load`: beside a process through its socket, without one in the directory's files."""

import errno
import json
import os
import sqlite3

import pytest

from actors import Disk, RoomName
from durable_rooms import SQLiteReplica
from durable_rooms.hatch.wire import Delete, Load, Recopy, request_bytes, request_of
from durable_rooms.resting import delete_at_rest
from durable_rooms.sync import open_runtime
from durable_rooms.verify import verify
from tests.cli.running import command
from tests.doors.chat import ChatRoom

ROOM = "ChatRoom/general"


@pytest.fixture
def runtime(tmp_path):
    with open_runtime(tmp_path / "data", [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.status()  # the loop has come round: the socket listens
        yield runtime


def test_a_room_is_deleted_through_the_running_process(runtime, tmp_path):
    room = runtime.room(ChatRoom, "general")
    room.post("old")
    told = json.loads(command("delete", tmp_path / "data", ROOM, "--yes", "--json").stdout)
    assert told == {"room": ROOM, "done": True, "through": "process"}
    assert room.bodies() == []
    assert "no room" in command("delete", tmp_path / "data", "ChatRoom/never", "--yes").stdout


def test_nothing_is_deleted_without_a_yes(tmp_path):
    with open_runtime(tmp_path / "data", [ChatRoom]) as runtime:
        runtime.room(ChatRoom, "general").post("kept")
    done = command("delete", tmp_path / "data", ROOM, code=2)  # its input is not a terminal, and empty
    assert "--yes" in done.stderr
    with open_runtime(tmp_path / "data", [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").bodies() == ["kept"]


def test_a_room_is_deleted_and_loaded_again_where_no_process_runs(tmp_path):
    data, dump = tmp_path / "data", tmp_path / "dump.db"
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.room(ChatRoom, "general").post("hello")
        runtime.dump(runtime.room(ChatRoom, "general"), dump)
        runtime.room(ChatRoom, "general").post("later")
        runtime.room(ChatRoom, "other").post("stays")
        runtime.replicated()
    assert "already" in command("load", data, ROOM, dump, code=1).stderr
    told = json.loads(command("delete", data, ROOM, "--yes", "--json").stdout)
    assert told == {"room": ROOM, "done": True, "through": "directory"}
    assert (data / "clean-stop").exists()
    report = verify(data)
    assert [difference.note for difference in report.differences] == ["the replica has 2 rows of a deleted room"]
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.replicated()
        assert [room.id for room in runtime.list_rooms()] == ["other"]
        assert [room.id for room in runtime.list_rooms(deleted=True)] == ["general"]
    assert verify(data).equal
    assert "loaded" in command("load", data, ROOM, dump).stdout
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        assert runtime.room(ChatRoom, "general").bodies() == ["hello"]
        runtime.replicated()
    assert verify(data).equal
    assert not list((data / "rooms").rglob("*.loading*"))


def test_a_catalog_whose_sync_failed_is_put_right_by_the_next_start(tmp_path, monkeypatch):
    """The kernel tells an error once and calls the pages clean: what SQLite would checkpoint then may be on no disk."""
    data = tmp_path / "data"
    with open_runtime(data, [ChatRoom]) as runtime:
        runtime.room(ChatRoom, "general").post("hello")
    seen = []

    def sync_data(disk, fd):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("catalog.db-wal"):
            seen.append(fd)
            if len(seen) == 2:  # the first one was the opening's
                raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(Disk, "sync_data", sync_data)
    with pytest.raises(OSError, match="injected"):
        delete_at_rest(data, RoomName("ChatRoom", "general"))
    monkeypatch.undo()
    assert not (data / "clean-stop").exists()
    assert (data / "catalog.db-wal").stat().st_size, "nothing was checkpointed"
    with open_runtime(data, [ChatRoom]) as runtime:
        assert runtime.list_rooms() == []
        assert runtime.room(ChatRoom, "general").bodies() == []


def test_a_dump_is_loaded_through_the_running_process(runtime, tmp_path):
    general, dump = runtime.room(ChatRoom, "general"), tmp_path / "dump.db"
    general.post("hello")
    runtime.dump(general, dump)
    general.post("later")
    assert "RoomExists" in command("load", tmp_path / "data", ROOM, dump, code=1).stderr
    command("load", tmp_path / "data", ROOM, dump, "--replace")
    assert general.bodies() == ["hello"]
    command("load", tmp_path / "data", "ChatRoom/another", dump)
    assert runtime.room(ChatRoom, "another").bodies() == ["hello"]
    runtime.replicated()
    assert "no file" in command("load", tmp_path / "data", ROOM, tmp_path / "nowhere", code=2).stderr


@pytest.mark.parametrize("file", ["garbage", "newer"])
def test_what_is_no_room_of_the_class_is_not_loaded_where_no_process_runs(tmp_path, file):
    data, dump = tmp_path / "data", tmp_path / "dump.db"
    with open_runtime(data, [ChatRoom]) as runtime:
        runtime.room(ChatRoom, "general").post("hello")
        runtime.dump(runtime.room(ChatRoom, "general"), dump)
    if file == "garbage":
        dump.write_bytes(b"garbage")
    else:
        with sqlite3.connect(dump) as connection:
            connection.execute("INSERT INTO _migrations SELECT max(version) + 1, 'later', 0.0, 'x' FROM _migrations")
        connection.close()
    assert "Nothing was written" in command("load", data, ROOM, dump, "--replace", code=1).stderr
    assert not list((data / "rooms").rglob("*.loading*"))
    with open_runtime(data, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").bodies() == ["hello"]


def test_requests_arrive_as_they_were_sent():
    name = RoomName("ChatRoom", "a/b")
    for request in (Delete(name), Recopy(name), Load(name, "/tmp/ä.db", True)):
        assert request_of(request_bytes(request)[4:]) == request


def test_plain_code_evicts_aborts_and_lists(runtime):
    room = runtime.room(ChatRoom, "general")
    room.post("hello")
    runtime.replicated()  # or a drain that had begun may open it again
    assert [one.id for one in runtime.list_rooms(resident=True)] == ["general"]
    assert runtime.evict(room)
    assert not runtime.evict(room)
    assert runtime.list_rooms(resident=True) == []
    assert room.bodies() == ["hello"]
    assert runtime.abort(room, "for fun")
    assert runtime.delete(room)
    assert not runtime.delete(room)
