"""An errand: one async handler under way, what it waits for, and which call of another room's handler it answers.

    errand ─ waits for ─▶ inner call ─ answered by ─▶ errand, of another room
       └──── waits for ─▶ section of `exclusive` ─ held by ─▶ errand, of the same room

What these say together, `cycles` looks through before anybody begins to wait.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import trio

from actors.calls.envelope import Envelope
from actors.calls.handlers import Handler
from actors.errors import RoomsError
from actors.names import RoomName

Task = trio.lowlevel.Task

EARLIER_SLICES = "What its earlier slices wrote is committed: read before you repeat it"
OTHER_ROOMS = "What its calls to other rooms did stays: read before you repeat it"


class Errand:
    """`room` is "Class/id"; `depth` counts the calls that led here, 0 for one from outside."""

    __slots__ = ("cut", "depth", "envelope", "fault", "key", "over", "room", "scope", "sections", "task", "verdict", "waits")

    def __init__(self, envelope: Envelope, room: str, sections: "list[Section]") -> None:
        self.envelope = envelope
        self.room = room
        self.sections = sections  # those that are held in its room, whoever holds them
        self.task = trio.lowlevel.current_task()
        self.scope = trio.CancelScope(deadline=envelope.deadline)
        self.waits: dict[InnerCall | Section | KeyWait, None] = {}
        self.key: KeySection | None = None  # the idempotency key under which it runs
        self.over = False
        self.cut = False  # its room was reset before it had ended
        self.fault: BaseException | None = None  # what of its own made its room be reset
        self.verdict: BaseException | None = None  # what its caller is told although it was cut short
        self.depth = 0
        if isinstance(envelope, InnerCall):
            envelope.errand = self
            self.depth = envelope.sender.depth + 1

    def __str__(self) -> str:
        return f"{self.room}.{self.envelope.handler.name}"

    @property
    def parent(self) -> "InnerCall | None":
        """The call of another room's handler that it answers."""
        envelope = self.envelope
        return envelope if isinstance(envelope, InnerCall) else None

    def chain(self) -> "list[Errand]":
        """The handlers that wait for this one, the first one first, and itself."""
        chain: list[Errand] = [self]
        while (call := chain[-1].parent) is not None:
            chain.append(call.sender)
        return chain[::-1]

    @property
    def left(self) -> bool:
        """Something of it stays whatever it raises: a slice that wrote, a call that another room answered."""
        return bool(self.envelope.kept)

    def judge(self, error: BaseException) -> BaseException:
        """An error of ours that ends this handler tells its caller what became of *this* call, not of the one that it made."""
        if not isinstance(error, RoomsError):
            return error
        elsewhere = bool(error.method) or error.room not in ("", self.room)  # a stub names it, also one of this very room
        if error.ran == "unknown":
            error.retryable = error.retryable and not elsewhere  # that one's key is not this one's
        elif self.left:
            error.ran = "unknown"
            error.retryable = False
            error.add_note(f"(it ended {self}. {self.envelope.kept})")
        elif elsewhere:  # that call may not have run; this one did
            error.ran = "rolled back"
        return error


class Exchange(Protocol):
    """Where calls between rooms pass: the runtime."""

    def sections(self, name: RoomName) -> "Sequence[Section]":
        """Of a room's exclusive blocks, those that are held now."""
        ...


class InnerCall(Envelope):
    """A call that a handler of another room (or of the same) made, and waits for.

    Whoever lets go of it lets go of the handler that answers it, too: nobody outside has asked for that one.
    """

    __slots__ = ("begun_by", "errand", "exchange", "sender", "target")

    def __init__(self, handler: Handler, args: list[Any], kwargs: dict[str, Any], size: int) -> None:
        super().__init__(handler, args, kwargs, size)
        self.errand: Errand | None = None  # that answers it, once it has begun
        self.sender: Errand
        self.begun_by: Task  # waits for it, or made a later call through the same room object
        self.exchange: Exchange
        self.target: RoomName

    inner = True

    def sent(self, sender: Errand, task: Task, target: RoomName, exchange: Exchange) -> None:
        self.sender = sender
        self.begun_by = task
        self.target = target
        self.exchange = exchange
        if sender.envelope.deadline < self.deadline:
            self.deadline, self.timeout = sender.envelope.deadline, math.inf  # which no caller of this one has said in seconds
        sender.waits[self] = None

    def __str__(self) -> str:
        return f"{self.target}.{self.handler.name}"

    @property
    def waiter(self) -> Task:
        return self._task or self.begun_by

    def release(self) -> None:
        sender, error = self.sender, self.error
        sender.waits.pop(self, None)
        if error is None or (error.ran == "unknown" if isinstance(error, RoomsError) else self.handler.is_async):
            sender.envelope.kept = sender.envelope.kept or OTHER_ROOMS
        super().release()

    def not_parked(self, task: Task) -> bool:
        """See departure.Departure."""
        if self._task is not task:
            return False
        self._task = None
        return True

    def parked(self, task: Task) -> bool:
        if not self.out:
            self._task = task
        return not self.out

    def withdraw(self) -> None:
        """It was not sent after all."""
        self.sender.waits.pop(self, None)

    def abandon(self) -> None:
        sender = self.sender.envelope
        self.sender.waits.pop(self, None)
        if self.begun and not self.out:
            sender.kept = sender.kept or OTHER_ROOMS
        if self.errand is not None:
            self.errand.scope.cancel()
        super().abandon()


class Section:
    """An exclusive block: waited for, then held, by one task of an errand."""

    how = "keeps others out by self.exclusive() until it ends"
    instead = "Call other rooms before or after the exclusive block"

    __slots__ = ("errand", "nurseries", "task", "timer")

    def __init__(self, errand: Errand, task: Task) -> None:
        self.errand = errand
        self.task = task
        self.nurseries = len(task.child_nurseries)  # that were open before the block
        self.timer: trio.CancelScope | None = None

    @property
    def waiter(self) -> Task:
        return self.task

    def admits(self, task: Task | None) -> bool:
        """The task is the block's own or descends from it."""
        while task is not None and task is not self.task:
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return task is not None

    def needs(self, task: Task) -> bool:
        """The block cannot end before this task does: it is the block's own, or lives in a nursery that was opened inside."""
        while task is not self.task:
            nursery = task.parent_nursery
            if nursery is None:
                return False
            if nursery.parent_task is self.task:
                return nursery in self.task.child_nurseries[self.nurseries :]
            task = nursery.parent_task
        return True


class KeySection(Section):
    """An idempotency key under which an async handler runs: repeats wait for its reply."""

    how = "runs under an idempotency key, and repeats under it wait for its reply"
    instead = "Give each call a key of its own"

    __slots__ = ()


class UnderWay(Protocol):
    """What is known of a key under which handlers run (replies.KeyUnderWay)."""

    owner: KeySection | None


class KeyWait:
    """A repeat that waits for the reply of the first call under its key."""

    __slots__ = ("key", "waiter")

    def __init__(self, waiter: Task, key: UnderWay) -> None:
        self.waiter = waiter
        self.key = key
