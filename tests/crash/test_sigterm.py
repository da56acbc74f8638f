"""F48: the ways a service ends. Told once, it drains and exits 0; told twice, it ends at once; stuck, it ends itself (F23).
Whichever way: everything acknowledged is there, once, and the replica catches up."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from actors.names import DataDir
from durable_rooms import SQLiteReplica, open_runtime
from durable_rooms.demo.child import ServerDied, ServerProcess
from durable_rooms.testing import open_test_runtime
from tests.crash.service import Service
from tests.crash.serving import ROOMS, room_of
from tests.rooms.chat import ChatRoom, outcome

POSTS_BEFORE = 100  # acknowledged before the signal comes
SECONDS_MAX = 60.0  # for a whole life, so that a failing test ends


class Life:
    """One life of a service: what it said, how it ended."""

    def __init__(self, data: Path, mode: str) -> None:
        self.acknowledged: list[tuple[str, str]] = []
        self.failed: list[list[str]] = []
        self.told: list[str] = []
        self.stderr = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.service", str(data), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines = self._read()

    def _read(self) -> Generator[str]:
        """Each line that it says, as it says it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # cut short by its end: no acknowledgement
            kind, *words = line.split()
            if kind == "+":
                self.acknowledged.append((words[0], words[1]))
            elif kind == "-":
                self.failed.append(words)
            elif kind == "told":
                self.told.append(words[0])
            yield kind

    def until(self, kind: str, times: int = 1) -> None:
        for said in self._lines:
            times -= said == kind
            if not times:
                return
        raise AssertionError(f"it ended before it said {kind!r}")

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        for _ in self._lines:
            pass
        with self._process:
            assert self._process.stderr is not None
            self.stderr = self._process.stderr.read()
        return self._process.wait(SECONDS_MAX)


@contextlib.contextmanager
def life(data: Path, mode: str = "plain") -> Generator[Life]:
    one = Life(data, mode)
    timer = threading.Timer(SECONDS_MAX, one._process.kill)
    timer.start()
    try:
        yield one
    finally:
        timer.cancel()
        one._process.kill()
        timer.join()


def acknowledged_is_there(data: Path, one: Life) -> None:
    async def check() -> None:
        async with open_runtime(data, [Service], replicas=[SQLiteReplica()]) as runtime:
            for room in map(room_of, range(ROOMS)):
                ids = await runtime.room(Service, room).ids()
                wanted = {id for id, where in one.acknowledged if where == room}
                assert not wanted - set(ids), f"{room} lost {sorted(wanted - set(ids))}"
                assert max(Counter(ids).values(), default=1) == 1
            await runtime.replicated(timeout=60)

    trio.run(check)


def replicated_posts(data: Path) -> set[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(data / "replica.db")) as connection:
        return set(connection.execute("SELECT id, room_id FROM Service_entries").fetchall())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_f48_told_once_under_load_it_drains_replicates_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    with life(data) as one:
        one.until("serving")
        one.until("+", POSTS_BEFORE)
        one.tell(number)
        assert one.end() == 0
    assert one.told == [number.name]
    assert {tuple(words[2:]) for words in one.failed} <= {("no", "RuntimeClosed")}, "refused, nothing ran"
    assert DataDir.at(data).clean_stop.exists()
    assert not list(data.rglob("*.db-wal")), "the next start has nothing to recover"
    assert set(one.acknowledged) <= replicated_posts(data), "it had the time to bring the replica up to date"
    (line,) = re.findall(r"(?:INFO|WARNING) durable_rooms stopped in .*", one.stderr)
    assert f"{len(one.failed)} calls refused, 0 of unknown outcome; not in the replica yet: nothing" in line
    acknowledged_is_there(data, one)


def test_f48_a_call_longer_than_the_drain_is_unknown_and_reported_and_it_still_exits_0(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with life(data, "cut") as one:
        one.until("serving")
        one.until("+", POSTS_BEFORE)
        one.tell(signal.SIGTERM)
        assert one.end() == 0
    assert ["linger", "slow", "unknown", "OutcomeUnknown"] in one.failed
    assert "1 of unknown outcome" in one.stderr
    assert DataDir.at(data).clean_stop.exists()
    acknowledged_is_there(data, one)


def test_f48_told_twice_it_ends_at_once_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with life(data, "linger") as one:
        one.until("serving")
        one.until("+", POSTS_BEFORE)
        one.tell(signal.SIGTERM)
        one.until("told")  # and the handler that lingers would keep it for a minute
        one.tell(signal.SIGTERM)
        assert one.end() == 128 + signal.SIGTERM
    assert "SIGTERM again: ended at once, without draining. Acknowledged calls are safe." in one.stderr
    assert "stopped in" not in one.stderr
    assert not DataDir.at(data).clean_stop.exists()
    acknowledged_is_there(data, one)


def test_f48_told_twice_it_ends_even_while_a_handler_blocks_the_loop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with life(data, "wedged") as one:
        one.until("stuck")
        one.tell(signal.SIGTERM)
        one.tell(signal.SIGINT)  # two of the same number may arrive as one
        assert one.end() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert one.told == []
    assert "again: ended at once" in one.stderr
    acknowledged_is_there(data, one)


def test_f23_a_stuck_service_ends_itself_with_a_dump_and_f01_holds(tmp_path: Path) -> None:
    """F23 asks for an abort within 30 s: the bound is `blocked_seconds_max`, off by default, 1 s here."""
    data = tmp_path / "data"
    with life(data, "stuck") as one:
        one.until("serving")
        assert one.end() == 70
    assert re.search(r"Service/stuck\.never_return has blocked the loop for \d+ ms, and every room with it", one.stderr)
    assert "Service/stuck.never_return has blocked the loop for 1." in one.stderr
    assert one.stderr.count("in never_return") >= 2, "once in the warning's stack, once in the dump"
    assert one.acknowledged
    acknowledged_is_there(data, one)


def test_f48_the_demos_server_ends_well_when_it_is_told(tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "data", "run", rooms=10, users=10)
    try:
        while not process.receive(SECONDS_MAX):
            pass
        os.kill(process.pid, signal.SIGTERM)
        with pytest.raises(ServerDied, match="ended with exit code 0"):
            while True:
                process.receive(SECONDS_MAX)
    finally:
        process.abandon()
    assert DataDir.at(tmp_path / "data").clean_stop.exists()


# -- in this process -------------------------------------------------------------------------------------------------------
async def test_until_terminated_returns_the_signal_and_puts_back_what_was_there(autojump_clock) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with open_test_runtime(ChatRoom) as runtime:
        with trio.move_on_after(1):
            await runtime.until_terminated()
        os.kill(os.getpid(), signal.SIGINT)
        assert await runtime.until_terminated() == signal.SIGINT
        assert await runtime.until_terminated() == signal.SIGINT, "and again to whoever asks later"
        assert await runtime.room(ChatRoom, "a").post("the body decides when it ends") == 1
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_until_terminated_outside_the_main_thread_says_so(tmp_path: Path) -> None:
    async def ask() -> object:
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            return await outcome(runtime.until_terminated)

    error = await trio.to_thread.run_sync(lambda: trio.run(ask))
    assert isinstance(error, RuntimeError)
    assert "main thread" in str(error)
