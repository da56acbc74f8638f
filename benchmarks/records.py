"""One measured figure, its ceiling, what it must reach, and the verdict. No measuring here.

With a ceiling, `at_least` and `aim` are about the ratio of figure to ceiling; without one, or where the target is `absolute`,
about the figure itself. `lower_is_better` turns the comparison round (latencies); what stands beside such a figure is a floor.
"""

from collections.abc import Iterable, Mapping, Sequence
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
TELLS = Target(5_000, 15_000)
ONE_CALLER = Target(0.4, 0.7)
PING_ONE = Target(0.4, 0.7)
PING_MANY = Target(0.25, 0.5)
ROOM_CALLS = Target(0.5, 0.8)
HISTORY = Target(0.5, 0.75)
REPLICA_APPLY = Target(0.7, 0.85)
REPLICATION_COST = Target(0.6, 0.8)
REPLICATION_LAG_MS = Target(100, 65)
NEW_ROOMS = Target(500, 1_500)
WAKE_MS = Target(2, 1)
OPEN_ROOM_KIB = Target(200, 150)
CLOSED_ROOM_BYTES = Target(64, 64)  # "0": below what a dict entry costs, and above the noise of RSS (see memory)
START_SECONDS = Target(3, 1)
CATCH_UP = Target(5, 10)
CHURN = Target(5, 2)
CHECKPOINT_STALL_MS = Target(10, 5)
ASYNCIO_PING = Target(0.3, 0.6)
ASYNCIO_POSTS = Target(0.5, 0.8)
ASYNCIO_PING_US = Target(200, 80)
THREADS_PING = Target(0.05, 0.15)
HTTP_POSTS = Target(0.6, 0.8)
SCOPED_READ = Target(0.6, 0.8)
READ_THROUGH_ROUTER = Target(0.8, 1.5)
READS_BESIDE_WRITES = Target(1.5, 1.9)
WRITES_BESIDE_READS = Target(2, 1.3)
READ_OWN_WRITE_PERCENT = Target(99, 99.9)
OUTAGE_P99 = Target(1.2, 1.1)
SEARCH_MS = Target(20, 5)
IDEMPOTENCY = Target(0.6, 0.8)
IDEMPOTENCY_RANDOM = Target(0.5, 0.6)  # a page of the WAL for each key
MIXED = Target(1.0, 1.5)
OFFLOAD_PING_MS = Target(10, 5)
OVERLOAD_GOODPUT = Target(0.8, 0.95)
OVERLOAD_REFUSED_MS = Target(50, 10)
ALARMS_PENDING = Target(0.95, 0.99)  # 1 / 1.05; what is beyond 0.99 is the noise of two runtimes
SIMULATED_CUTS = Target(200, 500)
SIMULATED_SECONDS = Target(1_000, 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    benchmark: str
    case: str
    value: float
    unit: str
    ceiling: float | None = None
    target: Target | None = None
    absolute: bool = False
    """The target is about the figure itself, although there is a ceiling or a floor beside it."""
    lower_is_better: bool = False
    note: str = ""
    """What else was seen in this run: latencies, syncs per post, lag."""
    series: Mapping[str, Sequence[float]] | None = None
    """Figures over time, for a picture; the clock is called "seconds"."""

    def __post_init__(self) -> None:
        by_ratio = self.ceiling is not None and not self.absolute
        assert not (by_ratio and self.lower_is_better), "a target about a ratio is always: higher is better"

    @property
    def ratio(self) -> float | None:
        return None if self.ceiling is None else self.value / self.ceiling

    @property
    def judged(self) -> float:
        """The number that the target is about."""
        return self.value if self.ceiling is None or self.absolute else self.value / self.ceiling

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
            "absolute": self.absolute,
            "lower_is_better": self.lower_is_better,
            "note": self.note,
        } | ({} if self.series is None else {"series": self.series})


def missed(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.passed is False]
