"""One call on its way: the request, whether it has begun, and the caller who waits."""

import math
from copy import copy
from typing import Any, Protocol, TypeVar

import trio

from actors.calls.handlers import Handler
from actors.errors import BadArguments, CallFailed, Ran, TooLarge
from actors.follower import Position
from actors.limits import Limits
from actors.names import RoomName
from actors.statements.codec import by_value
from actors.statements.transaction import Transaction

NOWHERE = Position(0, 0)


class Once(Protocol):
    """Makes a call run once, by what it keeps in the room's own transaction: a key, the number of a tell, an alarm."""

    def answered(self, transaction: Transaction) -> tuple[Any] | None:
        """Inside the call, before its handler: the reply, if it has run already. Raises CallRefused."""
        ...

    def ran(self, transaction: Transaction, value: Any) -> None:
        """Inside the call, after its handler, with what it returned by value; undone if the call fails after all."""
        ...


class Envelope:
    """States: waiting (not begun), begun, settled. A caller that is cancelled lets go of it: not begun, it never runs;
    begun, it completes and its reply is dropped."""

    __slots__ = (
        "_task",
        "abandoned",
        "args",
        "begun",
        "control",
        "deadline",
        "error",
        "handler",
        "kept",
        "key",
        "kwargs",
        "once",
        "out",
        "position",
        "size",
        "timeout",
        "value",
    )

    inner = False
    """Made by the handler of a room (see errand.InnerCall)."""

    def __init__(self, handler: Handler, args: list[Any], kwargs: dict[str, Any], size: int) -> None:
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.size = size  # bytes of msgpack
        self.begun = False
        self.control = handler.control  # it waits in the lane before the other commands'
        self.once: Once | None = None
        self.key: str | None = None  # of idempotency, if that is what makes it run once
        self.deadline = math.inf  # trio time, after which it must not run and what it does is rolled back
        self.timeout = math.inf  # seconds; the deadline as its caller said it, for the words of errors
        self.kept = ""  # of a handler that has begun: why something of it may be there although it fails; a sentence
        self.abandoned = False
        self.out = False  # its outcome was let out, and does not change any more
        self.error: BaseException | None = None  # what the call raised
        self.value: Any = None  # what it returned, already by value
        self.position = NOWHERE  # of the room, as it saw or made it
        self._task: trio.lowlevel.Task | None = None

    async def settled(self) -> None:
        """Wait until the outcome is released; raises what the call raised. Cancellable."""
        if self.out:  # made before another one through the same room object, and sent along with that
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._let_go)
        if self.error is not None:
            raise self.error

    async def settled_before(self, deadline: float) -> bool:
        """Wait for the outcome, at most until then (trio time); whether it is out. One that has not begun by then never runs.

        A caller whose time is up may wait again for one that has begun; whoever is cancelled must still let go of it (`abandon`).
        """
        if self.out:
            return True
        self._task = trio.lowlevel.current_task()
        with trio.CancelScope(deadline=deadline):
            await trio.lowlevel.wait_task_rescheduled(self._step_back)
        return self.out

    def abandon(self) -> None:
        """Its caller has gone."""
        self._task = None
        self.abandoned = True

    def release(self) -> None:
        """Let the noted outcome out to the caller, if it still waits."""
        self.out = True
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    def refuse(self, error: BaseException) -> None:
        """Replace the outcome by an error and let it out. Callers get copies: a traceback belongs to one of them."""
        self.error = copy(error)
        self.error.__cause__ = error.__cause__
        self.release()

    def _let_go(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.abandon()
        return trio.lowlevel.Abort.SUCCEEDED

    def _step_back(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        if not self.begun:
            self.abandon()
        return trio.lowlevel.Abort.SUCCEEDED


E = TypeVar("E", bound=Envelope)


def seal(kind: type[E], handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], limits: Limits, room: RoomName) -> E:
    """A call's arguments, checked and by value, in an envelope of this kind.

    Raises:
      BadArguments: they do not fit the handler's signature, or cannot cross.
      TooLarge: more than `call_bytes_max`.
    """
    if kwargs or not handler.takes(len(args)):
        handler.check(args, kwargs, str(room))
    try:
        (values, named), size = by_value((args, kwargs))
    except ValueError as error:
        raise BadArguments(
            f"{room}: an argument of {handler.name} cannot cross by value: {error}. Nothing ran.", room=str(room)
        ) from error
    if size > limits.call_bytes_max:
        raise TooLarge(
            f"{room}: the arguments of {handler.name} have {size:,} bytes; call_bytes_max is "
            f"{limits.call_bytes_max:,}. Nothing ran.",
            room=str(room),
        )
    return kind(handler, values, named, size)


def cannot_cross(room: str, handler: Handler, error: ValueError, undone: str) -> CallFailed:
    """The error for a call whose result cannot cross by value. `undone`: what became of the call, a sentence."""
    return CallFailed(f"{room}: the result of {handler.name} cannot cross to its caller: {error}. {undone}.", room=room)


def result_too_large(room: str, handler: Handler, size: int, bytes_max: int, undone: str, ran: Ran) -> TooLarge:
    """The error for a call whose result is over `result_bytes_max`."""
    return TooLarge(
        f"{room}: the result of {handler.name} has {size:,} bytes; result_bytes_max is {bytes_max:,}. {undone}; return less, in "
        "pages.",
        room=room,
        ran=ran,
    )
