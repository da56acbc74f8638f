"""`durable-rooms call`: beside a process through its socket, without one by opening the directory."""

import json
import os
import socket
import stat
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from actors import RoomName
from durable_rooms import SQLiteReplica
from durable_rooms.hatch.client import Lost, call_running
from durable_rooms.hatch.place import SOCKET
from durable_rooms.hatch.server import _is_ours
from durable_rooms.hatch.wire import GREETING, HEAD, Garbled, Request, reply_of, request_bytes, request_of
from durable_rooms.sync import open_runtime
from durable_rooms.verify import verify
from tests.cli.running import command
from tests.doors.chat import ChatRoom, gate
from tests.doors.test_processes import started

ROOM = "ChatRoom/general"


@pytest.fixture
def runtime(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        runtime.status()  # the loop has come round: the socket listens
        yield runtime


def request(method, *args, **named):
    return Request(RoomName("ChatRoom", "general"), method, list(args), named)


def test_it_posts_through_the_running_process(runtime, tmp_path):
    done = command("call", tmp_path, ROOM, "post", '"hello"')
    assert json.loads(done.stdout) == 1
    told = json.loads(command("call", tmp_path, ROOM, "post", "--named", '{"body": "there"}', "--json").stdout)
    assert (told["value"], told["through"], told["error"]) == (2, "process", None)
    assert runtime.room(ChatRoom, "general").bodies() == ["hello", "there"]


def test_it_opens_the_directory_when_nobody_runs_and_brings_the_replica_along(tmp_path):
    with open_runtime(tmp_path, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.room(ChatRoom, "general").post("before")
    told = json.loads(command("call", tmp_path, ROOM, "post", '"after"', "--json").stdout)
    assert (told["value"], told["through"]) == (2, "directory")
    assert json.loads(command("call", tmp_path, ROOM, "bodies").stdout) == ["before", "after"]
    assert verify(tmp_path).equal
    assert (tmp_path / "clean-stop").exists()


def test_a_class_that_the_catalog_does_not_know_can_be_named(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]):
        pass
    done = command("call", tmp_path, "History/x", "ping", code=2)
    assert "--actors MODULE:Class" in done.stderr
    named = "durable_rooms.demo.chat"
    assert "has no History" in command("call", tmp_path, "History/x", "ping", "--actors", f"{named}:History", code=2).stderr


def test_exit_codes_and_json_tell_whether_it_ran(runtime, tmp_path):
    raised = command("call", tmp_path, ROOM, "post_and_raise", '"no"', "--json", code=1)
    assert json.loads(raised.stdout)["error"] == {"type": "Sorry", "message": "no", "ran": "rolled back"}
    assert "Sorry: no [ran: rolled back]" in raised.stderr
    for arguments in (
        (ROOM, "nothing"),
        (ROOM, "post"),
        (ROOM, "post", "unquoted"),
        (ROOM, "post", "--named", "[]"),
        ("general", "post", '"x"'),
        ("Other/general", "ping"),
    ):
        done = command("call", tmp_path, *arguments, code=2)
        assert "[ran: no]" in done.stderr
    assert """'"unquoted"'""" in command("call", tmp_path, ROOM, "post", "unquoted", code=2).stderr
    assert "not a data directory" in command("call", tmp_path / "rooms", ROOM, "ping", code=2).stderr
    assert runtime.room(ChatRoom, "general").bodies() == []


def test_the_socket_is_for_its_owner_only_and_goes_with_the_process(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        runtime.status()
        mode = os.stat(tmp_path / SOCKET).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / SOCKET).exists()


def test_another_user_is_turned_away_but_not_root():
    class Stranger:
        def __init__(self, user):
            self.user = user

        def getsockopt(self, level, option, size):
            assert (level, option, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return struct.pack("3i", 1, self.user, 1)

    assert _is_ours(Stranger(os.geteuid()))
    assert _is_ours(Stranger(0))
    assert not _is_ours(Stranger(os.geteuid() + 1))


def test_whoever_is_turned_away_calls_nothing(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr("durable_rooms.hatch.server._is_ours", lambda stranger: False)
    with pytest.raises(Lost, match="turned the call away") as caught:
        call_running(tmp_path, request("post", "no"))
    assert caught.value.ran == "no"
    assert runtime.room(ChatRoom, "general").bodies() == []


def test_the_socket_of_a_killed_process_is_nobody_and_is_taken_over(tmp_path):
    with started(
        "with durable_rooms.sync.open_runtime(data, [ChatRoom]) as r: r.status(); print('up', flush=True); time.sleep(60)",
        tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()
    assert (tmp_path / SOCKET).exists()
    assert call_running(tmp_path, request("ping")) is None
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        runtime.status()
        reply = call_running(tmp_path, request("ping"))
        assert reply is not None
        assert reply.value == "pong"


def test_a_directory_with_a_long_path_has_a_socket_too(tmp_path):
    data = tmp_path / ("long" * 30) / ("longer" * 20)
    with open_runtime(data, [ChatRoom]) as runtime:
        runtime.status()
        reply = call_running(data, request("post", "hello"))
        assert reply is not None
        assert reply.value == 1


def test_a_client_that_goes_before_its_call_began_leaves_it_unrun(runtime, tmp_path):
    room = runtime.room(ChatRoom, "general")
    there, go = gate("alone")
    with socket.socket(socket.AF_UNIX) as first:
        greeted(first, tmp_path)
        first.sendall(request_bytes(request("alone", "alone")))
        assert there.wait(30)
        with socket.socket(socket.AF_UNIX) as second:
            greeted(second, tmp_path)
            second.sendall(request_bytes(request("post", "never")))
            while runtime.status().calls_waiting == 0:
                pass
        for _ in range(3):  # the loop comes round, and sees the end of the second one
            answered(tmp_path, HEAD.pack(1) + b"\xc1")
        go.set()
        assert first.recv(1)
    assert room.bodies() == []


def test_a_client_that_goes_while_its_call_runs_harms_nobody(runtime, tmp_path):
    started_there, go = gate("gone")
    for _ in range(3):
        started_there.clear()
        with socket.socket(socket.AF_UNIX) as stream:
            greeted(stream, tmp_path)
            stream.sendall(request_bytes(request("held_up", "gone")))
            assert started_there.wait(30)
        go.set()  # its reply finds nobody
        assert runtime.room(ChatRoom, "general").ping() == "pong"
        go.clear()
    reply = call_running(tmp_path, request("ping"))
    assert reply is not None
    assert reply.value == "pong"


def test_a_process_that_stands_still_is_told_and_nothing_runs(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr("durable_rooms.hatch.client.GREETING_SECONDS_MAX", 0.05)
    room = runtime.room(ChatRoom, "general")
    blocks, unblock = gate("still")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(room.held_up, "still")
        assert blocks.wait(30)
        with pytest.raises(Lost, match="did not answer") as caught:
            call_running(tmp_path, request("post", "no"))
        assert caught.value.ran == "no"
        unblock.set()
        held.result(30)
    assert room.bodies() == []


def greeted(stream, data):
    stream.connect(str(data / SOCKET))
    assert stream.recv(len(GREETING), socket.MSG_WAITALL) == GREETING


def answered(data, request):
    """What the server says, to the end; nothing if it closes first."""
    with socket.socket(socket.AF_UNIX) as stream:
        greeted(stream, data)
        stream.sendall(request)
        said = b""
        with suppress(ConnectionResetError):
            stream.shutdown(socket.SHUT_WR)
            while part := stream.recv(65_536):
                said += part
    return said


@pytest.mark.parametrize(
    "garbage",
    [
        HEAD.pack(2**31),
        HEAD.pack(3) + b"abc",
        HEAD.pack(1) + b"\xc1",
        request_bytes(request("ping"))[:-1],
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD.pack(3) + b"\x81\x90\xc0",
        HEAD.pack(15) + b"\xc7\x0c\xff" + struct.pack(">Iq", 0, 2**62),
    ],
    ids=["too long", "no msgpack list", "invalid", "cut off", "http", "a list as a key", "a time beyond all years"],
)
def test_garbage_is_answered_or_dropped_and_the_next_caller_served(garbage, runtime, tmp_path):
    said = answered(tmp_path, garbage)
    assert not said or reply_of(said[HEAD.size :]).error == "Garbled"
    reply = call_running(tmp_path, request("ping"))
    assert reply is not None
    assert reply.value == "pong"


def test_requests_cross_as_they_are():
    asked = request("post", "hello", 1, None, [1.5, b"\0"], limit={"a": True})
    assert request_of(request_bytes(asked)[HEAD.size :]) == asked
    with pytest.raises(Garbled):
        reply_of(b"\x90")
