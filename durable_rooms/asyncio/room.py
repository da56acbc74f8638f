"""One room as asyncio code sees it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import EllipsisType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

from actors.actor import Actor
from actors.handlers import Handler
from actors.read import Freshness
from actors.room import Reply
from durable_rooms.asyncio.desk import Desk
from durable_rooms.border.crossing import Crossing
from durable_rooms.border.stub import Stub

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
R = TypeVar("R")


class Room(Stub[A, Desk]):
    """Your end of one room; costs nothing, may be made per request. `await room.post("ann", "hi")`, or, for a type checker,
    `await room.call(ChatRoom.post, "ann", "hi")`."""

    __slots__ = ()

    def options(self, *, timeout: float | EllipsisType | None = ..., fresh: Freshness | EllipsisType = ...) -> Self:
        """The same room with other terms; what is left out stays as it is.

        Args:
          timeout: seconds that a call waits for its reply, then CallTimeout, which says whether it had begun (`asyncio.timeout`
            cannot); None: for ever.
          fresh: how new what its @read methods see must be; see `Freshness`.
        """
        return self._with(timeout, fresh)

    @overload
    async def call(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def call(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a handler and wait until what it did, and what it saw, is durable.

        Raises as the trio room's `call`, and
          WrongDoor: called outside the loop that opened the runtime.
          CallTimeout: see `options`.
        Cancelled (`asyncio.timeout`) while the call waits, it never runs; once begun it completes and its reply is dropped.
        """
        return (await self._settle(self._handlers.of(method), args, kwargs)).value

    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Reply[R]: ...
    @overload
    async def ask(self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Reply[R]: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply[Any]:
        """`call`, with what a `Reply` says beside the value. Raises as `call`."""
        return self._reply(await self._settle(self._handlers.of(method), args, kwargs))

    def __getattr__(self, handler: str) -> Callable[..., Awaitable[Any]]:
        """`room.post` is `ChatRoom.post` of this room. Raises UnknownMethod, at once."""
        if handler.startswith("__"):  # `copy` asks a room that has no attributes yet
            raise AttributeError(f"a room has no {handler}")
        return partial(self._value, self._handlers.get(handler))

    async def _value(self, handler: Handler, /, *args: Any, **kwargs: Any) -> Any:
        return (await self._settle(handler, args, kwargs)).value

    async def _settle(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Crossing:
        border, name = self._border, self._name
        if border.over:
            border.check(str(name))
        waiter = self._desk.waiter(str(name))
        crossing = self._sealed(handler, args, kwargs, waiter)
        border.send(crossing)
        try:
            if self._timeout is None:
                await waiter
            else:
                async with asyncio.timeout(self._timeout):
                    await waiter
        except TimeoutError:  # ours: a waiter raises none
            border.abandon(crossing)
            if waiter.cancelled():  # else its outcome came at this very moment
                raise crossing.timed_out(self._timeout) from None
        except BaseException:
            border.abandon(crossing)
            raise
        if crossing.error is not None:
            raise crossing.error
        return crossing
