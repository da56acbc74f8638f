"""Async handlers: driven by hand, so that the runtime sees each suspension.

What runs between two suspensions is a *slice*: atomic, a turn of its own. Other calls run between slices and never inside one.
An exception rolls back the slice in which it happened and leaves earlier ones. `exclusive` keeps others out across slices.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from types import coroutine
from typing import Any

import trio

from actors.envelope import Envelope
from actors.errors import RoomsError
from actors.follower import Position
from actors.limits import LOCK_POLL_SECONDS
from actors.transaction import Transaction
from actors.turn import Turns

EARLIER_SLICES = "What its earlier slices wrote is committed: read before you repeat it"


class Slices:
    """The running async handlers of one activation."""

    def __init__(self, turns: Turns, transaction: Transaction, freed: Callable[[], None]) -> None:
        self._turns = turns
        self._freed = freed  # the others' turn again, after `exclusive`
        self._transaction = transaction
        self._holder: trio.lowlevel.Task | None = None
        self._waiting = trio.lowlevel.ParkingLot()
        self._paused = False
        self.running: set[Envelope] = set()

    @property
    def excludes_others(self) -> bool:
        return self._holder is not None

    def pause(self, paused: bool) -> None:
        """Hold back every slice (while a checkpoint empties the WAL)."""
        self._paused = paused
        if not paused:
            self._waiting.unpark_all()

    async def until_free(self) -> None:
        """Wait until nothing holds back the other calls of the room."""
        while self._paused or self._holder is not None:
            await self._waiting.park()

    @asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        me = trio.lowlevel.current_task()
        if self._holder is me:
            yield
            return
        while self._holder is not None:
            await self._waiting.park()
        self._holder = me
        try:
            yield
        finally:
            self._holder = None
            self._waiting.unpark_all()
            self._freed()

    async def run(self, envelope: Envelope, call: Coroutine[Any, Any, Any]) -> None:
        """Run an async handler to its end; its outcome is noted in the envelope, not raised (but for a cancellation)."""
        self.running.add(envelope)
        try:
            await self._drive(envelope, call)
        finally:
            self.running.discard(envelope)

    @coroutine
    def _drive(self, envelope: Envelope, call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, None]:
        value: Any = None
        error: BaseException | None = None
        while True:
            if self._must_wait(envelope):
                yield from self._admission(envelope).__await__()
            running, step, late_error = self._slice(envelope, call, value, error)
            if not running:
                return
            try:
                value, error = (yield step), None
            except BaseException as raised:  # the cancellation or error that trio delivers belongs to the handler
                error = raised
            error = late_error or error

    def _slice(
        self, envelope: Envelope, call: Coroutine[Any, Any, Any], value: Any, error: BaseException | None
    ) -> tuple[bool, Any, BaseException | None]:
        """Run to the next suspension and commit. Returns whether the handler goes on, what it waits for, and an error that its
        slice met at the suspension: it must still wait (it is parked somewhere), and gets the error when it wakes."""
        transaction, turns = self._transaction, self._turns
        transaction.call_begins()
        turns.slice_begins(envelope)
        before = transaction.seq
        try:
            step = call.send(value) if error is None else call.throw(error)
        except StopIteration as stop:
            return self._finish(envelope, stop.value)
        except BaseException as raised:
            envelope.error = raised
            turns.undo(raised, [], envelope)
            turns.commit([])
            partly(raised, envelope, transaction.room)
            if not isinstance(raised, Exception):
                raise
            return False, None, None
        else:
            return self._suspend(envelope, step, before)
        finally:
            turns.slice_ends()

    def _suspend(self, envelope: Envelope, step: Any, before: int) -> tuple[bool, Any, BaseException | None]:
        transaction, turns = self._transaction, self._turns
        if transaction.entered:
            envelope.handler.uses_sql = True
        try:
            turns.slice_in_time(envelope)
            transaction.call_ends()
        except Exception as raised:
            turns.undo(raised, [], envelope)
            turns.commit([])
            return True, step, raised
        this_slice = Envelope(envelope.handler, [], {}, 0)  # takes the blame if the commit voids the slice
        turns.commit([this_slice])
        if transaction.seq != before:  # another program's commit counts too: better one warning too many
            envelope.kept = EARLIER_SLICES
        return True, step, this_slice.error

    def _finish(self, envelope: Envelope, value: object) -> tuple[bool, None, None]:
        envelope.error = None  # of an earlier slice, which the handler has survived
        try:
            self._turns.slice_in_time(envelope)
            self._turns.keep(envelope, value)
        except Exception as raised:
            envelope.error = raised
            self._turns.undo(raised, [], envelope)
            partly(raised, envelope, self._transaction.room)
        self._turns.commit([envelope])
        envelope.position = Position(self._transaction.epoch, self._transaction.seq)
        return False, None, None

    def _must_wait(self, envelope: Envelope) -> bool:
        if self._paused or self._holder not in (None, trio.lowlevel.current_task()):
            return True
        if self._transaction.closed:  # the room broke: the handler is cut short, and its SQL refused
            return False
        return (envelope.handler.uses_sql is not False or envelope.once is not None) and not self._turns.try_begin()

    async def _admission(self, envelope: Envelope) -> None:
        """Wait until this slice may run. Shielded: a deadline inside the handler must not let it in among others."""
        with trio.CancelScope(shield=True):
            while self._must_wait(envelope):
                if self._paused or self._holder not in (None, trio.lowlevel.current_task()):
                    await self._waiting.park()
                else:
                    await trio.sleep(LOCK_POLL_SECONDS)


def partly(error: BaseException, envelope: Envelope, room: str) -> None:
    """An error of our own that ends an async handler must not say that all was rolled back where earlier slices are committed."""
    if envelope.kept and isinstance(error, RoomsError) and error.ran == "rolled back" and error.room == room:
        error.ran = "unknown"
        error.add_note(f"({envelope.kept})")
