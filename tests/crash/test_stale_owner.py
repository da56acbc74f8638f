"""An owner that was paused for long: nobody took its place meanwhile, and it goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from durable_rooms import DataDirInUse
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom

OWNER = """
import sys, trio
from durable_rooms import open_runtime
from tests.rooms.chat import ChatRoom
async def main():
    async with open_runtime(sys.argv[1], [ChatRoom]) as runtime:
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            print(await runtime.room(ChatRoom, "a").post(line.strip()), flush=True)
trio.run(main)
"""


async def bodies(path: Path) -> list[str]:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        return await runtime.room(ChatRoom, "a").bodies()


async def test_f18_a_paused_owner_is_replaced_by_nobody_and_its_next_commit_is_good(tmp_path: Path, autojump_clock) -> None:
    """F18 fences an owner that lost its lease. A data directory has no lease but the kernel's lock (design.md §4), which a
    process keeps as long as it lives: the other one is refused, so nobody can be stale. Replicas fence by epoch: rule 32."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        try:
            owner.stdin.write("before\n")
            owner.stdin.flush()
            assert owner.stdout.readline() == "1\n"
            owner.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, owner.pid, os.WSTOPPED | os.WNOWAIT)  # noqa: ASYNC222 - it stops at once
            for _ in range(3):
                with pytest.raises(DataDirInUse, match=f"pid {owner.pid}"):
                    await bodies(tmp_path)
                await trio.sleep(3_600)
            owner.send_signal(signal.SIGCONT)
            owner.stdin.write("after\n")
            owner.stdin.close()
            assert owner.stdout.readline() == "2\n"
            assert owner.wait() == 0
        finally:
            owner.kill()
    assert await bodies(tmp_path) == ["before", "after"]
