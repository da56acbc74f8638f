"""Does a figure grow? A line through samples that one bad sample cannot bend, and how sure it is that it rises. Pure.

Theil and Sen: the slope is the median of the slopes of all pairs. Its lower bound comes from the distance of the samples from
the line: a rise that could be noise is not growth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

SURE = 2.6  # standard errors: below the lower bound in about 1 of 200 runs without growth
MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Trend:
    slope: float
    """Per unit of x."""
    error: float
    """Standard error of the slope."""

    @property
    def surely(self) -> float:
        """The rise that is left when noise is given the benefit of the doubt; never below 0."""
        return max(0.0, self.slope - SURE * self.error)


def trend(xs: Sequence[float], ys: Sequence[float]) -> Trend:
    """The robust line through the samples; with fewer than three of them nothing is known about noise."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(zip(xs, ys, strict=True), 2) if a[0] != b[0]]
    if not slopes:
        return Trend(0.0, 0.0)
    slope = median(slopes)
    offset = median(y - slope * x for x, y in zip(xs, ys, strict=True))
    distances = [abs(y - slope * x - offset) for x, y in zip(xs, ys, strict=True)]
    mean = sum(xs) / len(xs)
    spread = math.sqrt(sum((x - mean) ** 2 for x in xs))
    return Trend(slope, MAD_TO_SIGMA * median(distances) / spread if len(xs) > 2 else 0.0)
