"""`python -m benchmarks.start_child start|kill DATA ROOMS`: a fresh process that starts on a data directory, for `start`.

`start` tells how long it took from the opening to the first reply, and stops cleanly; `kill` tells the same, posts to many rooms,
and kills itself while they are in memory.
"""

import os
import signal
import sys
from pathlib import Path
from random import Random
from time import perf_counter

import trio

from benchmarks import machine
from benchmarks.chat_room import ChatRoom
from benchmarks.memory_child import visit
from benchmarks.process import say
from benchmarks.rooms_on_disk import room_id
from durable_rooms import Limits, SQLiteReplica, open_runtime

ACTIVE_ROOMS = 1_000  # in memory at the kill; as many as there are places by default


async def start(path: Path, rooms: int, *, kill: bool) -> None:
    random = Random(os.getpid())
    begin = perf_counter()
    async with open_runtime(path, [ChatRoom], replicas=[SQLiteReplica()], limits=Limits(open_rooms_max=ACTIVE_ROOMS)) as runtime:
        opened = perf_counter()
        room = runtime.room(ChatRoom, room_id(random.randrange(rooms)))
        read = await room.call(ChatRoom.history, 50)
        done = perf_counter()
        assert read
        first = await room.call(ChatRoom.post, "user-00", "after the start")
        assert first > len(read) - 1
        posted = perf_counter()
        if kill:
            await visit(runtime, iter(random.sample(range(rooms), min(ACTIVE_ROOMS, rooms))))
        else:
            await runtime.replicated(timeout=600.0)
        say(
            opened=opened - begin,
            seconds=done - begin,
            posted=posted - begin,
            current=perf_counter() - begin,
            active=runtime.status().rooms_open,
        )
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)


def main(what: str, path: str, rooms: str) -> None:
    machine.raise_descriptor_limit()
    trio.run(lambda: start(Path(path), int(rooms), kill=what == "kill"))


if __name__ == "__main__":
    main(*sys.argv[1:])
