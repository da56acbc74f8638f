"""Offloaded calls: a `def` handler runs in a worker thread, on its room's own connection, while the loop serves other rooms.

    mailbox ─▶ a slot (`offload_calls_max`) ─▶ BEGIN ─▶ the connection is lent to a thread ─▶ taken back ─▶ COMMIT ─▶ gate
               └────────── on the loop ──────────┘       handler, result by value              └──── on the loop ────┘

The call is a turn of its own. From BEGIN to COMMIT no turn and no slice of this room runs; calls queue, reads and followers go
to connections of their own and see the last commit. What needs long to be undone is undone in the thread.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import apsw
import trio

from actors.actor import Actor
from actors.calls import timeouts
from actors.calls.envelope import Envelope
from actors.calls.loan import Loan
from actors.calls.mailbox import Mailbox
from actors.calls.slices import Slices
from actors.calls.turn import Turns, reset_call
from actors.errors import DeadlineExceeded, RoomLocked, RoomsError, RuntimeClosed
from actors.follower import Position
from actors.limits import LOCK_POLL_SECONDS, Limits
from actors.statements.sql import internal
from actors.statements.transaction import Transaction
from actors.sync.gate import Gate
from actors.system.doors import Doors


class Served(Protocol):
    """What an offloaded call needs of the activation."""

    gate: Gate
    void: bool
    cut_by: str
    refusal: RoomsError | None
    slots: trio.Semaphore  # so many offloaded calls run at once

    @property
    def sound(self) -> bool: ...
    @property
    def position(self) -> Position: ...
    def committed(self, *, wrote: bool) -> None: ...
    def regained(self) -> None:
        """The connection is the loop's again, between two transactions."""
        ...


