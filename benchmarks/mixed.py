"""Measures: what a chat backend does, 85 reads of a history to 15 posts, over 100 rooms, by as many callers as people at work;
the reads as fresh as they come by default (each sees every post that had returned).

Floor: the same with every read asked of its room.

Not measured: rooms that are not in memory (there the replica gains most), several replicas, reads in threads of a host.
"""

from functools import partial
from random import Random

from benchmarks import workload
from benchmarks.callers import Call, closed_loop
from benchmarks.harness import Bench, beside, p50_p99_ms
from benchmarks.reading_room import ReadingRoom, open_reading
from benchmarks.records import MIXED, Record
from durable_rooms import Room

NAME = "mixed"
READS = 0.85
PAGE = 20


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    case = f"85 reads to 15 posts, {size.some_rooms} rooms, {size.history_callers} callers; beside it: all from the rooms"
    bench.progress.case(NAME, case)
    latencies: list[float] = []
    async with open_reading(bench.place("rooms"), size.some_rooms, size.history_limit) as (_, rooms):

        async def measure(rooms: list[Room[ReadingRoom]], latencies: list[float]) -> float:
            load = await closed_loop([caller(rooms, number) for number in range(size.history_callers)], size.seconds)
            latencies.extend(load.latencies)
            return load.per_second

        there = [room.options(fresh="room") for room in rooms]
        await measure(rooms, [])
        measured = await beside(bench, partial(measure, rooms, latencies), partial(measure, there, []))
    return [
        Record(
            benchmark=NAME,
            case=case,
            unit="calls/s",
            value=measured.value,
            ceiling=measured.ceiling,
            target=MIXED,
            note=p50_p99_ms(latencies),
        )
    ]


def caller(rooms: list[Room[ReadingRoom]], seed: int) -> Call:
    random, lines = Random(seed), workload.posts()

    async def call(number: int) -> None:
        room = random.choice(rooms)
        if random.random() < READS:
            await room.call(ReadingRoom.history, PAGE)
        else:
            await room.call(ReadingRoom.post, *lines[number % workload.POSTS])

    return call
