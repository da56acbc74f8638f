"""The caller's end of one room: a stub that turns a method call into an envelope and waits for its reply."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from actors.actor import Actor
from actors.admission import Admission
from actors.envelope import Envelope, seal
from actors.errors import RuntimeClosed
from actors.follower import Position
from actors.handlers import Handler, Handlers
from actors.host import wrong_door
from actors.limits import Limits
from actors.names import RoomName
from actors.read import IN_ROOM, Answer, Freshness, ReadCall, checked

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reply(Generic[R]):
    """What `ask` returns.

    `seq`: of the room, as the call saw or made it. `source`: "room", or the name of the replica that a read ran on.
    `bookmark`: for `runtime.session`, so that whoever gets it sees at least this ("" in a runtime that has no sessions).
    """

    value: R
    seq: int
    source: str
    bookmark: str


class Witness(Protocol):
    """Remembers what one person has seen; a session's bookmark."""

    def saw_room(self, name: RoomName, position: Position) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How a room is to be called, beyond the call itself. `fresh` None: as the session, the method or the runtime says."""

    fresh: Freshness | None = None
    witness: Witness | None = None


DEFAULT_TERMS = Terms()


class Office(Protocol):
    """What a stub needs of the runtime."""

    admission: Admission

    @property
    def limits(self) -> Limits: ...
    def submit(self, name: RoomName, envelope: Envelope) -> None: ...
    async def read(self, call: ReadCall, terms: Terms) -> Answer[Any]: ...
    def read_call(self, actor: type[Actor], name: RoomName, envelope: Envelope) -> ReadCall: ...
    def bookmark(self, name: RoomName, position: Position, witness: Witness | None) -> str: ...


class Room(Generic[A]):
    """Your end of one room; costs nothing, may be made per request. `await room.post("ann", "hi")`, or, for a type checker,
    `await room.call(ChatRoom.post, "ann", "hi")`."""

    __slots__ = ("_handlers", "_name", "_office", "_terms", "actor", "id")

    def __init__(self, actor: type[A], name: RoomName, handlers: Handlers, office: Office, terms: Terms = DEFAULT_TERMS) -> None:
        self.id = name.id
        self.actor = actor
        self._name = name
        self._handlers = handlers
        self._office = office
        self._terms = terms

    def __repr__(self) -> str:
        return f"<room {self._name}>"

    def options(self, *, fresh: Freshness) -> Self:
        """The same room with other terms. fresh: how new what its @read methods see must be: "acknowledged" (every command on
        this room that had returned in this process when the read began), so many seconds, "any", or "room" (no replica)."""
        return type(self)(self.actor, self._name, self._handlers, self._office, replace(self._terms, fresh=checked(fresh)))

    @overload
    async def call(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def call(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a handler and wait until what it did, and what it saw, is durable.

        Raises:
          CallRefused: nothing ran (Overloaded, BadArguments, UnknownMethod, TooLarge, RoomLocked, RoomUnfit, RuntimeClosed).
          CallFailed: it ran and was rolled back.
          OutcomeUnknown: a sync failed; read before you repeat.
          Anything that the handler raises, as it is, with a note that names the room; what it wrote was rolled back.
        Cancelled while the call waits, it never runs; once it has begun it completes and its reply is dropped.
        """
        return await self._value(self._handlers.of(method), *args, **kwargs)

    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Reply[R]: ...
    @overload
    async def ask(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """`call`, with what a `Reply` says beside the value. Raises as `call`."""
        answer = await self._settle(self._handlers.of(method), args, kwargs)
        bookmark = self._office.bookmark(self._name, answer.position, self._terms.witness)
        return Reply(answer.value, answer.position.seq, answer.source, bookmark)

    def __getattr__(self, handler: str) -> Callable[..., Awaitable[Any]]:
        """`room.post` is `ChatRoom.post` of this room. Raises UnknownMethod, at once."""
        if handler.startswith("__"):  # `copy` asks a room that has no attributes yet
            raise AttributeError(f"a room has no {handler}")
        return partial(self._value, self._handlers.get(handler))

    async def _value(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Any:
        if handler.is_read or self._terms.witness is not None:
            return (await self._settle(handler, args, kwargs)).value
        envelope = self._sealed(handler, args, kwargs)
        self._office.submit(self._name, envelope)
        await envelope.settled()
        return envelope.value

    async def _settle(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Answer[Any]:
        office, name = self._office, self._name
        envelope = self._sealed(handler, args, kwargs)
        if handler.is_read:
            return await office.read(office.read_call(self.actor, name, envelope), self._terms)
        office.submit(name, envelope)
        await envelope.settled()
        if self._terms.witness is not None:
            self._terms.witness.saw_room(name, envelope.position)
        return Answer(envelope.value, envelope.position, IN_ROOM)

    def _sealed(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Envelope:
        office = self._office
        if office.admission.alert and not handler.is_read:
            office.admission.turn_away(self._name, control=handler.control)
        envelope = seal(Envelope, handler, args, kwargs, office.limits, self._name)
        try:
            envelope.of_this_task()
        except RuntimeError:
            raise wrong_door(str(self._name), "trio") from None
        return envelope


def closed(name: RoomName) -> RuntimeClosed:
    return RuntimeClosed(f"{name}: the runtime is stopping or has stopped. Nothing ran.", room=str(name))
