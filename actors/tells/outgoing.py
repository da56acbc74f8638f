"""What one room has told and nobody has settled yet, as the courier knows it: by pair (sender, receiver), in order.

It outlives the sender's stay in memory while tells are under way: a sender that had to leave does not send them twice.
"""

from collections import deque
from typing import Any, Protocol

import apsw

from actors.alarms.duties import Duties
from actors.names import RoomName
from actors.statements.sql import internal
from actors.storage.storage import Storage
from actors.sync.gate import Gate
from actors.tells.receipt import Key
from actors.tells.tells import Verdicts

NOW = 0.0  # Unix seconds: due, whatever the wall clock says; one that is set back delays nothing
UNKNOWN = 0.0  # trio time at which a pair is ready that has been read with a time of the wall clock
PAGE_TELLS = 256  # read at once: 1 ms of the loop
SMALL_BYTES = 1_024  # arguments that are kept in memory until they are sent; larger ones are read again: 10,000 may wait

_READ = """SELECT number, epoch, actor, id, method, CASE WHEN length(arguments) <= ? THEN arguments END, length(arguments),
    attempts, next_at FROM _tells WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"""


class Stay(Protocol):
    """What the courier needs of the activation of a sender."""

    gate: Gate
    storage: Storage
    duties: Duties

    @property
    def sound(self) -> bool: ...
    @property
    def lent(self) -> bool:
        """An offloaded call has the connection: it is not read."""
        ...

    @property
    def may_begin(self) -> bool:
        """It is sound, and not about to leave."""
        ...

    def unreadable(self, error: apsw.Error | UnicodeDecodeError) -> None:
        """Its file could not be read."""
        ...

    def tells_settled(self) -> None:
        """Nothing of what it told is under way, or could be now."""
        ...


class Pair:
    """Tells from one room to another. `waiting` and `under_way` are in order; what comes back unsettled waits again.

    `again_at`: trio time of the next try after a failure. `held`: until its first tell is known to be dead, durably.
    """

    __slots__ = (
        "again_at",
        "again_wall",
        "alone",
        "failures",
        "held",
        "outgoing",
        "queued",
        "returned",
        "target",
        "under_way",
        "waiting",
    )

    def __init__(self, outgoing: "Outgoing", target: RoomName) -> None:
        self.outgoing = outgoing
        self.target = target
        self.waiting: deque[Tell] = deque()
        self.under_way: dict[Key, Tell] = {}
        self.returned: list[tuple[Tell, BaseException | None, bool]] = []  # with its error, and whether that counts
        self.failures = 0  # in a row, of those that do not count
        self.again_at: float | None = None
        self.again_wall = 0.0
        self.held = False
        self.alone = False  # an async method is under way: others of its room run beside it, the next of its pair must not
        self.queued = False  # for a place among what is under way to the target

    @property
    def ready(self) -> bool:
        return bool(self.waiting) and not (self.held or self.alone or self.returned) and self.again_at is None

    @property
    def busy(self) -> bool:
        return bool(self.under_way) or self.held or self.ready

    @property
    def over(self) -> bool:
        return not (self.waiting or self.under_way or self.held or self.returned) and self.again_at is None


class Tell:
    """One tell. `arguments`: msgpack, None if they must be read again."""

    __slots__ = ("arguments", "attempts", "key", "method", "pair", "size")

    def __init__(self, pair: Pair, key: Key, method: str, arguments: bytes | None, size: int, attempts: int) -> None:
        self.pair = pair
        self.key = key
        self.method = method
        self.arguments = arguments
        self.size = size
        self.attempts = attempts  # that count


