"""What a follower of changes is: the one door between rooms and replication. No logic.

A room commits rows and, in the same transaction, the keys it touched (its outbox). A follower is told that a room has
changed, collects the changes when it likes, and says how far it got, so that the room may trim its outbox. `replication`
implements `Follower`; `actors` implements `Source` and `Rooms`.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import trio

from actors.names import RoomName
from actors.statements.sql import SQLValue
from actors.system.doors import Doors


class Position(NamedTuple):
    """How far a room's history goes. `epoch` grows when the room may have been rewound, `seq` with every change."""

    epoch: int
    seq: int


class EpochStart(NamedTuple):
    """A row of a room's timeline: this epoch began when the outbox stood at `start_seq`."""

    epoch: int
    start_seq: int


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # as declared, may be ""
    collation: str  # BINARY, NOCASE, RTRIM
    default: str | None  # SQL text of a constant default, else None


@dataclass(frozen=True, slots=True)
class Index:
    name: str
    body: str  # the text from the first parenthesis on: "(author, sent_at DESC) WHERE pinned"


@dataclass(frozen=True, slots=True)
class Table:
    """A replicated table as the room has it; `key` is its primary key, `columns` holds all columns in order.

    `fulltext`: the columns that can be searched. Not in its text, of which digests are made: schemas without any keep theirs.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[Index, ...]
    fulltext: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Schema:
    """The replicated tables of a room. Equal digests mean equal tables."""

    tables: tuple[Table, ...]
    digest: str


@dataclass(slots=True)
class TableChanges:
    """`upserts`: whole rows in the order of `table.columns`; `deletes`: keys in the order of `table.key`."""

    table: Table
    upserts: list[tuple[SQLValue, ...]] = field(default_factory=list)
    deletes: list[tuple[SQLValue, ...]] = field(default_factory=list)


class Commit(Protocol):
    """A commit of a room that may not be durable yet."""

    async def durable(self) -> None:
        """Wait until a round that began after it has returned.

        Raises:
          OutcomeUnknown: the room broke first; what was read at this commit must be thrown away.
        """
        ...


@dataclass(slots=True)
class Changes:
    """What one room changed after a position: the current state of every row touched, and the keys that are gone.

    Applying it needs `commit.durable()` first. It moves a replica from any good position of the room to `position`.
    """

    room: RoomName
    position: Position
    timeline: tuple[EpochStart, ...]
    first_seq: int | None  # the lowest entry still in the outbox; a replica below first_seq - 1 has a gap
    schema: Schema
    tables: list[TableChanges]
    entries: int  # outbox entries folded into it
    bytes: int  # about, of the rows
    commit: Commit


@dataclass(slots=True)
class RoomCopy:
    """A room's file, held still enough to be read by another connection (no close, checkpoint or re-home meanwhile)."""

    room: RoomName
    path: Path
    timeline: tuple[EpochStart, ...]
    schema: Schema

    commit_now: "CommitNow"


@dataclass(frozen=True, slots=True)
class Census:
    """How many rows each replicated table of a room has, at one moment of it; None: the room is too large to be counted."""

    position: Position
    rows: Mapping[str, int] | None


class CommitNow(Protocol):
    def __call__(self) -> Commit:
        """The newest commit of the room: waiting for it covers everything that was read before this call."""
        ...


class Source(Protocol):
    """A follower's end of one room; valid whether the room is in memory or not."""

    @property
    def name(self) -> RoomName: ...

    async def collect(self, after: int) -> Changes:
        """Read what changed after `after` (a seq; 0 for everything still in the outbox). Reads between turns.

        On the loop while few entries wait, else in a worker thread on a connection of its own.

        Raises:
          RoomUnfit, RoomLocked, RuntimeClosed: the room cannot be read now.
        """
        ...

    def copy(self) -> AbstractAsyncContextManager[RoomCopy]:
        """Hold the room's file for a resync. Raises as `collect`."""
        ...

    async def census(self, bytes_max: int) -> Census | None:
        """Count the rows of a room whose file has `bytes_max` at most, in a worker thread, beside its turns. What is counted may
        not be durable yet. None: it cannot be had without opening the room.

        Raises:
          RoomUnfit: its file cannot be read.
        """
        ...

    def acknowledge(self, seq: int) -> None:
        """The follower has committed everything up to `seq`: the room may trim its outbox below it."""
        ...

    def rewound(self) -> None:
        """The follower is ahead of the room within one epoch: the room begins a new epoch at its next write (rule 32)."""
        ...


class Rooms(Protocol):
    """What a runtime offers to its follower."""

    @property
    def doors(self) -> Doors: ...
    @property
    def path(self) -> Path: ...

    def positions(self) -> Iterable[tuple[RoomName, Position, bool]]:
        """Every room of the catalog with its last known position, and whether it was active when that was written.

        In the order of (actor, id), and read as it is used: in a worker thread, for it may be 100,000 rooms.
        """
        ...

    def tombstones(self) -> Iterable[tuple[RoomName, int]]:
        """Every room that was deleted, with the epoch at which it was: what a follower has of it in that epoch or an earlier one
        is to be removed. In the order of (actor, id), and read as `positions`. A room may have begun anew since, above it."""
        ...

    def source(self, name: RoomName) -> Source: ...


class Follower(Protocol):
    """Follows the changes of all rooms of one runtime."""

    def changed(self, source: Source, position: Position, entries: int) -> None:
        """The room committed `entries` more outbox entries (0: it was just opened and stands at `position`).

        On the loop, in microseconds; never raises. The commit may not be durable yet.
        """
        ...

    def deleted(self, source: Source, epoch: int) -> None:
        """The room was deleted, durably: everything of it in `epoch` or an earlier one is to go. What comes later of this name
        is another room, in a higher epoch. On the loop, in microseconds; never raises."""
        ...

    async def run(self, rooms: Rooms, task_status: trio.TaskStatus[None]) -> None:
        """The follower's task, from the start of the runtime (before any room is opened) until it is cancelled at its end.

        Calls `task_status.started()` as soon as `changed` may be called; a replica in trouble never delays it.
        """
        ...

    async def drain(self) -> None:
        """Called once at a stop, when no more calls run and rooms are still open: bring the replica up to date, within a bound of
        the follower's own. What does not make it stays in the outboxes."""
        ...


class NoFollower:
    """The follower of a runtime without replicas: nobody needs the outbox, so rooms trim it at once."""

    def changed(self, source: Source, position: Position, entries: int) -> None:
        source.acknowledge(position.seq)

    def deleted(self, source: Source, epoch: int) -> None:
        pass

    async def run(self, rooms: Rooms, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def drain(self) -> None:
        pass
