"""How a figure is measured: beside its ceiling, in turns, and the median counts. Also percentiles.

On a machine that others use, two numbers taken a minute apart cannot be compared. So a figure is never measured alone:
ceiling, figure, ceiling, figure, …, ceiling; each figure is divided by the mean of its two neighbours; the turn with the
median ratio is reported, its figure and its ceiling together.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.progress import Progress
from benchmarks.sizes import Size

Measure = Callable[[], Awaitable[float]]
"""Takes one measurement and gives a rate; higher is better."""


class Measured(NamedTuple):
    value: float
    ceiling: float

    @property
    def ratio(self) -> float:
        return self.value / self.ceiling


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark is given: how much to do, where to put files (an empty directory of its own), whom to tell."""

    size: Size
    path: Path
    progress: Progress

    def place(self, name: str) -> Path:
        place = self.path / name
        place.mkdir(parents=True)
        return place


async def beside(
    bench: Bench, figure: Measure, ceiling: Measure, settle: Callable[[], Awaitable[None]] | None = None
) -> Measured:
    """Measure both in turns, `repeats` times; `settle` runs before each ceiling: nothing of the figure is at work then."""

    async def floor() -> float:
        if settle is not None:
            await settle()
        return await ceiling()

    turns: list[Measured] = []
    before = await floor()
    for number in range(1, bench.size.repeats + 1):
        bench.progress.step(f"{number} of {bench.size.repeats}")
        value = await figure()
        after = await floor()
        turns.append(Measured(value, (before + after) / 2))
        before = after
    return middle(turns)


def middle(turns: Sequence[Measured]) -> Measured:
    """The turn with the median ratio (the lower of two)."""
    return sorted(turns, key=lambda turn: turn.ratio)[(len(turns) - 1) // 2]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank); NaN without values."""
    if not values:
        return math.nan
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def p50_p99_ms(seconds: Sequence[float]) -> str:
    return f"p50 {percentile(seconds, 50) * 1e3:.2f} ms, p99 {percentile(seconds, 99) * 1e3:.2f} ms"
