"""`open_runtime` for asyncio: the engine's life as an async context manager of the host's loop."""

import asyncio
from collections.abc import Sequence
from os import PathLike
from types import TracebackType
from typing import NoReturn

import durable_rooms.runtime
from actors import Actor, Freshness, Limits
from actors.errors import RuntimeClosed
from actors.system.host import wrong_door
from durable_rooms.asyncio.desk import Desk
from durable_rooms.asyncio.runtime import Runtime
from durable_rooms.border.engine import Engine, Opener
from replication import SQLiteReplica


def open_runtime(
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica] = (),
    limits: Limits | None = None,
    fresh: Freshness = "acknowledged",
) -> "Opening":
    """Open a data directory from asyncio: `async with open_runtime(…) as runtime`. Arguments and errors are those of
    `durable_rooms.open_runtime`.

    The runtime lives in a thread of its own, so neither does a slow host hold rooms up nor a slow handler the host. At the end
    of the body, also a cancelled one, it drains: calls under way are answered meanwhile. DiskFailed cancels the body and is
    raised in its place.
    """
    return Opening(lambda: durable_rooms.runtime.open_runtime(path, actors, replicas=replicas, limits=limits, fresh=fresh))


class Opening:
    """Entered once, in one task."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._engine: Engine | None = None
        self._task: asyncio.Task[object] | None = None  # the body's, while it may be cancelled
        self._cancelling = 0  # cancellations of the task that were not ours
        self._interrupted = False

    def __enter__(self) -> NoReturn:
        raise wrong_door("durable_rooms.asyncio.open_runtime", "asyncio")

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> Runtime:
        if self._engine is not None:
            raise RuntimeError("a runtime is opened once; call open_runtime again")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise wrong_door("durable_rooms.asyncio.open_runtime", "asyncio") from None
        self._desk = desk = Desk(loop)
        self._opened, self._ended = asyncio.Event(), asyncio.Event()
        self._engine = engine = Engine(
            self._opener,
            ready=lambda: desk.tell(self._opened.set),
            ended=lambda: desk.tell(self._on_end),
            loop_closed=desk.loop_closed,
        )
        engine.start()
        try:
            await self._opened.wait()
        except BaseException:
            engine.stop()
            await self._until_ended()
            raise
        if self._ended.is_set():
            engine.join()
            raise engine.failure or RuntimeClosed("the runtime ended while it was opened")
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        return Runtime(engine.border, desk)

    def _on_end(self) -> None:
        self._ended.set()
        self._opened.set()
        if self._task is not None:  # it ended by itself: no orderly stop comes while the body runs
            self._interrupted = True
            self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        engine, task, self._task = self._engine, self._task, None
        assert engine is not None
        engine.stop()
        cancelled = await self._until_ended()
        if self._interrupted and task is not None and task.uncancel() > self._cancelling:
            return  # somebody else has cancelled it, too
        if engine.failure is not None:
            raise engine.failure from error
        if cancelled is not None and error is None:
            raise cancelled

    async def _until_ended(self) -> asyncio.CancelledError | None:
        """Wait for the thread's end, through cancellations: a runtime is never left half stopped. Returns the last of them."""
        engine, cancelled = self._engine, None
        assert engine is not None
        if engine.border.forked:
            return None  # a child never had the thread
        while not self._ended.is_set():
            try:
                await self._ended.wait()
            except asyncio.CancelledError as error:
                cancelled = error
        engine.join()
        return cancelled
