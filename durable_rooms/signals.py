"""SIGTERM and SIGINT (Ctrl-C): the first one asks a service to end well, the second one ends it at once."""

import os
import signal
from types import FrameType
from typing import Any

import trio

ENDING = (signal.SIGTERM, signal.SIGINT)
STDERR = 2
SIGNALLED = 128  # plus the signal's number: how shells write down that a signal ended a process


class Termination:
    """Takes both signals from its first use to the runtime's end, and then puts back what was there."""

    def __init__(self) -> None:
        self._first: signal.Signals | None = None
        self._came = trio.Event()
        self._before: dict[signal.Signals, Any] = {}
        self._loop: trio.lowlevel.TrioToken

    async def first(self) -> signal.Signals:
        """Wait for the first one.

        Raises:
          RuntimeError: outside the main thread, to which Python gives signals.
        """
        if not self._before:
            self._take()
        await self._came.wait()
        assert self._first is not None
        return self._first

    def _take(self) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        for number in ENDING:
            try:
                self._before[number] = signal.signal(number, self._on_signal)
            except ValueError as error:
                raise RuntimeError("until_terminated() needs the main thread: Python gives signals to no other") from error

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Runs between two bytecodes of the main thread, even while a handler keeps the loop from coming round."""
        if self._first is None:
            self._first = signal.Signals(number)
            self._loop.run_sync_soon(self._came.set)
            return
        # Nothing acknowledged is lost: a reply has left only after its sync. As after a kill, the next start puts things right.
        name = signal.Signals(number).name
        os.write(STDERR, f"durable-rooms: {name} again: ended at once, without draining. Acknowledged calls are safe.\n".encode())
        os._exit(SIGNALLED + number)

    def give_back(self) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: set by something that is not Python, and cannot be put back from here
                signal.signal(number, handler)
        self._before.clear()
