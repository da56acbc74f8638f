"""Timeouts: until when a call may run, and what its caller is told who cannot wait longer.

    queued past its deadline     it never runs                                       CallTimeout, ran "no"
    a `def` handler beyond it    its SQL is interrupted, all it wrote rolled back    DeadlineExceeded, "rolled back"
    an `async def` handler       cancelled; its present slice is rolled back         DeadlineExceeded, "rolled back", or "unknown"
                                                                                     where earlier slices are committed
    no word of the room so far   the caller goes, the call completes                 CallTimeout, "unknown"

The room's own word is better than a guess: for that, the caller of a call that has begun waits TIMEOUT_GRACE_SECONDS longer.
"""

import math
from collections.abc import Callable

import trio

from actors.calls.envelope import Envelope
from actors.errors import CallTimeout, DeadlineExceeded
from actors.limits import TIMEOUT_GRACE_SECONDS
from actors.statements.deadline import CallTime

TIMEOUT_SECONDS_MAX = 1e9  # 30 years; more is none: threads, and clocks, have bounds of their own


def checked(timeout: float | None) -> float:
    """Seconds; infinite for None and for what nobody lives to see. Raises ValueError."""
    if timeout is None:
        return math.inf
    if type(timeout) not in (int, float) or not timeout > 0:
        raise ValueError(f"a timeout is seconds greater than zero, or None, not {timeout!r}")
    return float(timeout) if timeout <= TIMEOUT_SECONDS_MAX else math.inf


# -- the room's side ----------------------------------------------------------------------------------------------------------
def expired(envelope: Envelope) -> bool:
    return envelope.deadline != math.inf and trio.current_time() >= envelope.deadline


def begin(envelope: Envelope) -> None:
    """An async handler begins: from now counts what `@command(timeout=…)` gives it."""
    own = envelope.handler.manner.timeout
    if own != math.inf and (until := trio.current_time() + own) < envelope.deadline:
        envelope.deadline = until
        envelope.timeout = own


def bind(envelope: Envelope, time: CallTime, stopwatch: Callable[[], float]) -> None:
    """Bound what runs now, a `def` handler or a slice, by the call's deadline, as the stopwatch will show it. A slice that begins
    after it is not bound: a handler that was cancelled cleans up."""
    handler, seconds = envelope.handler, envelope.timeout
    left = envelope.deadline - trio.current_time() if envelope.deadline != math.inf else math.inf  # `bare` has no clock of trio's
    if not handler.is_async:
        own = handler.manner.timeout
        if own < left:
            left = seconds = own
    elif left <= 0:
        return
    time.bound(stopwatch() + left, _words(seconds))


def in_time(envelope: Envelope, room: str, time: CallTime, stopwatch: Callable[[], float]) -> None:
    """What ran has come to its end. Raises DeadlineExceeded if that was too late, or a statement met the deadline on the way."""
    if time.passed or (time.until != math.inf and stopwatch() > time.until):
        what = "this slice of it was rolled back" if envelope.handler.is_async else "all it wrote was rolled back"
        raise DeadlineExceeded(f"{room}: {envelope.handler.name} ran past its deadline ({time.words}); {what}.", room=room)


def cancelled(envelope: Envelope, room: str) -> DeadlineExceeded:
    """The error of an async handler that was cancelled at its deadline."""
    what = f"{room}: {envelope.handler.name} passed its deadline ({_words(envelope.timeout)}) and was cancelled."
    return DeadlineExceeded(
        f"{what} {envelope.kept or 'What it wrote was rolled back'}.",
        room=room,
        ran="unknown" if envelope.kept else "rolled back",
    )


def not_begun(envelope: Envelope, room: str) -> CallTimeout:
    """The error for a call that nobody has begun by its deadline; nobody will."""
    return CallTimeout(
        f"{room}: no reply of {envelope.handler.name} in time ({_words(envelope.timeout)}). It had not begun and never runs.",
        room=room,
    )


# -- the caller's side --------------------------------------------------------------------------------------------------------
async def settled(envelope: Envelope, room: str) -> None:
    """Wait for the outcome until the deadline, and a little longer if it has begun.

    Raises:
      What the call raised. CallTimeout: its caller's time is up.
    """
    deadline = envelope.deadline  # the room may bring its own forward
    try:
        in_time = await envelope.settled_before(deadline)
        if not in_time and not envelope.abandoned:
            in_time = await envelope.settled_before(deadline + TIMEOUT_GRACE_SECONDS)
    except trio.Cancelled:
        envelope.abandon()
        raise
    if not in_time:
        never = envelope.abandoned  # it had not begun then
        envelope.abandon()
        raise not_begun(envelope, room) if never else no_answer(envelope, room)
    if envelope.error is not None:
        raise envelope.error


def no_answer(envelope: Envelope, room: str) -> CallTimeout:
    """The error for a caller who leaves without having heard of the room."""
    what = f"{room}: no reply of {envelope.handler.name} in time ({_words(envelope.timeout)})."
    if envelope.handler.is_read:
        return CallTimeout(f"{what} A read changes nothing; ask again.", room=room)
    if not envelope.begun:
        return not_begun(envelope, room)
    error = CallTimeout(
        f"{what} It has begun, and whether it completes or is rolled back is unknown: read before you repeat it.",
        room=room,
        ran="unknown",
    )
    error.retryable = False
    return error


def _words(seconds: float) -> str:
    return f"timeout = {seconds:g} s" if seconds != math.inf else "the deadline of the call that made it"
