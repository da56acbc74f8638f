"""Measures: posts per second with the replicator ÷ without, one hot room and many rooms. Two runtimes in one process, measured
in turns; the one that waits does nothing.

Ceiling: the runtime without replicas (nothing needs the outbox, so it is trimmed at once).

Not measured: readers of the replica; the replica on another disk. A replica that falls behind makes posts look cheap: the note
says how long it needed to catch up after a measurement, and the rate with that time counted.
"""

from benchmarks.chat_room import open_rooms
from benchmarks.harness import Bench, beside
from benchmarks.posting import Posting, catch_up_seconds
from benchmarks.records import REPLICATION_COST, Record

NAME = "replication_cost"


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    return [
        await _case(bench, "hot room", 1, size.hot_callers),
        await _case(bench, f"{size.some_rooms} rooms", size.some_rooms, size.some_callers),
    ]


async def _case(bench: Bench, name: str, rooms: int, callers: int) -> Record:
    size = bench.size
    case = f"{name}, {callers} callers"
    bench.progress.case(NAME, case)
    place = bench.place(f"rooms-{rooms}")
    async with (
        open_rooms(place / "with", rooms) as (with_replica, replicated_rooms),
        open_rooms(place / "without", rooms, replicated=False) as (without_replica, bare_rooms),
    ):
        with_it = Posting(with_replica, replicated_rooms, callers)
        without = Posting(without_replica, bare_rooms, callers)
        await with_it.warm(size.warm_seconds)
        await without.warm(size.warm_seconds)
        behind: list[float] = []

        async def measure() -> float:
            rate = await with_it.measure(size.seconds)
            behind.append(await catch_up_seconds(with_replica))
            return rate

        measured = await beside(bench, measure, lambda: without.measure(size.seconds), with_it.settle)
    catch_up = sum(behind) / len(behind)
    counted = measured.value * size.seconds / (size.seconds + catch_up)
    return Record(
        benchmark=NAME,
        case=case,
        unit="posts/s",
        value=measured.value,
        ceiling=measured.ceiling,
        target=REPLICATION_COST,
        note=f"caught up {catch_up * 1e3:.0f} ms later: {counted:,.0f} posts/s, ratio {counted / measured.ceiling:.2f}, with it",
    )
