"""One measured figure, its ceiling, what it must reach, and the verdict. No measuring here.

With a ceiling, `at_least` and `aim` are about the ratio of figure to ceiling; without one, about the figure itself.
`lower_is_better` turns the comparison round (latencies).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Target(NamedTuple):
    """What a figure must reach (`at_least`) and what we want it to reach (`aim`)."""

    at_least: float
    aim: float


HOT_ROOM = Target(0.15, 0.25)
HOT_ROOM_POSTS_PER_SYNC = Target(100, 200)
SOME_ROOMS = Target(0.20, 0.35)
MANY_ROOMS = Target(0.15, 0.25)
ONE_CALLER = Target(0.4, 0.7)
PING_ONE = Target(0.4, 0.7)
PING_MANY = Target(0.25, 0.5)
HISTORY = Target(0.5, 0.75)
REPLICA_APPLY = Target(0.7, 0.85)
REPLICATION_COST = Target(0.6, 0.8)
REPLICATION_LAG_MS = Target(100, 65)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    benchmark: str
    case: str
    value: float
    unit: str
    ceiling: float | None = None
    target: Target | None = None
    lower_is_better: bool = False
    note: str = ""
    """What else was seen in this run: latencies, syncs per post, lag."""

    def __post_init__(self) -> None:
        assert self.ceiling is None or not self.lower_is_better, "a ratio to a ceiling is always: higher is better"

    @property
    def ratio(self) -> float | None:
        return None if self.ceiling is None else self.value / self.ceiling

    @property
    def judged(self) -> float:
        """The number that the target is about."""
        return self.value if self.ceiling is None else self.value / self.ceiling

    @property
    def passed(self) -> bool | None:
        """None where nothing has to be reached."""
        return None if self.target is None else self._reaches(self.target.at_least)

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        if self._reaches(self.target.aim):
            return "reached aim"
        return "reached" if self.passed else "missed"

    def _reaches(self, bound: float) -> bool:
        return self.judged <= bound if self.lower_is_better else self.judged >= bound

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "case": self.case,
            "value": self.value,
            "unit": self.unit,
            "ceiling": self.ceiling,
            "ratio": self.ratio,
            "at_least": self.target.at_least if self.target else None,
            "aim": self.target.aim if self.target else None,
            "passed": self.passed,
            "lower_is_better": self.lower_is_better,
            "note": self.note,
        }


def missed(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.passed is False]