class Outgoing:
    """All of one sender."""

    __slots__ = (
        "durable",
        "known",
        "marks",
        "pairs",
        "read_to",
        "sender",
        "settle_at",
        "settle_failures",
        "settling",
        "stay",
        "told",
        "verdicts",
    )

    def __init__(self, sender: RoomName) -> None:
        self.sender = sender
        self.stay: Stay | None = None
        self.pairs: dict[RoomName, Pair] = {}
        self.known: dict[Key, Tell] = {}  # that need not be read again
        self.told = 0  # the newest number
        self.durable = 0  # the number up to which tells may be sent
        self.read_to = 0
        self.marks: list[Key] = []  # settled, but for its number
        self.verdicts = Verdicts()
        self.settling: Verdicts | None = None  # on its way into the sender's room
        self.settle_at: float | None = None  # trio time
        self.settle_failures = 0

    @property
    def unread(self) -> bool:
        return self.read_to < self.told

    @property
    def verdicts_wait(self) -> bool:
        verdicts = self.verdicts
        return bool(verdicts.done or verdicts.failed or verdicts.dead)

    @property
    def to_be_settled(self) -> bool:
        """Verdicts are being written down, or may be at the first try."""
        return self.settling is not None or (self.verdicts_wait and not self.settle_failures)

    @property
    def busy(self) -> bool:
        """Something is under way or could be: the sender stays in memory if it can."""
        if self.unread or self.settling is not None or self.verdicts_wait:
            return True
        return any(pair.busy for pair in self.pairs.values())

    @property
    def next_at(self) -> float | None:
        """Unix seconds at which its sender must be in memory; None if all is settled."""
        if self.busy:
            return NOW
        return min((pair.again_wall for pair in self.pairs.values() if pair.waiting), default=None)

    def left(self) -> None:
        """The sender has left memory: what waits is read again at its next stay, what is under way or settled is not. What could
        not be written down waits on: on a full disk each try ends a stay."""
        self.stay = None
        self.told = self.durable = self.read_to = 0
        self.marks.clear()
        for pair in list(self.pairs.values()):
            self.read_later(pair)
            self.drop_if_over(pair)

    def read_later(self, pair: Pair) -> None:
        """What waits is read again at the sender's next stay, and tried again when it is time: a room that tells itself ends its
        stay with each failure."""
        for tell in pair.waiting:
            self.known.pop(tell.key, None)
        pair.waiting.clear()
        if pair.again_at == UNKNOWN:
            pair.again_at = None

    def drop_if_over(self, pair: Pair) -> None:
        if pair.over and self.pairs.get(pair.target) is pair:
            del self.pairs[pair.target]

    def read(self) -> list[Pair]:
        """The next page of what is stored and durable; the pairs that have got more.

        Raises:
          apsw.Error, UnicodeDecodeError: the file cannot be read.
        """
        rows = internal(self._connection, _READ, (SMALL_BYTES, self.read_to, self.durable, PAGE_TELLS))
        found: dict[RoomName, Pair] = {}
        for row in rows:
            pair = self._take(*row)
            if pair is not None:
                found[pair.target] = pair
        self.read_to = rows[-1][0] if len(rows) == PAGE_TELLS else self.durable
        return list(found.values())

    def _take(
        self, number: int, epoch: Any, actor: Any, id: Any, method: Any, arguments: bytes | None, size: int, *tries: Any
    ) -> Pair | None:
        if not isinstance(epoch, int):  # a damaged file may say anything
            raise garbled(number)
        key = (epoch, number)
        if actor is None:
            self.marks.append(key)
            return None
        if key in self.known:
            return None
        attempts, next_at = tries
        texts = isinstance(actor, str) and isinstance(id, str) and isinstance(method, str)
        if not (texts and isinstance(attempts, int) and isinstance(next_at, float | None)):
            raise garbled(number)
        target = RoomName(actor, id)
        pair = self.pairs.get(target)
        if pair is None:
            pair = self.pairs[target] = Pair(self, target)
        for unwritten in (self.settling, self.verdicts):
            if unwritten is not None and key in unwritten.failed:
                attempts, next_at = unwritten.failed[key]
        if next_at is not None and pair.over:
            pair.again_wall = next_at
            pair.again_at = UNKNOWN
        tell = self.known[key] = Tell(pair, key, method, arguments, size, attempts)
        pair.waiting.append(tell)
        return pair

    def arguments_of(self, tell: Tell) -> bytes:
        """Raises as `read`."""
        if tell.arguments is not None:
            return tell.arguments
        rows = internal(self._connection, "SELECT arguments FROM _tells WHERE number = ?", (tell.key[1],))
        return rows[0][0]

    @property
    def _connection(self) -> apsw.Connection:
        """The sender's. Raises apsw.BusyError while an offloaded call has it."""
        assert self.stay is not None
        if self.stay.lent:
            raise apsw.BusyError("the connection is lent to an offloaded call")
        return self.stay.storage.connection

    # -- verdicts -----------------------------------------------------------------------------------------------------
    def take_verdicts(self) -> Verdicts:
        """What is to be written down now, marks included."""
        taken, self.verdicts = self.verdicts, Verdicts()
        self.settling = taken
        self.settle_at = None
        return Verdicts([*self.marks, *taken.done], taken.failed, taken.dead)

    def written(self, homeless: list[int]) -> list[tuple[Tell, int, str]]:
        """They are, durably; the tells that are dead now, with attempts and reason."""
        taken, self.settling = self.settling, None
        assert taken is not None
        self.settle_failures = 0
        dead = [(key, *verdict) for key, verdict in taken.dead.items() if key[1] not in homeless]
        settled = [*self.marks, *taken.done, *(key for key, _, _ in dead)]
        self.marks = [max(settled, key=lambda key: key[1])] if settled else []
        for key in taken.done:
            self.known.pop(key, None)
        found = [(self.known[key], attempts, reason) for key, attempts, reason in dead if key in self.known]
        for tell, _, _ in found:
            del self.known[tell.key]
        return found

    def not_written(self) -> None:
        """They must be written later."""
        taken, self.settling = self.settling, None
        assert taken is not None
        verdicts = self.verdicts
        verdicts.done[:0] = taken.done
        verdicts.failed = taken.failed | verdicts.failed
        verdicts.dead = taken.dead | verdicts.dead
        self.settle_failures += 1


def garbled(number: int) -> apsw.CorruptError:
    """A row of `_tells` that nobody has stored."""
    return apsw.CorruptError(f"its tell {number} is garbled")
