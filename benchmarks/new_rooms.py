"""Measures: new rooms a second, each with a first post that is durable when its call returns; 256 callers at once, the
replicator on, a new data directory each time. First into free places; then through 256 places, so that every new room but the
first 256 waits for an older one to be closed (checkpointed, its file synced).

Ceiling: apsw alone: a template file copied, WAL, one insert; one syncfs for each 256 files; nothing is closed. One thread.

Not measured: rooms with many migrations (they are born from a template, too), a directory that holds very many rooms already.
"""

from itertools import cycle, islice
from time import perf_counter

import trio

from benchmarks import workload
from benchmarks.bare_births import births_per_second, make_template
from benchmarks.chat_room import ChatRoom
from benchmarks.harness import Bench, beside, p50_p99_ms
from benchmarks.machine import need_descriptors
from benchmarks.records import NEW_ROOMS, Record, Target
from benchmarks.rooms_on_disk import sync
from durable_rooms import Limits, SQLiteReplica, open_runtime

NAME = "new_rooms"
DESCRIPTORS_PER_ROOM = 8  # ours (5, newborn) and the ceiling's (3)


async def run(bench: Bench) -> list[Record]:
    rooms, callers = bench.size.new_rooms, bench.size.some_callers
    need_descriptors(DESCRIPTORS_PER_ROOM * rooms + 256)
    return [
        await _case(bench, "into free places", rooms + 16, NEW_ROOMS),
        await _case(bench, f"through {min(callers, rooms)} places", min(callers, rooms), None),
    ]


async def _case(bench: Bench, words: str, places: int, target: Target | None) -> Record:
    rooms, callers = bench.size.new_rooms, bench.size.some_callers
    case = f"{rooms:,} rooms {words}, {callers} callers"
    bench.progress.case(NAME, case)
    place = bench.place(f"{places}-places")
    template = make_template(place)
    turns = iter(range(1_000))
    latencies: list[float] = []

    async def figure() -> float:
        path = place / f"rooms-{next(turns)}"
        limits = Limits(open_rooms_max=places, idle_seconds_max=3600.0)
        async with open_runtime(path, [ChatRoom], replicas=[SQLiteReplica()], limits=limits) as runtime:
            waiting = iter(enumerate(islice(cycle(workload.posts()), rooms)))

            async def caller() -> None:
                for number, (author, body) in waiting:
                    before = perf_counter()
                    await runtime.room(ChatRoom, f"room-{number}").call(ChatRoom.post, author, body)
                    latencies.append(perf_counter() - before)

            begin = perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(callers):
                    nursery.start_soon(caller)
            return rooms / (perf_counter() - begin)

    async def ceiling() -> float:
        path = place / f"bare-{next(turns)}"
        path.mkdir()
        return births_per_second(path, template, rooms, callers)

    async def settle() -> None:
        sync(place)

    measured = await beside(bench, figure, ceiling, settle)
    return Record(
        benchmark=NAME,
        case=case,
        value=measured.value,
        unit="rooms/s",
        ceiling=measured.ceiling,
        target=target,
        absolute=True,
        note=p50_p99_ms(latencies),
    )
