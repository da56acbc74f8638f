"""Many seeds, over the processors of this machine."""

import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context
from operator import attrgetter
from pathlib import Path

from durable_rooms.simulation.fit import NotAScenario, line_of, refuse_unfit
from durable_rooms.simulation.report import Report
from durable_rooms.simulation.scenario import Scenario
from durable_rooms.simulation.simulation import Found, Simulation, temporary_directory

FAILURES_MAX = 5  # then it is clear, and the rest of the seeds would only cost time
SEEDS_AHEAD = 4  # a process, so that none waits for the next one

Progress = Callable[[Report, int], None]  # the report so far, and how many seeds there are


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
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise NotAScenario(f"{text}: {error}") from error
    except (Exception, SystemExit) as error:
        raise NotAScenario(f"{text}: the import of {module_name} raised {error!r}{line_of(error)}") from error
    try:
        found = attrgetter(name)(module)
    except AttributeError as error:
        raise NotAScenario(f"{text}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Scenario)):
        raise NotAScenario(f"{text} is no subclass of durable_rooms.simulation.Scenario")
    refuse_unfit(found)
    return found


def simulate(
    scenario: type[Scenario], *, seeds: int, first_seed: int = 1, processes: int | None = None, progress: Progress | None = None
) -> Report:
    """Run seeds until all are done or FAILURES_MAX have failed; 3 to 10 s a seed and processor.

    Args:
      scenario: one that cannot be imported by its name runs in this process alone.
      processes: else as many as the machine has processors.

    Raises:
      NotAScenario: no seed could run.
    """
    refuse_unfit(scenario)
    began = time.monotonic()
    report = Report(scenario.name(), first_seed, scenario.every_fault)
    numbers = range(first_seed, first_seed + seeds)
    processes = min(processes or os.cpu_count() or 1, seeds) if is_importable(scenario) else 1
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


def is_importable(scenario: type[Scenario]) -> bool:
    try:
        return scenario_of(scenario.name()) is scenario
    except NotAScenario:
        return False


def _here(scenario: type[Scenario], seeds: range) -> Iterator[tuple[int, Found]]:
    for seed in seeds:
        yield seed, quietly(Simulation(scenario(), seed))


def _over_processes(name: str, seeds: range, processes: int) -> Iterator[tuple[int, Found]]:
    left = iter(seeds)
    others = set(active_children())
    with (
        temporary_directory() as directory,
        ProcessPoolExecutor(
            processes,
            get_context("spawn"),
            signal.signal,
            (signal.SIGINT, signal.SIG_IGN),  # the parent hears of Ctrl-C, and ends them
        ) as pool,
    ):
        running: dict[Future[Found], int] = {}
        try:
            while True:
                while len(running) < processes * SEEDS_AHEAD and (seed := next(left, None)) is not None:
                    running[pool.submit(one_seed, name, seed, directory)] = seed
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:  # Ctrl-C, or it is clear already: what is under way may take long, and may never end
            for child in set(active_children()) - others:
                child.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def one_seed(name: str, seed: int, directory: str) -> Found:
    """In a directory of the parent's, who removes it also where this process is ended."""
    with temporary_directory(directory) as own:
        return quietly(Simulation(scenario_of(name)(), seed, directory=Path(own)))


def quietly(simulation: Simulation) -> Found:
    """The runtime complains of every injected fault, and rightly so; nobody wants to read it here."""
    logger = logging.getLogger("durable_rooms")
    before, logger.disabled = logging.root.manager.disable, False
    logging.disable(logging.CRITICAL)
    try:
        return simulation.run()
    finally:
        logging.disable(before)
