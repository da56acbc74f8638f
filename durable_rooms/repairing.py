"""Repairing the replica: rooms that differ from it are copied whole into it, one after the other.

A running process does it itself, asked through its hatch: the replica has one writer. Where none runs, the replicator does it
here, over rooms at rest: it owns directory and replica as a runtime would, reads the rooms' files, and runs no line of their
classes. So the replica is equal at the end; a mark that only says "copy this at the next start" would leave it wrong until then.
After a process that was killed nothing may be read before it was put right (rule 19), and a room that was put back to an earlier
state must begin a new epoch (rule 32): both are a start's work.
"""

from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

import apsw
import trio

from actors import Changes, DataDir, Doors, Position, ReplicationLate, RoomCopy, RoomName, RoomUnfit, Source, StatementRefused
from actors.activation.source import found
from actors.directory.catalog import Catalog
from actors.directory.owner import Ownership
from actors.statements.sql import internal
from actors.storage.storage import beside
from actors.sync.gate import DURABLE
from actors.tables import capture
from actors.tables.schemas import Schemas
from durable_rooms.hatch.client import call_running
from durable_rooms.hatch.wire import Recopy
from replication import Replicator, SQLiteReplica

ROOM_SECONDS_MIN = 0.02  # between two rooms beside a running process: at most 50 copies a second come between its batches
AHEAD = "the replica is ahead of it: the next start copies it and begins a new epoch"
SETTLE_SECONDS = 30.0  # for what the rooms changed meanwhile to follow


@dataclass(slots=True)
class Repair:
    """What was copied, and what was not and why."""

    copied: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def repair(data: Path, replica: Path, rooms: Sequence[RoomName], ahead: Collection[RoomName] = ()) -> Repair:
    """Copy rooms whole into the replica. Blocks.

    Args:
      ahead: of these, the rooms that were put back to an earlier state: a process copies them, and begins their new epochs.

    Raises:
      Lost, PermissionError: the process that runs there does not answer, or is another user's.
      DataDirInUse: it has just started or is stopping. NotAtRest, DiskUnfit: a start has to come first.
    """
    report = Repair()
    for name in rooms:
        reply = call_running(data, Recopy(name))
        if reply is None:
            report.failed |= {str(name): AHEAD for name in ahead}
            trio.run(_at_rest, data, replica, [one for one in rooms if one not in ahead], ahead, report)
            return report
        if reply.error:
            report.failed[str(name)] = f"{reply.error}: {reply.message}"
        else:
            report.copied.append(str(name))
        sleep(ROOM_SECONDS_MIN)
    return report


class NotAtRest(Exception):
    """The last process was killed: its rooms must be put right before anybody reads them."""


async def _at_rest(data: Path, replica: Path, names: Sequence[RoomName], ahead: Collection[RoomName], report: Repair) -> None:
    doors, directory = Doors(), DataDir.at(data)
    killed = not doors.disk.exists(directory.clean_stop)  # looked at first: whoever owns a directory has begun a life of it
    ownership = None if killed else Ownership.take(doors.disk, directory)
    try:
        if ownership is None or not ownership.was_clean:
            raise NotAtRest(
                f"the last process on {data} was killed, and its rooms are put right when the next one starts. Nothing was "
                "copied; start it, and run this beside it."
            )
        catalog = Catalog.open(doors.disk, directory.catalog)
        try:
            await _copied(RestingRooms(doors, directory, catalog, ahead), SQLiteReplica(replica), names, report)
        finally:
            catalog.close()
            ownership.mark_clean()  # no room was written to
    finally:
        if ownership is not None:
            ownership.give_up()


async def _copied(rooms: "RestingRooms", replica: SQLiteReplica, names: Sequence[RoomName], report: Repair) -> None:
    replicator = Replicator(replica)
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run, rooms)
        for name in names:
            try:
                await replicator.recopy(name, "repair")
                report.copied.append(str(name))
            except ReplicationLate as late:
                report.failed[str(name)] = str(late)
                if replicator.status().state != "live":
                    break
        with suppress(ReplicationLate):  # whoever looks again tells what is missing
            await replicator.replicated(SETTLE_SECONDS)
        nursery.cancel_scope.cancel()


class RestingRooms:
    """A directory that is ours, as the replicator sees it (follower.Rooms). Nothing moves in it."""

    def __init__(self, doors: Doors, directory: DataDir, catalog: Catalog, without: Collection[RoomName]) -> None:
        self._without = without
        self.doors = doors
        self.directory = directory
        self.catalog = catalog
        self.schemas = Schemas()

    @property
    def path(self) -> Path:
        return self.directory.path

    def positions(self) -> Iterator[tuple[RoomName, Position, bool]]:
        for entry in self.catalog.entries():
            if entry.at_rest and entry.name not in self._without:
                yield entry.name, entry.position, False

    def tombstones(self) -> Iterator[tuple[RoomName, int]]:
        return ((stone.name, stone.epoch) for stone in self.catalog.buried())

    def source(self, name: RoomName) -> Source:
        return RestingSource(name, self)


class RestingSource:
    """One room at rest (follower.Source)."""

    def __init__(self, name: RoomName, rooms: RestingRooms) -> None:
        self.name = name
        self._rooms = rooms
        self._path = rooms.directory.room(name)

    async def collect(self, after: int) -> Changes:
        return await self._rooms.doors.threads.run(self._collect, after)

    def _collect(self, after: int) -> Changes:
        with self._opened() as connection:
            known = self._rooms.schemas.of(connection, _local(connection))
            tables = capture.extract(connection, known.extractions, after)
            timeline, bounds = capture.timeline(connection), capture.bounds(connection)
            return found(self.name, tables, known.schema.replicated, timeline, bounds, after, DURABLE)

    @asynccontextmanager
    async def copy(self) -> AsyncGenerator[RoomCopy]:
        with self._opened() as connection:  # to its end, so that whoever reads beside it leaves no WAL behind
            schema = self._rooms.schemas.of(connection, _local(connection)).schema.replicated
            yield RoomCopy(self.name, self._path, capture.timeline(connection), schema, lambda: DURABLE)

    async def census(self, bytes_max: int) -> None:
        """Nobody audits here."""

    def acknowledge(self, seq: int) -> None:
        """The next start trims the outbox."""

    def rewound(self) -> None:
        raise RoomUnfit(f"{self.name}: {AHEAD}", room=str(self.name))

    @contextmanager
    def _opened(self) -> Generator[apsw.Connection]:
        try:
            with beside(self._rooms.doors.disk, self._path) as connection:
                yield connection
        except (OSError, apsw.Error, StatementRefused) as error:
            raise RoomUnfit(f"{self.name}: its file cannot be read ({error})", room=str(self.name)) from error


def _local(connection: apsw.Connection) -> frozenset[str]:
    """The tables that stay in the room, as its own file has them."""
    return frozenset(name for (name,) in internal(connection, "SELECT name FROM _tables WHERE NOT replicated"))
