"""What many seeds have found, counted honestly: an image once per contents, a fault as often as it was reached."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from durable_rooms.simulation.plan import FAULT_NAMES
from durable_rooms.simulation.simulation import Failure, Found
from durable_rooms.simulation.troubles import TROUBLES

ENDS = ("orderly stop", "kill", "power cut", "cut during recovery", "torn write", "garbage in a sector")
EVERY_FAULT = (*ENDS, *FAULT_NAMES, *TROUBLES)
SEEDS_FOR_ALL = 200  # a fault that so many seeds did not reach is not simulated at all, whatever the code says
REFUSED_MAX = 50  # calls of one method, if none of it was ever answered
WORDS_MAX = 200  # of an error


@dataclass
class Report:
    """Attributes as in the JSON of `durable-rooms simulate`.

    `trace`: hash of all traces, in the order of the seeds; equal for equal seeds, on every machine.
    """

    scenario: str
    first_seed: int
    every_fault: bool = True  # one that was never reached is a failure
    seeds: int = 0
    crash_points: int = 0
    virtual_seconds: float = 0.0
    replica_reads: int = 0
    replica_answers: int = 0
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EVERY_FAULT, 0))
    failures: list[Failure] = field(default_factory=list[Failure])
    _calls: Found = field(default_factory=Found)
    _images: set[bytes] = field(default_factory=set[bytes])
    _traces: dict[int, str] = field(default_factory=dict[int, str])

    def add(self, seed: int, found: Found) -> None:
        self.seeds += 1
        self.crash_points += found.crash_points
        self.virtual_seconds += found.virtual_seconds
        self.replica_reads += found.replica_reads
        self.replica_answers += found.replica_answers
        self.failures += found.failures
        self._calls.count_calls(found.answered, found.refused)
        self._images |= found.images
        self._traces[seed] = found.trace
        for name, times in found.faults.items():
            self.faults[name] = self.faults.get(name, 0) + times

    @property
    def images(self) -> int:
        """Of different contents, each opened by the product's start and checked."""
        return len(self._images)

    @property
    def trace(self) -> str:
        traces = "".join(self._traces[seed] for seed in sorted(self._traces))
        return hashlib.blake2b(traces.encode(), digest_size=16).hexdigest()

    @property
    def unreached(self) -> list[str]:
        """Faults that should have been met and never were."""
        if self.seeds < SEEDS_FOR_ALL or self.failures:
            return []
        return [name for name, times in self.faults.items() if not times]

    @property
    def answered(self) -> int:
        """Calls that returned, or raised what their handler raises."""
        return sum(self._calls.answered.values())

    @property
    def unanswered(self) -> list[str]:
        """Methods that were called and called and never answered, in words: nothing is known of them."""
        if self.failures:
            return []
        refused = {name: told for name, told in self._calls.refused.items() if name not in self._calls.answered}
        return [
            f"{name} ({times:,} calls), the last: {words[:WORDS_MAX]}"
            for name, (times, words) in refused.items()
            if times >= REFUSED_MAX or not self.answered
        ]

    @property
    def good(self) -> bool:
        missed = self.unanswered or (self.every_fault and self.unreached)
        return bool(self.answered) and not self.failures and not missed

    @property
    def first_failing_seed(self) -> int | None:
        return min((failure.seed for failure in self.failures), default=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "first_seed": self.first_seed,
            "seeds": self.seeds,
            "failures": len(self.failures),
            "first_failing_seed": self.first_failing_seed,
            "answered": self.answered,
            "unanswered": self.unanswered,
            "crash_points": self.crash_points,
            "images": self.images,
            "faults": self.faults,
            "unreached": self.unreached,
            "replica_reads": self.replica_reads,
            "replica_answers": self.replica_answers,
            "virtual_seconds": round(self.virtual_seconds, 3),
            "seconds": round(self.seconds, 3),
            "trace": self.trace,
            "problems": [
                {"seed": one.seed, "where": one.where, "problems": one.problems, "plan": one.plan.lines(), "events": one.events}
                for one in self.failures
            ],
        }
