"""Whatever a call through the socket brings to light, it is the caller's trouble and never the running process's."""

import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import RoomName
from durable_rooms import Actor
from durable_rooms import open_runtime as open_trio_runtime
from durable_rooms.hatch.client import Lost, call_running
from durable_rooms.hatch.place import SOCKET
from durable_rooms.hatch.server import CONNECTIONS_MAX, REPLY_SECONDS_MAX
from durable_rooms.hatch.wire import GREETING, Request, request_bytes
from durable_rooms.sync import open_runtime
from tests.cli.running import command


class Speechless(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Odd(Actor):
    def ping(self) -> str:
        return "pong"

    def speechless(self) -> None:
        raise Speechless

    def echo(self, *values: object) -> list[object]:
        return list(values)


ROOM = "Odd/one"


@pytest.fixture
def runtime(tmp_path):
    with open_runtime(tmp_path, [Odd]) as runtime:
        runtime.status()  # the loop has come round: the socket listens
        yield runtime


def request(method, *args):
    return Request(RoomName("Odd", "one"), method, list(args), {})


def test_an_exception_that_cannot_say_what_it_is_is_told_by_its_name(runtime, tmp_path):
    reply = call_running(tmp_path, request("speechless"))
    assert reply is not None
    assert (reply.error, reply.ran) == ("Speechless", "rolled back")
    assert runtime.room(Odd, "one").ping() == "pong"


def test_a_bug_of_the_hatch_costs_one_call_and_is_logged(runtime, tmp_path, monkeypatch, caplog):
    async def explode(runtime, request):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("durable_rooms.hatch.server.ask", explode)
        with pytest.raises(Lost) as caught:
            call_running(tmp_path, request("ping"))
    assert caught.value.ran == "unknown"
    reply = call_running(tmp_path, request("ping"))
    assert reply is not None
    assert reply.value == "pong"
    assert "a call through the local socket failed" in caplog.text


def test_a_socket_that_cannot_be_removed_does_not_spoil_the_stop(tmp_path):
    with open_runtime(tmp_path, [Odd]) as runtime:
        runtime.status()
        os.unlink(tmp_path / SOCKET)
        (tmp_path / SOCKET).mkdir()
    assert (tmp_path / "clean-stop").exists()


def test_values_that_cannot_cross_are_bad_usage_in_words(runtime, tmp_path):
    for value, words in ((str(10**30), "beyond 64 bits"), (r'"\ud800"', "lone surrogate")):
        for arguments in ((value,), ("--named", f'{{"value": {value}}}')):
            assert words in command("call", tmp_path, ROOM, "echo", *arguments, code=2).stderr


def test_the_deepest_value_that_can_cross_is_printed(runtime, tmp_path):
    for opening, closing in ("[", "]"), ('{"in":', "}"):
        deep = opening * 1_000 + '"bottom"' + closing * 1_000
        for how in ((), ("--json",)):
            said = "".join(command("call", tmp_path, ROOM, "echo", deep, *how).stdout.split())
            assert f"[{deep}]" in said


def test_what_is_too_large_for_the_process_is_told_in_its_words(runtime, tmp_path):
    reply = call_running(tmp_path, request("echo", "x" * 4_000_000))
    assert reply is not None
    assert "call_bytes_max" in reply.message
    assert reply.ran == "no"


async def test_who_takes_no_reply_holds_no_place_for_ever(tmp_path, autojump_clock):
    """65 of them, one more than there are places, each with a reply that no socket's buffer holds."""
    async with open_trio_runtime(tmp_path, [Odd]), trio.open_nursery() as nursery:

        async def ask_and_wait() -> None:
            stream = await trio.open_unix_socket(str(tmp_path / SOCKET))
            async with stream:
                await stream.send_all(request_bytes(request("echo", "x" * 1_000_000)))
                await trio.sleep(10 * REPLY_SECONDS_MAX)

        while not (tmp_path / SOCKET).exists():
            await wait_all_tasks_blocked()
        for _ in range(CONNECTIONS_MAX + 1):
            nursery.start_soon(ask_and_wait)
        await trio.sleep(2 * REPLY_SECONDS_MAX)
        late = await trio.open_unix_socket(str(tmp_path / SOCKET))
        async with late:
            await late.send_all(request_bytes(request("ping")))
            with trio.fail_after(REPLY_SECONDS_MAX):
                said = await late.receive_some()
                while len(said) < len(GREETING) + 4:
                    said += await late.receive_some()
        assert said.startswith(GREETING)
        nursery.cancel_scope.cancel()
