"""What is wrong with a scenario before any seed runs, in its author's words: no seed would say it better."""

import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors import Actor
from durable_rooms.simulation.scenario import Scenario


class NotAScenario(Exception):
    """There is nothing to simulate; the message says why."""


def refuse_unfit(scenario: type[Scenario]) -> None:
    """Raises NotAScenario."""
    try:
        made = scenario()
    except Exception as error:
        raise NotAScenario(f"{scenario.name()}() raised {error!r}{line_of(error)}") from error
    for mistake in _mistakes(made):
        raise NotAScenario(f"{scenario.name()}: {mistake}")


def line_of(error: BaseException) -> str:
    """Where it was raised, as the last words of a message."""
    if isinstance(error, SyntaxError):
        return ""  # it says so itself
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _mistakes(scenario: Scenario) -> Iterator[str]:
    actors: Any = scenario.actors
    if not actors or not all(isinstance(one, type) and issubclass(one, Actor) for one in actors):
        yield "`actors` lists the actor classes that its clients call, as in `actors = (Poll,)`"
        return
    if type(scenario).client is Scenario.client:
        yield "it has no `client`: say what one visit of a client does, as in `async def client(self, client): ...`"
    for name in ("client", "check"):
        if not inspect.iscoroutinefunction(getattr(scenario, name)):
            yield f"`{name}` is awaited: write `async def {name}`"
    if scenario.clients < 1 or scenario.visits < 1:
        yield "`clients` and `visits` are 1 or more"
    for number, release in enumerate(scenario.releases, 1):
        for name in {one.__name__ for one in actors} - {one.__name__ for one in release}:
            yield f"release {number} has no class named {name}: it goes by the same name (`Later.__name__ = {name!r}`)"
    yield from _mistakes_of_reads(scenario)


def _mistakes_of_reads(scenario: Scenario) -> Iterator[str]:
    for method in scenario.reads:
        handlers = [getattr(actor, method) for actor in scenario.actors if hasattr(actor, method)]
        if not handlers:
            yield f"`reads` names {method}, and no class of `actors` has it"
        for handler in handlers:
            try:
                inspect.signature(handler).bind(None)
            except TypeError as error:
                yield f"`reads` names {method}, which cannot be called without arguments: {error}"
    model: Any = scenario.model
    if model is None:
        if scenario.replica_reads:
            yield "`replica_reads` is compared with `model`, and there is none"
    elif not isinstance(model, type):
        yield "`model` is a class, of which each room gets an object of its own"
    else:
        for method in (*scenario.reads, *scenario.replica_reads):
            if not hasattr(model, method):
                yield f"the model {model.__name__} has no method {method}, so nothing could explain what it shows"
