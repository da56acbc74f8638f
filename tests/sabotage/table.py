"""The runner: every variant against the simulator, and every directed scenario against the product as it is."""

import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from durable_rooms.simulation import ChatScenario, Found, Simulation, plan_of
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.simulation import RAM_DISK
from tests.sabotage import files, followers, reads, rounds
from tests.sabotage.theatre import Shown, Theatre
from tests.sabotage.variants import SEEDS_MAX, Scene, Variant, sabotaged

VARIANTS: Sequence[Variant] = (*rounds.VARIANTS, *files.VARIANTS, *followers.VARIANTS, *reads.VARIANTS)
PROCESSES = 2
CUTS = 36  # of a life: many lives see more of a variant than many cuts of one, and each is lived again without the variant


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one variant. `by`: the seed or the directed scenario that caught it, "" if none did."""

    variant: str
    rule: int | None
    by: str
    crash_points: int
    seconds: float
    shows: str  # what a caller would have seen, or why the verdict is worth nothing
    also: str

    @property
    def caught(self) -> bool:
        return bool(self.by)


def judged(name: str, seeds: int = SEEDS_MAX) -> Verdict:
    """Try one variant until it is caught."""
    (variant,) = (one for one in VARIANTS if one.name == name)
    began = time.monotonic()
    try:
        by, crash_points, shows = _played(variant) if variant.scene else _sown(variant, seeds)
    except AssertionError as missed:
        by, crash_points, shows = "", 0, f"the scenario did not come to its moment: {missed!r}"
    return Verdict(variant.name, variant.rule, by, crash_points, round(time.monotonic() - began, 1), shows, variant.also)


def _played(variant: Variant) -> tuple[str, int, str]:
    assert variant.scene is not None
    sound = played(variant.scene)
    if sound.problems:
        return "", sound.crash_points, f"the scenario fails on the product as it is: {_first(sound.problems)}"
    with sabotaged(variant):
        found = played(variant.scene)
    name = variant.scene.__name__.replace("_", " ")
    return name if found.problems else "", found.crash_points, _first(found.problems)


def played(scene: Scene) -> Theatre:
    """A directed scenario from its beginning to its end, or to the first problem."""
    ram = str(RAM_DISK) if RAM_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="durable-rooms-sabotage-", dir=ram) as directory:
        theatre = Theatre(Path(directory))
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # the runtime complains of every injected fault, and rightly so
        try:
            scene(theatre)
        except Shown:
            pass
        finally:
            logging.disable(before)
        return theatre


def _sown(variant: Variant, seeds: int) -> tuple[str, int, str]:
    """A seed that the product itself does not pass says nothing of the variant."""
    crash_points = 0
    for seed in range(1, seeds + 1):
        with sabotaged(variant):
            found = _lived(seed)
        crash_points += found.crash_points
        if found.failures and not _lived(seed).failures:
            return f"seed {seed}", crash_points, _first(found.failures[0].problems)
    return "", crash_points, f"{seeds} seeds have passed"


def _lived(seed: int) -> Found:
    scenario = ChatScenario()
    return quietly(Simulation(scenario, seed, plan=plan_of(seed, scenario.clients, scenario.visits, cuts=CUTS)))


def _first(problems: Sequence[str]) -> str:
    return problems[0] if problems else ""


# -- the table ----------------------------------------------------------------------------------------------------------
def verdicts(variants: Sequence[Variant]) -> Iterator[Verdict]:
    """Of each, in their order; two at once, each in a process that has imported the product anew."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        yield from pool.map(judged, [variant.name for variant in variants])


def main(arguments: Sequence[str]) -> int:
    """`--json`; words pick the variants whose names contain them."""
    words = [one for one in arguments if not one.startswith("-")]
    chosen = [one for one in VARIANTS if not words or any(word in one.name for word in words)]
    if not chosen:
        print(
            f"no variant is named like {' '.join(words)}; there are: {', '.join(one.name for one in VARIANTS)}", file=sys.stderr
        )
        return 2
    found: list[Verdict] = []
    as_json = "--json" in arguments
    if not as_json:
        print(f"{'known-bad variant':52} {'rule':>4}  {'caught by':38} {'crash points':>12} {'seconds':>8}")
    for verdict in verdicts(chosen):
        found.append(verdict)
        if not as_json:
            by = verdict.by or "NOT CAUGHT"
            print(
                f"{verdict.variant:52} {verdict.rule or '–':>4}  {by:38} {verdict.crash_points:>12,} {verdict.seconds:>8.1f}",
                flush=True,
            )
    missed = [verdict for verdict in found if not verdict.caught]
    if as_json:
        print(
            json.dumps(
                {"variants": len(found), "caught": len(found) - len(missed), "table": [asdict(one) for one in found]}, indent=2
            )
        )
    else:
        print(f"{len(found) - len(missed)} of {len(found)} caught")
        for verdict in (verdict for verdict in found if verdict.also):
            print(f"{verdict.variant}: {verdict.also}")
        for verdict in missed:
            print(f"not caught: {verdict.variant}: {verdict.shows}")
    return 1 if missed else 0
