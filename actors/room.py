"""The caller's end of one room: a stub that turns a method call into an envelope and waits for its reply."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from actors.actor import Actor
from actors.envelope import Envelope, seal
from actors.errors import RuntimeClosed
from actors.handlers import Handler, Handlers
from actors.host import wrong_door
from actors.limits import Limits
from actors.names import RoomName

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reply(Generic[R]):
    """What `ask` returns: the value, and the room's `seq` that the call saw or made."""

    value: R
    seq: int


class Office(Protocol):
    """What a stub needs of the runtime."""

    @property
    def limits(self) -> Limits: ...
    def submit(self, name: RoomName, envelope: Envelope) -> None: ...


class Room(Generic[A]):
    """Your end of one room; costs nothing, may be made per request. `await room.post("ann", "hi")`, or, for a type checker,
    `await room.call(ChatRoom.post, "ann", "hi")`."""

    __slots__ = ("_handlers", "_name", "_office", "actor", "id")

    def __init__(self, actor: type[A], name: RoomName, handlers: Handlers, office: Office) -> None:
        self.id = name.id
        self.actor = actor
        self._name = name
        self._handlers = handlers
        self._office = office

    def __repr__(self) -> str:
        return f"<room {self._name}>"

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
        return (await self._settle(self._handlers.of(method), args, kwargs)).value

    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Reply[R]: ...
    @overload
    async def ask(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """`call`, with the room's `seq` beside the value. Raises as `call`."""
        envelope = await self._settle(self._handlers.of(method), args, kwargs)
        return Reply(envelope.value, envelope.seq)

    def __getattr__(self, handler: str) -> Callable[..., Awaitable[Any]]:
        """`room.post` is `ChatRoom.post` of this room. Raises UnknownMethod, at once."""
        if handler.startswith("__"):  # `copy` asks a room that has no attributes yet
            raise AttributeError(f"a room has no {handler}")
        return partial(self._value, self._handlers.get(handler))

    async def _value(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Any:
        envelope = seal(Envelope, handler, args, kwargs, self._office.limits, self._name)
        try:
            envelope.of_this_task()
        except RuntimeError:
            raise wrong_door(str(self._name), "trio") from None
        self._office.submit(self._name, envelope)
        await envelope.settled()
        return envelope.value

    async def _settle(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Envelope:
        envelope = seal(Envelope, handler, args, kwargs, self._office.limits, self._name)
        try:
            envelope.of_this_task()
        except RuntimeError:
            raise wrong_door(str(self._name), "trio") from None
        self._office.submit(self._name, envelope)
        await envelope.settled()
        return envelope


def closed(name: RoomName) -> RuntimeClosed:
    return RuntimeClosed(f"{name}: the runtime is stopping or has stopped. Nothing ran.", room=str(name))
