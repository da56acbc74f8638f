"""The caller's end of one room: a stub that turns a method call into an envelope and waits for its reply."""

import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

import trio

from actors import keyed, timeouts
from actors.actor import Actor
from actors.admission import Admission
from actors.envelope import Envelope, seal
from actors.errors import RoomsError, RuntimeClosed
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


@dataclass(slots=True)
class Terms:
    """How a room is to be called, beyond the call itself; never changed (frozen ones take 0.5 µs more to make, for each key).
    `fresh` None: as the session, the method or the runtime says.

    `key`: None for a call that may run as often as it is made. `timeout`: seconds, infinite for none.
    """

    fresh: Freshness | None = None
    witness: Witness | None = None
    key: str | None = None
    timeout: float = math.inf

    def refined(
        self,
        key: str | EllipsisType | None,
        timeout: float | EllipsisType | None,
        fresh: Freshness | EllipsisType | None,
    ) -> "Terms":
        """With those that are given. Raises KeyInvalid, ValueError."""
        return Terms(
            self.fresh if isinstance(fresh, EllipsisType) else None if fresh is None else checked(fresh),
            self.witness,
            self.key if isinstance(key, EllipsisType) else keyed.checked(key),
            self.timeout if isinstance(timeout, EllipsisType) else timeouts.checked(timeout),
        )


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

    def options(
        self,
        *,
        key: str | EllipsisType | None = ...,
        timeout: float | EllipsisType | None = ...,
        fresh: Freshness | EllipsisType | None = ...,
    ) -> Self:
        """The same room with other terms; what is left out stays as it is, and None takes it back.

        Args:
          key: the call runs once. Repeats of it under the same key, at once or within `key_seconds_max`, after a crash, too, get
            the reply of the first; what failed runs again. Costs a call about a quarter more. (An async handler that a crash cut
            short between two slices runs again, too.)
          timeout: seconds from the call to its reply. A call that has not begun by then never runs; a handler is interrupted in
            its SQL or cancelled, and rolled back; see CallTimeout and DeadlineExceeded.
          fresh: how new what its @read methods see must be: "acknowledged" (every command on this room that had returned in this
            process when the read began), so many seconds, "any", or "room" (no replica).
        Raises:
          KeyInvalid: no text of 1 to 1,024 bytes. ValueError: no timeout, or no freshness.
        """
        return type(self)(self.actor, self._name, self._handlers, self._office, self._terms.refined(key, timeout, fresh))

    @overload
    async def call(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def call(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a handler and wait until what it did, and what it saw, is durable.

        Raises:
          CallRefused: nothing ran (Overloaded, BadArguments, UnknownMethod, TooLarge, KeyReused, RoomLocked, RoomUnfit,
            RuntimeClosed).
          CallFailed: it ran and was rolled back (DeadlineExceeded where it took too long).
          OutcomeUnknown: a sync failed; read before you repeat.
          CallTimeout: `ran` says whether it had begun; see `options`.
          Anything that the handler raises, as it is, with a note that names the room; what it wrote was rolled back.
        Cancelled while the call waits, it never runs; once it has begun it completes and its reply is dropped.
        """
        return await self._value(found(self._handlers, method, self._name), *args, **kwargs)

    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Reply[R]: ...
    @overload
    async def ask(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """`call`, with what a `Reply` says beside the value. Raises as `call`."""
        answer = await self._settle(found(self._handlers, method, self._name), args, kwargs)
        bookmark = self._office.bookmark(self._name, answer.position, self._terms.witness)
        return Reply(answer.value, answer.position.seq, answer.source, bookmark)

    def __getattr__(self, handler: str) -> Callable[..., Awaitable[Any]]:
        """`room.post` is `ChatRoom.post` of this room. Raises UnknownMethod, at once."""
        if handler.startswith("__"):  # `copy` asks a room that has no attributes yet
            raise AttributeError(f"a room has no {handler}")
        return partial(self._value, found(self._handlers, handler, self._name))

    async def _value(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Any:
        if handler.is_read or self._terms.witness is not None:
            return (await self._settle(handler, args, kwargs)).value
        try:
            return (await self._called(handler, args, kwargs)).value
        except RoomsError as error:
            say_where(error, self._name, handler, self._terms)
            raise

    async def _settle(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Answer[Any]:
        try:
            if handler.is_read:
                return await self._read(handler, args, kwargs)
            envelope = await self._called(handler, args, kwargs)
        except RoomsError as error:
            say_where(error, self._name, handler, self._terms)
            raise
        if self._terms.witness is not None:
            self._terms.witness.saw_room(self._name, envelope.position)
        return Answer(envelope.value, envelope.position, IN_ROOM)

    async def _called(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Envelope:
        envelope = self._sealed(handler, args, kwargs)
        self._office.submit(self._name, envelope)
        if envelope.deadline == math.inf:
            await envelope.settled()
        else:
            await timeouts.settled(envelope, str(self._name))
        return envelope

    async def _read(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Answer[Any]:
        envelope = self._sealed(handler, args, kwargs)
        with trio.move_on_at(envelope.deadline):
            call = self._office.read_call(self.actor, self._name, envelope)
            return await self._office.read(call, self._terms)
        raise timeouts.no_answer(envelope, str(self._name))

    def _sealed(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Envelope:
        office, terms = self._office, self._terms
        if office.admission.alert and not handler.is_read:
            office.admission.turn_away(self._name, control=handler.control)
        envelope = seal(Envelope, handler, args, kwargs, office.limits, self._name)
        if terms.key is not None:
            keyed.put_under(terms.key, envelope, self._name)
        try:
            envelope.of_this_task()
            if terms.timeout != math.inf:
                envelope.timeout = terms.timeout
                envelope.deadline = trio.current_time() + terms.timeout
        except RuntimeError:
            raise wrong_door(str(self._name), "trio") from None
        return envelope


def found(handlers: Handlers, method: object, room: RoomName) -> Handler:
    """The handler of a name, or of `Class.method`. Raises UnknownMethod."""
    try:
        return handlers.get(method) if isinstance(method, str) else handlers.of(method)
    except RoomsError as error:
        error.room = str(room)
        error.method = method if isinstance(method, str) else str(getattr(method, "__name__", ""))
        raise


def say_where(error: RoomsError, room: RoomName, handler: Handler, terms: Terms) -> None:
    """What every error of a call carries; those of calls to other rooms that its handler made keep theirs.

    What is unknown of a `def` handler's call with a key may be repeated: its effects, its key and its reply are one commit.
    """
    error.room = error.room or str(room)
    if not error.method and error.room == str(room):
        error.method = handler.name
    if error.ran == "unknown" and terms.key is not None and not handler.is_async:
        error.retryable = True
        error.add_note(f"(repeat it under the same key, {terms.key!r:.100}: it runs once)")


def closed(name: RoomName) -> RuntimeClosed:
    return RuntimeClosed(f"{name}: the runtime is stopping or has stopped. Nothing ran.", room=str(name))
