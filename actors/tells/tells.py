"""`self.tell`: messages to other rooms, stored in the sender's own transaction like everything else that it writes.

Here they are stored and settled; the courier carries them. A number never comes twice: the newest row stays as a mark when it is
settled, so that the next tell is numbered after it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.calls.handlers import Handler, Handlers
from actors.errors import BadArguments, Overloaded, RoomsError, TooLarge
from actors.limits import Limits
from actors.names import RoomName
from actors.statements.codec import by_value_and_bytes, unpacked
from actors.statements.sql import Row
from actors.tables.annex import TELLS, TELLS_DEAD, Annex, Call
from actors.tells.receipt import Key

_PAGE = 64  # dead letters read at once, of up to 1 MiB each
_ROW_BYTES = 4_096  # that names and counters add to a row, at most

_STORE = "INSERT INTO _tells (epoch, actor, id, method, arguments, told_at) VALUES (?, ?, ?, ?, ?, ?)"
_DEAD = "number, actor, id, method, arguments, told_at, dead_at, attempts, reason"
_BURY = f"""INSERT INTO _tells_dead ({_DEAD}) SELECT number, actor, id, method, arguments, told_at, ?, ?, ? FROM _tells
    WHERE epoch = ? AND number = ? AND actor IS NOT NULL"""  # noqa: S608 - constant
_FORGET = """DELETE FROM _tells WHERE epoch = ? AND number IN (SELECT value FROM json_each(?))
    AND number < (SELECT max(number) FROM _tells)"""
_MARK = """UPDATE _tells SET actor = NULL, id = NULL, method = NULL, arguments = NULL
    WHERE number = (SELECT max(number) FROM _tells) AND epoch = ? AND number IN (SELECT value FROM json_each(?))"""

Address = Callable[[type, str], tuple[RoomName, Handlers]]
"""The name of a room and its handlers. Raises BadArguments, RoomIdInvalid."""


class Sender(Call, Protocol):
    """What telling needs of the transaction of the running call."""

    new_epoch: int | None

    @property
    def epoch(self) -> int: ...


@dataclass(slots=True)
class Verdicts:
    """What became of tells, to be written down in the sender's room.

    Attributes:
      done: ran there, or marks of earlier ones. failed: attempts so far, and when the next is due (Unix seconds).
      dead: attempts and the reason.
    """

    done: list[Key] = field(default_factory=list[Key])
    failed: dict[Key, tuple[int, float]] = field(default_factory=dict[Key, tuple[int, float]])
    dead: dict[Key, tuple[int, str]] = field(default_factory=dict[Key, tuple[int, str]])


class Tells:
    """One room's tells, as its calls store them. `stored`: one was, since somebody last cleared this."""

    __slots__ = ("_address", "_annex", "_call", "_dead", "_free", "_limits", "_now", "stored")

    def __init__(self, call: Sender, address: Address, limits: Limits, now: Callable[[], float]) -> None:
        self._call = call
        self._annex = Annex(call, TELLS)
        self._dead = Annex(call, TELLS_DEAD)
        self._address = address
        self._limits = limits
        self._now = now
        self._free = 0  # so many may be stored before they must be counted again
        self.stored = False

    def tell(self, actor: type, id: str, method: object, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """See Actor.tell."""
        try:
            name, handler = self._receiver(actor, id, method)
            if kwargs or not handler.takes(len(args)):
                handler.check(tuple(args), kwargs, str(name))
            packed = self._packed(name, handler, args, kwargs)
        except RoomsError as error:
            error.ran = "rolled back"  # of the call that tells, if it lets this pass
            error.add_note(f"(of a tell in {self._call.room}; nothing was sent)")
            raise
        self._store(*name, handler.name, packed)

    def _receiver(self, actor: type, id: str, method: object) -> tuple[RoomName, Handler]:
        if not isinstance(actor, type):  # pyright: ignore[reportUnnecessaryIsInstance]: callers without a type checker
            raise BadArguments(f"tell() takes an actor class, an id and a method, not {actor!r:.100}")
        name, handlers = self._address(actor, id)
        handler = handlers.of(method)
        if handler.is_read:
            raise BadArguments(f"{name}: {handler.name} is a @read, and nobody waits for what a tell returns", room=str(name))
        return name, handler

    def _packed(self, name: RoomName, handler: Handler, args: Sequence[Any], kwargs: dict[str, Any]) -> bytes:
        try:
            packed = by_value_and_bytes((args, kwargs))[1]
        except ValueError as error:
            raise BadArguments(
                f"{name}: an argument of {handler.name} cannot cross by value: {error}.", room=str(name)
            ) from error
        limits = self._limits
        for limit, most in (("call_bytes_max", limits.call_bytes_max), ("row_bytes_max", limits.row_bytes_max - _ROW_BYTES)):
            if len(packed) > most:
                raise TooLarge(
                    f"{name}: the arguments of {handler.name} have {len(packed):,} bytes; {limit} allows {most:,}.",
                    room=str(name),
                )
        return packed

    def _store(self, actor: str, id: str, method: str, packed: bytes) -> None:
        call, most = self._call, self._limits.tells_pending_max
        if self._free <= 0:
            counted = self._annex.read("SELECT count(actor) FROM _tells")  # a mark is no tell
            self._free = most - (counted[0][0] if counted else 0)
        if self._free <= 0:
            raise Overloaded(
                f"{call.room}: {most - self._free:,} of its tells are not settled yet; tells_pending_max is {most:,}. This one "
                "was not stored; try again later, and look at what keeps their receivers.",
                room=call.room,
                ran="rolled back",
            )
        epoch = call.new_epoch or call.epoch
        self._annex.write(_STORE, epoch, actor, id, method, packed, self._now())
        self._free -= 1
        self.stored = True

    def settle(self, verdicts: Verdicts) -> list[int]:
        """Inside a call: write down what became of tells; the numbers of the dead for which there was no place."""
        for (epoch, number), (attempts, next_at) in verdicts.failed.items():
            query = "UPDATE _tells SET attempts = ?, next_at = ? WHERE epoch = ? AND number = ?"
            self._annex.remove(query, attempts, next_at, epoch, number)
        homeless: list[int] = []
        done = list(verdicts.done)
        for key, (attempts, reason) in verdicts.dead.items():
            counted = self._dead.read("SELECT count(*) FROM _tells_dead")
            if counted and counted[0][0] >= self._limits.tells_dead_max:
                homeless.append(key[1])
                continue
            self._dead.write(_BURY, self._now(), attempts, reason, *key)
            done.append(key)
        for epoch, numbers in _by_epoch(done).items():
            listed = json.dumps(numbers)
            self._annex.remove(_FORGET, epoch, listed)
            self._annex.remove(_MARK, epoch, listed)
        self._free = 0
        return homeless

    @property
    def dead(self) -> "DeadTells":
        return DeadTells(self._dead, self._store)


class DeadTells:
    """`self.dead_tells`: tells of this room that were given up. They stay until they are told again or forgotten."""

    __slots__ = ("_annex", "_store")

    def __init__(self, annex: Annex, store: Callable[[str, str, str, bytes], None]) -> None:
        self._annex = annex
        self._store = store

    def __len__(self) -> int:
        counted = self._annex.read("SELECT count(*) FROM _tells_dead")
        return counted[0][0] if counted else 0

    def __iter__(self) -> Iterator[Row]:
        """The oldest first: number, actor, id, method, args, kwargs, told_at and dead_at (Unix seconds), attempts, reason."""
        last = -1
        query = f"SELECT {_DEAD} FROM _tells_dead WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608 - constant
        while page := self._annex.read(query, last, _PAGE):
            for number, actor, id, method, arguments, told_at, dead_at, attempts, reason in page:
                args, kwargs = unpacked(arguments)
                last = number
                yield Row(
                    number=number,
                    actor=actor,
                    id=id,
                    method=method,
                    args=args,
                    kwargs=kwargs,
                    told_at=told_at,
                    dead_at=dead_at,
                    attempts=attempts,
                    reason=reason,
                )

    def again(self, number: int) -> bool:
        """Tell it again, as the newest of its pair; whether it was there. Raises Overloaded as `tell`."""
        rows = self._annex.read("SELECT actor, id, method, arguments FROM _tells_dead WHERE number = ?", number)
        for actor, id, method, arguments in rows:
            self._store(actor, id, method, arguments)  # first: a handler may pass over Overloaded
        return self.forget(number)

    def forget(self, number: int) -> bool:
        """Whether it was there."""
        return bool(self._annex.remove("DELETE FROM _tells_dead WHERE number = ? RETURNING 1", number))


def _by_epoch(keys: Iterable[Key]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for epoch, number in keys:
        found.setdefault(epoch, []).append(number)
    return found
