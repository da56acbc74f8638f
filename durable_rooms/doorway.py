"""The doorway of the trio door: code of another kind that comes in here is told which door is its own."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

from actors.system.host import host, wrong_door

T = TypeVar("T")


class Doorway(AbstractAsyncContextManager[T], Generic[T]):
    def __init__(self, inside: AbstractAsyncContextManager[T]) -> None:
        self._inside = inside

    def __enter__(self) -> NoReturn:
        raise wrong_door("durable_rooms.open_runtime", "trio")

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> T:
        if host() != "trio":
            raise wrong_door("durable_rooms.open_runtime", "trio")
        return await self._inside.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inside.__aexit__(kind, error, trace)
