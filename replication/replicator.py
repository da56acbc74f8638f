"""The replicator: the task that brings what rooms commit into the replica, one batch at a time, through every kind of trouble.

    changed ─▶ collector ─▶ batch ─▶ replica ─▶ acknowledge
                   └──────▶ resync ─────┘

One rule keeps it simple: after any error of the replica nothing in memory is believed. The file is closed, opened again, its
watermarks are read again, and rooms are collected from there (rule 24). Rooms never wait for any of this.
"""

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from actors import Position, ReplicationLate, RoomName, Rooms, RoomsError, Source
from actors.system.backoff import doubled
from replication.arrivals import Arrivals
from replication.backlog import apply_backlog
from replication.batch import Applied, Drain, RowsRefused, apply
from replication.candidates import behind
from replication.collector import Dirty
from replication.limits import (
    CANDIDATES_MAX,
    DRAIN_SECONDS_MAX,
    MARKS_CACHED_MAX,
    PARKED_SECONDS,
    RECOPY_SECONDS,
    REFUSED_SECONDS,
    REPLICATED_SECONDS,
    RESYNC_SECONDS_MIN,
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
)
from replication.removal import remove
from replication.replica import REPLICA_ERRORS, ReplicaHangs, ReplicaRefused, SQLiteReplica
from replication.resync import RoomUnreadable, Unfit, resync
from replication.running import Running, drawn_token
from replication.standing import Mark, Reason
from replication.status import ReplicaStatus, Tally

logger = logging.getLogger("durable_rooms.replication")


