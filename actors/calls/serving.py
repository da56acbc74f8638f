"""Serving: the loop of one activation that takes its turns from the mailbox, and the tasks of its async handlers."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from actors.actor import Actor
from actors.calls import timeouts
from actors.calls.envelope import Envelope
from actors.calls.exclusive import Exclusive
from actors.calls.handlers import Handler
from actors.calls.keyed import run_once
from actors.calls.mailbox import Mailbox
from actors.calls.offload import Offload
from actors.calls.pace import Pace
from actors.calls.slices import Slices
from actors.calls.turn import Turns, reset_call
from actors.errands.departure import Departure
from actors.errands.errand import Errand, Task
from actors.errors import OutcomeUnknown, RoomLocked, RoomReset, RoomsError, StartFailed, StatementRefused, StorageFull
from actors.follower import Position
from actors.limits import LOCK_POLL_SECONDS, Limits
from actors.reason import reason
from actors.statements.transaction import Transaction
from actors.sync.gate import Gate
from actors.system.doors import Doors
from actors.system.wakeup import Wakeup


class Served(Protocol):
    """What serving needs of the activation."""

    gate: Gate
    broken: bool
    void: bool
    leaving: bool
    slots: trio.Semaphore
    cut_by: str
    refusal: RoomsError | None

    @property
    def start_refusal(self) -> RoomsError | None:
        """Why on_start is not even tried now."""
        ...

    def started(self) -> None: ...
    def failed_to_start(self, error: RoomsError) -> None: ...
    def reset(self, why: str) -> None: ...
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
        on_start: Handler | None = None,
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
        self.exclusive = Exclusive(self, limits.exclusive_seconds_max)
        self._slices = Slices(turns, transaction, self.exclusive, served.gate, self._wakeup.set)
        self._offload = Offload(served, actor, mailbox, transaction, turns, self._slices, doors, limits)
        self._on_start = on_start  # to be run before the first call
        self._starting: Envelope | None = None  # an async handler that is about to begin
        self._offloaded: Envelope | None = None  # a call in a thread, or about to be: no turn meanwhile
        self._lent = False  # it has the connection: no slice, either
        self._nursery: trio.Nursery | None = None
        self._ended = False
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

    # -- what its handlers ask of it ------------------------------------------------------------------------------------
    def sender(self, what: str) -> tuple[Errand, Task]:
        """Raises StatementRefused outside of async handlers."""
        if self._ended:
            raise StatementRefused(f"{self._room}: {what} was used after its room had left memory. Nothing ran.", room=self._room)
        return self._slices.sender(what)

    @property
    def sending(self) -> list[Departure] | None:
        """What leaves when the slice that runs now is durable; None while no slice runs."""
        return self._slices.leaving

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None, "a handler of it runs"
        self._nursery.start_soon(work)

    def freed(self) -> None:
        self._slices.look_again()
        self._wakeup.set()

    @property
    def over(self) -> bool:
        return self._served.void or self._served.broken

    def reset(self, why: str) -> None:
        self._served.reset(why)

    # -- for the activation ----------------------------------------------------------------------------------------------
    def cancel_handlers(self) -> None:
        """The runtime's stop has waited long enough for async handlers, or nothing runs here any more."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def end(self) -> None:
        """Cut its circles (see Activation.end)."""
        self._ended = True
        del self._served, self._actor, self._transaction, self._turns, self._slices, self._offload, self.exclusive

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
                try:
                    await self._serve(nursery)
                finally:
                    self._slices.ending = True
        finally:
            self._nursery = None
            self._give_back()
        while not (self._served.broken or self._served.quiet):
            await self._wakeup.wait()

    async def _serve(self, nursery: trio.Nursery) -> None:
        mailbox, served, let_in = self._mailbox, self._served, False
        while not served.broken:
            if len(mailbox) and self._may_turn():
                if not (let_in or self._pace.free):
                    await self._pace.wait()
                    let_in = True  # for one turn, if there is still something to do
                    continue
                let_in = False
                await (self._turn(nursery) if self._on_start is None else self._start(self._on_start, nursery))
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
        served = self._served
        if served.void or self._starting is not None or self._offloaded is not None or not self._slices.free:
            return False
        # A handler under way may wait for what another room's handler calls here: then the next stay would come too late.
        return not served.leaving or (self.handlers_under_way > 0 and self._mailbox.awaited)

    def _give_back(self) -> None:
        """An async handler that had not begun when nothing ran here any more: it is as if it had not been taken."""
        starting, self._starting = self._starting, None
        if starting is None or starting.handler is self._on_start:
            return
        if self._served.refusal is not None:
            starting.refuse(self._served.refusal)
        elif self.over:
            self._mailbox.put_back(starting)
        else:
            starting.refuse(self._cut_short(None))

    async def _start(self, on_start: Handler, nursery: trio.Nursery) -> None:
        """Before the first call of this stay, alone."""
        refusal = self._served.start_refusal
        if refusal is not None:
            for envelope in self._mailbox.empty():
                envelope.refuse(refusal)
            return
        alone = Mailbox(self._limits, self._room)
        beginning = Envelope(on_start, [], {}, 0)
        alone.put(beginning)
        settled, next_async, locked = self._run_turn(alone)
        if locked:
            await self._wait_for_lock()
            return
        if next_async is not None:
            self._starting = beginning
            nursery.start_soon(self._start_async, beginning)
        elif settled:
            self._started(beginning)
        self._served.turned(nursery)

    async def _start_async(self, beginning: Envelope) -> None:
        ended = False
        try:
            await self._run_async(beginning, alone=True)
            ended = True
        finally:
            if ended or self._served.void:  # else the runtime stops
                self._started(beginning)

    def _started(self, beginning: Envelope) -> None:
        served, error = self._served, beginning.error
        if not served.sound:
            return
        if error is not None:
            served.failed_to_start(error if isinstance(error, StorageFull | RoomLocked) else start_failed(self._room, error))
        elif not served.void:
            self._on_start = None
            served.started()
            self._wakeup.set()

    def _run_turn(self, mailbox: Mailbox) -> tuple[list[Envelope], Envelope | None, bool]:
        began = self._stopwatch()
        turn = self._turns.run(mailbox)
        self._pace.took(self._stopwatch() - began)
        return turn

    async def _turn(self, nursery: trio.Nursery) -> None:
        settled, next_apart, locked = self._run_turn(self._mailbox)
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

    # -- handlers that run apart ----------------------------------------------------------------------------------------
    async def _run_async(self, envelope: Envelope, *, alone: bool = False) -> None:
        if self.over:
            return  # see _give_back
        if envelope.inner and envelope.abandoned:  # since it was taken: nobody outside has asked for it
            self._starting = None
            self._wakeup.set()
            self._served.gate.hold((envelope,))
            return
        call = self._begin_async(envelope)
        timeouts.begin(envelope)
        errand: Errand | None = None
        try:
            errand = self._slices.errand(envelope)
            await self._slices.run(errand, call, alone=alone)
            if errand.cut or errand.scope.cancelled_caught:
                envelope.error = self._cut_off(errand)
        except trio.Cancelled:
            envelope.error = self._cut_short(errand)
            raise
        except BaseExceptionGroup as group:  # the same, and what its child tasks raised meanwhile: nobody else's matter
            envelope.error = self._cut_off(errand)
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
        if timeouts.expired(envelope):
            raise timeouts.not_begun(envelope, self._room)

        async def handler() -> Any:  # what makes it run once may have filled in its arguments by then: an alarm's
            return await envelope.handler.function(self._actor, *envelope.args, **envelope.kwargs)

        if envelope.once is None:
            return await handler()
        errand, _ = self._slices.sender(envelope.handler.name)
        return await run_once(errand, self._transaction, handler)

    def _cut_off(self, errand: Errand | None) -> BaseException:
        """What the caller of a handler is told that was cancelled: at its deadline, or with its room."""
        if errand is not None and not errand.cut and errand.scope.cancelled_caught and timeouts.expired(errand.envelope):
            return timeouts.cancelled(errand.envelope, self._room)
        return self._cut_short(errand)

    def _cut_short(self, errand: Errand | None) -> BaseException:
        """What the caller of a handler is told that did not come to its end."""
        served = self._served
        if served.gate.broken is not None:
            return served.gate.broken
        if errand is not None and errand.verdict is not None:
            return errand.verdict
        why = served.cut_by or ("a turn of the room was void" if served.void else "the runtime stops, or its caller has left")
        error: RoomReset | OutcomeUnknown
        kept = errand.envelope.kept if errand is not None else ""
        if served.void and not kept:
            error = reset_call(self._room, why, served.refusal)
        else:
            error = OutcomeUnknown(
                f"{self._room}: an async handler was cut short ({why}). {kept or 'Read before you repeat the call'}.",
                room=self._room,
            )
        error.__cause__ = errand.fault if errand is not None else None
        return error

    # -- another program's lock -----------------------------------------------------------------------------------------
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


def start_failed(room: str, error: BaseException) -> StartFailed:
    failed = StartFailed(
        f"{room}: on_start raised {reason(error)}. It was rolled back, and no call ran. It runs again with a later call.",
        room=room,
    )
    failed.__cause__ = error
    return failed
