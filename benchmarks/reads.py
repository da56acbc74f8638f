"""Measures: reads of the replica, against what they are made of, against the room, and beside writes.

Ceilings and floors: of one scoped read, the same query on the same file in apsw, `WHERE room_id = ?`, rows to dicts and once
through msgpack. Of reads through the router, the same reads asked of the room. Of writes beside reads, the same writes alone.

Not measured: several replicas, cold pages, reads from other processes; search (see `search`).
"""

from collections.abc import Callable
from functools import partial
from random import Random
from time import perf_counter

import apsw
import trio

from actors import Disk, Limits, ReadCall, RoomName
from actors.actor_class import actor_classes
from benchmarks import bare_sqlite, workload
from benchmarks.callers import closed_loop, open_loop
from benchmarks.harness import Bench, Measured, beside, middle, p50_p99_ms, percentile
from benchmarks.posting import post_to
from benchmarks.reading_room import ReadingRoom, gone, open_reading
from benchmarks.records import (
    OUTAGE_P99,
    READ_OWN_WRITE_PERCENT,
    READ_THROUGH_ROUTER,
    READS_BESIDE_WRITES,
    SCOPED_READ,
    WRITES_BESIDE_READS,
    Record,
)
from durable_rooms import Room, Runtime
from replication.reading.reader import Reader

NAME = "reads"
SCOPED_HISTORY = "SELECT id, author, body, sent_at FROM ReadingRoom_messages WHERE room_id = ? ORDER BY id DESC LIMIT ?"
HEAVY_MS = 5.0
WRITES_PER_SECOND = 500.0
HEAVY_CALLERS = 4
IN_TIME_SECONDS = 0.15
OUTAGE_LOAD = 0.25  # of what a closed loop of such callers does: far from where queues begin


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    records: list[Record] = []
    async with open_reading(bench.place("one"), 1, size.history_rows) as (runtime, [room]):
        records.append(await _scoped(bench, runtime))
        records.append(await _through_the_router(bench, room))
        records += await _beside_writes(bench, room)
    async with open_reading(bench.place("some"), size.some_rooms, size.history_limit) as (runtime, rooms):
        pairs = Pairs(runtime, rooms)
        saturation = await pairs.saturation(bench)
        records.append(await _own_writes(bench, pairs, saturation / 2))
        records.append(await _outage(bench, runtime, pairs, saturation * OUTAGE_LOAD))
    return records


# -- one read, in one thread ----------------------------------------------------------------------------------------
async def _scoped(bench: Bench, runtime: Runtime) -> Record:
    size = bench.size
    case = f"scoped history({size.history_limit})"
    bench.progress.case(NAME, case)
    path = runtime.status().replicas[0].path
    reader = Reader(Disk(), path, Random(1), Limits(), perf_counter)
    (known,) = actor_classes([ReadingRoom]).values()
    name = RoomName("ReadingRoom", "room-0")
    call = ReadCall(ReadingRoom, name, known.handlers.get("history"), [size.history_limit], {}, runtime.doors.wall_clock, 1 << 30)
    bare = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    async def measure() -> float:
        return await trio.to_thread.run_sync(_rate, partial(reader.read, name, None, call), size.ceiling_seconds)

    async def ceiling() -> float:
        read = partial(bare_sqlite.read_history, bare, size.ceiling_seconds, "room-0", size.history_limit, query=SCOPED_HISTORY)
        return await trio.to_thread.run_sync(read)

    try:
        measured = await beside(bench, measure, ceiling)
    finally:
        reader.close()
        bare.close()
    return Record(benchmark=NAME, case=case, unit="reads/s", value=measured.value, ceiling=measured.ceiling, target=SCOPED_READ)


def _rate(read: Callable[[], object], seconds: float) -> float:
    reads, begin = 0, perf_counter()
    while (now := perf_counter()) - begin < seconds:
        read()
        reads += 1
    return reads / (now - begin)


# -- through the router ---------------------------------------------------------------------------------------------
async def _through_the_router(bench: Bench, room: Room[ReadingRoom]) -> Record:
    size = bench.size
    case = f"@read history({size.history_limit}), {size.history_callers} callers; beside it: the same from the room"
    bench.progress.case(NAME, case)
    latencies: list[float] = []

    async def ask(room: Room[ReadingRoom], latencies: list[float]) -> float:
        async def history(_number: int) -> None:
            rows = await room.call(ReadingRoom.history, size.history_limit)
            assert len(rows) == size.history_limit

        load = await closed_loop([history] * size.history_callers, size.seconds)
        latencies.extend(load.latencies)
        return load.per_second

    measured = await beside(bench, partial(ask, room, latencies), partial(ask, room.options(fresh="room"), []))
    return Record(
        benchmark=NAME,
        case=case,
        unit="reads/s",
        value=measured.value,
        ceiling=measured.ceiling,
        target=READ_THROUGH_ROUTER,
        note=p50_p99_ms(latencies),
    )


