"""A tell under way: a call in its receiver's mailbox for which nobody waits, and what its outcome means."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from actors.calls.envelope import Envelope
from actors.calls.faults import overstayed, voided_its_turn
from actors.calls.handlers import Handlers
from actors.errors import BadArguments, OutcomeUnknown, RoomDeleted, RoomReset, RoomsError, RuntimeClosed, TurnVoid
from actors.names import RoomName
from actors.statements.codec import unpacked
from actors.system.backoff import LASTING
from actors.tells.outgoing import Tell
from actors.tells.receipt import Key, NotYet, Receipt


class Mail(Protocol):
    """What the courier needs of the runtime."""

    @property
    def admitting(self) -> bool: ...
    def handlers_of(self, actor: str) -> Handlers:
        """Raises BadArguments: not a class of this runtime."""
        ...

    def post(self, name: RoomName, envelope: Envelope) -> None:
        """Put it into the room's mailbox, also while the runtime stops. Raises Overloaded."""
        ...


class Delivery(Envelope):
    """Its outcome goes to the courier."""

    __slots__ = ("came", "tell")

    came: Callable[["Delivery"], None]
    tell: Tell

    def release(self) -> None:
        self.came(self)

    @property
    def not_yet(self) -> bool:
        """It was refused because one before it has not run; that one's failure is the matter."""
        return isinstance(self.error, NotYet)

    @property
    def own_fault(self) -> bool:
        """Whether it failed by its own method, and not by what passes by itself."""
        error = self.error
        if isinstance(error, TurnVoid):
            return voided_its_turn(error)
        if isinstance(error, RoomReset | OutcomeUnknown) and overstayed(error):
            return True
        if isinstance(error, (RoomDeleted, RoomReset, *LASTING)) and error.room == str(self.tell.pair.target):
            return False  # the told room was deleted or thrown away under it, or its class of today cannot take it into use
        if isinstance(error, RoomsError):
            return not (error.retryable or error.ran == "unknown" or isinstance(error, RuntimeClosed))
        return True


def delivery_of(tell: Tell, mail: Mail, came: Callable[[Delivery], None]) -> Delivery:
    """One delivery of a tell, behind those of its pair that are under way.

    Raises:
      RoomsError, ValueError: it cannot be delivered: the class, the method or its parameters are others now.
      apsw.Error, UnicodeDecodeError: the sender's file cannot be read.
    """
    pair = tell.pair
    handler = mail.handlers_of(pair.target.actor).get(tell.method)
    if handler.is_read:
        raise BadArguments(f"{pair.target}: {tell.method} is a @read now, and nobody waits for what a tell returns.")
    args, kwargs = _opened(tell, pair.outgoing.arguments_of(tell))
    if kwargs or not handler.takes(len(args)):
        handler.check(tuple(args), kwargs, str(pair.target))
    previous: Key | None = next(reversed(pair.under_way), None)
    delivery = Delivery(handler, args, kwargs, tell.size)
    delivery.tell = tell
    delivery.came = came
    delivery.once = Receipt(pair.outgoing.sender, tell.key, previous)
    return delivery


def _opened(tell: Tell, packed: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a tell. A file that is damaged may hold anything in their place."""
    parts: list[Any] = []
    with suppress(TypeError, ValueError):  # of msgpack, and of what is no list
        parts = list(unpacked(packed))
    if [type(part) for part in parts] == [list, dict]:
        return parts[0], parts[1]
    raise BadArguments(f"{tell.pair.outgoing.sender}: the arguments of its tell {tell.key[1]} are damaged.")
