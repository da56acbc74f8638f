"""`durable-rooms simulate`: run seeds, tell what was found, and how to see it again."""

import json
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool

from rich.console import Console
from rich.text import Text

from durable_rooms.simulation import Failure, NotAScenario, Plan, Report, Scenario, scenario_of, simulate
from durable_rooms.simulation.report import ENDS
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.shorten import plan_from, plan_text, shorten
from durable_rooms.simulation.simulation import Simulation
from durable_rooms.verify.words import counted

GOOD, BAD, WRONG = 0, 1, 2
PLAIN_SECONDS = 5.0
SHIPPED = "durable_rooms.simulation:ChatScenario"
PROBLEMS_SHOWN, EVENTS_SHOWN, SEEDS_SHOWN = 5, 12, 5


def simulate_command(
    scenario: str | None, seeds: int, first_seed: int, processes: int | None, plan: str | None, *, as_json: bool
) -> int:
    """Returns the exit code. `scenario`: MODULE:SCENARIO, else the shipped one."""
    scenario = scenario or SHIPPED
    console = Console(stderr=as_json, highlight=False)
    try:
        found = scenario_of(scenario)
        chosen = plan_from(plan) if plan is not None else None
    except (NotAScenario, ValueError) as error:
        print(f"durable-rooms simulate: {error}", file=sys.stderr)
        return WRONG
    try:
        report = replayed(found, chosen) if chosen else watched(found, seeds, first_seed, processes, console)
    except BrokenProcessPool:
        print(
            "durable-rooms simulate: a process that ran seeds has died (a handler that ends the process, or no memory left); "
            "--processes 1 shows where",
            file=sys.stderr,
        )
        return BAD
    if report.failures and not plan:
        with console.status("looking for a shorter failing case") if console.is_terminal else no_status():
            short = shorten(found, report.failures[0])
    else:
        short = None
    if as_json:
        told = report.as_json()
        if short is not None:
            told["shorter_plan"] = plan_text(short.plan)
        print(json.dumps(told))
    else:
        show(console, scenario, report, short)
    return GOOD if report.good else BAD


class no_status:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def replayed(scenario: type[Scenario], plan: Plan) -> Report:
    report = Report(scenario.name(), plan.seed)
    began = time.monotonic()
    report.add(plan.seed, quietly(Simulation(scenario(), plan.seed, plan=plan)))
    report.seconds = time.monotonic() - began
    return report


def watched(scenario: type[Scenario], seeds: int, first_seed: int, processes: int | None, console: Console) -> Report:
    """Run the seeds, with a live line on a terminal and a plain one every few seconds elsewhere."""
    if console.is_terminal:
        with console.status("starting") as status:
            return simulate(
                scenario,
                seeds=seeds,
                first_seed=first_seed,
                processes=processes,
                progress=lambda report, count: status.update(line(report, count)),
            )
    due = time.monotonic() + PLAIN_SECONDS

    def tell(report: Report, count: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PLAIN_SECONDS
            console.print(line(report, count), soft_wrap=True)

    return simulate(scenario, seeds=seeds, first_seed=first_seed, processes=processes, progress=tell)


def line(report: Report, seeds: int) -> str:
    rate = report.seeds / report.seconds if report.seconds else 0.0
    failed = f", {counted(len(report.failures), 'failure')}: {_seeds(report.failures)}" if report.failures else ""
    return (
        f"{report.seeds:,} of {counted(seeds, 'seed')}, {rate:.1f}/s: {counted(report.crash_points, 'cut')}, "
        f"{counted(report.images, 'different image')}, {counted(report.replica_reads, 'look')} at the replica and "
        f"{counted(report.replica_answers, 'answer')} from it, "
        f"{report.virtual_seconds:,.0f} virtual s in {report.seconds:,.0f} s{failed}"
    )


def _seeds(failures: Sequence[Failure]) -> str:
    """The first ones: they can be looked into while the others run."""
    seeds = [f"{seed}" for seed in sorted({failure.seed for failure in failures})]
    more = ["…"] if len(seeds) > SEEDS_SHOWN else []
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds[:SEEDS_SHOWN] + more)}"


def show(console: Console, scenario: str, report: Report, short: Failure | None) -> None:
    verdict = ("NOTHING LOST  ", "bold green") if report.good else ("FAILED  ", "bold red")
    console.print(Text.assemble(verdict, line(report, report.seeds)), soft_wrap=True)
    console.print(
        f"scenario {report.scenario}, seeds {report.first_seed} to {report.first_seed + report.seeds - 1}, trace {report.trace}",
        soft_wrap=True,
    )
    for head, names in (("ended", ENDS), ("faults", [name for name in report.faults if name not in ENDS])):
        met = ", ".join(f"{name} {report.faults[name]:,}" for name in names if report.faults[name])
        console.print(Text(f"{head}: {met or 'none'}"), soft_wrap=True)
    if report.unreached:
        console.print(Text(f"Never reached, so nothing is known of them: {', '.join(report.unreached)}."), soft_wrap=True)
    if not report.answered and not report.failures:
        console.print("No call was ever answered, so nothing is known of any promise.")
    for words in report.unanswered:
        console.print(Text(f"Never answered, so nothing is known of it: {words}"), soft_wrap=True)
    for failure in report.failures:
        console.print(Text(f"\nseed {failure.seed}, {failure.where}:", style="bold"), soft_wrap=True)
        for problem in failure.problems[:PROBLEMS_SHOWN]:
            console.print(Text(f"  {problem}"), soft_wrap=True)
    if report.failures:
        show_one(console, scenario, short or report.failures[0], shorter=short is not None and short is not report.failures[0])


def show_one(console: Console, scenario: str, failure: Failure, *, shorter: bool) -> None:
    """One failing case in full, and the command that shows it again."""
    console.print(Text(f"\n{'A shorter case of' if shorter else 'The case of'} seed {failure.seed}:", style="bold"))
    for text in failure.plan.lines():
        console.print(Text(f"  {text}"), soft_wrap=True)
    if shorter:
        console.print(Text(f"  found {failure.where}: {failure.problems[0]}"), soft_wrap=True)
    console.print("  the last events before it:")
    for text in failure.events[-EVENTS_SHOWN:]:
        console.print(Text(f"    {text}"), soft_wrap=True)
    command = ["durable-rooms", "simulate", *([scenario] if scenario != SHIPPED else [])]
    console.print("See it again:")
    console.print(Text(f"  {shlex.join([*command, '--first-seed', str(failure.seed), '--seeds', '1'])}"), soft_wrap=True)
    if shorter:
        console.print(Text(f"  {shlex.join([*command, '--plan', plan_text(failure.plan)])}"), soft_wrap=True)
