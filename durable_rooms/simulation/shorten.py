"""A shorter failing case: faults, troubles, lives, clients and visits are left out as long as it still fails."""

import errno
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, get_args, get_type_hints

from durable_rooms.simulation.faults import KINDS
from durable_rooms.simulation.plan import End, FaultPlan, LifePlan, Plan, without
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.scenario import Scenario
from durable_rooms.simulation.simulation import Failure, Simulation
from durable_rooms.simulation.troubles import TROUBLES

SECONDS_MAX = 60.0  # a person waits
CUTS = 24  # of each life of a shorter case: its trace is another, and so are the places where it shows


def shorten(scenario: type[Scenario], failure: Failure, *, seconds: float = SECONDS_MAX) -> Failure:
    """The smallest failing plan found within the time; the one given if none is smaller."""
    end = time.monotonic() + seconds
    best = failure
    while (smaller := _next(scenario, best, end)) is not None:
        best = smaller
    return best


def _next(scenario: type[Scenario], failure: Failure, end: float) -> Failure | None:
    for plan in smaller_plans(failure.plan):
        if time.monotonic() > end:
            return None
        found = quietly(Simulation(scenario(), failure.seed, plan=plan))
        if found.failures:
            return found.failures[0]
    return None


def smaller_plans(plan: Plan) -> Iterator[Plan]:
    """The largest steps first."""
    plan = replace(plan, cuts=max(plan.cuts, CUTS))
    if len(plan.lives) > 1:
        yield replace(plan, lives=plan.lives[:-1])
        yield replace(plan, lives=plan.lives[1:])
    bare = tuple(replace(life, faults=(), troubles=()) for life in plan.lives)
    if bare != plan.lives:
        yield replace(plan, lives=bare)
    for number, life in enumerate(plan.lives):
        for place in range(len(life.faults)):
            yield without(plan, number, fault=place)
        for place in range(len(life.troubles)):
            yield without(plan, number, trouble=place)
    for clients, visits in ((0.5, 1.0), (1.0, 0.5)):
        lives = tuple(
            replace(life, clients=max(1, int(life.clients * clients)), visits=max(1, int(life.visits * visits)))
            for life in plan.lives
        )
        if lives != plan.lives:
            yield replace(plan, lives=lives)


# -- as text --------------------------------------------------------------------------------------------------------------
def plan_text(plan: Plan) -> str:
    """One line, for a command that replays it."""
    return json.dumps(asdict(plan), separators=(",", ":"))


def plan_from(text: str) -> Plan:
    """Raises ValueError."""
    try:
        raw: dict[str, Any] = json.loads(text)
        lives = [
            LifePlan(
                **life
                | {
                    "faults": tuple(FaultPlan(**fault) for fault in life["faults"]),
                    "troubles": tuple((name, when) for name, when in life["troubles"]),
                }
            )
            for life in raw.pop("lives")
        ]
        plan = Plan(**raw, lives=tuple(lives))
        _refuse_unknown(plan)
        return plan
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no plan: {error}") from error


def _refuse_unknown(plan: Plan) -> None:
    if not plan.lives:
        raise ValueError("this is no plan: it has no lives")
    faults = [fault for life in plan.lives for fault in life.faults]
    for part in (plan, *plan.lives, *faults):
        _refuse_wrong_types(part)
    troubles: list[Any] = [trouble for life in plan.lives for trouble in life.troubles]
    unknown: list[object] = [life.end for life in plan.lives if life.end not in get_args(End)]
    unknown += [name for name, _ in troubles if name not in TROUBLES]
    unknown += [when for _, when in troubles if not isinstance(when, int | float) or when < 0]
    unknown += [fault.kind for fault in faults if fault.kind not in KINDS]
    unknown += [fault.code for fault in faults if fault.code not in errno.errorcode]
    if unknown:
        raise ValueError(f"this is no plan: nobody knows what {unknown[0]!r} is")


def _refuse_wrong_types(part: Plan | LifePlan | FaultPlan) -> None:
    for name, kind in get_type_hints(type(part)).items():
        value: Any = getattr(part, name)
        of_it = isinstance(value, kind) if kind in (bool, int, str) else name != "by" or isinstance(value, str | None)
        if not of_it or (isinstance(value, int) and value < 0):
            raise ValueError(f"this is no plan: {name} is {value!r}")
