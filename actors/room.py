"""The caller's end of one room: a stub that turns a method call into an envelope and waits for its reply."""

import math
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload
from weakref import ref

import trio

from actors.calls import keyed, timeouts
from actors.calls.admission import Admission
from actors.calls.envelope import Envelope, seal
from actors.calls.handlers import Handler, Handlers
from actors.errors import RoomsError, RuntimeClosed
from actors.follower import Position
from actors.limits import Limits
from actors.names import RoomName
from actors.reads.read import IN_ROOM, Answer, Freshness, ReadCall, checked
from actors.system.host import wrong_door

A = TypeVar("A")
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
    @property
    def kind(self) -> type[Envelope]:
        """Of the calls that it takes."""
        ...

    def submit(self, name: RoomName, envelope: Envelope) -> None: ...
    async def read(self, call: ReadCall, terms: Terms, deadline: float = math.inf) -> Answer[Any] | None: ...
    def read_call(self, actor: type[Any], name: RoomName, envelope: Envelope) -> ReadCall: ...
    def bookmark(self, name: RoomName, position: Position, witness: Witness | None) -> str: ...


class Room(Generic[A]):
    """Your end of one room; costs nothing, may be made per request. `await room.post("ann", "hi")`, or, for a type checker,
    `await room.call(ChatRoom.post, "ann", "hi")`.

    Commands that are called through one room object arrive in the order in which they were called, also those that were only
    handed to a nursery: `nursery.start_soon(room.post, "ann", "hi")`. A call that is never awaited may still be sent, with a
    later one; one that was dropped is not.
    """

    __slots__ = ("_handlers", "_made", "_name", "_office", "_terms", "actor", "id")

    def __init__(self, actor: type[A], name: RoomName, handlers: Handlers, office: Office, terms: Terms = DEFAULT_TERMS) -> None:
        self.id = name.id
        self.actor = actor
        self._name = name
        self._handlers = handlers
        self._office = office
        self._terms = terms
        self._made: deque[_Call] = deque()  # calls that were made and not sent yet

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
            the reply of the first; what failed runs again. Costs a call about a third more. (An async handler that a crash cut
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
    def call(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def call(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    def call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call a handler and wait until what it did, and what it saw, is durable.

        Raises:
          CallRefused: nothing ran (Overloaded, BadArguments, UnknownMethod, TooLarge, KeyReused, RoomLocked, RoomUnfit,
            RuntimeClosed, CallCycle); UnknownMethod as soon as the call is made.
          CallFailed: it ran and was rolled back (DeadlineExceeded where it took too long, RoomReset).
          OutcomeUnknown: a sync failed; read before you repeat.
          CallTimeout: `ran` says whether it had begun; see `options`.
          Anything that the handler raises, as it is, with a note that names the room; what it wrote was rolled back.
        Cancelled while the call waits, it never runs; once it has begun it completes and its reply is dropped.
        """
        return self._make(self._value, found(self._handlers, method, self._name), args, kwargs)

    @overload
    def ask(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Reply[R]]: ...
    @overload
    def ask(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Reply[R]]: ...
    def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Reply[Any]]:
        """`call`, with what a `Reply` says beside the value. Raises as `call`."""
        return self._make(self._reply, found(self._handlers, method, self._name), args, kwargs)

    def __getattr__(self, handler: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """`room.post` is `ChatRoom.post` of this room. Raises UnknownMethod, at once."""
        if handler.startswith("__"):  # `copy` asks a room that has no attributes yet
            raise AttributeError(f"a room has no {handler}")
        return partial(self._called, found(self._handlers, handler, self._name))

    def _called(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return self._make(self._value, handler, args, kwargs)

    # -- calls, in the order in which they were made --------------------------------------------------------------------
    def _make(
        self,
        wait: "Callable[[_Call], Coroutine[Any, Any, Any]]",
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Coroutine[Any, Any, Any]:
        call = _Call(handler, args, kwargs)
        coroutine = wait(call)
        if not handler.is_read:  # reads pass the mailbox anyway
            made = self._made
            while made and not made[0].wanted:
                made.popleft()
            call.coroutine = ref(coroutine)
            made.append(call)
        return coroutine

    async def _value(self, call: "_Call") -> Any:
        if call.handler.is_read or self._terms.witness is not None:
            return (await self._settle(call)).value
        try:
            return (await self._answered(call)).value
        except RoomsError as error:
            say_where(error, self._name, call.handler, self._terms)
            raise

    async def _reply(self, call: "_Call") -> Reply[Any]:
        answer = await self._settle(call)
        bookmark = self._office.bookmark(self._name, answer.position, self._terms.witness)
        return Reply(answer.value, answer.position.seq, answer.source, bookmark)

    async def _settle(self, call: "_Call") -> Answer[Any]:
        try:
            if call.handler.is_read:
                return await self._read(call)
            envelope = await self._answered(call)
        except RoomsError as error:
            say_where(error, self._name, call.handler, self._terms)
            raise
        if self._terms.witness is not None:
            self._terms.witness.saw_room(self._name, envelope.position)
        return Answer(envelope.value, envelope.position, IN_ROOM)

    async def _read(self, call: "_Call") -> Answer[Any]:
        envelope = self._sealed(call)
        read = self._office.read_call(self.actor, self._name, envelope)
        answer = await self._office.read(read, self._terms, envelope.deadline)
        if answer is None:
            raise timeouts.no_answer(envelope, str(self._name))
        return answer

    async def _answered(self, call: "_Call") -> Envelope:
        envelope = self._sent(call)
        if envelope.deadline == math.inf:
            await envelope.settled()
        else:
            await timeouts.settled(envelope, str(self._name))
        return envelope

    def _sent(self, call: "_Call") -> Envelope:
        """Send a call whose first step this is, after those that were made before it: trio begins tasks in any order.

        Raises what sealing and sending raise.
        """
        made = self._made
        while call.envelope is None and call.error is None:
            first = made.popleft()
            if first is call:
                call.envelope = self._send(call)
            elif first.wanted:
                try:
                    first.envelope = self._send(first)
                except Exception as error:  # its own caller's
                    first.error = error
        if call.error is not None:
            raise call.error
        assert call.envelope is not None
        return call.envelope

    def _send(self, call: "_Call") -> Envelope:
        envelope = self._sealed(call)
        self._office.submit(self._name, envelope)
        return envelope

    def _sealed(self, call: "_Call") -> Envelope:
        office, terms, handler = self._office, self._terms, call.handler
        if office.admission.alert and not handler.is_read:
            office.admission.turn_away(self._name, control=handler.control)
        envelope = seal(office.kind, handler, call.args, call.kwargs, office.limits, self._name)
        if terms.key is not None:
            keyed.put_under(terms.key, envelope, self._name)
        try:
            if terms.timeout == math.inf:
                trio.lowlevel.current_task()
            else:
                envelope.timeout = terms.timeout
                envelope.deadline = trio.current_time() + terms.timeout
        except RuntimeError:
            raise wrong_door(str(self._name), "trio") from None
        return envelope


class _Call:
    """A call that was made through a room object: by whom it is awaited shows only at its first step."""

    __slots__ = ("args", "coroutine", "envelope", "error", "handler", "kwargs")

    def __init__(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.coroutine: ref[Coroutine[Any, Any, Any]]
        self.envelope: Envelope | None = None  # once it was sent
        self.error: Exception | None = None  # why it could not be

    @property
    def wanted(self) -> bool:
        """Somebody may still wait for it."""
        coroutine: Any = self.coroutine()
        return coroutine is not None and coroutine.cr_frame is not None


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
