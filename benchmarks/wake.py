"""Measures: the first read (the newest 50 messages) of a room that is not in memory and holds 10,000 messages, one read at a
time, the replicator on. Before each read the room has left memory by itself. Its file is in the page cache: a cold disk would be
measured instead of us.

Floor: apsw alone, in turn with the figure: open the same closed file, set nothing, run the same query, rows to dicts.

Not measured: a room that has to wait for a place, or to migrate, or to be re-homed after a crash (see start); a cold page cache.
"""

from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import apsw
import trio

from actors.names import DataDir, RoomName
from benchmarks import workload
from benchmarks.chat_room import ChatRoom
from benchmarks.harness import Bench, percentile
from benchmarks.history import fill
from benchmarks.records import WAKE_MS, Record
from durable_rooms import Limits, Room, Runtime, SQLiteReplica, open_runtime

NAME = "wake"
IDLE_SECONDS = 0.02  # after so long a room leaves memory
LOOK_SECONDS = 0.002
EMPTY_SECONDS_MAX = 30.0


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    bench.progress.case(NAME, f"{size.wake_rows:,} messages")
    place = bench.place("rooms")
    wakes: list[float] = []
    floors: list[float] = []
    limits = Limits(idle_seconds_max=IDLE_SECONDS)
    async with open_runtime(place, [ChatRoom], replicas=[SQLiteReplica()], limits=limits) as runtime:
        rooms = [runtime.room(ChatRoom, f"room-{number}") for number in range(size.wake_rooms)]
        for room in rooms:
            await fill(room, size.wake_rows)
        await runtime.replicated(timeout=120.0)
        for number, room in enumerate(islice(cycle(rooms), size.wakes + len(rooms))):
            bench.progress.share("waking", number / size.wakes)
            await _empty(runtime)
            path = DataDir.at(place).room(RoomName("ChatRoom", room.id))
            floor = _bare(path, size.history_limit)
            seconds = await _wake(room, size.history_limit)
            if number >= len(rooms):  # each room's first one fills the page cache
                wakes.append(seconds)
                floors.append(floor)
    return [
        Record(
            benchmark=NAME,
            case=f"first read of {size.wake_rows:,} messages, p{percent}",
            value=percentile(wakes, percent) * 1e3,
            unit="ms",
            ceiling=percentile(floors, percent) * 1e3,
            target=WAKE_MS if percent == 50 else None,
            absolute=True,
            lower_is_better=True,
            note=f"{len(wakes)} reads of {size.wake_rooms} rooms, page cache warm" if percent == 50 else "",
        )
        for percent in (50, 99)
    ]


async def _empty(runtime: Runtime) -> None:
    """Until no room is in memory."""
    with trio.fail_after(EMPTY_SECONDS_MAX):
        while runtime.status().rooms_open:  # noqa: ASYNC110 - a runtime tells nobody that it is empty
            await trio.sleep(LOOK_SECONDS)


async def _wake(room: Room[ChatRoom], limit: int) -> float:
    begin = perf_counter()
    rows: list[dict[str, Any]] = await room.call(ChatRoom.history, limit)
    seconds = perf_counter() - begin
    assert len(rows) == limit
    return seconds


def _bare(path: Path, limit: int) -> float:
    begin = perf_counter()
    connection = apsw.Connection(str(path))
    cursor = connection.cursor()
    cursor.execute(workload.HISTORY, (limit,))
    names = [column[0] for column in cursor.get_description()]
    rows = [dict(zip(names, row)) for row in cursor.fetchall()]  # noqa: B905 - strict= would lower the floor's speed
    seconds = perf_counter() - begin
    assert len(rows) == limit
    connection.close()
    return seconds