# -- heavy reads beside writes --------------------------------------------------------------------------------------
async def _beside_writes(bench: Bench, room: Room[ReadingRoom]) -> list[Record]:
    size = bench.size
    case = f"{HEAVY_MS:g} ms query, {HEAVY_CALLERS} callers, beside {WRITES_PER_SECOND:g} writes/s to the room"
    bench.progress.case(NAME, case)
    rows = await _rows_of(HEAVY_MS, room, size.history_rows)
    turns: list[Measured] = []
    writes: list[Measured] = []
    for number in range(1, size.repeats + 1):
        bench.progress.step(f"{number} of {size.repeats}")
        alone = await _writes_p99(room, size.seconds)
        from_room, _ = await _reads_and_writes(room.options(fresh="room"), rows, size.seconds)
        from_replica, p99 = await _reads_and_writes(room.options(fresh=1.0), rows, size.seconds)
        turns.append(Measured(from_replica, from_room))
        writes.append(Measured(p99, alone))
    reads, beside_reads = middle(turns), middle(writes)
    return [
        Record(
            benchmark=NAME,
            case=f"{case}; beside it: all from the room",
            unit="reads/s",
            value=reads.value,
            ceiling=reads.ceiling,
            target=READS_BESIDE_WRITES,
            note=f"over {rows:,} rows",
        ),
        Record(
            benchmark=NAME,
            case="p99 of these writes beside reads of the replica ÷ alone",
            unit="×",
            value=beside_reads.ratio,
            target=WRITES_BESIDE_READS,
            lower_is_better=True,
            note=f"{beside_reads.value * 1e3:.2f} ms; alone {beside_reads.ceiling * 1e3:.2f} ms",
        ),
    ]


async def _rows_of(milliseconds: float, room: Room[ReadingRoom], most: int) -> int:
    """How many rows the query must look at to take so long here."""
    heavy = room.options(fresh="room")
    took = []
    for _ in range(5):
        begin = perf_counter()
        await heavy.call(ReadingRoom.heaviest, most)
        took.append(perf_counter() - begin)
    return max(1, round(most * milliseconds / 1e3 / sorted(took)[2]))


async def _reads_and_writes(room: Room[ReadingRoom], rows: int, seconds: float) -> tuple[float, float]:
    """Reads per second, and the p99 of the writes beside them."""
    p99: list[float] = []

    async def heavy(_number: int) -> None:
        await room.call(ReadingRoom.heaviest, rows)

    async def write() -> None:
        p99.append(await _writes_p99(room, seconds))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        load = await closed_loop([heavy] * HEAVY_CALLERS, seconds)
    return load.per_second, p99[0]


async def _writes_p99(room: Room[ReadingRoom], seconds: float) -> float:
    load = await open_loop(post_to(room), WRITES_PER_SECOND, seconds, Random(workload.SEED))
    return percentile(load.latencies, 99)


# -- own writes, outages --------------------------------------------------------------------------------------------
class Pairs:
    """A write and then a read of what it wrote, in a session of its own: by whom and how fast the reads were answered."""

    def __init__(self, runtime: Runtime, rooms: list[Room[ReadingRoom]]) -> None:
        self.count = len(rooms)
        self.reads: list[float] = []
        self.late = 0  # or answered by the room
        self._runtime = runtime
        self._ids = [room.id for room in rooms]
        self._random = Random(workload.SEED)
        self._lines = workload.posts()

    async def __call__(self, number: int) -> None:
        room = self._runtime.session().room(ReadingRoom, self._random.choice(self._ids))
        id = await room.call(ReadingRoom.post, *self._lines[number % workload.POSTS])
        begin = perf_counter()
        reply = await room.ask(ReadingRoom.last)
        took = perf_counter() - begin
        self.reads.append(took)
        self.late += reply.source == "room" or took > IN_TIME_SECONDS
        assert reply.value >= id, "a session did not see its own write"

    async def saturation(self, bench: Bench) -> float:
        """Pairs per second of a closed loop."""
        calls = [self] * bench.size.some_callers
        await closed_loop(calls, bench.size.warm_seconds)
        load = await closed_loop(calls, bench.size.seconds)
        self.forget()
        return load.per_second

    def forget(self) -> None:
        self.reads, self.late = [], 0


async def _own_writes(bench: Bench, pairs: Pairs, per_second: float) -> Record:
    case = f"read right after a write, a session each, {pairs.count} rooms, half of saturation"
    bench.progress.case(NAME, case)
    await open_loop(pairs, per_second, bench.size.lag_seconds, Random(workload.SEED))
    return Record(
        benchmark=NAME,
        case=case,
        unit="% by the replica within 150 ms",
        value=100 * (1 - pairs.late / max(1, len(pairs.reads))),
        target=READ_OWN_WRITE_PERCENT,
        note=f"{p50_p99_ms(pairs.reads)}; {len(pairs.reads):,} pairs, {per_second:,.0f}/s",
    )


async def _outage(bench: Bench, runtime: Runtime, pairs: Pairs, per_second: float) -> Record:
    size = bench.size
    case = f"replica gone for {size.outage_seconds:g} s: p99 of a write and a read ÷ before"
    bench.progress.case(NAME, case)

    async def p99(seconds: float) -> float:
        load = await open_loop(pairs, per_second, seconds, Random(workload.SEED))
        return percentile(load.latencies, 99)

    before = await p99(size.outage_seconds)
    with gone(runtime.status().replicas[0].path.parent):
        during = await p99(size.outage_seconds)
    await runtime.replicated(timeout=120.0)
    return Record(
        benchmark=NAME,
        case=case,
        unit="×",
        value=during / before,
        target=OUTAGE_P99,
        lower_is_better=True,
        note=f"{during * 1e3:.2f} ms; before {before * 1e3:.2f} ms; {per_second:,.0f} pairs/s",
    )
