"""Measures: p99 of pings to other rooms, 16 callers, while one room runs offloaded queries of 5 ms back to back.

Beside it: the same pings with nothing else to do, and with the same queries on the loop (without `offload=True`).

Floor: the pings alone, in turns with the figure.

Not measured: several offloaded rooms at once, handlers that compute in Python (they share Python's lock with the loop), a query
that returns many rows (each of them takes that lock).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import apsw
import trio

from benchmarks.callers import Call, closed_loop
from benchmarks.chat_room import ChatRoom
from benchmarks.harness import Bench, percentile
from benchmarks.records import OFFLOAD_PING_MS, Record
from durable_rooms import Limits, Room, SQLiteReplica, command, open_runtime

NAME = "offload"
QUERY_SECONDS = 0.005
QUERY = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT sum(i * i % 7) AS found FROM n"
ROWS_TRIED = 20_000


class Reports(ChatRoom):
    def report(self, rows: int) -> int:
        return self.sql(QUERY, rows).scalar()

    @command(offload=True)
    def offloaded_report(self, rows: int) -> int:
        return self.report(rows)


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    rows = _rows_of(QUERY_SECONDS)
    bench.progress.case(NAME, f"{size.offload_callers} callers beside queries of {rows:,} steps")
    limits = Limits(idle_seconds_max=3600.0)
    async with open_runtime(bench.place("rooms"), [Reports], replicas=[SQLiteReplica()], limits=limits) as runtime:
        heavy = runtime.room(Reports, "heavy")
        others = [runtime.room(Reports, f"room-{number}") for number in range(size.offload_callers)]
        for room in (heavy, *others):
            await room.ping()
        pings = [_pinging(room) for room in others]
        alone: list[float] = []
        beside: list[float] = []
        on_loop: list[float] = []
        asked: list[int] = []
        for number in range(1, size.repeats + 1):
            bench.progress.step(f"{number} of {size.repeats}")
            alone += (await closed_loop(pings, size.seconds)).latencies
            async with _back_to_back(lambda: heavy.call(Reports.offloaded_report, rows)) as count:
                began = perf_counter()
                beside += (await closed_loop(pings, size.seconds)).latencies
                asked.append(round(count() / (perf_counter() - began)))
        async with _back_to_back(lambda: heavy.call(Reports.report, rows)):
            on_loop += (await closed_loop(pings, size.seconds)).latencies
    return [
        Record(
            benchmark=NAME,
            case=f"ping of other rooms, {size.offload_callers} callers, beside offloaded 5 ms queries: p99",
            unit="ms",
            value=percentile(beside, 99) * 1e3,
            ceiling=percentile(alone, 99) * 1e3,
            target=OFFLOAD_PING_MS,
            absolute=True,
            lower_is_better=True,
            note=f"p50 {percentile(beside, 50) * 1e3:.2f} ms, alone {percentile(alone, 50) * 1e3:.2f} ms; {max(asked)} "
            f"queries/s; with the queries on the loop p99 {percentile(on_loop, 99) * 1e3:.2f} ms",
        )
    ]


def _rows_of(seconds: float) -> int:
    """So many rows of the query take so long here, at its best."""
    connection = apsw.Connection(":memory:")
    took: list[float] = []
    for _ in range(5):
        began = perf_counter()
        connection.execute(QUERY, (ROWS_TRIED,)).fetchall()
        took.append(perf_counter() - began)
    connection.close()
    return max(1, int(ROWS_TRIED * seconds / min(took)))


def _pinging(room: Room[Reports]) -> Call:
    async def ping(_number: int) -> None:
        await room.ping()

    return ping


@asynccontextmanager
async def _back_to_back(ask: Callable[[], Awaitable[int]]) -> AsyncGenerator[Callable[[], int]]:
    """One caller who asks again and again; gives how often it was answered."""
    answered = 0

    async def asking() -> None:
        nonlocal answered
        while True:
            await ask()
            answered += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking)
        yield lambda: answered
        nursery.cancel_scope.cancel()
