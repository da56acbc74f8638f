"""Measures: posts to one room by many callers at once, and by one caller who waits for each reply. Every post is durable when
its call returns, captured, and followed by the replicator.

Ceilings: apsw alone with the same table, index and lines: `INSERT … RETURNING` in WAL mode at synchronous=OFF, 100 rows a
transaction (many callers); at synchronous=FULL, one row a transaction (one caller; both wait for the disk at each row).

Not measured: callers in other processes or behind a network, several hot rooms at once, rooms larger than memory.
"""

from benchmarks import bare_sqlite
from benchmarks.chat_room import open_rooms
from benchmarks.harness import Bench, beside
from benchmarks.posting import Posting
from benchmarks.records import HOT_ROOM, HOT_ROOM_POSTS_PER_SYNC, ONE_CALLER, Record
from benchmarks.workload import ROWS_PER_TRANSACTION

NAME = "hot_room"


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    bare = bench.place("bare")
    off, full = bare_sqlite.connect(bare / "off.db", "OFF"), bare_sqlite.connect(bare / "full.db", "FULL")

    async def batches() -> float:
        return bare_sqlite.insert_batches(off, size.ceiling_seconds, ROWS_PER_TRANSACTION)

    async def single_rows() -> float:
        return bare_sqlite.insert_batches(full, size.ceiling_seconds, 1)

    try:
        async with open_rooms(bench.place("rooms"), 1) as (runtime, rooms):
            case = f"{size.hot_callers:,} callers"
            bench.progress.case(NAME, case)
            many = Posting(runtime, rooms, size.hot_callers)
            await many.warm(size.warm_seconds)
            crowd = await beside(bench, lambda: many.measure(size.seconds), batches, many.settle)

            bench.progress.case(NAME, "1 caller")
            one = Posting(runtime, rooms, 1)
            await one.warm(size.warm_seconds)
            alone = await beside(bench, lambda: one.measure(size.seconds), single_rows, one.settle)
    finally:
        bare_sqlite.close([off, full])

    return [
        Record(
            benchmark=NAME, case=case, unit="posts/s", value=crowd.value, ceiling=crowd.ceiling, target=HOT_ROOM, note=many.note
        ),
        Record(
            benchmark=NAME,
            case=f"{case}, sharing",
            unit="posts per sync",
            value=many.posts_per_sync,
            target=HOT_ROOM_POSTS_PER_SYNC,
        ),
        Record(
            benchmark=NAME,
            case="1 caller",
            unit="posts/s",
            value=alone.value,
            ceiling=alone.ceiling,
            target=ONE_CALLER,
            note=one.note,
        ),
    ]
