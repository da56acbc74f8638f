"""Measures: the start of a runtime on a data directory with 10,000 rooms (--quick) or 100,000: from the call of `open_runtime`
to the reply to the first call, which reads a random room; each time in a fresh process, with a replica that knows all rooms,
after a clean stop and after a SIGKILL with 1,000 rooms in memory (then catalog and replica are re-homed first, and the first call
comes beside the drain of those rooms). The median counts. The files were written just before, so the page cache is warm.

Ceilings: none.

Not measured: Python's own start and imports, a power cut (its page cache is cold), a lost catalog (it is made again at 0.2 ms a
room), a lost replica (it is filled beside calls).
"""

import signal
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, percentile
from benchmarks.process import in_child
from benchmarks.records import START_SECONDS, Record
from benchmarks.rooms_on_disk import make_rooms

NAME = "start"
CHILD = "benchmarks.start_child"


async def run(bench: Bench) -> list[Record]:
    rooms = bench.size.start_rooms
    bench.progress.case(NAME, f"{rooms:,} rooms")
    place = bench.path / "rooms"
    await make_rooms(place, rooms, lambda done: bench.progress.share("making rooms", done), replicated=True)
    clean: list[dict[str, Any]] = []
    killed: list[dict[str, Any]] = []
    for number in range(1, bench.size.starts + 1):
        bench.progress.step(f"{number} of {bench.size.starts}")
        clean.append(await _child("start", place, rooms))
        at_kill = await _child("kill", place, rooms)
        killed.append(at_kill | await _child("start", place, rooms))
    return [_record(f"{rooms:,} rooms, after a clean stop", clean), _record(f"{rooms:,} rooms, after SIGKILL", killed)]


async def _child(what: str, place: Path, rooms: int) -> dict[str, Any]:
    [line] = await in_child(CHILD, what, place, rooms, ends_with=-signal.SIGKILL if what == "kill" else 0)
    return {f"{what}_active": line.pop("active")} | line


def _record(case: str, starts: list[dict[str, Any]]) -> Record:
    def middle(name: str) -> float:
        return percentile([start[name] for start in starts], 50)

    active = f"; {starts[0]['kill_active']:,} rooms in memory at the kill" if "kill_active" in starts[0] else ""
    return Record(
        benchmark=NAME,
        case=case,
        value=middle("seconds"),
        unit="s",
        target=START_SECONDS,
        lower_is_better=True,
        note=(
            f"opened after {middle('opened'):.2f} s, a first post durable after {middle('posted'):.2f} s, the replica up to date "
            f"after {middle('current'):.2f} s{active}"
        ),
    )
