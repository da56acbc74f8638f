"""The auditor: looks at one room after the other, slowly, and says which the replica does not have as it is.

Nothing that the replicator does can leave a room and the replica apart; a hand in the replica's file can, a disk, or a bug. The
cheap levels show most of it: the position, and the number of rows in each table. `durable-rooms verify` looks at the rows.

It opens no room: files are read in a worker thread for some milliseconds, beside the room's turns or at rest. It looks only while
the replicator has nothing to catch up with, and between two batches, so that the replica stands still meanwhile.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import trio

from actors import Census, RoomName, Rooms, RoomsError
from replication.collector import Collector
from replication.file import ReplicaFile
from replication.jobs import Jobs
from replication.limits import (
    AUDIT_AGAIN_SECONDS,
    AUDIT_BYTES_MAX,
    AUDIT_SECONDS,
    AUDIT_SECONDS_MAX,
    AUDIT_SHARE,
    BEHIND_SECONDS,
    MARKS_CACHED_MAX,
)
from replication.shape import ROOM, fold, quoted
from replication.standing import Mark
from replication.statement import scalar


class Finding(NamedTuple):
    """A room that differed twice in a row, and how."""

    name: RoomName
    what: str


class Auditor:
    """Of one replicator; part of its cycle."""

    def __init__(self, rooms: Rooms, file: ReplicaFile, jobs: Jobs, collector: Collector) -> None:
        self._rooms = rooms
        self._file = file
        self._jobs = jobs
        self._collector = collector
        self._at: RoomName | None = None  # the room that was looked at last
        self._suspect: RoomName | None = None  # it differed, once
        self._found: dict[RoomName, float] = {}  # when
        self._pause = AUDIT_SECONDS
        self._told = -1  # changes of rooms, when the present pass through all rooms began
        self.due_at = trio.current_time() + AUDIT_SECONDS  # when to look at the next room

    def may_look(self) -> bool:
        """Whether there is nothing to catch up with, and no reader waits. If not, it is due again a little later."""
        now = trio.current_time()
        self.due_at = now + AUDIT_SECONDS
        return not self._collector.readers and all(room.since >= now - BEHIND_SECONDS for room in self._collector.dirty())

    async def look(self) -> Finding | None:
        """Look at the next room; the same one again if it differed. Raises what the replica's file raises."""
        stopwatch = self._rooms.doors.stopwatch
        began = stopwatch()
        try:
            return await self._look()
        finally:
            pause = self._pause if self._suspect is None else AUDIT_SECONDS
            self.due_at = trio.current_time() + max(pause, (stopwatch() - began) / AUDIT_SHARE)

    async def _look(self) -> Finding | None:
        again, self._suspect = self._suspect, None
        name = again or await self._jobs.run(following, self._file, self._at, self._rooms.doors.random.random)
        if name is None or self._at is None or name <= self._at:
            self._begin_pass()
        self._at = name
        if name is None:
            return None
        what = await self._difference(name)
        if what is None:
            return None
        if again is None:
            self._suspect = name  # another program may just be at work on the replica, and the room may move on
            return None
        return self._new(Finding(name, what))

    def _begin_pass(self) -> None:
        """After one through all rooms, none of which has changed meanwhile, there is less to find: go slower."""
        changed = self._collector.tick != self._told
        self._pause = AUDIT_SECONDS if changed else min(self._pause * 2, AUDIT_SECONDS_MAX)
        self._told = self._collector.tick

    async def _difference(self, name: RoomName) -> str | None:
        """How the replica differs from the room, None if it does not or this cannot be known now."""
        if self._collector.is_dirty(name):
            return None
        try:
            census = await self._rooms.source(name).census(AUDIT_BYTES_MAX)
        except RoomsError:
            return None  # whoever opens it is told
        if census is None or self._collector.is_dirty(name):
            return None  # it moved on while it was counted
        return await self._jobs.run(difference, self._file, name, census)

    def _new(self, finding: Finding) -> Finding | None:
        now = trio.current_time()
        if now - self._found.get(finding.name, -math.inf) < AUDIT_AGAIN_SECONDS:
            return None
        if len(self._found) >= MARKS_CACHED_MAX:
            self._found.clear()
        self._found[finding.name] = now
        return finding


# -- in a worker thread -------------------------------------------------------------------------------------------------
def following(file: ReplicaFile, after: RoomName | None, chance: Callable[[], float]) -> RoomName | None:
    """The room behind `after` in the order of (actor, id). After the last one, and at the start, any: a process that is started
    anew each hour shall not look at the same rooms for ever. None: the replica knows none."""
    if after is not None:
        rows = file.run("SELECT actor, id FROM _rooms WHERE (actor, id) > (?, ?) ORDER BY actor, id LIMIT 1", tuple(after))
        if rows:
            return RoomName(*rows[0])
    most = scalar(file.connection, "SELECT max(key) FROM _rooms")
    if most is None:
        return None
    rows = file.run("SELECT actor, id FROM _rooms WHERE key >= ? ORDER BY key LIMIT 1", (1 + int(chance() * most),))
    return RoomName(*rows[0])


def difference(file: ReplicaFile, name: RoomName, census: Census) -> str | None:
    found = file.room(name)
    if found is None:
        return "it does not know the room"
    key, mark = found
    if mark != Mark(census.position, mark.schema, settled=True):
        return f"it stands at {tuple(mark.position)}, the room at {tuple(census.position)}"
    if census.rows is None:
        return None
    here = {fold(table): count for table, count in census.rows.items()}
    there = rows_of(file, name.actor, key)
    for table in sorted({*here, *there}):
        if (ours := here.get(table, 0)) != (its := there.get(table, 0)):
            return f"it has {its:,} rows of table {table}, the room {ours:,}"
    return None


def rows_of(file: ReplicaFile, actor: str, key: int) -> dict[str, int]:
    """How many rows of a room each table has, in all of its variants."""
    counts: dict[str, int] = {}
    for base, table in file.run("SELECT base, tbl FROM _tables WHERE actor = ?", (actor,)):
        ((count,),) = file.run(f"SELECT count(*) FROM {quoted(base)} WHERE {ROOM} = ?", (key,))  # noqa: S608 (quoted)
        counts[fold(table)] = counts.get(fold(table), 0) + count
    return counts
