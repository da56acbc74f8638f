"""Serving: the loop of one activation that takes its turns from the mailbox, and the tasks of its async handlers."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import trio

from actors.actor import Actor
from actors.doors import Doors
from actors.envelope import Envelope
from actors.errors import OutcomeUnknown, RoomLocked
from actors.follower import Position
from actors.gate import Gate
from actors.limits import LOCK_POLL_SECONDS, Limits
from actors.mailbox import Mailbox
from actors.offload import Offload
from actors.pace import Pace
from actors.slices import Slices
from actors.transaction import Transaction
from actors.turn import Turns
from actors.wakeup import Wakeup


class Served(Protocol):
    """What serving needs of the activation."""

    gate: Gate
    broken: bool
    void: bool
    leaving: bool
    slots: trio.Semaphore

    @property
    def sound(self) -> bool: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def position(self) -> Position: ...
    def look_outside(self) -> bool: ...
    def turned(self, nursery: trio.Nursery) -> None:
        """A turn has run; `nursery` is for what is to be done beside the next ones."""
        ...

    def rested(self) -> None: ...
    def committed(self, *, wrote: bool) -> None: ...
    def regained(self) -> None: ...


class Serving:
    def __init__(
        self,
        served: Served,
        actor: Actor,
        mailbox: Mailbox,
        transaction: Transaction,
        turns: Turns,
        limits: Limits,
        doors: Doors,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._stopwatch = doors.stopwatch
        self._served = served
        self._actor = actor
        self._mailbox = mailbox
        self._transaction = transaction
        self._turns = turns
        self._limits = limits
        self._room = transaction.room
        self._wakeup = Wakeup()
        self._slices = Slices(turns, transaction, self._wakeup.set)
        self._offload = Offload(served, actor, mailbox, transaction, turns, self._slices, doors, limits)
        self._starting: Envelope | None = None  # an async handler that is about to begin
        self._offloaded: Envelope | None = None  # a call in a thread, or about to be: no turn meanwhile
        self._lent = False  # it has the connection: no slice, either
        self._nursery: trio.Nursery | None = None
        self._paused = False  # the last part of a checkpoint: no turn and no slice meanwhile

    # -- what the activation tells it -----------------------------------------------------------------------------------
    def wake(self) -> None:
        self._wakeup.set()

    def pause(self, paused: bool) -> None:
        self._paused = paused
        self._slices.pause(paused or self._lent)

    def _lend(self, lent: bool) -> None:
        self._lent = lent
        self._slices.pause(lent or self._paused)

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        return self._slices.exclusive()

    def cancel_handlers(self) -> None:
        """The runtime's stop has waited long enough for async handlers, or nothing runs here any more."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def end(self) -> None:
        """Cut its circles (see Activation.end)."""
        del self._served, self._actor, self._transaction, self._turns, self._slices, self._offload

    @property
    def begun(self) -> bool:
        """Its loop runs."""
        return self._nursery is not None

    @property
    def handlers_under_way(self) -> int:
        """Async handlers that have begun, or are about to."""
        return len(self._slices.running) + (self._starting is not None)

    @property
    def offloading(self) -> bool:
        """A call is in a thread, or about to be."""
        return self._offloaded is not None

    # -- the loop ---------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until the room leaves memory."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._serve(nursery)
        finally:
            self._nursery = None
            if self._starting is not None:  # cancelled before its first slice
                self._starting.refuse(self._cut_short())
                self._starting = None
        while not (self._served.broken or self._served.quiet):
            await self._wakeup.wait()

    async def _serve(self, nursery: trio.Nursery) -> None:
        mailbox, served, let_in = self._mailbox, self._served, False
        while not served.broken:
            if len(mailbox) and not (served.void or served.leaving) and self._may_turn():
                if not (let_in or self._pace.free):
                    await self._pace.wait()
                    let_in = True  # for one turn, if there is still something to do
                    continue
                let_in = False
                await self._turn(nursery)
                if len(mailbox):
                    await trio.lowlevel.checkpoint()  # one hot room must not starve the others
                continue
            if (served.leaving or served.void) and served.quiet:
                if served.leaving and served.look_outside():
                    continue
                return
            if served.quiet:
                served.rested()
            await self._wakeup.wait()

    def _may_turn(self) -> bool:
        return self._starting is None and self._offloaded is None and not self._slices.excludes_others and not self._paused

    async def _turn(self, nursery: trio.Nursery) -> None:
        began = self._stopwatch()
        settled, next_apart, locked = self._turns.run(self._mailbox)
        self._pace.took(self._stopwatch() - began)
        position = self._served.position
        for envelope in settled:
            envelope.position = position
        self._served.gate.hold(settled)
        if next_apart is not None:
            if next_apart.handler.is_async:
                self._starting = next_apart
                nursery.start_soon(self._run_async, next_apart)
            else:
                self._offloaded = next_apart
                nursery.start_soon(self._run_offloaded, next_apart, nursery)
        self._served.turned(nursery)
        if locked:
            await self._wait_for_lock()

    async def _run_async(self, envelope: Envelope) -> None:
        call = self._begin_async(envelope)
        try:
            await self._slices.run(envelope, call)
        except trio.Cancelled:
            envelope.error = self._cut_short()
            raise
        except BaseExceptionGroup as group:  # the same, and what its child tasks raised meanwhile: nobody else's matter
            envelope.error = self._cut_short()
            rest = group.split((trio.Cancelled, Exception))[1]
            if rest is not None:
                raise rest from None
        finally:
            self._served.gate.hold((envelope,))
            self._wakeup.set()

    async def _run_offloaded(self, envelope: Envelope, nursery: trio.Nursery) -> None:
        try:
            await self._offload.run(envelope, self._lend)
        finally:
            self._offloaded = None
            self._wakeup.set()
        self._served.turned(nursery)

    async def _begin_async(self, envelope: Envelope) -> Any:
        """The handler's coroutine; the first line of its first slice lets the next turn begin, in the order of the mailbox."""
        self._starting = None
        self._wakeup.set()
        answer = envelope.once.answered(self._transaction) if envelope.once is not None else None
        if answer is not None:
            return answer[0]
        return await envelope.handler.function(self._actor, *envelope.args, **envelope.kwargs)

    def _cut_short(self) -> OutcomeUnknown:
        return self._served.gate.broken or OutcomeUnknown(
            f"{self._room}: an async handler was cut short (the runtime stops, or a turn of the room was void); slices before "
            "that are committed. "
            "Read before you repeat the call.",
            room=self._room,
        )

    async def _wait_for_lock(self) -> None:
        """Another program holds the write lock: wait a little for it, never with the loop."""
        with trio.move_on_after(self._limits.lock_seconds_max):
            while self._served.sound:
                if self._turns.try_begin():
                    self._turns.commit([])
                    return
                await trio.sleep(LOCK_POLL_SECONDS)
            return
        error = RoomLocked(
            f"{self._room}: another program has held the write lock of its file for lock_seconds_max = "
            f"{self._limits.lock_seconds_max:g} s. "
            "Nothing ran; try again.",
            room=self._room,
        )
        for envelope in self._mailbox.empty():
            envelope.refuse(error)