class Replicator:
    """Follows the changes of all rooms into one replica. Implements `Follower`."""

    def __init__(self, replica: SQLiteReplica, number: int = 0) -> None:
        """`number`: among the replicas of one runtime."""
        self._replica = replica
        self._number = number
        self._tally = Tally(replica.name)
        self.arrivals = Arrivals(self._tally)
        self._marks = self.arrivals.marks
        self._resynced: dict[RoomName, float] = {}
        self._failures = 0
        self._running: Running | None = None
        self._early: list[tuple[Source, Position, int]] = []

    # -- Follower ---------------------------------------------------------------------------------------------------
    def changed(self, source: Source, position: Position, entries: int) -> None:
        """A room changed, or (entries 0) was opened. Never raises, never waits."""
        running = self._running
        if running is None:
            self._early.append((source, position, entries))
            return
        if not entries and not running.collector.is_dirty(source.name):
            mark = self._marks.get(source.name)
            if mark is not None and mark.settled and mark.position == position:
                source.acknowledge(position.seq)
                return
        running.collector.changed(source, position, entries)

    def deleted(self, source: Source, epoch: int) -> None:
        if self._running is not None:  # else its tombstone is found when the replica is opened
            self._running.collector.deleted(source, epoch)

    async def run(
        self, rooms: Rooms, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED, *, token: str | None = None
    ) -> None:
        """Follow until cancelled. A replica in trouble is reported by `status()`, never raised. `token`: of this start, where
        several replicas share it."""
        running = self._running = Running(self._replica, rooms, self._hanging, token or drawn_token(rooms.doors), self._number)
        self.arrivals.collector = running.collector
        for source, position, entries in self._early:
            running.collector.changed(source, position, entries)
        self._early.clear()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.jobs.watch)
            try:
                while True:
                    try:
                        await self._open(running)
                        while True:
                            await self._cycle(running)
                    except Exception as error:
                        await self._recover(running, error)
            finally:
                await running.jobs.end(partial(running.file.close, tidy=True), running.file.release)

    async def drain(self) -> None:
        """Bring the replica up to date, for 5 s at most. Nothing is lost beyond that: it stays in the outboxes."""
        if self._running is None or self._tally.state in ("refused", "hanging"):
            return
        try:
            await self.arrivals.caught_up(DRAIN_SECONDS_MAX, parked=False)
        except ReplicationLate as late:
            logger.warning("stopping: %s; the rest is replicated after the next start", late)

    # -- public -----------------------------------------------------------------------------------------------------
    async def replicated(self, timeout: float = REPLICATED_SECONDS) -> None:  # noqa: ASYNC109 (its error says more)
        """Wait until everything committed so far is in the replica; cuts a batch at once. For tests and scripts.

        What is committed after the call is not waited for, so it ends under constant load.

        Raises:
          ReplicationLate: `timeout` seconds passed; names the rooms that are behind, the lag and the last error.
        """
        await self.arrivals.caught_up(timeout, parked=True)

    async def recopy(self, name: RoomName, reason: Reason = "repair", timeout: float = RECOPY_SECONDS) -> None:  # noqa: ASYNC109
        """Copy a room whole, whatever its outbox says; what it changed meanwhile follows as ever.

        Raises:
          ReplicationLate: not within `timeout` seconds; it is still to be copied.
        """
        running = self._running
        if running is None:
            raise ReplicationLate(f"replica {self._replica.name}: the runtime is not running, so nothing is copied.")
        self._want(running, name, reason)
        with trio.move_on_after(timeout):
            while name in running.collector.wanted:
                await self.arrivals.changed()
            return
        cause = self._tally.parked.get(name) or self._tally.last_error or "none"
        raise ReplicationLate(
            f"replica {self._replica.name} ({self._tally.state}): {name} was not copied within {timeout:g} s and still waits for "
            f"it; last error: {cause}"
        )

    def status(self) -> ReplicaStatus:
        """The state of the replica now; costs microseconds."""
        tally = self._tally
        running = self._running
        dirty = running.collector.dirty() if running else []
        return ReplicaStatus(
            name=self._replica.name,
            path=running.file.path if running else self._replica.path or Path("replica.db"),
            state=tally.state,
            lag_seconds=max((trio.current_time() - room.since for room in dirty), default=0.0),
            lag_entries=sum(room.entries for room in dirty),
            # A room that was only opened waits there, too, until it is found to stand where the replica has it.
            lag_rooms=sum(1 for room in dirty if room.entries or not room.tick) + len(self.arrivals.candidates),
            lag_p50_seconds=tally.percentile(0.5),
            lag_p99_seconds=tally.percentile(0.99),
            batches=tally.batches,
            rows=tally.rows,
            retries=tally.retries,
            resyncs=dict(tally.resyncs),
            audited=tally.audited,
            parked=dict(tally.parked),
            last_error=tally.last_error,
            last_batch=tally.last_batch,
            wal_bytes=running.file.wal_bytes if running else 0,
        )

    @property
    def weight(self) -> float:
        return self._replica.weight

    @property
    def path(self) -> Path:
        """The replica's file. Raises AssertionError before the replicator runs."""
        assert self._running is not None, "the replicator runs for as long as its runtime does"
        return self._running.file.path

    @property
    def token(self) -> str:
        """What this start signs the replica with (see House). Raises as `path`."""
        assert self._running is not None, "the replicator runs for as long as its runtime does"
        return self._running.token

    # -- the cycle --------------------------------------------------------------------------------------------------
    async def _open(self, running: Running) -> None:
        """Open the replica and find the rooms to look at: active, or standing elsewhere than the replica (rule 18)."""
        self._marks.clear()
        self.arrivals.checked = False
        damage = await running.jobs.run(running.file.open)
        if damage is not None:
            self._tally.error(damage)
        found = await running.jobs.run(behind, running.file, running.rooms.positions, running.rooms.tombstones)
        self.arrivals.candidates = deque(found)
        self.arrivals.generation, self._tally.last_batch = await running.jobs.run(running.file.moment)
        self.arrivals.compared = self.arrivals.checked = True
        if not self.arrivals.candidates:
            self._live()
        self.arrivals.tell()

    async def _cycle(self, running: Running) -> None:
        """Wait for a cut, collect, apply."""
        collector = running.collector
        self._hand_out_candidates(running)
        with trio.move_on_at(running.auditor.due_at) as waiting:
            await collector.due()
        if waiting.cancelled_caught:
            await self._audit(running)
            return
        ready = collector.ready()
        await self._read_marks(running, ready)
        collected = await collector.collect(ready, self._marks)
        for batch in collected.batches:
            await self._apply(running, batch)
        for dirty, mark in collected.backlogs:
            await self._apply_backlog(running, dirty, mark)
        for dirty, reason in collected.resyncs:
            await self._resync(running, dirty, reason)
        for dirty in collected.removals:
            await self._remove(running, dirty)
        if not (collected.batches or collected.backlogs or collected.resyncs or collected.removals):
            self._live()  # nothing was asked of the replica, and it is open
        self.arrivals.tell([dirty.name for dirty in ready])

    async def _audit(self, running: Running) -> None:
        if not running.auditor.may_look() or self._tally.state != "live" or self.arrivals.candidates:
            return
        finding = await running.auditor.look()
        self._tally.audited += 1
        if finding is not None:
            logger.warning(
                "replica %s: %s is not as in its room: %s; it is copied whole", self._replica.name, finding.name, finding.what
            )
            self._want(running, finding.name, "audit")

    def _want(self, running: Running, name: RoomName, reason: Reason) -> None:
        running.collector.wanted.setdefault(name, reason)
        running.collector.candidate(running.rooms.source(name), None)

    def _hand_out_candidates(self, running: Running) -> None:
        """A page at a time: after a deleted replica every room is one, and the collector looks through all that it has."""
        if not self.arrivals.candidates:
            return
        for _ in range(min(len(self.arrivals.candidates), CANDIDATES_MAX - running.collector.candidates())):
            name, position, gone = self.arrivals.candidates.popleft()
            running.collector.candidate(running.rooms.source(name), position, gone)

    async def _read_marks(self, running: Running, ready: Sequence[Dirty]) -> None:
        if len(self._marks) > MARKS_CACHED_MAX:
            self._marks.clear()
        unknown = [dirty.name for dirty in ready[:MARKS_CACHED_MAX] if dirty.name not in self._marks]
        if unknown:
            self._marks.update(await running.jobs.run(running.file.marks, unknown))

    async def _apply(self, running: Running, batch: Sequence[tuple[Dirty, Drain]]) -> None:
        """Apply a batch; if the replica refuses some row, each half of it, and so on, until its room is alone and parked."""
        if not batch:
            return
        drains = [drain for _, drain in batch]
        try:
            applied = await running.jobs.run(apply, running.file, drains, running.rooms.doors.wall_clock())
        except RowsRefused as refusal:
            if len(batch) == 1:
                self._park(running, batch[0][0], str(refusal))
                return
            middle = len(batch) // 2
            await self._apply(running, batch[:middle])
            await self._apply(running, batch[middle:])
            return
        await self._applied(running, batch, applied)

    async def _applied(self, running: Running, batch: Sequence[tuple[Dirty, Drain]], applied: Applied) -> None:
        now = trio.current_time()
        if applied.batch:
            self._tally.batches += 1
            self._tally.rows += applied.rows
            self._tally.last_batch = applied.batch
            self._live()
            self._tally.wal(running.file.wal_bytes)
        for (dirty, drain), outcome in zip(batch, applied.outcomes, strict=True):
            self._marks[dirty.name] = outcome.mark
            if outcome.result == "applied":
                self._tally.parked.pop(dirty.name, None)
                running.collector.done(dirty)
                dirty.source.acknowledge(drain.changes.position.seq)
                if drain.changes.entries:
                    self._tally.lags.append(now - dirty.since)
            elif outcome.result == "moved":
                running.collector.again(dirty)
            else:
                logger.info("%s: schema changed: %s", dirty.name, outcome.detail)
                await self._resync(running, dirty, "schema")

    async def _apply_backlog(self, running: Running, dirty: Dirty, after: Mark) -> None:
        """A room with a long outbox, alone. It stays dirty, as after a resync."""
        try:
            now = running.rooms.doors.wall_clock()
            advanced = await apply_backlog(running.jobs, running.file, dirty.source, after, now)
        except Unfit as unfit:
            if unfit.reason is not None:
                await self._resync(running, dirty, unfit.reason)
                return
            self._marks[dirty.name] = unfit.mark
            running.collector.again(dirty)
        except RowsRefused as refusal:
            self._park(running, dirty, str(refusal))
        except (RoomsError, RoomUnreadable) as error:
            self._throw_out(running, dirty, error)
        else:
            self._tally.batches += 1
            self._tally.rows += advanced.rows
            self._tally.last_batch = advanced.batch
            self._tally.lags.append(trio.current_time() - dirty.since)
            self._tally.parked.pop(dirty.name, None)
            dirty.position = None  # a candidate's comes from the catalog, which may lag behind the room
            self._copied(running, dirty, advanced.mark)

    async def _resync(self, running: Running, dirty: Dirty, reason: Reason) -> None:
        """Copy a room whole. It stays dirty: the next collect catches up with what it changed meanwhile, and settles it."""
        now = trio.current_time()
        wait = self._resynced.get(dirty.name, -RESYNC_SECONDS_MIN) + RESYNC_SECONDS_MIN - now
        if wait > 0:
            running.collector.again(dirty, wait)
            return
        if len(self._resynced) > MARKS_CACHED_MAX:
            self._resynced.clear()
        self._resynced[dirty.name] = now
        logger.info("replica %s: resync of %s: %s", self._replica.name, dirty.name, reason)
        try:
            rewound = reason in ("rewound", "older copy")
            mark = await resync(running.jobs, running.file, dirty.source, running.rooms.doors.wall_clock(), rewound=rewound)
        except RowsRefused as refusal:
            self._park(running, dirty, str(refusal))
            return
        except (RoomsError, RoomUnreadable) as error:
            self._throw_out(running, dirty, error)
            return
        self._tally.resynced(dirty.name, reason)
        running.collector.wanted.pop(dirty.name, None)
        self._copied(running, dirty, mark)

    def _copied(self, running: Running, dirty: Dirty, mark: Mark) -> None:
        """The room's file was read at `mark`; the next collect catches up with what came meanwhile, and settles it."""
        self._live()
        self._tally.wal(running.file.wal_bytes)
        self._marks[dirty.name] = mark
        dirty.source.acknowledge(mark.position.seq)
        dirty.entries, dirty.failures, dirty.trouble = 0, 0, None
        running.collector.again(dirty)

    async def _remove(self, running: Running, dirty: Dirty) -> None:
        try:
            batch = await running.jobs.run(remove, running.file, dirty.name, dirty.gone, running.rooms.doors.wall_clock())
        except RowsRefused as refusal:
            self._park(running, dirty, str(refusal))
            return
        self._marks[dirty.name] = None
        self._tally.removed(dirty.name, batch)
        self._live()
        running.collector.removed(dirty)

    # -- trouble ----------------------------------------------------------------------------------------------------
    def _park(self, running: Running, dirty: Dirty, reason: str) -> None:
        self._tally.park(dirty.name, reason)
        dirty.trouble = reason
        running.collector.again(dirty, PARKED_SECONDS)

    def _throw_out(self, running: Running, dirty: Dirty, error: Exception) -> None:
        running.collector.throw_out(dirty, error)
        self._tally.error(f"{dirty.name}: {dirty.trouble}")

    async def _recover(self, running: Running, error: Exception) -> None:
        """Close the replica, wait, and let the task begin again from what the file then says."""
        expected = isinstance(error, REPLICA_ERRORS)
        if not expected:
            logger.error("replica %s: unexpected error; going on", self._replica.name, exc_info=error)
        self._tally.error(f"{type(error).__name__}: {error}")
        self._tally.retries += 1
        self._failures += 1
        running.file.suspect(error)
        if not isinstance(error, ReplicaHangs):  # it hangs until its job has come back
            self._tally.turn("refused" if isinstance(error, ReplicaRefused) else "retrying")
        running.collector.give_back()
        self.arrivals.tell()
        await running.jobs.run(running.file.close)
        if self._tally.state == "refused":
            await trio.sleep(REFUSED_SECONDS)
            return
        longest = doubled(RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX, self._failures)
        await trio.sleep(running.rooms.doors.random.uniform(0.0, longest))

    def _hanging(self, what: str) -> None:
        self._tally.error(what)
        self._tally.turn("hanging")
        self.arrivals.tell()

    def _live(self) -> None:
        self._failures = 0
        self._tally.turn("live")
