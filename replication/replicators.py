"""Several replicas of the same rooms: a replicator for each, and outboxes that wait for the slowest.

changed ─▶ replicator "near" ──acknowledge 17─┐
       └─▶ replicator "far"  ──acknowledge 12─┴─▶ the room trims below 12

They know nothing of each other; one that is away keeps what it lacks in the outboxes, as a single one does.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from actors import Changes, Doors, Position, RoomName, Rooms, Source
from actors.follower import Census, RoomCopy
from replication.replica import SQLiteReplica
from replication.replicator import Replicator
from replication.running import drawn_token

REPLICAS_MAX = 8  # each follows every change, for the CPU of one; a room's outbox is read once for each


class Replicators:
    """Follows the changes of all rooms into several replicas. Implements `Follower`."""

    def __init__(self, replicas: Sequence[SQLiteReplica]) -> None:
        """Raises ValueError: two have one name or one file, or there are more than REPLICAS_MAX."""
        refuse_alike(replicas)
        self.each = tuple(Replicator(replica, number) for number, replica in enumerate(replicas))
        self._acknowledged: dict[RoomName, list[int]] = {}  # of rooms of which not all replicas have said the same

    def changed(self, source: Source, position: Position, entries: int) -> None:
        if not entries:  # just opened: what was acknowledged before may be of another timeline
            self._acknowledged.pop(source.name, None)
        for number, replicator in enumerate(self.each):
            replicator.changed(_Share(source, self, number), position, entries)

    def deleted(self, source: Source, epoch: int) -> None:
        self._acknowledged.pop(source.name, None)
        for number, replicator in enumerate(self.each):
            replicator.deleted(_Share(source, self, number), epoch)

    async def run(self, rooms: Rooms, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        token = drawn_token(rooms.doors)
        async with trio.open_nursery() as nursery:
            for number, replicator in enumerate(self.each):
                await nursery.start(partial(replicator.run, _Rooms(rooms, self, number), token=token))
            task_status.started()

    async def drain(self) -> None:
        async with trio.open_nursery() as nursery:
            for replicator in self.each:
                nursery.start_soon(replicator.drain)

    def acknowledge(self, source: Source, number: int, seq: int) -> None:
        """One of the replicas has everything up to `seq`."""
        said = self._acknowledged.setdefault(source.name, [0] * len(self.each))
        said[number] = max(said[number], seq)
        slowest = min(said)
        if slowest:
            source.acknowledge(slowest)
        if slowest == max(said):
            del self._acknowledged[source.name]


class _Share:
    """A room's end for one of the replicators. Implements `Source`."""

    __slots__ = ("_all", "_number", "_source")

    def __init__(self, source: Source, all: Replicators, number: int) -> None:
        self._source = source
        self._all = all
        self._number = number

    @property
    def name(self) -> RoomName:
        return self._source.name

    async def collect(self, after: int) -> Changes:
        return await self._source.collect(after)

    def copy(self) -> AbstractAsyncContextManager[RoomCopy]:
        return self._source.copy()

    async def census(self, bytes_max: int) -> Census | None:
        return await self._source.census(bytes_max)

    def acknowledge(self, seq: int) -> None:
        self._all.acknowledge(self._source, self._number, seq)

    def rewound(self) -> None:
        self._source.rewound()


class _Rooms:
    """The runtime, as one of the replicators sees it. Implements `Rooms`."""

    def __init__(self, rooms: Rooms, all: Replicators, number: int) -> None:
        self.doors: Doors = rooms.doors
        self.path = rooms.path
        self._rooms = rooms
        self._all = all
        self._number = number

    def positions(self) -> Iterable[tuple[RoomName, Position, bool]]:
        return self._rooms.positions()

    def tombstones(self) -> Iterable[tuple[RoomName, int]]:
        return self._rooms.tombstones()

    def source(self, name: RoomName) -> Source:
        return _Share(self._rooms.source(name), self._all, self._number)


def replicators_of(follower: object) -> tuple[Replicator, ...]:
    """One for each replica of a runtime with this follower."""
    if isinstance(follower, Replicators):
        return follower.each
    return (follower,) if isinstance(follower, Replicator) else ()


def refuse_alike(replicas: Sequence[SQLiteReplica]) -> None:
    """Raises ValueError as `Replicators`."""
    if len(replicas) > REPLICAS_MAX:
        raise ValueError(f"{len(replicas)} replicas: at most {REPLICAS_MAX}, for each costs what the first one does")
    for what, values in (
        ("name", [replica.name for replica in replicas]),
        ("path", [None if replica.path is None else replica.path.absolute() for replica in replicas]),
    ):
        if len(set(values)) < len(values):
            shown = ", ".join("replica.db (the default)" if value is None else str(value) for value in values)
            raise ValueError(f"each replica has a {what} of its own: {shown}. Write SQLiteReplica(path, name=...)")
