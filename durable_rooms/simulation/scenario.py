"""A scenario: actor classes, the clients that call them, and what must hold whenever the power fails.

class Votes(Scenario):
    actors = [Poll]

    async def client(self, client):
        poll = client.room(Poll, client.random.choice("ab"))
        await poll.vote(client.name)

    async def check(self, after):
        for vote in after.acknowledged("vote"):
            assert vote.args[0] in await after.room(Poll, vote.id).voters(), f"{vote} and is gone"

durable-rooms simulate my_module:Votes --seeds 200
"""

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import Actor, Limits, Room
from durable_rooms.runtime import Runtime
from durable_rooms.simulation.client import Client, Place
from durable_rooms.simulation.history import Call, History
from durable_rooms.simulation.plan import CUTS

SMALL = Limits(open_rooms_max=2, wal_bytes_max=60_000, broken_rooms_max=1_000)  # rooms leave and checkpoint all the time


class Scenario:
    """What is simulated. Instances hold nothing that must survive: the classes' rooms do.

    Attributes:
      actors: the classes.
      releases: for lives after the first, classes of later releases with more migrations; the last one stays.
      clients, visits: so many clients at once, each calls `client` so often in each life.
      cuts: the power is cut at so many places of each life.
      limits: of the runtime; by default small ones, so that rooms leave memory and checkpoint all the time.
      model: a plain class with the same methods, one object for one room: every reply must be explained by running the commands
        in the order of `seq` on it. Methods that it lacks change nothing that it shows; where it raises, the call left no trace.
      reads: methods without arguments that are called after a restart on every room that has them; with a model they must be
        explained, too.
      replica_reads: method of the model → query on the replica with one `?` for the room's id: its first column, read at any
        moment, must be what the method gives at the replica's position. Of rooms whose class has the method, if any class has.
      every_fault: a fault that 200 seeds never reached fails the run. Few rooms or little data do not reach all of them.
    """

    actors: Sequence[type[Actor]] = ()
    releases: Sequence[Sequence[type[Actor]]] = ()
    clients: int = 4
    visits: int = 8
    cuts: int = CUTS
    limits: Limits = SMALL
    model: type[Any] | None = None
    reads: Sequence[str] = ()
    replica_reads: Mapping[str, str] = {}
    every_fault: bool = False

    _told: Callable[[tuple[Any, ...]], None] | None = None

    async def client(self, client: Client) -> None:
        """One visit of one client. Errors of the runtime may end it anywhere, as they would end a request; what handlers raise on
        purpose it catches itself, anything else is a failure."""
        raise NotImplementedError

    async def check(self, after: "After") -> None:
        """Called on what a cut has left, in a runtime that was opened on it; raise AssertionError."""

    def told(self, *fact: Any) -> None:
        """Somebody outside learns something now (a mail leaves, a socket is written): `after.facts` has it from here on."""
        if self._told is not None:
            self._told(fact)

    def classes(self, life: int) -> Sequence[type[Actor]]:
        if life == 0 or not self.releases:
            return self.actors
        return self.releases[min(life - 1, len(self.releases) - 1)]

    def reads_of(self, actor: type[Actor]) -> list[str]:
        return [method for method in self.reads if hasattr(actor, method)]

    def replica_reads_of(self, actor: str, life: int) -> list[tuple[str, str]]:
        """Of the class with this name; a method that is the model's alone is everybody's."""
        having = {method: {one.__name__ for one in self.classes(life) if hasattr(one, method)} for method in self.replica_reads}
        return [(method, query) for method, query in self.replica_reads.items() if not having[method] or actor in having[method]]

    @classmethod
    def name(cls) -> str:
        return f"{cls.__module__}:{cls.__qualname__}"


def where_of(error: BaseException, scenario: Scenario) -> str:
    """The line of the scenario's own file that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    files = {file_of(one) for one in type(scenario).__mro__ if issubclass(one, Scenario) and one is not Scenario}
    own = [frame for frame in frames if frame.filename in files]
    last = (own or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}: {last.line}"


def file_of(scenario: type) -> str:
    try:
        return inspect.getfile(scenario)
    except (OSError, TypeError):  # typed at a prompt
        return "<stdin>"


@dataclass
class After:
    """A world after a cut, opened by the product's own start.

    Attributes:
      runtime: opened on what was left.
      facts: what somebody outside had been told.
      where: the cut, in words.
      shown: what the scenario's `reads` told since: by room ("Class/id"), by method. It is there already, while each further
        call of a room costs 0.3 ms, at each of thousands of cuts.
    """

    place: Place
    history: History
    where: str
    shown: Mapping[str, Mapping[str, Any]]

    @property
    def runtime(self) -> Runtime:
        return self.place.runtime

    def room(self, actor: type[Actor], id: str) -> Room[Any]:
        return self.place.room(actor, id)

    def acknowledged(self, method: str | None = None) -> Iterator[Call]:
        """Calls that had returned before the cut."""
        return self.history.acknowledged(method)

    def unknown(self, method: str | None = None) -> Iterator[Call]:
        """Calls that had no answer yet: applied once or not at all."""
        return self.history.unknown(method)

    @property
    def facts(self) -> list[tuple[Any, ...]]:
        return [fact.what for fact in self.history.facts]
