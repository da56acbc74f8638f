"""Plans by hand, for tests: what a life meets is chosen here, all else by the seed."""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from durable_rooms.simulation import ChatScenario, Found, Plan, Scenario, Simulation
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.plan import End, LifePlan
from durable_rooms.simulation.run import quietly

STRUCK = "struck"  # what the faults below are counted as


@dataclass(frozen=True)
class FaultByHand:
    """A fault for a LifePlan, of any kind."""

    kind: str
    pattern: str = "*"
    code: int = errno.EIO
    by: str | None = None
    first: int = 1
    for_ever: bool = False
    short: bool = False
    evict: bool = False

    def make(self) -> Fault:
        times = inf if self.for_ever else 1
        return Fault(self.kind, self.pattern, self.code, self.by, self.first, times, self.short, self.evict, name=STRUCK)


def life(end: End = "cut", *faults: FaultByHand, clients: int = 4, visits: int = 8, troubles: Sequence[tuple[str, float]] = ()):
    return LifePlan(end, clients, visits, faults, tuple(troubles))


def lived(
    seed: int, *lives: LifePlan, cuts: int = 4, scenario: Scenario | None = None, of: type[Simulation] = Simulation
) -> Found:
    return quietly(of(scenario or ChatScenario(), seed, plan=Plan(seed, lives, cuts)))


def nothing_lost(founds: Iterable[Found]) -> Found:
    """Sum up, and say what was lost if something was."""
    total = Found()
    for found in founds:
        for failure in found.failures:
            plan, events = "\n".join(failure.plan.lines()), "\n".join(failure.events)
            raise AssertionError(f"seed {failure.seed}, {failure.where}:\n{failure.problems}\n{plan}\n{events}")
        total.images |= found.images
        for name, times in found.faults.items():
            total.struck(name, times)
    return total
