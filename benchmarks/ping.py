"""Measures: a call that does nothing, to a room in memory: stub, arguments by value, mailbox, turn, gate, reply.

Ceiling: as many bare trio tasks that wake one server task and are woken by it.

Not measured: a call that has to open its room, a call behind a write that is not durable yet, other processes.
"""

from benchmarks import bare_trio
from benchmarks.callers import closed_loop
from benchmarks.chat_room import open_rooms, settle
from benchmarks.harness import Bench, beside, p50_p99_ms
from benchmarks.records import PING_MANY, PING_ONE, Record

NAME = "ping"


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    records: list[Record] = []
    async with open_rooms(bench.place("rooms"), 1) as (runtime, [room]):

        async def ping(_number: int) -> None:
            await room.ping()

        for callers, target in ((1, PING_ONE), (size.ping_callers, PING_MANY)):
            case = f"{callers} caller{'s' if callers > 1 else ''}"
            bench.progress.case(NAME, case)
            latencies: list[float] = []

            async def measure(callers: int = callers, latencies: list[float] = latencies) -> float:
                load = await closed_loop([ping] * callers, size.seconds)
                latencies += load.latencies
                return load.per_second

            await closed_loop([ping] * callers, size.warm_seconds)
            await settle(runtime)
            measured = await beside(bench, measure, lambda callers=callers: bare_trio.round_trips(callers, size.ceiling_seconds))
            records.append(
                Record(
                    benchmark=NAME,
                    case=case,
                    unit="calls/s",
                    value=measured.value,
                    ceiling=measured.ceiling,
                    target=target,
                    note=p50_p99_ms(latencies),
                )
            )
    return records
