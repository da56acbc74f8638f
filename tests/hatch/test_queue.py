"""More callers at once than the system keeps in its queue for the socket."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from actors import RoomName
from durable_rooms.hatch.client import Lost, call_running
from durable_rooms.hatch.place import SOCKET
from durable_rooms.hatch.wire import Request
from durable_rooms.sync import open_runtime
from tests.doors.chat import ChatRoom, gate

PING = Request(RoomName("ChatRoom", "general"), "ping", [], {})


@pytest.fixture
def queue(tmp_path):
    """Full of strangers, before a process that stands still. (Close it: they go. Set it going: it looks.)"""
    there, go = gate("queue")
    with open_runtime(tmp_path, [ChatRoom]) as runtime, ThreadPoolExecutor(1) as pool, ExitStack() as strangers:
        runtime.status()  # the loop has come round: the socket listens
        pool.submit(runtime.room(ChatRoom, "general").held_up, "queue")
        assert there.wait(30)
        with suppress(BlockingIOError):
            while True:
                stranger = strangers.enter_context(socket.socket(socket.AF_UNIX))
                stranger.setblocking(False)
                stranger.connect(str(tmp_path / SOCKET))
        strangers.callback(go.set)
        yield strangers


def test_whoever_finds_it_full_waits_for_his_turn(queue, tmp_path, monkeypatch):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        queue.close()
        time.sleep(seconds)

    monkeypatch.setattr("durable_rooms.hatch.client.sleep", wait)
    reply = call_running(tmp_path, PING)
    assert reply is not None
    assert reply.value == "pong"
    assert waits


def test_a_queue_that_stays_full_is_told_and_nothing_runs(queue, tmp_path, monkeypatch):
    monkeypatch.setattr("durable_rooms.hatch.client.GREETING_SECONDS_MAX", 0.05)
    with pytest.raises(Lost, match="too many wait") as caught:
        call_running(tmp_path, PING)
    assert caught.value.ran == "no"