class Offload:
    """Of one activation, one call at a time."""

    def __init__(
        self,
        served: Served,
        actor: Actor,
        mailbox: Mailbox,
        transaction: Transaction,
        turns: Turns,
        slices: Slices,
        doors: Doors,
        limits: Limits,
    ) -> None:
        self._served = served
        self._actor = actor
        self._mailbox = mailbox
        self._transaction = transaction
        self._turns = turns
        self._slices = slices
        self._doors = doors
        self._limits = limits
        self._room = transaction.room

    async def run(self, envelope: Envelope, lent: Callable[[bool], None]) -> None:
        """Run one call to its end, commit it, and let its outcome out; nothing is raised but a cancellation.

        Cancelled before it begins, it does not run here. Later, it is cut, and its thread waited for: nothing of it stays.
        """
        loan: Loan | None = None
        slots, held, waits = self._served.slots, False, True
        try:
            with trio.CancelScope(deadline=envelope.deadline) as in_time:
                if await self._begin(envelope):
                    held = True
                    lent(True)
                    loan = self._lend(envelope)
            waits = False
            if in_time.cancelled_caught:
                envelope.refuse(timeouts.not_begun(envelope, self._room))
            if loan is not None:
                await self._in_thread(loan, envelope)
        finally:
            if held:
                slots.release()
            if loan is not None:
                self._take_back(loan, envelope)
                lent(False)
            elif waits:
                self._give_back(envelope)

    # -- before -----------------------------------------------------------------------------------------------------------
    async def _begin(self, envelope: Envelope) -> bool:
        """Take a slot and begin its transaction, when nobody else uses the connection; False, without a slot, if it was refused,
        or its caller has left.

        It waits for its room without a slot: whoever keeps others out there may wait for another room's offloaded call.
        """
        slots, until = self._served.slots, math.inf
        while not envelope.abandoned:
            await self._slices.until_free()
            await slots.acquire()
            begun = False
            try:
                await trio.lowlevel.checkpoint_if_cancelled()  # nothing begins on a room that broke
                begun = self._slices.free and not envelope.abandoned and self._turns.try_begin()
            finally:
                if not begun:
                    slots.release()
            if begun:
                return True
            if not self._slices.free:
                continue
            now = trio.current_time()
            until = min(until, now + self._limits.lock_seconds_max)
            if now >= until:
                envelope.refuse(
                    RoomLocked(
                        f"{self._room}: another program has held the write lock of its file for lock_seconds_max = "
                        f"{self._limits.lock_seconds_max:g} s. Nothing ran; try again.",
                        room=self._room,
                    )
                )
                return False
            await trio.sleep(LOCK_POLL_SECONDS)
        return False

    def _lend(self, envelope: Envelope) -> Loan:
        transaction, limits, method = self._transaction, self._limits, envelope.handler.name
        if (
            transaction.foreign_commit
        ):  # now, not after the call: reads beside it may see what another program committed (rule 34)
            transaction.foreign_commit = False
            self._served.committed(wrote=True)
        seconds, why = min(
            (limits.offload_seconds_max, f"offload_seconds_max = {limits.offload_seconds_max:g} s"),
            (envelope.handler.manner.timeout, f"its timeout of {envelope.handler.manner.timeout:g} s"),
            (envelope.deadline - trio.current_time(), "the time that its caller gave it"),
        )
        transaction.call_begins()
        loan = Loan(transaction.connection, self._room, method, seconds, why, self._doors.stopwatch)
        transaction.loan = loan
        return loan

    # -- while it runs ----------------------------------------------------------------------------------------------------
    async def _in_thread(self, loan: Loan, envelope: Envelope) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, loan, envelope)
            with trio.CancelScope(shield=True):  # the connection is in its hands: it is waited for, however long it takes
                try:
                    loan.error = await self._doors.threads.run_apart(self._work, loan, envelope)
                except Exception as error:  # the system allows no more threads
                    loan.error, loan.ended = error, True
            nursery.cancel_scope.cancel()

    async def _watch(self, loan: Loan, envelope: Envelope) -> None:
        """Cut it where nobody may wait for it any longer: the room broke, its file is damaged, or the stop has waited enough."""
        try:
            await trio.sleep_forever()
        finally:
            if not loan.ended:
                loan.cut(self._cut(envelope))

    def _work(self, loan: Loan, envelope: Envelope) -> BaseException | None:
        """In the thread: run the handler, take its result by value; or undo what it wrote. Returns what it raised."""
        transaction, once, handler = self._transaction, envelope.once, envelope.handler
        try:
            loan.begin()
            answer = once.answered(transaction) if once is not None else None
            if answer is None:
                self._turns.carry(envelope, handler.function(self._actor, *envelope.args, **envelope.kwargs))
            else:
                envelope.value = answer[0]
            loan.check()
        except BaseException as error:
            if loan.entered and transaction.lost is None and transaction.damage is None:
                with suppress(apsw.Error):  # undone once more on the loop, which judges what that raises
                    internal(transaction.connection, "ROLLBACK TO call")
            return error
        finally:
            loan.ended = True
        return None

    # -- after ------------------------------------------------------------------------------------------------------------
    def _take_back(self, loan: Loan, envelope: Envelope) -> None:
        transaction, served = self._transaction, self._served
        transaction.loan = None
        transaction.entered = loan.entered and transaction.lost is None
        transaction.limit_statements(self._limits.statement_seconds_max, self._doors.stopwatch)
        if loan.error is not None and not isinstance(loan.error, Exception):  # the process is about to end
            transaction.rollback()
            raise loan.error
        if served.void or not served.sound:
            loan.over = self._cut(envelope)
        if loan.over is not None and not isinstance(loan.over, DeadlineExceeded):
            with suppress(apsw.Error):  # what it cannot undo now goes with the connection
                transaction.rollback()
            envelope.refuse(loan.over)  # not by the gate: it has shown nothing, and nothing of it is there
            return
        self._settle(loan, envelope)
        served.regained()
        envelope.position = served.position
        served.gate.hold((envelope,))

    def _settle(self, loan: Loan, envelope: Envelope) -> None:
        """Commit the call, or undo it: its turn is its own, so that nobody else's work or memory is void with it."""
        transaction, error = self._transaction, loan.error
        if loan.over is not None and type(error) is not type(loan.over):  # it passed over its end
            over = loan.refusal()
            over.__cause__ = error
            error = over
        if error is None:
            try:
                transaction.call_ends()
            except Exception as raised:
                error = raised
        if error is not None:
            lost, transaction.lost = transaction.lost, None
            envelope.error = error
            self._turns.undo(error, [], envelope)
            if lost is not None and transaction.guard.schema_touched:
                transaction.renew()
        self._turns.commit([envelope])

    # -- what its caller is told ------------------------------------------------------------------------------------------
    def _give_back(self, envelope: Envelope) -> None:
        """It has not begun: it waits for the next activation, or is refused by the stop."""
        if self._served.refusal is not None:
            envelope.refuse(self._served.refusal)
        elif self._served.void or not self._served.sound:
            self._mailbox.put_back(envelope)
        else:
            envelope.refuse(RuntimeClosed(f"{self._room}: the runtime is stopping or has stopped. Nothing ran.", room=self._room))

    def _cut(self, envelope: Envelope) -> RoomsError:
        served = self._served
        if served.void or not served.sound:
            why = served.cut_by or "a sync of its file failed, or the file was found damaged"
            return reset_call(self._room, why, served.refusal)
        return RuntimeClosed(
            f"{self._room}: the runtime stops, and {envelope.handler.name} had not ended after drain_seconds_max = "
            f"{self._limits.drain_seconds_max:g} s. What it wrote was rolled back.",
            room=self._room,
            ran="rolled back",
        )
