"""A visitor of a simulated life: the rooms that it calls, and its session, with everything it is told written down."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

import trio

from actors import Actor, BadBookmark, Freshness, Room, Rows, SQLValue
from actors.calls.handlers import FRESH
from durable_rooms.runtime import Runtime
from durable_rooms.session import Session
from durable_rooms.simulation.history import DELETE

NO_SESSION = 0
BINDING = ("acknowledged", "room", None)  # freshness with which a read sees what had returned before it


@dataclass
class Place:
    """A runtime, and the classes that it was opened with."""

    runtime: Runtime
    actors: Sequence[type[Actor]]

    def known(self, actor: type[Actor]) -> type[Actor]:
        """By the class's name: a later release goes by the same one."""
        known = next((one for one in self.actors if one.__name__ == actor.__name__), None)
        if known is None:
            names = ", ".join(one.__name__ for one in self.actors)
            raise LookupError(f"{actor.__name__} is not among the scenario's classes ({names}); add it to `actors`")
        return known

    def room(self, actor: type[Actor], id: str) -> Room[Any]:
        return self.runtime.room(self.known(actor), id)


class Clerk(Protocol):
    """Who writes the history of a life."""

    place: Place

    def begin(
        self,
        room: str,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        late: bool = False,
        session: int = NO_SESSION,
    ) -> int: ...
    def settle(self, number: int, error: BaseException | None, value: Any = None, seq: int = 0, source: str = "room") -> None: ...
    def told(self, fact: tuple[Any, ...]) -> None: ...
    def cookie(self, number: int) -> str | None:
        """The last bookmark that the client with this number was given, in any life."""
        ...

    def keep_cookie(self, number: int, bookmark: str) -> None: ...


@dataclass
class Client:
    """One visitor. `name` is unique in a world, `number` in all lives the same person's; `random` comes from the seed."""

    clerk: Clerk
    name: str
    random: Random
    number: int = NO_SESSION

    def room(self, actor: type[Actor], id: str, fresh: Freshness | None = None, *, key: str | None = None) -> "SimulatedRoom":
        """A room whose calls are written down. The class may be an older release: the name decides. `fresh`: of its reads; with
        seconds or "any" they may see less than had returned before, else that is a failure. `key`: as of `Room.options`."""
        return SimulatedRoom(self.clerk.place.room(actor, id), self.clerk, fresh, key=key)

    async def delete(self, actor: type[Actor], id: str) -> bool:
        """`runtime.delete`, written down as a call of the room's: `delete`. No reply of such a room is explained by a model."""
        room = self.clerk.place.room(actor, id)
        number = self.clerk.begin(f"{room.actor.__name__}/{id}", DELETE, (), {})
        try:
            there = await self.clerk.place.runtime.delete(room)
        except BaseException as error:
            self.clerk.settle(number, error)
            raise
        self.clerk.settle(number, None, there)
        return there

    def session(self) -> "SimulatedSession":
        """This person's session, the same in all visits and lives: its bookmark is kept, as in a cookie. What its commands and
        reads have shown, its reads show from then on; anything else is a failure.

        Raises:
          AssertionError: the runtime does not know the bookmark of an earlier life.
        """
        try:
            session = self.clerk.place.runtime.session(self.clerk.cookie(self.number))
        except BadBookmark as error:
            raise AssertionError(f"the bookmark of an earlier visit was refused: {error}") from error
        return SimulatedSession(session, self.clerk, self.number)

    def told(self, *fact: Any) -> None:
        """This client tells somebody outside."""
        self.clerk.told(fact)

    async def pause(self, seconds: float = 1.0) -> None:
        """Up to so many virtual seconds."""
        await trio.sleep(self.random.uniform(0.0, seconds))


@dataclass
class SimulatedSession:
    """As a `Session`; what its rooms are asked and say enters the history."""

    session: Session
    clerk: Clerk
    number: int

    def room(self, actor: type[Actor], id: str, fresh: Freshness | None = None) -> "SimulatedRoom":
        return SimulatedRoom(self.session.room(self.clerk.place.known(actor), id), self.clerk, fresh, self)

    async def across(
        self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]], query: str, *args: SQLValue, **named: SQLValue
    ) -> Rows:
        """As `session.across(rooms).sql(query, …)`. What it must show the scenario knows; nobody else checks."""
        known = {self.clerk.place.known(actor): ids for actor, ids in rooms.items()}
        rows = await self.session.across(known).sql(query, *args, **named)
        self.keep()
        return rows

    def keep(self) -> None:
        """What was seen, in the client's cookie."""
        self.clerk.keep_cookie(self.number, self.session.bookmark)


class SimulatedRoom:
    """`await room.post("hi")`, as of a room; the call and its outcome enter the history. Raises what the room raises."""

    def __init__(
        self,
        room: Room[Any],
        clerk: Clerk,
        fresh: Freshness | None = None,
        session: SimulatedSession | None = None,
        *,
        key: str | None = None,
    ) -> None:
        room = room if fresh is None else room.options(fresh=fresh)
        self._room = room if key is None else room.options(key=key)
        self._clerk = clerk
        self._fresh = fresh
        self._session = session

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        handler = getattr(self._room.actor, method)
        session = self._session

        async def call(*args: Any, **kwargs: Any) -> Any:
            name = f"{self._room.actor.__name__}/{self._room.id}"
            who = session.number if session else NO_SESSION
            number = self._clerk.begin(name, method, args, kwargs, late=self._may_be_late(handler), session=who)
            try:
                reply = await self._room.ask(handler, *args, **kwargs)
            except BaseException as error:
                self._clerk.settle(number, error)
                raise
            self._clerk.settle(number, None, reply.value, reply.seq, reply.source)
            if session is not None:
                session.keep()
            return reply.value

        return call

    def _may_be_late(self, handler: Any) -> bool:
        marked: tuple[Freshness | None] | None = getattr(handler, FRESH, None)
        return marked is not None and (self._fresh or marked[0]) not in BINDING
