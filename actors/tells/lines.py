"""Lines: what is under way to each told room, and which pairs wait to send there. Bounded, and fair among the pairs."""

from collections import deque
from collections.abc import Callable

import apsw

from actors.errors import Overloaded, RoomsError
from actors.limits import Limits
from actors.names import RoomName
from actors.tells.delivery import Delivery, Mail, delivery_of
from actors.tells.outgoing import Pair, Tell

AT_ONCE = 32  # tells of one pair that are sent before the next pair has its turn
SENT_AT_ONCE = 256  # to all rooms, before others have the loop: 4 ms
SHARE_OF_MAILBOX = 4  # tells may fill a quarter of a mailbox: the rest is for people

Failed = Callable[[Pair, Tell, Exception, bool], None]
"""A tell could not be sent; whether that is counted against it."""


class Line:
    """What is under way to one room, and the pairs that wait to send more."""

    __slots__ = ("bytes", "count", "pairs", "target")

    def __init__(self, target: RoomName) -> None:
        self.target = target
        self.pairs: deque[Pair] = deque()
        self.count = 0
        self.bytes = 0


class Lines:
    """All lines of one runtime. `came`: a delivery has its outcome."""

    def __init__(self, mail: Mail, limits: Limits, came: Callable[[Delivery], None], failed: Failed) -> None:
        self._mail = mail
        self._came = came
        self._failed = failed
        self._calls_max = max(1, limits.mailbox_calls_max // SHARE_OF_MAILBOX)
        self._bytes_max = limits.mailbox_bytes_max // SHARE_OF_MAILBOX
        self._lines_max = limits.open_rooms_max  # no more rooms are told at once than can be in memory
        self._lines: dict[RoomName, Line] = {}
        self._lines_under_way = 0
        self._to_send: dict[Line, None] = {}  # in the order in which they asked

    @property
    def at_rest(self) -> bool:
        """Nothing is under way."""
        return not self._lines_under_way

    def queue(self, pair: Pair) -> None:
        """The pair may have something to send."""
        if not pair.ready or pair.queued:
            return
        line = self._lines.get(pair.target)
        if line is None:
            line = self._lines[pair.target] = Line(pair.target)
        pair.queued = True
        line.pairs.append(pair)
        self._to_send[line] = None

    def send(self) -> bool:
        """Send what there is place for; whether there is more that could be sent at once."""
        sent = 0
        waiting, self._to_send = self._to_send, {}
        for line in waiting:
            if sent >= SENT_AT_ONCE:
                self._to_send[line] = None
                continue
            if not line.count and self._lines_under_way >= self._lines_max:
                self._to_send[line] = None  # until another room has been told
                continue
            before = line.count
            while line.pairs and self._has_place(line):
                pair = line.pairs.popleft()
                pair.queued = False
                if self._send(pair, line):
                    pair.queued = True
                    line.pairs.append(pair)
            if line.count and not before:
                self._lines_under_way += 1
            sent += line.count - before
            self._drop_if_over(line)
        return sent >= SENT_AT_ONCE and bool(self._to_send)

    def _has_place(self, line: Line) -> bool:
        return not line.count or (line.count < self._calls_max and line.bytes < self._bytes_max)

    def _drop_if_over(self, line: Line) -> None:
        if not (line.count or line.pairs) and self._lines.get(line.target) is line:
            del self._lines[line.target]

    def _send(self, pair: Pair, line: Line) -> bool:
        """Send some; whether the pair has more that may be sent at once."""
        stay = pair.outgoing.stay
        for _ in range(AT_ONCE):
            if not pair.ready or stay is None or not stay.may_begin:
                return False
            if not self._has_place(line):
                break
            tell = pair.waiting[0]
            try:
                delivery = delivery_of(tell, self._mail, self._came)
            except apsw.BusyError as error:  # another program is at work on the sender's file
                pair.waiting.popleft()
                self._failed(pair, tell, error, False)
                return False
            except (apsw.Error, UnicodeDecodeError) as error:
                stay.unreadable(error)
                return False
            except (RoomsError, ValueError) as error:  # it can never be: those before it come first, then it is told so
                if not pair.under_way:
                    pair.waiting.popleft()
                    self._failed(pair, tell, error, True)
                return False
            if delivery.handler.is_async and pair.under_way:
                return False  # it is alone of its pair: others of its room run beside it, the next of its pair must not
            pair.waiting.popleft()
            try:
                self._mail.post(pair.target, delivery)
            except Overloaded as error:
                self._failed(pair, tell, error, False)
                return False
            pair.under_way[tell.key] = tell
            pair.alone = delivery.handler.is_async
            line.count += 1
            line.bytes += tell.size
        return pair.ready

    def came_back(self, tell: Tell) -> None:
        """A tell is not under way any more."""
        pair = tell.pair
        line = self._lines[pair.target]
        line.count -= 1
        line.bytes -= tell.size
        if not line.count:
            self._lines_under_way -= 1
        if line.pairs:
            self._to_send[line] = None
        del pair.under_way[tell.key]
        pair.alone = False
        self._drop_if_over(line)
