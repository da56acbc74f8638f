"""Measures: power cuts a second of `durable-rooms simulate` on all processors: one room with a replica lives three lives a seed
and is cut 800 times in each; every different image is opened by the product's own start, the room is read, the replies that
were known at each cut that left it are explained, the replica catches up and is compared, and the runtime stops in order. Living
and starting the processes is in the figure. The second case has long silences: virtual seconds a real second, cuts and looks
included.

Ceiling: images a second that SQLite alone opens, checks, reads and closes, in as many processes, before and after. An image
answers for one or two cuts.

Not measured: scenarios with many rooms (each costs a look 1 to 3 ms), the search for a shorter failing case.
"""

import os
from statistics import fmean
from typing import Any

import trio

from benchmarks.harness import Bench
from benchmarks.process import in_child
from benchmarks.records import SIMULATED_CUTS, SIMULATED_SECONDS, Record

NAME = "simulation"
COMMAND, BARE = "durable_rooms", "benchmarks.bare_images"


async def run(bench: Bench) -> list[Record]:
    before = await _bare(bench)
    busy = await _simulate(bench, bench.size.simulated_room, bench.size.simulated_seeds)
    after = await _bare(bench)
    idle = await _simulate(bench, "Idlers", bench.size.idle_seeds)
    return [
        Record(
            benchmark=NAME,
            case="one room with a replica",
            value=busy["crash_points"] / busy["seconds"],
            unit="cuts/s",
            ceiling=fmean((before, after)),
            absolute=True,
            target=SIMULATED_CUTS,
            note=f"{busy['images']:,} different images of {busy['seeds']:,} seeds in {busy['seconds']:.1f} s, none lost anything",
        ),
        Record(
            benchmark=NAME,
            case="people who say something every ten minutes",
            value=idle["virtual_seconds"] / idle["seconds"],
            unit="virtual s/s",
            target=SIMULATED_SECONDS,
            note=f"{idle['virtual_seconds']:,.0f} virtual seconds, {idle['crash_points']:,} cuts",
        ),
    ]


async def _simulate(bench: Bench, scenario: str, seeds: int) -> dict[str, Any]:
    bench.progress.case(NAME, f"{scenario}, {seeds:,} seeds")
    [found] = await in_child(COMMAND, "simulate", f"benchmarks.simulated_rooms:{scenario}", "--seeds", seeds, "--json")
    return found


async def _bare(bench: Bench) -> float:
    """Images a second, on all processors."""
    bench.progress.case(NAME, "images that SQLite alone opens")
    found: list[float] = []

    async def one() -> None:
        [said] = await in_child(BARE, bench.size.ceiling_seconds)
        found.append(said["per_second"])

    async with trio.open_nursery() as nursery:
        for _ in range(os.cpu_count() or 1):
            nursery.start_soon(one)
    return sum(found)
