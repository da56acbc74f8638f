"""Measures: resident memory (RSS) a room, each time in a fresh process, after garbage was collected and free memory given back.
Of an open room: what 500 more rooms in memory add, each posted to, read, replicated, and then at rest for three seconds (a room
that rests gives back SQLite's page cache; the note has the figure from before). Of a closed room: a line through RSS while
thousands of rooms are called and leave again through 64 places, with and without a replica; at each sample none is in memory.

Nothing means: surely less than 64 bytes a room. Less than an entry of a dict cannot be told from noise; "surely" is the slope
of a robust line less 2.6 standard errors, and the slope itself is in the note. The first half of the visits warms up, until the
heap has grown to its size; those of --quick are too few for that, so its figures have no target. Memory with a bound of its own
is kept out: the replicator remembers the positions of up to 20,000 rooms, about 300 bytes each, here of 100; SQLite's page caches
of catalog (2 MB) and replica (16 MB) are emptied before each sample.

Ceilings: none.

Not measured: open rooms with large caches (SQLite keeps up to 2 MB of pages a room), queued calls, the page cache of the system.
"""

from typing import Any

from benchmarks.harness import Bench
from benchmarks.machine import need_descriptors
from benchmarks.process import in_child, resident_bytes
from benchmarks.records import CLOSED_ROOM_BYTES, OPEN_ROOM_KIB, Record
from benchmarks.rooms_on_disk import make_rooms
from benchmarks.trends import trend

NAME = "memory"
CHILD = "benchmarks.memory_child"
DESCRIPTORS_PER_ROOM = 5
VISITS_JUDGED_MIN = 6_000  # before that the heap has not settled: 300 to 1,300 bytes a room that later are none


async def run(bench: Bench) -> list[Record]:
    resident_bytes()  # unfit where the system does not tell
    need_descriptors(DESCRIPTORS_PER_ROOM * bench.size.memory_rooms[1] + 512)
    return [await _open(bench), await _closed(bench, replicated=False), await _closed(bench, replicated=True)]


async def _open(bench: Bench) -> Record:
    few, many = bench.size.memory_rooms
    bench.progress.case(NAME, f"{few} and {many:,} open rooms")
    first, last = await in_child(CHILD, "open", bench.path / "open", few, many)
    assert (first["rooms"], last["rooms"]) == (few, many)
    return Record(
        benchmark=NAME,
        case="an open room",
        value=(last["rss"] - first["rss"]) / (many - few) / 1024,
        unit="KiB",
        target=OPEN_ROOM_KIB,
        lower_is_better=True,
        note=(
            f"RSS {first['rss'] / 2**20:.1f} MiB with {few} rooms, {last['rss'] / 2**20:.1f} MiB with {many:,}; "
            f"{(last['at_work'] - first['rss']) / (many - few) / 1024:.0f} KiB a room before they rested"
        ),
    )


async def _closed(bench: Bench, *, replicated: bool) -> Record:
    visits = bench.size.memory_visits
    words = "with a replica" if replicated else "without a replica"
    bench.progress.case(NAME, f"{visits:,} closed rooms {words}")
    place = bench.path / f"closed-{replicated}"
    await make_rooms(place, visits, lambda done: bench.progress.share("making rooms", done), replicated=replicated)

    def told(line: dict[str, Any]) -> None:
        bench.progress.share(f"{line['visited']:,} visited", line["visited"] / visits)

    samples = await in_child(CHILD, "replicated" if replicated else "closed", place, visits, told=told)
    half = samples[len(samples) // 2 :]
    line = trend([sample["visited"] for sample in half], [float(sample["rss"]) for sample in half])
    return Record(
        benchmark=NAME,
        case=f"a closed room, {words}",
        value=line.surely,
        unit="bytes",
        target=CLOSED_ROOM_BYTES if visits >= VISITS_JUDGED_MIN else None,
        lower_is_better=True,
        note=(
            f"slope {line.slope:,.0f} ± {line.error:,.0f} bytes a room; RSS {samples[0]['rss'] / 2**20:.1f} MiB after "
            f"{samples[0]['visited']:,} rooms, {half[0]['rss'] / 2**20:.1f} after {half[0]['visited']:,}, "
            f"{half[-1]['rss'] / 2**20:.1f} after {half[-1]['visited']:,}"
        ),
    )
