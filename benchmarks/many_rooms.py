"""Measures: posts to many rooms at once, all in memory, each with its own file; every post durable, captured and replicated.
A caller stays in one room, so that with as many rooms as callers no two posts ever share a transaction.

Ceiling: apsw alone, WAL, synchronous=NORMAL (not durable), one row a transaction, round-robin over as many files.

Not measured: opening and closing rooms (all are born and warm before the clock starts), uneven load, memory.
"""

from benchmarks import bare_sqlite
from benchmarks.chat_room import open_rooms
from benchmarks.harness import Bench, beside
from benchmarks.machine import need_descriptors
from benchmarks.posting import Posting
from benchmarks.records import MANY_ROOMS, SOME_ROOMS, Record, Target

NAME = "many_rooms"
DESCRIPTORS_PER_ROOM = 8  # ours (about 4) and the ceiling's (3)


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    need_descriptors(DESCRIPTORS_PER_ROOM * size.many_rooms + 256)
    return [
        await _case(bench, size.some_rooms, size.some_callers, SOME_ROOMS),
        await _case(bench, size.many_rooms, size.many_callers, MANY_ROOMS),
    ]


async def _case(bench: Bench, rooms: int, callers: int, target: Target) -> Record:
    size = bench.size
    case = f"{rooms:,} rooms, {callers:,} callers"
    bench.progress.case(NAME, case)
    bench.progress.step("births")
    connections = bare_sqlite.connect_many(bench.place(f"bare-{rooms}"), rooms)

    async def round_robin() -> float:
        return bare_sqlite.insert_round_robin(connections, size.ceiling_seconds)

    try:
        async with open_rooms(bench.place(f"rooms-{rooms}"), rooms) as (runtime, stubs):
            posting = Posting(runtime, stubs, callers)
            await posting.warm(size.warm_seconds)
            measured = await beside(bench, lambda: posting.measure(size.seconds), round_robin, posting.settle)
    finally:
        bare_sqlite.close(connections)
    return Record(
        benchmark=NAME,
        case=case,
        unit="posts/s",
        value=measured.value,
        ceiling=measured.ceiling,
        target=target,
        note=posting.note,
    )
