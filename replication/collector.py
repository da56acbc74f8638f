"""The collector: which rooms are dirty, when a batch is cut, and what the rooms changed. Runs on the loop.

A dirty room stays dirty until the replica has committed its changes, or again until the next try. Each change has a tick, so
"everything up to now" is a number and a waiting reader is done under constant load, too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from actors import Position, RoomDeleted, RoomName, Source
from actors.system.backoff import doubled
from replication.batch import Drain
from replication.limits import (
    BACKLOG_ENTRIES_MIN,
    BATCH_BYTES_MAX,
    BATCH_IDLE_MAX,
    BATCH_RESYNCS_MAX,
    BATCH_ROWS_MAX,
    BEHIND_SECONDS,
    BEHIND_TIMES,
    CANDIDATE_SECONDS_MAX,
    ROOM_RETRY_SECONDS_FIRST,
    ROOM_RETRY_SECONDS_MAX,
    SLICE_ROOMS_MAX,
    SLICE_SECONDS,
    SLICE_SECONDS_MAX,
    SLICE_SHARE,
)
from replication.standing import Mark, Reason, judge


@dataclass(slots=True)
class Dirty:
    """A room with changes that are not in the replica. `tick` 0: a candidate of the start, perhaps with nothing to do."""

    source: Source
    name: RoomName
    tick: int
    since: float
    position: Position | None = None
    entries: int = 0
    not_before: float = 0.0
    failures: int = 0
    trouble: str | None = None
    gone: int = 0  # the room was deleted: everything of it up to this epoch is to be removed first
    known: bool = True  # `since` is the time of its first change; of a candidate nobody knows it


@dataclass(slots=True)
class Collected:
    """What one cut found: batches to apply in order, rooms to copy whole, rooms that the replica already has."""

    batches: list[list[tuple[Dirty, Drain]]] = field(default_factory=list[list[tuple[Dirty, Drain]]])
    resyncs: list[tuple[Dirty, Reason]] = field(default_factory=list[tuple[Dirty, Reason]])
    backlogs: list[tuple[Dirty, Mark]] = field(default_factory=list[tuple[Dirty, Mark]])
    removals: list[Dirty] = field(default_factory=list[Dirty])
    rows: int = 0
    bytes: int = 0
    idle: int = 0
    times: int = 1  # as large as a batch usually may be

    @property
    def full(self) -> bool:
        rows = self.rows >= BATCH_ROWS_MAX * self.times or self.bytes >= BATCH_BYTES_MAX * self.times
        alone = len(self.resyncs) + len(self.removals) >= BATCH_RESYNCS_MAX
        return rows or bool(self.backlogs) or alone or self.idle >= BATCH_IDLE_MAX

    def room_for(self, rows: int) -> bool:
        """A room larger than the cap goes alone: it is never split (rule 27), and it holds up nobody else's rows."""
        return not self.rows or self.rows + rows <= BATCH_ROWS_MAX * self.times

    def add(self, dirty: Dirty, drain: Drain) -> None:
        rows = sum(len(table.upserts) + len(table.deletes) for table in drain.changes.tables)
        if not self.batches or (self.rows + rows > BATCH_ROWS_MAX * self.times and self.rows):
            self.batches.append([])
        self.batches[-1].append((dirty, drain))
        self.rows += rows
        self.idle += not rows
        self.bytes += drain.changes.bytes


