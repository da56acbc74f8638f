"""Whole processes: signals, forks, loops that go, ends without a close. Each script says on its output what it saw."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable_rooms.sync import open_runtime
from tests.doors.chat import ChatRoom

ROOT = Path(__file__).parents[2]
HEAD = """
import asyncio, gc, os, sys, threading, time
import durable_rooms.asyncio, durable_rooms.sync
from durable_rooms import CallRefused, RuntimeClosed, OutcomeUnknown
from tests.doors.chat import ChatRoom, gate
data = sys.argv[1]
"""


def started(script, data):
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + script, str(data)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script, data, code=0):
    with started(script, data) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, out + err
    return out, err


def bodies(data):
    with open_runtime(data, [ChatRoom]) as runtime:
        return runtime.room(ChatRoom, "general").bodies()


def stopped_cleanly(data):
    return (data / "clean-stop").exists()


POSTING_IN_ASYNCIO = """
async def main():
    async with durable_rooms.asyncio.open_runtime(data, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        async def post(task):
            for number in range(10**9):
                body = f"{task}-{number}"
                await room.post(body)
                print(body, flush=True)
        await asyncio.gather(*(post(task) for task in range(8)))
asyncio.run(main())
"""

POSTING_IN_THREADS = """
with durable_rooms.sync.open_runtime(data, [ChatRoom]) as runtime:
    room = runtime.room(ChatRoom, "general")
    for number in range(10**9):
        room.post(str(number))
        print(number, flush=True)
"""


@pytest.mark.parametrize("script", [POSTING_IN_ASYNCIO, POSTING_IN_THREADS], ids=["asyncio", "sync"])
def test_ctrl_c_drains_and_loses_nothing(script, tmp_path):
    with started(script, tmp_path) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert stopped_cleanly(tmp_path)
    acknowledged = [line for line in "".join([*seen, out]).splitlines() if line]
    assert set(acknowledged) <= set(bodies(tmp_path))


@pytest.mark.parametrize("script", [POSTING_IN_ASYNCIO, POSTING_IN_THREADS], ids=["asyncio", "sync"])
def test_a_kill_loses_nothing_that_was_acknowledged(script, tmp_path):
    with started(script, tmp_path) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(50)]
        process.kill()
    assert not stopped_cleanly(tmp_path)
    assert set(seen) <= set(bodies(tmp_path))


def test_a_loop_closed_underneath_stops_the_runtime_in_order(tmp_path):
    script = """
import logging
logging.basicConfig(format="%(message)s", stream=sys.stdout)
loop = asyncio.new_event_loop()
runtime = loop.run_until_complete(durable_rooms.asyncio.open_runtime(data, [ChatRoom]).__aenter__())
room = runtime.room(ChatRoom, "general")
async def post():
    await room.post("hello")
    return [asyncio.ensure_future(room.post(str(number))) for number in range(10)]
left = loop.run_until_complete(post())
loop.close()
[engine] = [thread for thread in threading.enumerate() if "durable-rooms runtime" in thread.name]
engine.join(30)
print("engine alive:", engine.is_alive())
for task in left:
    task._log_destroy_pending = False
    task.get_coro().close()
"""
    out, err = run(script, tmp_path)
    assert "engine alive: False" in out
    assert "has gone without closing it" in out
    assert "Traceback" not in err
    assert stopped_cleanly(tmp_path)
    assert "hello" in bodies(tmp_path)


@pytest.mark.parametrize(
    "script",
    [
        """
runtime = durable_rooms.sync.open_runtime(data, [ChatRoom]).__enter__()
runtime.room(ChatRoom, "general").post("hello")
""",
        """
async def main():
    runtime = await durable_rooms.asyncio.open_runtime(data, [ChatRoom]).__aenter__()
    await runtime.room(ChatRoom, "general").post("hello")
asyncio.run(main())
""",
        """
def server():
    runtime = durable_rooms.sync.open_runtime(data, [ChatRoom]).__enter__()
    runtime.room(ChatRoom, "general").post("hello")
    posted.set()
    threading.Event().wait()
posted = threading.Event()
threading.Thread(target=server, daemon=True).start()
assert posted.wait(30)
""",
    ],
    ids=["sync", "asyncio", "opened in a daemon thread"],
)
def test_a_process_that_ends_without_closing_drains_all_the_same(script, tmp_path):
    run(script, tmp_path)
    assert stopped_cleanly(tmp_path)
    assert bodies(tmp_path) == ["hello"]


def test_a_forked_child_is_refused_and_the_parent_goes_on(tmp_path):
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork beside threads
with durable_rooms.sync.open_runtime(data, [ChatRoom]) as runtime:
    room = runtime.room(ChatRoom, "general")
    room.post("before")
    child = os.fork()
    try:
        room.post("child" if child == 0 else "parent")
        print("posted", flush=True)
    except RuntimeClosed as error:
        print(f"refused: {error}", flush=True)
    if child:
        assert os.waitpid(child, 0)[1] == 0
        room.post("after")
"""
    out, _ = run(script, tmp_path)
    assert out.count("posted") == 1
    assert "refused: ChatRoom/general: this process was forked" in out
    assert bodies(tmp_path) == ["before", "parent", "after"]


def test_a_forked_child_of_asyncio_is_refused(tmp_path):
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
async def main():
    async with durable_rooms.asyncio.open_runtime(data, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("before")
        child = os.fork()
        if child == 0:
            try:
                await room.post("child")
            except RuntimeClosed as error:
                print(f"refused: {error}", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        await room.post("after")
asyncio.run(main())
"""
    out, _ = run(script, tmp_path)
    assert "refused: ChatRoom/general: this process was forked" in out
    assert bodies(tmp_path) == ["before", "after"]


def test_a_crash_of_the_runtimes_thread_tells_everybody_who_waits(tmp_path):
    script = """
import logging, warnings
from concurrent.futures import ThreadPoolExecutor
warnings.simplefilter("ignore")
waits, go = gate("waits")
blocks, unblock = gate("blocks")
async def explode():
    raise ZeroDivisionError("a bug in the runtime's thread")
pool = ThreadPoolExecutor(4)
try:
    with durable_rooms.sync.open_runtime(data, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        begun = pool.submit(room.wait_for, "waits")
        waits.wait(30)
        blocked = pool.submit(room.held_up, "blocks")
        blocks.wait(30)
        late = pool.submit(room.post, "late")
        while not runtime._border._inbox:
            pass
        inside = runtime._border.runtime
        runtime._border.tell(lambda: inside._nursery.start_soon(explode))
        unblock.set()
        print("begun:", type(begun.exception(30)).__name__)
        print("late:", type(late.exception(30)).__name__)
        try:
            room.ping()
        except RuntimeClosed:
            print("refused")
except BaseException as error:
    print("raised:", type(error).__name__, flush=True)
go.set()
pool.shutdown()
"""
    out, err = run(script, tmp_path)
    assert "begun: OutcomeUnknown" in out
    late = out.partition("late: ")[2].split()[0]
    assert late in ("RuntimeClosed", "OutcomeUnknown", "NoneType"), "it may have run, and even been durable, just before"
    assert "refused" in out
    assert "raised: ZeroDivisionError" in out
    assert "the runtime's thread has ended" in err
    assert bodies(tmp_path) in {"RuntimeClosed": [[]], "OutcomeUnknown": [[], ["late"]], "NoneType": [["late"]]}[late]
