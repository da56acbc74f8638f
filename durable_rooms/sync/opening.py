"""`open_runtime` for plain code: the engine's life as a context manager."""

import threading
from collections.abc import Sequence
from os import PathLike
from types import TracebackType
from typing import NoReturn

import durable_rooms.runtime
from actors import Actor, Freshness, Limits
from actors.errors import RuntimeClosed
from actors.system.host import wrong_door
from durable_rooms.border.engine import Engine, Opener
from durable_rooms.sync.desk import Desk
from durable_rooms.sync.runtime import Runtime
from replication import SQLiteReplica


def open_runtime(
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica] = (),
    limits: Limits | None = None,
    fresh: Freshness = "acknowledged",
) -> "Opening":
    """Open a data directory from plain code: `with open_runtime(…) as runtime`. Arguments and errors are those of
    `durable_rooms.open_runtime`.

    The runtime lives in a thread of its own and serves every thread of the process. At the end of the body it drains: calls of
    other threads are answered meanwhile. DiskFailed is raised at the end of the body. A process that ends without leaving the
    body is drained all the same.
    """
    return Opening(lambda: durable_rooms.runtime.open_runtime(path, actors, replicas=replicas, limits=limits, fresh=fresh))


class Opening:
    """Entered once."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._engine: Engine | None = None

    async def __aenter__(self) -> NoReturn:
        raise wrong_door("durable_rooms.sync.open_runtime", "plain")

    async def __aexit__(self, *_: object) -> None: ...

    def __enter__(self) -> Runtime:
        if self._engine is not None:
            raise RuntimeError("a runtime is opened once; call open_runtime again")
        desk = Desk()
        desk.waiter("durable_rooms.sync.open_runtime")  # raises WrongDoor
        opened = threading.Event()
        self._engine = engine = Engine(self._opener, ready=opened.set, ended=opened.set, loop_closed=lambda: False)
        engine.start()
        try:
            opened.wait()
        except BaseException:  # Ctrl-C
            engine.stop()
            engine.join()
            raise
        if engine.border.over:
            engine.join()
            raise engine.failure or RuntimeClosed("the runtime ended while it was opened")
        return Runtime(engine.border, desk)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        engine = self._engine
        assert engine is not None
        engine.stop()
        engine.join()
        if engine.failure is not None:
            raise engine.failure from error
