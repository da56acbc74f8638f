"""The courier: carries tells from room to room once the turn that told them is durable, in order for each pair of rooms.

    sender's turn ─▶ gate ─▶ outgoing (its pairs) ─▶ lines (a receiver each) ─▶ delivery ─▶ receiver's mailbox, turn, gate
                                 ▲                                                                      │
    sender's turn ◀─ settlement ─┴──────────────────────────── verdicts ◀───────────────────────────────┘

A tell travels as a call in its receiver's mailbox, with a receipt that makes it run once there. Several of one pair may be under
way at once: each names the one before it, and a receiver that has not run that one refuses it (`receipt`). A reply waits for the
receiver's gate, so a tell is forgotten only when what it did is durable.

One task of the runtime does all of this between turns; rooms only say that something is durable or has come back.
"""

import logging
from collections.abc import Callable
from heapq import heappop, heappush

import apsw
import trio

from actors.actor import Actor
from actors.calls.envelope import Envelope
from actors.calls.handlers import Handler
from actors.limits import LOCK_POLL_SECONDS, Limits
from actors.names import RoomName
from actors.reason import reason
from actors.system.backoff import doubled
from actors.system.doors import Doors
from actors.system.wakeup import Wakeup
from actors.tells.delivery import Delivery, Mail
from actors.tells.lines import Lines
from actors.tells.outgoing import UNKNOWN, Outgoing, Pair, Stay, Tell
from actors.tells.tells import Verdicts

logger = logging.getLogger("durable_rooms.actors")

READ_AT_ONCE = 512  # tells, of all rooms, before others have the loop: 2 ms
FORGET_SECONDS = 0.5  # settled tells are forgotten together: one turn of the sender for all of them, 60 µs and a sync
FORGET_AT_ONCE = 256  # or when there are so many
AGAIN_SECONDS_FIRST = 0.1  # after what may pass by itself: a full mailbox is empty again after 25 ms
AGAIN_SECONDS_MAX = 15.0  # a receiver that is well again is told within that time
RETRY_SECONDS_FIRST = 1.0  # after a failure that counts
RETRY_SECONDS_MAX = 60.0
EARLY_SECONDS = 0.05  # a room that was woken for a retry does not leave again for so little
JITTER = 0.25  # of a wait, at most, so that many senders of one receiver do not come back together


class Settlement(Envelope):
    """Verdicts on their way into the sender's room, as a call of its own."""

    __slots__ = ("came", "outgoing")

    came: Callable[["Settlement"], None]
    outgoing: Outgoing

    def release(self) -> None:
        self.came(self)


def _settle(actor: Actor, verdicts: Verdicts) -> list[int]:
    return actor._surroundings.tells.settle(verdicts)  # pyright: ignore[reportPrivateUsage] - a call of the runtime's own


_SETTLE = Handler("settle tells", _settle)


class Durable:
    """Waits at the sender's gate with a turn that told something (see gate.Held)."""

    __slots__ = ("_durable", "_number", "_outgoing")

    def __init__(self, outgoing: Outgoing, number: int, durable: Callable[[Outgoing, int], None]) -> None:
        self._outgoing = outgoing
        self._number = number
        self._durable = durable

    def release(self) -> None:
        self._durable(self._outgoing, self._number)

    def refuse(self, error: BaseException) -> None:
        """The room broke: what is there after all is read at its next stay."""


