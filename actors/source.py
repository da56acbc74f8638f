"""The follower's end of one room (follower.Source): a name, and a way to the seat that the room has at the moment."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import apsw

from actors import capture
from actors.activation import Activation
from actors.catalog import Catalog
from actors.doors import Doors
from actors.errors import RoomUnfit, StatementRefused
from actors.follower import Changes, Commit, EpochStart, Position, RoomCopy, Schema, TableChanges
from actors.gate import DURABLE, NEVER
from actors.names import DataDir, RoomName
from actors.rehome import wal_of
from actors.schemas import Schemas
from actors.seat import Seat
from actors.sql import SQLValue, internal

COLLECT_ENTRIES_ON_LOOP_MAX = 4_000  # 5 ms of the loop; more is read in a worker thread


class Seats(Protocol):
    """What a source needs of the runtime."""

    doors: Doors
    schemas: Schemas
    catalog: Catalog
    directory: DataDir

    def seat(self, name: RoomName) -> Seat: ...
    def seated(self, name: RoomName) -> Activation | None: ...


class RoomSource:
    """Costs nothing while it is not used; valid whether the room is in memory or not."""

    __slots__ = ("_seats", "name")

    def __init__(self, name: RoomName, seats: Seats) -> None:
        self.name = name
        self._seats = seats

    async def collect(self, after: int) -> Changes:
        activation = self._seats.seated(self.name)
        usable = activation is not None and not activation.broken and activation.damage is None
        if activation is not None and usable and _is_short(activation, after):
            with self._noticing_damage(activation):
                return self._changes(activation, after)
        if activation is None:
            changes = await self._changes_at_rest(after)
            if changes is not None:
                return changes
        seat = self._seats.seat(self.name)
        async with seat.visit() as activation:
            if _is_short(activation, after):
                with self._noticing_damage(activation):
                    return self._changes(activation, after)
            async with seat.lock:
                local = seat.actor_class.actor.local_tables
                with self._noticing_damage(activation):
                    changes = await self._seats.doors.threads.run(self._changes_in_lane, activation.storage.path, local, after)
            changes.commit = self._commit_now(activation)  # after the reading, on the loop: it covers all that was read (rule 26)
            return changes

    async def _changes_at_rest(self, after: int) -> Changes | None:
        """Of a room that is not in memory, without a place and an activation of its own; None if it must be opened for that:
        not closed in order, damaged, or changed by another program since (whose commit may not be durable, rule 34)."""
        entry = self._seats.catalog.get(self.name)
        if entry is None or entry.active or not entry.proven or entry.sick is not None:
            return None
        seat = self._seats.seat(self.name)
        try:
            with seat.borrowed():
                async with seat.lock:
                    if seat.activation is not None or self._seats.catalog.get(self.name) != entry:
                        return None
                    path, local = self._seats.directory.room(self.name), seat.actor_class.actor.local_tables
                    changes = await self._seats.doors.threads.run(self._changes_in_lane, path, local, after)
        except (OSError, apsw.Error, StatementRefused):
            return None  # the opening says what is wrong with it
        changes.commit = DURABLE
        return changes if changes.position == entry.position else None

    @asynccontextmanager
    async def copy(self) -> AsyncGenerator[RoomCopy]:
        seat = self._seats.seat(self.name)
        async with seat.visit() as activation, seat.lock:
            storage = activation.storage
            with self._noticing_damage(activation):
                timeline = capture.timeline(storage.connection)
            yield RoomCopy(
                room=self.name,
                path=storage.path,
                timeline=timeline,
                schema=storage.transaction.schema.replicated,
                commit_now=partial(self._commit_now, activation),
            )

    def acknowledge(self, seq: int) -> None:
        activation = self._seats.seated(self.name)
        if activation is not None:
            transaction = activation.storage.transaction
            transaction.acknowledged = max(transaction.acknowledged, seq)

    def rewound(self) -> None:
        activation = self._seats.seated(self.name)
        if activation is not None and activation.storage.transaction.new_epoch is None:
            activation.storage.transaction.new_epoch = activation.storage.epoch + 1

    @contextmanager
    def _noticing_damage(self, activation: Activation) -> Generator[None]:
        """A follower may be the first to read a damaged page. It never sees what SQLite says of a room as an error of SQLite's:
        it would take it for the replica's."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            activation.damaged(error)
            raise RoomUnfit(f"{self.name}: its file was found damaged ({error}).", room=str(self.name)) from error
        except apsw.Error as error:
            raise RoomUnfit(f"{self.name}: its file cannot be read ({error}).", room=str(self.name)) from error

    def _commit_now(self, activation: Activation) -> Commit:
        with self._noticing_damage(activation):
            return activation.commit_now()

    def _changes(self, activation: Activation, after: int) -> Changes:
        """On the room's own connection, between turns: four statements, at one moment of the room."""
        transaction = activation.storage.transaction
        connection = transaction.connection
        internal(connection, "BEGIN")
        try:
            bounds = capture.bounds(connection)
            commit = activation.commit_now(reading=True)  # covers all that is read here, another program's commit included
            tables = capture.extract(connection, transaction.known.extractions, after)
        finally:
            internal(connection, "COMMIT")
        changes = self._found(tables, transaction.schema.replicated, transaction.timeline, bounds, after)
        changes.commit = commit
        return changes

    def _changes_in_lane(self, path: Path, local: frozenset[str], after: int) -> Changes:
        """The same on a connection of its own, for a long outbox or a room at rest. Blocks; the loop may commit meanwhile."""
        disk = self._seats.doors.disk
        wal_stays = disk.exists(wal_of(path))
        connection = disk.connect(path)
        try:
            connection.wal_autocheckpoint(0)
            # A WAL that was left behind stays as it is; where there was none, none stays behind.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal_stays)
            internal(connection, "BEGIN")  # schema and timeline of the same moment, too
            try:
                known = self._seats.schemas.of(connection, local)
                tables = capture.extract(connection, known.extractions, after)
                timeline, bounds = capture.timeline(connection), capture.bounds(connection)
                return self._found(tables, known.schema.replicated, timeline, bounds, after)
            finally:
                internal(connection, "COMMIT")
        finally:
            connection.close()

    def _found(
        self,
        tables: list[TableChanges],
        schema: Schema,
        timeline: tuple[EpochStart, ...],
        bounds: tuple[int | None, int],
        after: int,
    ) -> Changes:
        first, seq = bounds
        return Changes(
            room=self.name,
            position=Position(timeline[-1].epoch, seq),
            timeline=timeline,
            first_seq=first,
            schema=schema,
            tables=tables,
            entries=max(0, seq - max(after, (first or 1) - 1)),
            bytes=sum(_bytes_about(changes.upserts) for changes in tables),
            commit=NEVER,
        )


def _is_short(activation: Activation, after: int) -> bool:
    return activation.storage.transaction.seq - after <= COLLECT_ENTRIES_ON_LOOP_MAX


def _bytes_about(rows: list[tuple[SQLValue, ...]]) -> int:
    """The size of rows, from up to four of them: a batch's cap in bytes need not be exact."""
    if not rows:
        return 0
    sample = rows[:: len(rows) // 4 + 1]
    total = sum([len(value) if isinstance(value, str | bytes) else 8 for row in sample for value in row])
    return total * len(rows) // len(sample)
