"""Async handlers: driven by hand, so that the runtime sees each suspension.

What runs between two suspensions is a *slice*: atomic, a turn of its own. Other calls run between slices and never inside one.
An exception rolls back the slice in which it happened and leaves earlier ones. `exclusive` keeps others out across slices.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import trio

from actors.calls.envelope import Envelope
from actors.calls.exclusive import Exclusive
from actors.calls.turn import Turns
from actors.errands.departure import Departure
from actors.errands.errand import EARLIER_SLICES, Errand, Section, Task
from actors.errors import CallRefused, StatementRefused
from actors.follower import Position
from actors.limits import LOCK_POLL_SECONDS
from actors.statements.transaction import Transaction
from actors.sync.gate import Gate


class Slices:
    """The running async handlers of one activation."""

    def __init__(
        self, turns: Turns, transaction: Transaction, exclusive: Exclusive, gate: Gate, caught_up: Callable[[], None]
    ) -> None:
        self._turns = turns
        self._transaction = transaction
        self._exclusive = exclusive
        self._gate = gate
        self._caught_up = caught_up  # no slice waits any more
        self._parked: deque[Task] = deque()  # slices that wait, in the order in which they were ready
        self._called: Task | None = None  # of these, the one that was told to look again and has not yet
        self._free = trio.lowlevel.ParkingLot()  # who waits until nothing holds back other calls
        self._paused = False
        self._current: Errand | None = None  # whose slice runs now
        self._leaving: list[Departure] = []  # when that slice is durable
        self.running: dict[Task, Errand] = {}
        self.ending = False  # the room's loop has ended: no slice waits for another program's lock any more

    def pause(self, paused: bool) -> None:
        """Hold back every slice (while a checkpoint empties the WAL, or an offloaded call has the connection)."""
        self._paused = paused
        if not paused:
            self.look_again()

    @property
    def waiting(self) -> bool:
        """Slices wait to be admitted: they come before calls that have not begun."""
        return bool(self._parked) or self._called is not None

    @property
    def free(self) -> bool:
        """Nothing holds back the other calls of the room."""
        return not (self._paused or self._exclusive.sections or self.waiting)

    async def until_free(self) -> None:
        while not self.free:
            await self._free.park()

    def look_again(self) -> None:
        """The slice that has waited longest may run, and the next one after it; while a block is held, its holder's alone; all
        of them, if they are only to end."""
        parked = self._parked
        ended = self._transaction.void or self._transaction.closed
        while parked and (ended or self._called is None):
            task = parked[0] if ended else next((task for task in parked if not self._exclusive.keeps_out(task)), None)
            if task is None:
                break
            parked.remove(task)
            self._called = task
            trio.lowlevel.reschedule(task)
        if self.free:
            self._free.unpark_all()

    @property
    def leaving(self) -> list[Departure] | None:
        """What leaves when the slice that runs now is durable; None while no slice runs."""
        return None if self._current is None else self._leaving

    def sender(self, what: str) -> tuple[Errand, Task]:
        """The async handler that runs now, or whose child the present task is, and that task. Raises StatementRefused."""
        errand = self._current
        task = trio.lowlevel.current_task() if trio.lowlevel.in_trio_task() else None
        if errand is not None and task is not None:  # a thread that the slice has just started may come before its end
            return errand, errand.task
        inner = task
        while task is not None:
            errand = self.running.get(task)
            if errand is not None and inner is not None:
                return errand, inner
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        room = self._transaction.room
        if self._transaction.running and inner is not None:
            raise StatementRefused(
                f"{room}: {what} needs an async handler: nothing may leave a `def` handler before it has ended: it is all or "
                "nothing. Write `async def`, or send without waiting: self.tell(…).",
                room=room,
            )
        raise StatementRefused(
            f"{room}: {what} was used where no async handler of this room runs (in a thread, in a task of another nursery, or "
            "after the handler ended). Nothing ran.",
            room=room,
        )

    def errand(self, envelope: Envelope) -> Errand:
        """The present task runs an async handler."""
        return Errand(envelope, self._transaction.room, self._exclusive.sections)

    async def run(self, errand: Errand, call: Coroutine[Any, Any, Any], *, alone: bool = False) -> None:
        """Run an async handler to its end; its outcome is noted in its envelope, not raised (but for a cancellation).

        `alone`: nobody else runs until it is done.
        """
        section = Section(errand, errand.task) if alone else None
        self.running[errand.task] = errand
        if section is not None:
            self._exclusive.hold(section)
        try:
            with errand.scope:
                await self._drive(errand, call)
        finally:
            errand.over = True
            del self.running[errand.task]
            if section is not None:
                self._exclusive.drop(section)

    @coroutine
    def _drive(self, errand: Errand, call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, None]:
        envelope = errand.envelope
        value: Any = None
        error: BaseException | None = None
        while True:
            waited = self._must_wait(envelope, errand.task)
            if waited:
                yield from self._admission(envelope, errand.task).__await__()
            try:
                running, step, late_error = self._slice(errand, call, value, error)
            finally:  # also where it was cancelled: else those behind it would wait for ever
                self._call_next(waited=waited)
            if not running:
                return
            try:
                value, error = (yield step), None
            except BaseException as raised:  # the cancellation or error that trio delivers belongs to the handler
                error = raised
            error = late_error or error

    def _call_next(self, *, waited: bool) -> None:
        """A slice has ended. `waited`: it had to be admitted."""
        if waited and not self.waiting:
            self._free.unpark_all()
            self._caught_up()
        elif self._parked and not (self._paused or self._exclusive.sections):
            self.look_again()

    def _slice(
        self, errand: Errand, call: Coroutine[Any, Any, Any], value: Any, error: BaseException | None
    ) -> tuple[bool, Any, BaseException | None]:
        """Run to the next suspension and commit. Returns whether the handler goes on, what it waits for, and an error that its
        slice met at the suspension: it must still wait (it is parked somewhere), and gets the error when it wakes."""
        transaction, turns, envelope = self._transaction, self._turns, errand.envelope
        if transaction.void:
            errand.cut = True
        transaction.call_begins()
        turns.slice_begins(envelope)
        self._current = errand
        try:
            step = call.send(value) if error is None else call.throw(error)
        except StopIteration as stop:
            self._turned_back()
            return self._finish(errand, stop.value)
        except BaseException as raised:
            self._turned_back()
            self._undo(errand, raised)
            turns.commit([])
            if not isinstance(raised, Exception):
                raise
            return False, None, None
        else:
            late_error = self._suspend(errand)
            if self._leaving and self._depart(errand.task, late_error):
                step = _at_once()
            return True, step, late_error
        finally:
            self._current = None
            turns.slice_ends()

    def _suspend(self, errand: Errand) -> BaseException | None:
        """End the slice at a suspension. Returns what it met there."""
        transaction, turns, envelope = self._transaction, self._turns, errand.envelope
        if transaction.entered:
            envelope.handler.uses_sql = True
        try:
            turns.slice_in_time(envelope)
            transaction.call_ends()
        except Exception as raised:
            turns.undo(raised, [], envelope)
            turns.commit([])
            return raised
        if not transaction.begun:
            return None
        before = transaction.seq
        this_slice = Envelope(envelope.handler, [], {}, 0)  # takes the blame if the commit voids the slice
        turns.commit([this_slice])
        if transaction.seq != before:
            envelope.kept = EARLIER_SLICES
        return this_slice.error

    def _undo(self, errand: Errand, raised: BaseException) -> None:
        """What the handler raised becomes its outcome, and its slice is undone."""
        envelope = errand.envelope
        envelope.error = errand.judge(raised)
        self._turns.undo(raised, [], envelope)
        envelope.error = errand.judge(envelope.error)  # which may be another one now

    def _depart(self, task: Task, late_error: BaseException | None) -> bool:
        """Calls that the slice made go on their way as soon as it is durable; with a slice that was undone they never do.

        True: the one that this task waits for has its outcome already (refused, mostly). Trio parks the task only after this, and
        whoever woke it before would break trio.
        """
        leaving, self._leaving = self._leaving, []
        awaited = [one for one in leaving if one.not_parked(task)]
        if late_error is None:
            self._gate.hold(leaving)
        else:
            for one in leaving:
                one.refuse(late_error)
        out = [one for one in awaited if not one.parked(task)]
        return bool(out)

    def _turned_back(self) -> None:
        """The handler has ended without waiting for calls that it had begun to make: they never leave."""
        leaving, self._leaving = self._leaving, []
        for one in leaving:
            room = self._transaction.room
            one.refuse(CallRefused(f"{room}: the handler that made this call had ended before it left. Nothing ran.", room=room))

    def _finish(self, errand: Errand, value: object) -> tuple[bool, None, None]:
        envelope = errand.envelope
        envelope.error = None  # of an earlier slice, which the handler has survived
        try:
            self._turns.slice_in_time(envelope)
            self._turns.keep(envelope, value)
        except Exception as raised:
            self._undo(errand, raised)
        self._turns.commit([envelope])
        envelope.position = Position(self._transaction.epoch, self._transaction.seq)
        return False, None, None

    def _must_wait(self, envelope: Envelope, task: Task) -> bool:
        # First: while the connection is lent, not even a handler that is cut short may end its slice, which commits.
        if self._paused:
            return True
        if self._transaction.void:  # it is cut short, and its SQL refused
            return False
        if self._exclusive.keeps_out(task):
            return True
        if self._transaction.closed:  # the room broke: the handler is cut short, and its SQL refused
            return False
        needs = envelope.handler.uses_sql is not False or envelope.once is not None
        return needs and not self._turns.try_begin() and not self.ending

    async def _admission(self, envelope: Envelope, task: Task) -> None:
        """Wait until this slice may run. Shielded: a deadline inside the handler must not let it in among others."""
        came_before = False
        with trio.CancelScope(shield=True):
            while self._must_wait(envelope, task):
                if self._paused or self._exclusive.keeps_out(task):
                    if came_before:  # somebody has come in between: it stays the first
                        self._parked.appendleft(task)
                    else:
                        self._parked.append(task)
                    came_before = True
                    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
                    self._called = None
                else:
                    await trio.sleep(LOCK_POLL_SECONDS)


def _at_once() -> Any:
    """What a task tells trio that goes on in the next pass of the loop, whatever its handler wanted to wait for."""
    wait = trio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC105 - its first step is what a task tells trio
    try:
        return wait.send(None)
    finally:
        wait.close()
