"""Measures: the newest 50 messages of a room in memory, asked for by many callers at once; rows arrive as dicts, by value.

Ceiling: the same query in apsw alone, rows to dicts, packed and unpacked with msgpack once.

Not measured: cold pages (the room fits into memory), reads beside writes, reads from the replica.
"""

from typing import Any

from benchmarks import bare_sqlite, workload
from benchmarks.callers import closed_loop
from benchmarks.chat_room import ChatRoom, open_rooms, settle
from benchmarks.harness import Bench, beside, p50_p99_ms
from benchmarks.records import HISTORY, Record
from durable_rooms import Room

NAME = "history"
FILL_ROWS = 500  # in one call


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    case = f"history({size.history_limit}), {size.history_callers} callers"
    bench.progress.case(NAME, case)
    connection = bare_sqlite.connect(bench.place("bare") / "room.db", "NORMAL")
    bare_sqlite.fill(connection, size.history_rows)
    latencies: list[float] = []
    try:
        async with open_rooms(bench.place("rooms"), 1) as (runtime, [room]):
            await fill(room, size.history_rows)

            async def history(_number: int) -> None:
                rows: list[dict[str, Any]] = await room.history(size.history_limit)
                assert len(rows) == size.history_limit

            async def measure() -> float:
                load = await closed_loop([history] * size.history_callers, size.seconds)
                latencies.extend(load.latencies)
                return load.per_second

            async def bare() -> float:
                return bare_sqlite.read_history(connection, size.ceiling_seconds, size.history_limit)

            await closed_loop([history] * size.history_callers, size.warm_seconds)
            await settle(runtime)
            measured = await beside(bench, measure, bare)
    finally:
        bare_sqlite.close([connection])
    return [
        Record(
            benchmark=NAME,
            case=case,
            unit="reads/s",
            value=measured.value,
            ceiling=measured.ceiling,
            target=HISTORY,
            note=p50_p99_ms(latencies),
        )
    ]


async def fill(room: Room[ChatRoom], count: int) -> None:
    rows = [list(row) for row in workload.rows(count)]
    for begin in range(0, count, FILL_ROWS):
        await room.call(ChatRoom.fill, rows[begin : begin + FILL_ROWS])
