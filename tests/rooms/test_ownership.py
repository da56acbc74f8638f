"""One process owns a data directory, and the directory must be able to hold rooms."""

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
import trio

from durable_rooms import DataDirInUse, DiskUnfit
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom

HOLDER = """
import sys, trio
from durable_rooms import Actor, open_runtime
class ChatRoom(Actor): pass
async def main():
    async with open_runtime(sys.argv[1], [ChatRoom]):
        print("open", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
trio.run(main)
"""


async def opened(path: Path) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        await runtime.room(ChatRoom, "a").ping()


async def test_f16_a_second_process_is_refused_at_once_with_the_first_ones_pid_and_the_path(
    tmp_path: Path, autojump_clock
) -> None:
    """F16 grants a second; nothing is waited for."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        began = trio.current_time()
        with pytest.raises(DataDirInUse, match=rf"{re.escape(str(tmp_path))} is in use by the process with pid {first.pid}\b"):
            await opened(tmp_path)
        assert trio.current_time() == began
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.wait() == 0
    await opened(tmp_path)


FORKS = """
import os, signal, sys, trio
from durable_rooms import Actor, open_runtime
class ChatRoom(Actor):
    def ping(self): pass
async def main():
    async with open_runtime(sys.argv[1], [ChatRoom]) as runtime:
        await runtime.room(ChatRoom, "a").ping()
        child = os.fork()
        if not child:
            signal.pause()
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
trio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, waits for a process that is not a child")
async def test_f17_a_forked_child_that_outlives_its_parent_is_named_and_without_it_the_start_works(
    tmp_path: Path, autojump_clock
) -> None:
    """Two writers are never possible: the child keeps the lock (design.md §4), so the start is refused, not taken over."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path.cwd())}, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        ended = os.pidfd_open(child)
        try:
            assert parent.wait() == -signal.SIGKILL
            with pytest.raises(DataDirInUse, match=rf"pid {parent.pid}, which has ended; .* holds the lock: pid {child} \("):
                await opened(tmp_path)
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            assert select.select([ended], [], [], 60)[0]
            os.close(ended)
    await opened(tmp_path)


async def test_a_killed_owner_leaves_the_directory_to_the_next(tmp_path: Path, autojump_clock) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        first.kill()
    assert not (tmp_path / "clean-stop").exists()
    await opened(tmp_path)
    assert (tmp_path / "clean-stop").exists()


async def test_a_second_runtime_in_the_same_process_is_refused_too(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        with pytest.raises(DataDirInUse, match=f"pid {os.getpid()}"):
            await opened(tmp_path)
        assert await runtime.room(ChatRoom, "a").post("still fine") == 1


def a_file(path: Path) -> None:
    path.write_text("I am a file")


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("I am a file")


def rooms_is_a_file(path: Path) -> None:
    path.mkdir()
    (path / "rooms").write_text("")


def lock_is_a_folder(path: Path) -> None:
    (path / "lock").mkdir(parents=True)


def catalog_is_a_folder(path: Path) -> None:
    (path / "catalog.db").mkdir(parents=True)


def catalog_is_no_database(path: Path) -> None:
    path.mkdir()
    (path / "catalog.db").write_bytes(b"not a database " * 1_000)


def catalog_is_foreign(path: Path) -> None:
    path.mkdir()
    connection = apsw.Connection(str(path / "catalog.db"))
    connection.execute("CREATE TABLE precious (x)").fetchall()
    connection.close()


@pytest.mark.parametrize(
    "unfit",
    [a_file, below_a_file, rooms_is_a_file, lock_is_a_folder, catalog_is_a_folder, catalog_is_no_database, catalog_is_foreign],
)
async def test_f50_an_unfit_directory_is_refused_with_its_path_and_left_as_it_is(unfit, tmp_path: Path, autojump_clock) -> None:
    path = tmp_path / "parent" / "data"
    path.parent.mkdir()
    unfit(path)
    catalog = path / "catalog.db"
    before = catalog.read_bytes() if catalog.is_file() else None
    with pytest.raises(DiskUnfit, match=str(tmp_path)) as caught:
        await opened(path)
    assert str(caught.value).count(".") >= 1
    if before is not None:
        assert catalog.read_bytes() == before


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
async def test_f50_a_directory_that_may_not_be_written_is_refused(tmp_path: Path, autojump_clock) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DiskUnfit, match="Permission denied"):
        await opened(tmp_path / "data")


async def test_a_lost_catalog_is_made_again_and_rooms_are_found_as_they_are_called(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "a").post("kept")
    (tmp_path / "catalog.db").unlink()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert await runtime.room(ChatRoom, "a").bodies() == ["kept"]
