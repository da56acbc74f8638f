"""An activation: one stay of a room in memory, from its opened file to its close.

States: serving; leaving (asked to hibernate: what has begun ends, calls that come now
wait for the next activation); broken (a sync failed: it is thrown away);
void (SQLite rolled a turn back under its actor: it closes cleanly and the room begins again from the file).
"""

import logging
from collections.abc import Sequence
from random import Random
from typing import Any

import apsw
import trio

from actors.activation.housing import Housing
from actors.activation.upkeep import Upkeep
from actors.actor import Actor
from actors.alarms.duties import Duties
from actors.alarms.firing import alarms_of
from actors.calls.exclusive import Block
from actors.calls.serving import Serving
from actors.calls.turn import Turns
from actors.directory.quarantine import is_damage
from actors.errands.calling import Calling, Rooms
from actors.errands.errand import Section
from actors.errors import OutcomeUnknown, RoomsError
from actors.follower import Position
from actors.limits import Limits
from actors.room import Room
from actors.statements.sql import SQL
from actors.storage.storage import Storage
from actors.sync.gate import Gate, GateCommit
from actors.sync.syncer import Syncer
from actors.system.doors import Doors
from actors.system.watchdog import Note
from actors.tables.kv import KeyValue
from actors.tables.replies import Replies
from actors.tells.telling import Telling
from actors.tells.tells import Tells

logger = logging.getLogger("durable_rooms.actors")


