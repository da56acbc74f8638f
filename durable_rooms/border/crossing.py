"""A call that crosses the border: an envelope whose caller waits outside the runtime's thread."""

import math
from time import monotonic
from typing import Any, Protocol

import trio

from actors.actor import Actor
from actors.calls import keyed, timeouts
from actors.calls.envelope import Envelope
from actors.errors import CallTimeout, OutcomeUnknown, RoomsError, RuntimeClosed
from actors.limits import TIMEOUT_GRACE_SECONDS
from actors.names import RoomName
from actors.reads.read import IN_ROOM
from actors.room import Terms
from durable_rooms.runtime import Runtime

STOPPING = "the runtime is stopping"


class Item(Protocol):
    """Something that crosses: a call or a job. Between `begin` and its outcome it is under way."""

    waiter: Any  # of the desk's kind: whoever waits for the outcome
    abandoned: bool

    def begin(self, crew: "Crew") -> None:
        """In the runtime's thread. An abandoned one comes a second time, to be forgotten."""
        ...

    def turn_away(self, why: str) -> None:
        """The runtime has ended before there was an outcome."""
        ...


class Desk(Protocol):
    """Where outcomes come out on the host's side."""

    def put(self, item: Item) -> None:
        """Wake whoever waits for it. In the runtime's thread, mostly; never raises."""
        ...


class Crew(Protocol):
    """What an item finds in the runtime's thread."""

    runtime: Runtime
    nursery: trio.Nursery | None  # for jobs; None once the runtime stops
    under_way: set[Item]


class Crossing(Envelope):
    __slots__ = ("actor", "crew", "desk", "name", "scope", "sent_at", "source", "terms", "waiter")

    actor: type[Actor]
    name: RoomName
    terms: Terms
    source: str  # of the outcome
    desk: Desk
    waiter: Any
    crew: Crew | None  # once it is under way
    sent_at: float  # on the host's clock, for its timeout
    scope: trio.CancelScope | None  # of a read that has begun: nobody waits for one whose caller has left

    def to(self, actor: type[Actor], name: RoomName, terms: Terms, desk: Desk, waiter: Any) -> None:
        """Where it goes, and where its outcome comes out. Once, before it is sent."""
        self.actor = actor
        self.name = name
        self.terms = terms
        self.source = IN_ROOM
        self.desk = desk
        self.waiter = waiter
        self.crew = None
        self.scope = None
        self.timeout = terms.timeout
        if terms.timeout != math.inf:
            self.sent_at = monotonic()
        if terms.key is not None:
            keyed.put_under(terms.key, self, name)

    def begin(self, crew: Crew) -> None:
        if self.abandoned:
            crew.under_way.discard(self)
            if self.scope is not None:
                self.scope.cancel()
            return
        if self.timeout != math.inf:
            self.deadline = trio.current_time() + self.timeout - (monotonic() - self.sent_at)
        self.crew = crew
        crew.under_way.add(self)
        if self.handler.is_read:
            self._begin_read(crew.runtime)
            return
        try:
            crew.runtime.submit(self.name, self)
        except RoomsError as error:
            self.error = error
            self.release()

    def _begin_read(self, runtime: Runtime) -> None:
        self.scope = trio.CancelScope()
        try:
            runtime.start_read(self.name, self._read)
        except RoomsError as error:
            self.error = error
            self.release()

    async def _read(self) -> None:
        """A task of the runtime's own: its stop waits for it, as for calls."""
        assert self.crew is not None, "it has begun"
        assert self.scope is not None, "it is a read"
        runtime = self.crew.runtime
        try:
            with self.scope:
                answer = await runtime.read(runtime.read_call(self.actor, self.name, self), self.terms)
                assert answer is not None, "without a deadline there is none to miss"
                self.value, self.position, self.source = answer.value, answer.position, answer.source
        except trio.Cancelled:
            self.turn_away(STOPPING)
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # Ctrl-C never comes here: the read itself raised it
            self.error = error
        self.release()

    def release(self) -> None:
        """Let the noted outcome out to the caller; once, as a task is woken once."""
        if self.out:
            return
        self.out = True
        if self.crew is not None:
            self.crew.under_way.discard(self)
        witness = self.terms.witness
        if witness is not None and self.error is None and not self.handler.is_read:
            witness.saw_room(self.name, self.position)
        if not self.abandoned:
            self.desk.put(self)

    @property
    def patience_seconds(self) -> float:
        """How long its caller waits beyond its timeout: for the room's own word on a call that has begun."""
        return TIMEOUT_GRACE_SECONDS if self.begun and not self.handler.is_read else 0.0

    def timed_out(self) -> CallTimeout:
        """The error for a caller who has abandoned it at its timeout."""
        return timeouts.no_answer(self, str(self.name))

    def turn_away(self, why: str) -> None:
        room = str(self.name)
        if self.begun:
            self.error = OutcomeUnknown(f"{room}: {why} while this call was under way. Read before you repeat it.", room=room)
        else:
            self.error = RuntimeClosed(f"{room}: {why}. Nothing ran.", room=room)
        self.release()
