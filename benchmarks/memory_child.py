"""`python -m benchmarks.memory_child open|closed|replicated DATA ROOMS…`: a fresh process that tells its RSS, for `memory`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import trio

from benchmarks import machine, workload
from benchmarks.chat_room import ChatRoom, settle
from benchmarks.process import say, settled_bytes
from benchmarks.rooms_on_disk import room_id
from durable_rooms import Limits, Runtime, SQLiteReplica, open_runtime
from replication import replicator

VISITORS = 64  # and places
SAMPLES = 16  # of the line through closed rooms
IDLE_SECONDS = 0.2
REST_SECONDS = 3.0  # a room that was not called for one to two seconds gives back its page cache
LOOK_SECONDS = 0.02
EMPTY_SECONDS_MAX = 60.0
MARKS_CACHED_MAX = 100  # instead of 20,000, so that the cache is full before the first sample


async def visit(runtime: Runtime, numbers: Iterator[int]) -> None:
    """Post to each of these rooms and read it, 64 at a time."""
    author, body = workload.posts()[0]

    async def visitor() -> None:
        for number in numbers:
            room = runtime.room(ChatRoom, room_id(number))
            await room.call(ChatRoom.post, author, body)
            await room.call(ChatRoom.history, 50)

    async with trio.open_nursery() as nursery:
        for _ in range(VISITORS):
            nursery.start_soon(visitor)


async def open_rooms(path: Path, few: int, many: int) -> None:
    """RSS with `few` and with `many` rooms in memory, replicated and at rest."""
    limits = Limits(open_rooms_max=many + 16, idle_seconds_max=3600.0)
    async with open_runtime(path, [ChatRoom], replicas=[SQLiteReplica()], limits=limits) as runtime:
        for first, last in ((0, few), (few, many)):
            await visit(runtime, iter(range(first, last)))
            await settle(runtime)
            at_work = settled_bytes()
            await trio.sleep(REST_SECONDS)
            say(rooms=runtime.status().rooms_open, rss=settled_bytes(), at_work=at_work)


async def closed_rooms(path: Path, rooms: int, *, replicated: bool) -> None:
    """RSS after every so many rooms that came and went; none is in memory at a sample."""
    replicas = [SQLiteReplica()] if replicated else []
    replicator.MARKS_CACHED_MAX = MARKS_CACHED_MAX
    limits = Limits(open_rooms_max=VISITORS, idle_seconds_max=IDLE_SECONDS)
    async with open_runtime(path, [ChatRoom], replicas=replicas, limits=limits) as runtime:
        step = max(1, rooms // SAMPLES)
        for first in range(0, rooms - step + 1, step):
            await visit(runtime, iter(range(first, first + step)))
            await settle(runtime)
            with trio.fail_after(EMPTY_SECONDS_MAX):
                while runtime.status().rooms_open or not caches_emptied():  # noqa: ASYNC110 - a runtime tells nobody that it is empty
                    await trio.sleep(LOOK_SECONDS)
            say(visited=first + step, rooms=runtime.status().rooms_open, rss=settled_bytes())


def caches_emptied() -> bool:
    """Empty the page caches of catalog and replica, which are bounded; False while a thread uses a connection."""
    try:
        for connection in apsw.connections():
            connection.release_memory()
    except (apsw.ThreadingViolationError, apsw.ConnectionClosedError):
        return False
    return True


def main(what: str, path: str, *rooms: str) -> None:
    machine.raise_descriptor_limit()
    if what == "open":
        trio.run(open_rooms, Path(path), *map(int, rooms))
    else:
        trio.run(lambda: closed_rooms(Path(path), int(rooms[0]), replicated=what == "replicated"))


if __name__ == "__main__":
    main(*sys.argv[1:])
