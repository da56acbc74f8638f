"""Anything but a call that a host asks of the runtime: its status, a dump, the replica's arrival. Runs as a task there."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

import trio

from actors.errors import RuntimeClosed
from durable_rooms.border.crossing import STOPPING, Crew, Desk
from durable_rooms.runtime import Runtime

T = TypeVar("T")


class Job(Generic[T]):
    def __init__(self, work: Callable[[Runtime], Awaitable[T]], desk: Desk, waiter: Any) -> None:
        self.waiter = waiter
        self.abandoned = False
        self.error: BaseException | None = None
        self._desk = desk
        self._work = work
        self._value: T | None = None
        self._scope = trio.CancelScope()

    def begin(self, crew: Crew) -> None:
        if self.abandoned:
            self._scope.cancel()
            return
        if crew.nursery is None:
            self.turn_away(STOPPING)
            return
        crew.under_way.add(self)
        crew.nursery.start_soon(self._run, crew)

    async def _run(self, crew: Crew) -> None:
        try:
            with self._scope:
                self._value = await self._work(crew.runtime)
        except trio.Cancelled:  # not by its own scope, which keeps that to itself
            crew.under_way.discard(self)
            self.turn_away(STOPPING)
            raise
        except Exception as error:
            self.error = error
        crew.under_way.discard(self)
        if not self.abandoned:
            self._desk.put(self)

    def turn_away(self, why: str) -> None:
        self.error = RuntimeClosed(f"{why}; what was asked of the runtime was not finished.")
        self._desk.put(self)

    def result(self) -> T:
        """Raises what the work raised."""
        if self.error is not None:
            raise self.error
        return cast(T, self._value)


def at_once(look: Callable[[Runtime], T]) -> Callable[[Runtime], Awaitable[T]]:
    """The work of a job that waits for nothing."""

    async def work(runtime: Runtime) -> T:
        await trio.lowlevel.checkpoint()
        return look(runtime)

    return work
