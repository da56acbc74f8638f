"""The runtime's own thread: from its start to its end, however it ends. Knows nothing of the host's kind."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from actors.errors import RoomsError
from durable_rooms.border.border import Border
from durable_rooms.runtime import Runtime

HOST_LOOK_SECONDS = 0.5  # a host that went without closing (its loop closed, its main thread ended) is noticed within it

STOPPED = "the runtime is stopping or has stopped"

logger = logging.getLogger("durable_rooms")

Opener = Callable[[], AbstractAsyncContextManager[Runtime]]


class EngineThread(threading.Thread):
    """Not a daemon, whoever starts it: at the process's end Python waits for it, and rooms are closed in order."""


class Engine:
    """`ready` and `ended` are called in the engine's thread, `ended` always and last; `loop_closed` is asked now and then."""

    def __init__(
        self, opener: Opener, ready: Callable[[], None], ended: Callable[[], None], loop_closed: Callable[[], bool]
    ) -> None:
        self.border = Border()
        self.failure: BaseException | None = None  # what the runtime raised, when it ended
        self._opener = opener
        self._ready = ready
        self._ended = ended
        self._loop_closed = loop_closed
        self._stopping = False
        self._stop = trio.Event()
        self._thread = EngineThread(target=self._run, name="durable-rooms runtime", daemon=False)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end in order. From any thread; also before it is ready."""
        self._stopping = True
        if self.border.opened and not self.border.over:
            self.border.tell(self._stop.set)

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            trio.run(self._live)
        except BaseException as error:
            self.failure = error
        why = STOPPED if self.failure is None else f"the runtime has ended: {self.failure}".rstrip(".")
        self.border.close(why)
        if self.border.opened and self.failure is not None and not isinstance(self.failure, RoomsError):
            logger.error("the runtime's thread has ended", exc_info=self.failure)
        self._ended()

    async def _live(self) -> None:
        async with self._opener() as runtime, trio.open_nursery() as nursery:
            self.border.open(runtime, nursery)
            try:
                if not self._stopping:
                    self._ready()
                    nursery.start_soon(self._watch_host)
                    await self._stop.wait()
            finally:
                self.border.nursery = None  # before it closes: while calls drain, others may come with jobs
            nursery.cancel_scope.cancel()

    async def _watch_host(self) -> None:
        while not self._loop_closed() and _somebody_is_left():  # noqa: ASYNC110 - neither tells anybody
            await trio.sleep(HOST_LOOK_SECONDS)
        logger.warning("whoever opened the runtime has gone without closing it; it stops in order now")
        self._stop.set()


def _somebody_is_left() -> bool:
    """Python ends a process when every thread but daemons has ended; it waits for engines, so these do not count."""
    return any(
        thread.is_alive() and not thread.daemon and not isinstance(thread, EngineThread) for thread in threading.enumerate()
    )
