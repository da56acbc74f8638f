"""F40: msgpack made to do harm, over the socket and as arguments: it is refused in words or harmless, and takes no memory."""

import socket
import struct
from datetime import UTC, datetime
from pathlib import Path

import msgpack
import pytest

from actors import RoomName
from durable_rooms import Actor, BadArguments
from durable_rooms.hatch.client import call_running
from durable_rooms.hatch.place import address
from durable_rooms.hatch.wire import GREETING, HEAD, Reply, Request, reply_of
from durable_rooms.sync import open_runtime

GROWTH_BYTES_MAX = 10_000_000
ROOM = "Echo/one"


class Echo(Actor):
    def echo(self, *values: object) -> list[object]:
        return list(values)

    def ping(self) -> str:
        return "pong"


def call_of(*values: bytes) -> bytes:
    """A request whose arguments are these, as they are."""
    parts = [b"\x95", msgpack.packb(1), msgpack.packb(ROOM), msgpack.packb("echo"), bytes([0x90 + len(values)]), *values, b"\x80"]
    return b"".join(parts)


REFUSED = {
    "5,000 deep": b"\x91" * 5_000 + b"\xc0",
    "1,000,000 deep": b"\x91" * 1_000_000 + b"\xc0",
    "an array of 4 G": b"\xdd\xff\xff\xff\xff",
    "a map of 4 G": b"\xdf\xff\xff\xff\xff",
    "4 G of bytes": b"\xc6\xff\xff\xff\xff",
    "an extension of 4 G": b"\xc9\xff\xff\xff\xff\x01",
    "text that is no UTF-8": b"\xa2\xff\xfe",
    "a list as a key": b"\x81\x91\x01\x02",
    "an extension that nobody knows": msgpack.packb(msgpack.ExtType(5, b"x")),
    "a time beyond all years": b"\xc7\x0c\xff" + struct.pack(">Iq", 0, 2**62),
}
HARMLESS = {
    "a key twice": (b"\x82\xa1a\x01\xa1a\x02", {"a": 2}),
    "no number": (msgpack.packb(float("nan")), None),
    "infinity": (msgpack.packb(float("inf")), float("inf")),
}


def said(path: Path, content: bytes) -> Reply:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream, address(path) as where:
        stream.settimeout(30)
        stream.connect(where)
        file = stream.makefile("rwb")
        assert file.read(len(GREETING)) == GREETING
        file.write(HEAD.pack(len(content)) + content)
        file.flush()
        (length,) = HEAD.unpack(file.read(HEAD.size))
        reply = reply_of(file.read(length))
        file.close()
        return reply


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system does not tell")


@pytest.fixture
def runtime(tmp_path):
    with open_runtime(tmp_path, [Echo]) as runtime:
        runtime.status()  # the loop has come round: the socket listens
        yield runtime


def test_f40_hostile_messages_are_refused_in_words_or_harmless_and_take_no_memory(runtime, tmp_path):
    assert said(tmp_path, call_of(msgpack.packb("x"))).value == ["x"]
    before = resident_bytes()
    for what, value in REFUSED.items():
        reply = said(tmp_path, call_of(value))
        assert (reply.error, reply.ran) == ("Garbled", "no"), what
        assert "Nothing ran" in reply.message, what
    reply = said(tmp_path, call_of(msgpack.packb("x")) + b"more")
    assert (reply.error, reply.ran) == ("Garbled", "no"), "something behind the message"
    for what, (value, arrives) in HARMLESS.items():
        reply = said(tmp_path, call_of(value))
        assert reply.error == "", what
        if arrives is None:
            assert reply.value[0] != reply.value[0], what
        else:
            assert reply.value == [arrives], what
    assert len(REFUSED) + len(HARMLESS) + 1 == 14
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    assert runtime.room(Echo, "one").ping() == "pong"


def test_f40_a_message_that_only_claims_to_be_large_is_refused_before_it_is_read(runtime, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream, address(tmp_path) as where:
        stream.settimeout(30)
        stream.connect(where)
        file = stream.makefile("rwb")
        file.read(len(GREETING))
        file.write(HEAD.pack(0xFFFF_FFFF))
        file.flush()
        (length,) = HEAD.unpack(file.read(HEAD.size))
        reply = reply_of(file.read(length))
        file.close()
    assert (reply.error, reply.ran) == ("Garbled", "no")
    assert "call_bytes_max" in reply.message


def test_f40_hostile_arguments_are_refused_in_words_and_take_no_memory(runtime):
    room = runtime.room(Echo, "one")
    deep: object = 1
    for _ in range(5_000):
        deep = [deep]
    itself: list[object] = []
    itself.append(itself)
    wide = {"a": 1, (1, 2): 3}
    room.ping()
    before = resident_bytes()
    for value in (deep, itself, wide, "\ud800", 1 << 64, {1}, object(), msgpack.ExtType(5, b"x"), datetime(2024, 1, 1)):  # noqa: DTZ001
        for options in ({}, {"key": "k"}):
            with pytest.raises(BadArguments, match="Nothing ran") as caught:
                room.options(**options).echo(value)
            assert (caught.value.ran, caught.value.room, caught.value.method) == ("no", ROOM, "echo")
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    assert room.echo(datetime(2024, 1, 1, tzinfo=UTC)) == [datetime(2024, 1, 1, tzinfo=UTC)]


def test_f40_a_client_is_not_harmed_by_such_replies_either(runtime, tmp_path):
    reply = call_running(tmp_path, Request(RoomName("Echo", "one"), "echo", ["x" * 1_000], {}))
    assert reply is not None
    assert reply.value == ["x" * 1_000]
    for value in REFUSED.values():
        with pytest.raises(ValueError, match="msgpack"):
            reply_of(b"\x94" + msgpack.packb(1) + msgpack.packb("value") + value + b"\x01")
