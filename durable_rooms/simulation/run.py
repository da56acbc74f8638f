"""Many seeds, over the processors of this machine."""

import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from durable_rooms.simulation.report import Report
from durable_rooms.simulation.scenario import Scenario
from durable_rooms.simulation.simulation import Found, Simulation

FAILURES_MAX = 5  # then it is clear, and the rest of the seeds would only cost time
SEEDS_AHEAD = 4  # a process, so that none waits for the next one

Progress = Callable[[Report, int], None]  # the report so far, and how many seeds there are


class NotAScenario(Exception):
    """The text names no scenario; the message says why."""


def scenario_of(text: str) -> type[Scenario]:
    """`module:Class`, found as `python -m` finds modules: the current directory first.

    Raises:
      NotAScenario.
    """
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name):
        raise NotAScenario(f"{text!r} names no scenario; say MODULE:Scenario, as in my_package.simulations:Votes")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise NotAScenario(f"{text}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Scenario)):
        raise NotAScenario(f"{text} is no subclass of durable_rooms.simulation.Scenario")
    return found


def simulate(
    scenario: type[Scenario], *, seeds: int, first_seed: int = 1, processes: int | None = None, progress: Progress | None = None
) -> Report:
    """Run seeds until all are done or FAILURES_MAX have failed; 0.3 to 2 s a seed and processor.

    Args:
      scenario: with `processes` other than 1 one that can be imported by its name.
      processes: else as many as the machine has processors.
    """
    began = time.monotonic()
    report = Report(scenario.name(), first_seed)
    numbers = range(first_seed, first_seed + seeds)
    processes = min(processes or os.cpu_count() or 1, seeds)
    found = _here(scenario, numbers) if processes == 1 else _over_processes(scenario.name(), numbers, processes)
    for seed, one in found:
        report.add(seed, one)
        report.seconds = time.monotonic() - began
        if progress is not None:
            progress(report, seeds)
        if len(report.failures) >= FAILURES_MAX:
            break
    report.failures.sort(key=lambda failure: failure.seed)
    return report


def _here(scenario: type[Scenario], seeds: range) -> Iterator[tuple[int, Found]]:
    for seed in seeds:
        yield seed, quietly(Simulation(scenario(), seed))


def _over_processes(name: str, seeds: range, processes: int) -> Iterator[tuple[int, Found]]:
    left = iter(seeds)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: dict[Future[Found], int] = {}
        try:
            while True:
                while len(running) < processes * SEEDS_AHEAD and (seed := next(left, None)) is not None:
                    running[pool.submit(one_seed, name, seed)] = seed
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def one_seed(name: str, seed: int) -> Found:
    return quietly(Simulation(scenario_of(name)(), seed))


def quietly(simulation: Simulation) -> Found:
    """The runtime complains of every injected fault, and rightly so; nobody wants to read it here."""
    logger = logging.getLogger("durable_rooms")
    before, logger.disabled = logging.root.manager.disable, False
    logging.disable(logging.CRITICAL)
    try:
        return simulation.run()
    finally:
        logging.disable(before)