class Activation:
    """One room in memory. Also the syncer's target, the turns' ledger and the actor's surroundings."""

    def __init__(
        self,
        actor: Actor,
        storage: Storage,
        housing: Housing,
        doors: Doors,
        limits: Limits,
        syncer: Syncer,
        note: Note,
        rooms: Rooms,
    ) -> None:
        self.gate = Gate(housing.admission)
        self.storage = storage
        self.in_round = False
        self.leaving = False
        self.hurried = False  # another room waits for its place
        self.broken = False
        self.void = False
        self.damage: str | None = None  # what was found wrong with the file: it goes to quarantine as it is
        self.cut_by = ""  # why handlers under way are cut short
        self.refusal: RoomsError | None = None  # of calls that were about to begin then
        self.unfit: RoomsError | None = None  # why its on_start could not take the room into use
        self.pins = 0  # followers that are reading
        self._housing = housing
        self._doors = doors
        self._limits = limits
        self._syncer = syncer
        self._room = str(housing.name)
        self._told_seq = storage.transaction.seq
        self.durable = self.position  # the newest that a caller may have been told of
        self._on_its_way: list[tuple[int, Position]] = []  # commits that no round has certified yet, by their count
        self._stamp: tuple[int, tuple[int, int]] | None = None  # of the WAL, when we last looked for other programs' commits
        self.slots = housing.offloads
        self.upkeep = Upkeep(self, self._room, limits, doors.threads, housing.checkpoints, housing.lock)
        self.sql: SQL = storage.transaction.sql
        self.kv = KeyValue(storage.transaction, limits.row_bytes_max)
        self.tells = Tells(storage.transaction, housing.address, limits, doors.wall_clock)
        self.telling = Telling(housing.name, self, self.tells, housing.courier)
        storage.transaction.replies = Replies(storage.transaction, doors.wall_clock, limits)
        self.now = doors.wall_clock
        self.duties = Duties(self, housing)
        self.duties.add(self.telling)
        self._actor = actor
        actor._surroundings = self  # pyright: ignore[reportPrivateUsage] - the one hand that puts an actor into its room
        self.alarms = alarms_of(self.duties, storage.transaction, housing.actor_class, doors, limits)
        turns = Turns(actor, storage.transaction, limits, self, doors.stopwatch, note)
        self._serving = Serving(
            self, actor, housing.mailbox, storage.transaction, turns, limits, doors, housing.pace, housing.on_start
        )
        self._calling = Calling(self._serving, rooms, self.gate, storage.transaction)

    # -- the actor's surroundings -------------------------------------------------------------------------------------
    @property
    def room_id(self) -> str:
        return self._housing.name.id

    @property
    def random(self) -> Random:
        return self._doors.random

    def exclusive(self, timeout: float | None) -> Block:
        return self._serving.exclusive.block(timeout)

    def room(self, actor: type[Any], id: str) -> Room[Any]:
        return self._calling.room(actor, id)

    # -- what others tell it --------------------------------------------------------------------------------------------
    def wake(self) -> None:
        self._serving.wake()

    def pause(self, paused: bool) -> None:
        self._serving.pause(paused)

    async def round_returned(self) -> None:
        await self._syncer.returned(self)

    @property
    def sections(self) -> Sequence[Section]:
        """The exclusive blocks that are held now."""
        return self._serving.exclusive.sections

    @property
    def start_refusal(self) -> RoomsError | None:
        return self._housing.start_refusal

    def started(self) -> None:
        self._housing.started()

    def failed_to_start(self, error: RoomsError) -> None:
        """Its on_start raised: this activation serves nobody."""
        self.unfit = error
        self.turn_void()

    def reset(self, why: str) -> None:
        """Throw the memory of this activation away; the slice that runs now, if one does, is undone, and those before it stay."""
        if self.broken or self.void:
            return
        self.cut_by = why
        logger.warning("%s: the room was reset: %s", self._room, why)
        if self._serving.sending is not None:
            self.storage.transaction.rollback()
        self.turn_void()

    @property
    def sound(self) -> bool:
        return not self.broken and self.damage is None

    @property
    def may_begin(self) -> bool:
        """Nothing begins by itself in a room that is about to leave."""
        return self.sound and not (self.void or self.leaving)

    def leave(self, *, hurried: bool = False) -> None:
        """Begin no more calls, and hibernate as soon as it is quiet; `hurried`: as cheaply as may be."""
        self.leaving = True
        self.hurried = hurried
        self.wake()

    def cut(self, why: str, refusal: RoomsError | None) -> None:
        """Leave without waiting for calls under way: async handlers are cut short, and none begins. What was committed becomes
        durable, and its callers are told, as ever. `refusal`: for calls that were about to begin; None: they wait."""
        self.cut_by, self.refusal = why, refusal
        self.leaving = True
        self.turn_void()

    def look_outside(self) -> bool:
        """Whether another program has committed while nobody called; then it is made durable and followers are told (rule 34).

        One fstat (0.5 µs) while the WAL is as it was: a room at rest is not read, and keeps no pages for this.
        """
        stamp = self.gate.committed, self.storage.stamp
        if self.broken or self.damage is not None or stamp == self._stamp:
            return False
        before = self.gate.committed
        try:
            self.commit_now()
        except apsw.BusyError:
            return False  # that program is still at it
        except apsw.Error as error:
            self.unreadable(error)
            return False
        self._stamp = stamp
        return self.gate.committed != before

    def unreadable(self, error: apsw.Error | UnicodeDecodeError) -> None:
        """Another program made the file unreadable, or took our tables away: this room's matter alone."""
        if isinstance(error, UnicodeDecodeError):
            error = apsw.CorruptError(f"a text of ours is not UTF-8 ({error})")
        if is_damage(error) or isinstance(error, apsw.SQLError):
            self.damaged(error)
        else:
            self.break_(error)

    def rest(self) -> None:
        """Give back SQLite's page cache: 90 kB of 250; the next call reads its pages again, 20 µs from the system's cache."""
        self.storage.connection.release_memory()

    def cancel_handlers(self) -> None:
        """The runtime's stop has waited long enough for async handlers."""
        self._serving.cancel_handlers()

    @property
    def handlers_under_way(self) -> int:
        """Async handlers that have begun, or are about to."""
        return self._serving.handlers_under_way

    @property
    def offloading(self) -> bool:
        """An offloaded call runs, or is about to."""
        return self._serving.offloading

    @property
    def lent(self) -> bool:
        """The connection is in an offloaded call's thread: whoever reads now uses another one."""
        return self.storage.transaction.loan is not None

    @property
    def quiet(self) -> bool:
        """May leave memory (rule 5): nothing queued, running, held, in a round, or being read."""
        busy = self.handlers_under_way or self.offloading or self.in_round or self.upkeep.busy or self.pins
        return self.gate.clear and not busy

    @property
    def idle(self) -> bool:
        """Nobody needs it in memory, and nobody has asked it to leave yet."""
        if not self.quiet or self.leaving or len(self._housing.mailbox):
            return False
        return not self.telling.busy

    @property
    def may_go(self) -> bool:
        """Busy, but only with calls that end within a turn: another room may have its place for a while."""
        return not self.leaving and not self.handlers_under_way and not self.offloading

    @property
    def position(self) -> Position:
        return Position(self.storage.epoch, self.storage.transaction.seq)

    def commit_now(self, *, reading: bool = False) -> GateCommit:
        """The newest commit that anybody may have seen, another program's included (rules 26, 34): none can come while lent."""
        if not self.broken and not self.lent and self.storage.transaction.look_for_foreign_commit(reading=reading):
            self.duties.changed = True  # that program may have changed those, too
            self.committed(wrote=True)
        return GateCommit(self.gate)

    # -- the ledger of its turns ----------------------------------------------------------------------------------------
    def committed(self, *, wrote: bool) -> None:
        """A turn was committed; one that wrote needs a round."""
        if not wrote:
            return
        self.gate.committed += 1
        position = self.position
        self._on_its_way.append((self.gate.committed, position))
        self._housing.wrote(position, max(0, position.seq - self._told_seq))
        self._told_seq = position.seq
        if self.tells.stored and self.telling.committed():
            self.duties.changed = True
        if self.duties.changed:
            self.duties.look()
        self._syncer.request(self)

    def tells_settled(self) -> None:
        self.duties.settled()
        if self.idle:
            self.rested()

    def commit_unknown(self, error: apsw.Error) -> None:
        if is_damage(error):
            self.damage = self.damage or str(error)
        self.break_(error)

    def damaged(self, error: apsw.Error) -> None:
        """The file is damaged: no call runs here any more. What was committed before waits for its round as ever."""
        if self.broken:
            return
        self.damage = self.damage or str(error)
        self.storage.transaction.closed = True
        self.turn_void()

    def turn_void(self) -> None:
        self.void = self.storage.transaction.void = True
        self.cancel_handlers()  # one may wait for a call, and no call runs here any more
        self.wake()

    # -- the syncer's target ---------------------------------------------------------------------------------------------
    def certified(self, count: int) -> None:
        if self.broken:
            return
        storage = self.storage
        if storage.first_round:
            storage.first_round = storage.ask_itself = False
            self.regained()
            if storage.newborn:
                storage.newborn = False
                self._housing.birth_durable()
        way = self._on_its_way
        while way and way[0][0] <= count:
            self.durable = way.pop(0)[1]
        self.gate.certify(count)
        if self.gate.clear:
            self._housing.rested()
            if self.leaving or self.void or not self._serving.begun:
                self.wake()

    def sync_failed(self, error: OSError) -> None:
        # The kernel may have dropped the pages that it could not write: what read as damage is judged again by the next opening.
        self.damage = None
        self.break_(error)

    def break_(self, error: BaseException) -> None:
        """Rule 21: nothing is read, written or synced here again; everything beyond the last good round is unknown."""
        if self.broken:
            return
        self.broken = True
        self.storage.transaction.closed = True
        what = "a sync of its file failed" if self.damage is None else "its file is damaged"
        unknown = OutcomeUnknown(
            f"{self._room}: {what} ({error}). Whether this call's writes are there is unknown: "
            "read before you repeat "
            "it. The room opens again from its file with the next call.",
            room=self._room,
        )
        unknown.__cause__ = error
        self.gate.break_(unknown)
        self.cancel_handlers()
        self.wake()
        if self.damage is None:
            self._housing.broke(error)

    # -- its life ---------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Serve until the room leaves memory; then close or abandon the file. The caller opens again if calls wait."""
        self._syncer.opened(self)
        if self.storage.needs_round:
            self.storage.needs_round = False
            self.committed(wrote=True)
        self.telling.opened()
        self.duties.look()
        try:
            await self._serving.run()
        finally:
            self.duties.end()

    def turned(self, nursery: trio.Nursery) -> None:
        """A turn has run."""
        self._housing.used()
        self.upkeep.look(nursery, self.position.seq)

    def rested(self) -> None:
        self._housing.rested()

    def regained(self) -> None:
        """Between two transactions on its connection: raise its level, if the first round has returned (rule 11)."""
        storage = self.storage
        if storage.level_off and not storage.first_round and not self.lent and self.sound:
            storage.raise_level()
        if self.duties.changed:
            self.duties.look()

    def end(self) -> None:
        """Nobody needs it any more: cut its circles, so that it is freed at once.

        What is left to the garbage collector waits for a full collection, which looks at every object of the process while the
        loop stands still: 200 ms with 3,400 open rooms, every few seconds where rooms come and go.
        """
        del self._actor._surroundings  # pyright: ignore[reportPrivateUsage] - the hand that put it in
        self._serving.end()
        self.duties.cut()
        del self._actor, self._serving, self._calling, self.upkeep, self.telling, self.alarms
        self.storage.transaction.end()
