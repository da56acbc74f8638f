"""Idempotency: a call with a key runs once, and every repeat of it gets the reply of the first (see `replies`).

A `def` handler's effects, key and reply are one commit. An `async def` handler's reply joins its last slice: while it runs,
repeats wait for it; if it fails, the first of them runs it again; cut short between two slices (a crash), the next repeat runs it
again, and finds what the earlier slices left.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

from actors.calls.envelope import Envelope
from actors.calls.handlers import Handler
from actors.errands.cycles import refuse_cycle
from actors.errands.errand import Errand, KeySection, KeyWait
from actors.errors import BadArguments, KeyInvalid
from actors.limits import KEY_BYTES_MAX
from actors.names import RoomName
from actors.statements.codec import packed
from actors.statements.transaction import Transaction
from actors.tables.replies import KeyUnderWay

DIGEST_BYTES = 16  # so that two calls have the same one by chance after 2^64 of them
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_WAITS = "It waited for the first call under its key, which still runs: repeat it under the same key"


class Keyed:
    """One call under a key. An envelope.Once."""

    __slots__ = ("digest", "key", "method")

    def __init__(self, key: str, method: str, digest: bytes) -> None:
        self.key = key
        self.method = method
        self.digest = digest

    def answered(self, transaction: Transaction) -> tuple[Any] | None:
        return transaction.replies.find(self.key, self.method, self.digest)

    def ran(self, transaction: Transaction, value: Any) -> None:
        transaction.replies.keep(self.key, self.method, self.digest, value)


def checked(key: str | None) -> str | None:
    """Raises KeyInvalid."""
    if key is None:
        return None
    try:
        fits = 0 < len(key.encode()) <= KEY_BYTES_MAX
    except (AttributeError, UnicodeEncodeError):
        fits = False
    if not fits:
        raise KeyInvalid(f"a key is text of 1 to {KEY_BYTES_MAX:,} bytes of UTF-8, not {key!r:.100}. Nothing ran.")
    return key


def put_under(key: str, envelope: Envelope, room: RoomName) -> None:
    """Let this call run once. Raises BadArguments."""
    handler = envelope.handler
    if handler.is_read:
        raise BadArguments(
            f"{room}: {handler.name} is a @read, which changes nothing and may be repeated as it is: call it without a key. "
            "Nothing ran.",
            room=str(room),
        )
    try:
        envelope.once = Keyed(key, handler.name, digest(handler, envelope.args, envelope.kwargs))
        envelope.key = key
    except RecursionError:
        raise BadArguments(
            f"{room}: an argument of {handler.name} nests too deep to be compared with that of a repeat. Nothing ran.",
            room=str(room),
        ) from None


def digest(handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Of arguments that are by value: the same where a handler would see the same, in whichever order names and keys came."""
    arguments: Any = args
    if kwargs:
        arguments = _in_order([*handler.bound(args, kwargs)])
    elif _SCALARS.issuperset(map(type, args)):
        arguments = [args, {}]
    else:
        arguments = [_in_order(args), {}]
    return blake2b(packed(arguments), digest_size=DIGEST_BYTES).digest()


def _in_order(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_in_order(one) for one in cast(Sequence[Any], value)]
    if isinstance(value, dict):
        items = [(packed(key), key, _in_order(one)) for key, one in cast(dict[Any, Any], value).items()]
        return {key: one for _, key, one in sorted(items, key=lambda item: item[0])}
    return value


async def run_once(errand: Errand, transaction: Transaction, handler: Callable[[], Awaitable[Any]]) -> Any:
    """In the first slice of an async handler whose call runs once: its reply, if it is kept or another is about to give it,
    otherwise what the handler returns. Raises CallCycle: that one waits for this very call."""
    envelope = errand.envelope
    once = envelope.once
    answer = once.answered(transaction) if once is not None else None
    if answer is not None:
        envelope.once = None  # it is kept already
        return answer[0]
    if not isinstance(once, Keyed):
        return await handler()
    under_way = transaction.replies.under_way
    runs = under_way.setdefault(once.key, KeyUnderWay(once.method, once.digest))
    runs.people += 1
    try:
        while runs.owner is not None:
            refuse_cycle(errand, errand.task, errand.room, f"{envelope.handler.name} (under its key)", (runs.owner,))
            envelope.kept = _WAITS
            wait = KeyWait(errand.task, runs)
            errand.waits[wait] = None
            try:
                await runs.waiting.park()
            finally:
                del errand.waits[wait]
            envelope.kept = ""
            answer = once.answered(transaction)
            if answer is not None:
                envelope.once = None
                return answer[0]
        runs.owner = errand.key = KeySection(errand, errand.task)
        try:
            return await handler()
        finally:
            runs.owner = errand.key = None
    finally:
        runs.people -= 1
        if runs.people:
            runs.waiting.unpark()  # one by one, in the order of their calls: should this one fail, the next one runs it
        else:
            del under_way[once.key]