class Courier:
    def __init__(self, mail: Mail, doors: Doors, limits: Limits) -> None:
        self._mail = mail
        self._doors = doors
        self._attempts_max = limits.tell_attempts_max
        self._outgoing: dict[RoomName, Outgoing] = {}
        self._lines = Lines(mail, limits, self._has_come, self._came_back)
        self._unread: dict[Outgoing, None] = {}
        self._came: list[Delivery | Settlement] = []
        self._to_settle: dict[Outgoing, None] = {}
        self._times: list[tuple[float, int, Pair | Outgoing]] = []  # a heap by trio time
        self._timed = 0
        self._wakeup = Wakeup()
        self._finishing = False
        self._ended = False
        self._rest = trio.lowlevel.ParkingLot()
        self.delivered = 0
        self.dead = 0

    # -- what rooms tell it -----------------------------------------------------------------------------------------------
    def committed(self, sender: RoomName, stay: Stay, newest: int) -> None:
        """A turn has stored tells up to this number, or a room with tells has opened; what its gate holds now comes first."""
        outgoing = self._outgoing.get(sender)
        if outgoing is None:
            outgoing = self._outgoing[sender] = Outgoing(sender)
        outgoing.stay = stay
        outgoing.told = newest
        stay.gate.hold((Durable(outgoing, newest, self._durable),))

    def left(self, sender: RoomName, stay: Stay) -> float | None:
        """The sender's stay in memory has ended; Unix seconds at which it must be back for its tells, None if it need not."""
        outgoing = self._outgoing.get(sender)
        if outgoing is None or outgoing.stay is not stay:
            return None
        next_at = outgoing.next_at
        outgoing.left()
        self._drop_if_over(outgoing)
        return next_at

    def forget(self, sender: RoomName) -> None:
        """The sender, out of memory, was deleted or is another file now: what is under way of it still runs, once, and is never
        sent again. What that file has under the same names is read there like everything else."""
        self._outgoing.pop(sender, None)

    def busy(self, sender: RoomName) -> bool:
        outgoing = self._outgoing.get(sender)
        return outgoing is not None and outgoing.busy

    def _durable(self, outgoing: Outgoing, number: int) -> None:
        if number > outgoing.durable:
            outgoing.durable = number
            self._unread[outgoing] = None
            self._wakeup.set()

    def _has_come(self, envelope: Delivery | Settlement) -> None:
        self._came.append(envelope)
        self._wakeup.set()

    # -- its task ---------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while self._work():
                await trio.lowlevel.checkpoint()
            if self._finishing and self._at_rest:
                self._rest.unpark_all()
            with trio.move_on_at(self._times[0][0] if self._times else float("inf")):
                await self._wakeup.wait()

    async def finish(self) -> None:
        """At a stop: begin nothing more, and wait until what is under way is settled and that is written down."""
        self._finishing = True
        for outgoing in self._outgoing.values():
            outgoing.settle_at, outgoing.settle_failures = None, 0  # one more try; what fails now is written down after the start
            self._to_settle[outgoing] = None
        while not self._at_rest:
            self._wakeup.set()
            await self._rest.park()

    def end(self) -> None:
        """At a stop, after the time for it: what comes now is settled at the next start."""
        self._ended = True

    @property
    def pending(self) -> bool:
        """Something is told, or under way, and has not run; what waits for a retry does not count."""
        return any(one.unread or any(pair.busy for pair in one.pairs.values()) for one in self._outgoing.values())

    @property
    def _at_rest(self) -> bool:
        if self._came or not self._lines.at_rest:
            return False
        return not any(one.stay is not None and one.to_be_settled for one in self._outgoing.values())

    def _work(self) -> bool:
        """One round of everything that can be done; whether there is more at once."""
        came, self._came = self._came, []
        for envelope in came:
            if isinstance(envelope, Delivery):
                self._delivered(envelope)
            else:
                self._settled(envelope)
        now = trio.current_time()
        while self._times and self._times[0][0] <= now:
            self._due(heappop(self._times)[2], now)
        read = 0
        for outgoing in list(self._unread):
            if read >= READ_AT_ONCE:
                break
            del self._unread[outgoing]
            before = outgoing.read_to
            self._read(outgoing, now)
            read += outgoing.read_to - before
        if not self._ended:
            to_settle, self._to_settle = self._to_settle, {}
            for outgoing in to_settle:
                self._settle(outgoing, now)
        more = self._mail.admitting and self._lines.send()
        return bool(more or self._came or self._unread or (self._to_settle and not self._ended))

    def _at(self, time: float, what: Pair | Outgoing) -> None:
        self._timed += 1
        heappush(self._times, (time, self._timed, what))

    def _due(self, what: Pair | Outgoing, now: float) -> None:
        """A time has come that was set once, and may have been overtaken."""
        if isinstance(what, Outgoing):
            if what.settle_at is not None and what.settle_at <= now:
                self._to_settle[what] = None
            if what.read_to < what.durable:
                self._unread[what] = None
        elif what.again_at is not None and what.again_at <= now:
            forgotten_at = what.again_at + AGAIN_SECONDS_MAX
            if what.failures and what.outgoing.stay is None and now < forgotten_at:
                self._at(forgotten_at, what)  # its sender is being woken for this moment: it must know how often it has failed
                return
            what.again_at = None
            self._lines.queue(what)
            what.outgoing.drop_if_over(what)
            self._drop_if_over(what.outgoing)

    def _drop_if_over(self, outgoing: Outgoing) -> None:
        idle = outgoing.stay is None and not outgoing.pairs and outgoing.settling is None and not outgoing.verdicts_wait
        if idle and self._outgoing.get(outgoing.sender) is outgoing:
            del self._outgoing[outgoing.sender]

    # -- reading what is stored -------------------------------------------------------------------------------------------
    def _read(self, outgoing: Outgoing, now: float) -> None:
        stay = outgoing.stay
        if stay is None or not stay.sound:
            return
        try:
            pairs = outgoing.read()
        except apsw.BusyError:  # another program is at work on the file
            self._at(now + LOCK_POLL_SECONDS, outgoing)
            return
        except (apsw.Error, UnicodeDecodeError) as error:
            stay.unreadable(error)
            return
        for pair in pairs:
            if pair.again_at is not None:
                self._look_at_clock(pair, now)
            self._lines.queue(pair)
        if outgoing.read_to < outgoing.durable:
            self._unread[outgoing] = None
            return
        if outgoing.verdicts_wait and (outgoing.settle_at is None or outgoing.settle_at <= now):  # of an earlier stay
            self._to_settle[outgoing] = None
        self._settled_if_idle(outgoing)

    def _look_at_clock(self, pair: Pair, now: float) -> None:
        """The pair waits for a time of the wall clock, which may have been set since it began to: never longer for that."""
        assert pair.again_at is not None
        left = min(pair.again_wall - self._doors.wall_clock(), RETRY_SECONDS_MAX * (1 + JITTER))
        known = pair.again_at != UNKNOWN
        if known:
            left = min(left, pair.again_at - now)
        if left <= EARLY_SECONDS:
            pair.again_at = None
        elif not known or now + left < pair.again_at - EARLY_SECONDS:
            pair.again_at = now + left
            self._at(pair.again_at, pair)

    def _settled_if_idle(self, outgoing: Outgoing) -> None:
        if outgoing.stay is not None and not outgoing.busy:
            outgoing.stay.tells_settled()

    # -- what comes back --------------------------------------------------------------------------------------------------
    def _delivered(self, delivery: Delivery) -> None:
        tell = delivery.tell
        self._lines.came_back(tell)
        if delivery.error is None:
            self._ran(tell.pair, tell)
        else:
            self._came_back(tell.pair, tell, None if delivery.not_yet else delivery.error, delivery.own_fault)

    def _ran(self, pair: Pair, tell: Tell) -> None:
        outgoing = pair.outgoing
        self.delivered += 1
        pair.failures = 0
        outgoing.verdicts.done.append(tell.key)
        if len(outgoing.verdicts.done) >= FORGET_AT_ONCE or self._finishing:
            self._to_settle[outgoing] = None
        elif outgoing.settle_at is None and outgoing.stay is not None:
            self._settle_at(outgoing, trio.current_time() + FORGET_SECONDS)
        if pair.returned and not pair.under_way:
            self._come_to_rest(pair)
        else:
            self._lines.queue(pair)
            outgoing.drop_if_over(pair)

    def _came_back(self, pair: Pair, tell: Tell, error: BaseException | None, counts: bool) -> None:
        pair.returned.append((tell, error, counts))
        if not pair.under_way:
            self._come_to_rest(pair)

    def _come_to_rest(self, pair: Pair) -> None:
        """Nothing of the pair is under way, and its oldest tells have not run: they wait again, in order, for as long as the
        first failure among them asks."""
        returned = sorted(pair.returned, key=lambda one: one[0].key)
        pair.returned.clear()
        outgoing = pair.outgoing
        first = returned[0][0]
        failed = next(((first, error, counts and tell is first) for tell, error, counts in returned if error is not None), None)
        pair.waiting.extendleft(tell for tell, _, _ in reversed(returned))
        if failed is not None:
            self._failed(pair, *failed)
        if outgoing.stay is None:
            outgoing.read_later(pair)
        self._lines.queue(pair)
        outgoing.drop_if_over(pair)
        self._drop_if_over(outgoing)
        self._settled_if_idle(outgoing)

    def _failed(self, pair: Pair, tell: Tell, error: BaseException, counts: bool) -> None:
        outgoing = pair.outgoing
        if not counts:
            pair.failures += 1
            self._again(pair, doubled(AGAIN_SECONDS_FIRST, AGAIN_SECONDS_MAX, pair.failures - 1))
            return
        tell.attempts += 1
        if tell.attempts < self._attempts_max:
            self._again(pair, doubled(RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX, tell.attempts - 1))
            outgoing.verdicts.failed[tell.key] = (tell.attempts, pair.again_wall)
        else:
            pair.held = True  # a later one that ran first would make this one look like a repeat after a crash
            assert pair.waiting[0] is tell
            pair.waiting.popleft()
            outgoing.verdicts.dead[tell.key] = (tell.attempts, reason(error))
        self._to_settle[outgoing] = None

    def _again(self, pair: Pair, delay: float) -> None:
        delay *= self._doors.random.uniform(1, 1 + JITTER)
        pair.again_at = trio.current_time() + delay
        pair.again_wall = self._doors.wall_clock() + delay
        self._at(pair.again_at, pair)

    # -- verdicts -----------------------------------------------------------------------------------------------------------
    def _settle_at(self, outgoing: Outgoing, time: float) -> None:
        outgoing.settle_at = time
        self._at(time, outgoing)

    def _settle(self, outgoing: Outgoing, now: float) -> None:
        """Write verdicts down in the sender's room, if it is in memory; else at its next stay."""
        if outgoing.stay is None or outgoing.settling is not None or not outgoing.verdicts_wait:
            return
        if outgoing.settle_failures and outgoing.settle_at is not None and outgoing.settle_at > now:
            return  # it waits for its time
        settlement = Settlement(_SETTLE, [outgoing.take_verdicts()], {}, 0)
        settlement.outgoing, settlement.came = outgoing, self._has_come
        outgoing.stay.duties.call_itself(settlement)

    def _not_written(self, outgoing: Outgoing) -> None:
        outgoing.not_written()
        delay = doubled(AGAIN_SECONDS_FIRST, AGAIN_SECONDS_MAX, outgoing.settle_failures - 1)
        self._settle_at(outgoing, trio.current_time() + delay)

    def _settled(self, settlement: Settlement) -> None:
        outgoing = settlement.outgoing
        if settlement.error is not None:
            self._not_written(outgoing)
            return
        assert outgoing.settling is not None
        homeless = set[int](settlement.value)
        held = [outgoing.known[key] for key in outgoing.settling.dead if key in outgoing.known]
        for tell, attempts, why in outgoing.written(settlement.value):
            self.dead += 1
            logger.error(
                "%s: its tell %d to %s.%s was given up after %d attempts and is among its dead_tells now: %s",
                *(outgoing.sender, tell.key[1], tell.pair.target, tell.method, attempts, why),
            )
        for tell in held:
            pair = tell.pair
            pair.held = False
            if tell.key[1] in homeless:
                self._homeless(pair, tell)
            self._lines.queue(pair)
            outgoing.drop_if_over(pair)
        verdicts = outgoing.verdicts
        if verdicts.failed or verdicts.dead or self._finishing:
            self._to_settle[outgoing] = None
        elif verdicts.done and outgoing.stay is not None:
            self._settle_at(outgoing, trio.current_time() + FORGET_SECONDS)
        self._drop_if_over(outgoing)
        self._settled_if_idle(outgoing)

    def _homeless(self, pair: Pair, tell: Tell) -> None:
        """The sender keeps as many dead letters as it may: this one waits, and all behind it."""
        logger.error(
            "%s: its tell %d to %s.%s failed %d times, and the room keeps tells_dead_max dead letters already: it is tried again",
            *(pair.outgoing.sender, tell.key[1], pair.target, tell.method, tell.attempts),
        )
        if pair.outgoing.stay is None:
            pair.outgoing.known.pop(tell.key, None)
            return
        pair.waiting.appendleft(tell)
        self._again(pair, RETRY_SECONDS_MAX)