class Collector:
    """The dirty rooms of one replica."""

    def __init__(self, window: float, uniform: Callable[[float, float], float]) -> None:
        self.tick = 0
        self.wanted: dict[RoomName, Reason] = {}  # rooms that are to be copied whole although their outbox leads on, and why
        self.readers = 0  # waiting for what is dirty now: cut at once
        self._window = window
        self._uniform = uniform
        self._waiting: dict[RoomName, Dirty] = {}
        self._taken: dict[RoomName, Dirty] = {}
        self._entries = 0  # about, of the waiting rooms; only decides when to look
        self._bytes_per_entry = 128.0
        self._bell = trio.Event()
        self._wakes_at = math.inf
        self._oldest: float | None = math.inf  # of all dirty rooms; None: it has to be looked for
        self._unknown: set[RoomName] = set()  # those of which nobody knows since when

    # -- dirty rooms ------------------------------------------------------------------------------------------------
    def changed(self, source: Source, position: Position, entries: int) -> None:
        """A room changed. Microseconds: thousands of commits a second come through here."""
        self.tick += 1
        self._entries += entries
        dirty = self._waiting.get(source.name)
        if dirty is None:
            now = trio.current_time()
            self._waiting[source.name] = Dirty(source, source.name, self.tick, now, position, entries)
            self._oldest = now if self._oldest == math.inf else self._oldest  # time goes one way
            if now + self._window < self._wakes_at:
                self._bell.set()
        else:
            dirty.source, dirty.position = source, position
            dirty.entries += entries
        if self._over(self._entries):
            self._bell.set()

    def deleted(self, source: Source, epoch: int) -> None:
        """A room was deleted: what it changed and nobody has collected is of no account any more."""
        self.tick += 1
        self.wanted.pop(source.name, None)
        waiting = self._waiting.pop(source.name, None)
        since = waiting.since if waiting is not None else trio.current_time()
        self._oldest = since if self._oldest == math.inf else self._oldest
        self._waiting[source.name] = Dirty(source, source.name, self.tick, since, Position(epoch, 0), 1, gone=epoch)
        self._bell.set()

    def candidate(self, source: Source, position: Position | None, gone: int = 0) -> None:
        """A room that may have changed before this process looked; it counts as older than everything that was told."""
        self.again(Dirty(source, source.name, 0, trio.current_time(), position, gone=gone, known=False))

    def candidates(self) -> int:
        """How many wait to be looked at now."""
        now = trio.current_time()
        return sum(1 for dirty in self._waiting.values() if not dirty.tick and dirty.not_before <= now)

    def is_dirty(self, name: RoomName) -> bool:
        return name in self._waiting or name in self._taken

    def dirty_since(self, name: RoomName) -> float | None:
        """Since when the room has changes that are not in the replica (-inf: nobody knows). None: it has none."""
        rooms = [room for room in (self._waiting.get(name), self._taken.get(name)) if room is not None]
        return min((room.since if room.known else -math.inf for room in rooms), default=None)

    @property
    def oldest(self) -> float:
        """When the oldest change came that is not in the replica; inf: there is none. Each read of several replicas asks, in an
        outage over all rooms there are."""
        if self._oldest is None:
            self._oldest = min((room.since for room in self.dirty()), default=math.inf)
        return self._oldest

    @property
    def all_known(self) -> bool:
        """Whether of every dirty room the time of its first change is known."""
        return not self._unknown

    def dirty(self) -> list[Dirty]:
        return [*self._taken.values(), *self._waiting.values()]

    def late(self, tick: int) -> list[Dirty]:
        """The rooms with changes up to `tick` that are not in the replica."""
        return [dirty for dirty in self.dirty() if dirty.tick <= tick]

    def done(self, dirty: Dirty) -> None:
        """The replica has what was collected of this room."""
        self._taken.pop(dirty.name, None)
        waiting = self._waiting.get(dirty.name)
        if waiting is None or waiting.known:
            self._unknown.discard(dirty.name)
        if self._oldest is not None and dirty.since <= self._oldest:
            self._oldest = None

    def removed(self, dirty: Dirty) -> None:
        """The replica has nothing more of this room; what has begun anew under its name is to be collected."""
        if dirty.position is not None and dirty.position.epoch > dirty.gone:
            dirty.gone = 0
            self.again(dirty)
        else:
            self.done(dirty)

    def again(self, dirty: Dirty, delay: float = 0.0) -> None:
        """The room stays dirty, joined with what it changed meanwhile."""
        for other in (self._taken.pop(dirty.name, None), self._waiting.pop(dirty.name, None)):
            if other is None or other is dirty:
                continue
            dirty.source, dirty.position = other.source, other.position or dirty.position
            dirty.entries += other.entries
            dirty.tick, dirty.since = min(dirty.tick, other.tick), min(dirty.since, other.since)
            dirty.known = dirty.known or other.known  # it was told of before the replica was opened anew
            if other.gone > dirty.gone:  # deleted meanwhile: why it could not be read is over
                dirty.gone, dirty.not_before, delay = other.gone, 0.0, 0.0
        dirty.not_before = max(dirty.not_before, trio.current_time() + delay)
        self._waiting[dirty.name] = dirty
        (self._unknown.discard if dirty.known else self._unknown.add)(dirty.name)
        self._oldest = None if self._oldest is None else min(self._oldest, dirty.since)
        self._bell.set()

    def throw_out(self, dirty: Dirty, error: Exception) -> None:
        """The room cannot be read now: the others go on without it."""
        dirty.trouble = f"{type(error).__name__}: {error}"
        dirty.failures += 1
        longest = doubled(ROOM_RETRY_SECONDS_FIRST, ROOM_RETRY_SECONDS_MAX, dirty.failures)
        self.again(dirty, self._uniform(longest / 2, longest))

    def give_back(self) -> None:
        """The replica failed: whatever was taken is dirty as before."""
        for dirty in list(self._taken.values()):
            self.again(dirty)

    def hurry(self) -> None:
        """Look again now: a reader has come."""
        self._bell.set()

    # -- the cut ----------------------------------------------------------------------------------------------------
    async def due(self) -> None:
        """Wait until a batch is to be cut: the window of the oldest change is over, a cap is reached, or a reader waits.

        The window begins with the first change, also while a batch is being applied, so that it adds nothing to that wait.
        """
        await trio.lowlevel.checkpoint()
        while (at := self._due_at()) > trio.current_time():
            self._bell = trio.Event()
            self._wakes_at = at
            with trio.move_on_at(at):
                await self._bell.wait()
        self._wakes_at = -math.inf

    def _due_at(self) -> float:
        now = trio.current_time()
        ready = [dirty for dirty in self._waiting.values() if dirty.not_before <= now]
        self._entries = sum(dirty.entries for dirty in ready)
        if ready and (self.readers or self._over(self._entries) or not all(dirty.tick for dirty in ready)):
            return now
        windows = (dirty.since + self._window for dirty in ready)
        retries = (dirty.not_before for dirty in self._waiting.values() if dirty.not_before > now)
        return min([*windows, *retries], default=math.inf)

    def _over(self, entries: int) -> bool:
        return entries >= BATCH_ROWS_MAX or entries * self._bytes_per_entry >= BATCH_BYTES_MAX

    def ready(self) -> list[Dirty]:
        """The rooms to collect, oldest change first. Those that may have none let the others pass, for a while."""
        now = trio.current_time()
        ready = [dirty for dirty in self._waiting.values() if dirty.not_before <= now]
        polite = now - CANDIDATE_SECONDS_MAX
        return sorted(ready, key=lambda dirty: (dirty.entries == 0 and dirty.since > polite, dirty.since))

    async def collect(self, ready: list[Dirty], marks: Mapping[RoomName, Mark | None]) -> Collected:
        """Read rooms one after another until the batch is full, then wait until all that was read is durable (rule 26)."""
        slice_began, slice_rooms, slice_seconds = trio.current_time(), 0, SLICE_SECONDS
        behind = any(dirty.since < slice_began - BEHIND_SECONDS for dirty in ready)
        collected = Collected(times=BEHIND_TIMES if behind else 1)
        for dirty in ready:
            if collected.full or not collected.room_for(dirty.entries):
                break
            self._taken[dirty.name] = self._waiting.pop(dirty.name)
            await self._collect_room(dirty, marks.get(dirty.name), collected)
            slice_rooms += 1
            now = trio.current_time()
            if slice_rooms >= SLICE_ROOMS_MAX or now - slice_began >= slice_seconds:
                await trio.lowlevel.checkpoint()  # rooms are read on the loop: let calls run in between
                slice_began, slice_rooms = trio.current_time(), 0
                slice_seconds = min(SLICE_SECONDS_MAX, max(SLICE_SECONDS, (slice_began - now) * SLICE_SHARE))
        for index, batch in enumerate(collected.batches):
            collected.batches[index] = [part for part in batch if await self._durable(*part)]
        return collected

    async def _collect_room(self, dirty: Dirty, mark: Mark | None, collected: Collected) -> None:
        if dirty.gone:
            if mark is None or mark.position.epoch <= dirty.gone:
                collected.removals.append(dirty)
                return
            dirty.gone = 0  # the replica has its new incarnation
        wanted = self.wanted.get(dirty.name)
        if mark is not None and mark.settled and mark.position == dirty.position and wanted is None:
            self._up_to_date(dirty, mark)
            return
        if mark is not None and mark.settled and dirty.position and dirty.position.seq - mark.position.seq > BACKLOG_ENTRIES_MIN:
            collected.backlogs.append((dirty, mark))
            return
        try:
            changes = await dirty.source.collect(mark.position.seq if mark else 0)
        except Exception as error:
            collected.idle += 1
            if isinstance(error, RoomDeleted) and mark is None:  # a candidate that was deleted before its turn came
                self.wanted.pop(dirty.name, None)
                self.done(dirty)
            else:
                self.throw_out(dirty, error)
            return
        if changes.entries:
            self._bytes_per_entry += (changes.bytes / changes.entries - self._bytes_per_entry) / 8
        reason = judge(mark, changes.position, changes.timeline, changes.first_seq) or wanted
        if reason is not None:
            collected.resyncs.append((dirty, reason))
        elif mark is not None and mark == Mark(changes.position, changes.schema.digest, settled=True):
            collected.idle += 1
            self._up_to_date(dirty, mark)
        else:
            collected.add(dirty, Drain(changes, mark))

    def _up_to_date(self, dirty: Dirty, mark: Mark) -> None:
        dirty.source.acknowledge(mark.position.seq)
        self.done(dirty)

    async def _durable(self, dirty: Dirty, drain: Drain) -> bool:
        try:
            await drain.changes.commit.durable()
        except Exception as error:
            self.throw_out(dirty, error)
            return False
        return True
