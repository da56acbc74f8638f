"""How a figure is measured: beside its ceiling, in turns, and the median counts. Also percentiles and progress.

On a machine that others use, two numbers taken a minute apart cannot be compared. So a figure is never measured alone:
ceiling, figure, ceiling, figure, …, ceiling; each figure is divided by the mean of its two neighbours; the turn with the
median ratio is reported, its figure and its ceiling together.
"""

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from benchmarks.sizes import Size

Measure = Callable[[], Awaitable[float]]
"""Takes one measurement and gives a rate; higher is better."""


class Measured(NamedTuple):
    value: float
    ceiling: float

    @property
    def ratio(self) -> float:
        return self.value / self.ceiling


class Progress:
    """Says on a terminal what is being measured, on one line that is overwritten; elsewhere one line a case."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stderr
        self._live = self._out.isatty()
        self._shown = ""

    def case(self, benchmark: str, case: str) -> None:
        self._shown = f"{benchmark} · {case}" if case else benchmark
        self._write("")
        if not self._live:
            print(f"measuring {self._shown}", file=self._out, flush=True)

    def step(self, what: str) -> None:
        self._write(f" · {what}")

    def done(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=self._out, flush=True)

    def _write(self, more: str) -> None:
        if self._live:
            print(f"\r\033[K  {self._shown}{more}"[:150], end="", file=self._out, flush=True)


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
