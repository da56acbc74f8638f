"""One room as plain code sees it: calls block their thread."""

import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from actors.actor import Actor
from actors.calls.handlers import Handler
from actors.errors import RoomsError
from actors.room import Reply, found, say_where
from durable_rooms.border.crossing import Crossing
from durable_rooms.border.stub import Stub
from durable_rooms.sync.desk import Desk

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
R = TypeVar("R")


class Room(Stub[A, Desk]):
    """Your end of one room; costs nothing, may be shared by threads. `room.post("ann", "hi")`, or, for a type checker,
    `room.call(ChatRoom.post, "ann", "hi")`."""

    __slots__ = ()

    @overload
    def call(self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def call(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a handler and block until what it did, and what it saw, is durable. Raises as the trio room's `call`, and

        WrongDoor: called in an event loop, which would stand still.
        Interrupted (Ctrl-C) while the call waits, it never runs; once it has begun it completes and its reply is dropped.
        """
        return self._settle(found(self._handlers, method, self._name), args, kwargs).value

    @overload
    def ask(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Reply[R]: ...
    @overload
    def ask(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """`call`, with what a `Reply` says beside the value. Raises as `call`."""
        return self._reply(self._settle(found(self._handlers, method, self._name), args, kwargs))

    def __getattr__(self, handler: str) -> Callable[..., Any]:
        """`room.post` is `ChatRoom.post` of this room. Raises UnknownMethod, at once."""
        if handler.startswith("__"):  # `copy` asks a room that has no attributes yet
            raise AttributeError(f"a room has no {handler}")
        return partial(self._value, found(self._handlers, handler, self._name))

    def _value(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Any:
        return self._settle(handler, args, kwargs).value

    def _settle(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Crossing:
        try:
            crossing = self._crossed(handler, args, kwargs)
            if crossing.error is not None:
                raise crossing.error
            return crossing
        except RoomsError as error:
            say_where(error, self._name, handler, self._terms)
            raise

    def _crossed(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Crossing:
        """Raises CallTimeout, and what it is refused with at the border."""
        border, timeout = self._border, self._terms.timeout
        if border.over:
            border.check(str(self._name))
        waiter = self._desk.waiter(str(self._name))
        crossing = self._sealed(handler, args, kwargs, waiter)
        border.send(crossing)
        try:
            if timeout == math.inf:
                there = waiter.acquire()
            else:
                there = waiter.acquire(True, timeout) or waiter.acquire(True, crossing.patience_seconds)
        except BaseException:  # Ctrl-C
            border.abandon(crossing)
            raise
        if not there:
            border.abandon(crossing)
            if not waiter.acquire(False):  # else its outcome came at this very moment
                raise crossing.timed_out()
        return crossing
