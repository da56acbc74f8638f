"""Measures: power cuts a second of `durable-rooms simulate` on all processors: one room with a replica lives three lives a seed
and is cut at 400 places of each; every different image is opened by the product's own start, the room is read, the replies that
were known at each cut that left it are explained, the replica catches up and is compared, and the runtime stops in order. Living
and starting the processes is in the figure. The second case has long silences: virtual seconds a real second, cuts and looks
included.

Ceilings: none.

Not measured: scenarios with many rooms (each costs a look 1 to 3 ms), the search for a shorter failing case.
"""

from typing import Any

from benchmarks.harness import Bench
from benchmarks.process import in_child
from benchmarks.records import SIMULATED_CUTS, SIMULATED_SECONDS, Record

NAME = "simulation"
COMMAND = "durable_rooms"


async def run(bench: Bench) -> list[Record]:
    busy = await _simulate(bench, bench.size.simulated_room, bench.size.simulated_seeds)
    idle = await _simulate(bench, "Idlers", bench.size.idle_seeds)
    return [
        Record(
            benchmark=NAME,
            case="one room with a replica",
            value=busy["crash_points"] / busy["seconds"],
            unit="cuts/s",
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
