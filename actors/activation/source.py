"""The follower's end of one room (follower.Source): a name, and a way to the seat that the room has at the moment."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import apsw

from actors.activation.activation import Activation
from actors.activation.seat import Seat
from actors.directory.catalog import Catalog
from actors.directory.quarantine import is_damage
from actors.errors import RoomUnfit, StatementRefused
from actors.follower import Census, Changes, Commit, EpochStart, Position, RoomCopy, Schema, TableChanges
from actors.names import DataDir, RoomName
from actors.statements.sql import SQLValue, internal
from actors.statements.sqltext import quoted
from actors.storage.storage import beside
from actors.sync.gate import DURABLE, NEVER
from actors.system.doors import Doors
from actors.tables import capture
from actors.tables.schemas import Schemas

COLLECT_ENTRIES_ON_LOOP_MAX = 4_000  # 5 ms of the loop; more is read in a worker thread


class Seats(Protocol):
    """What a source needs of the runtime."""

    doors: Doors
    schemas: Schemas
    catalog: Catalog
    directory: DataDir

    @property
    def classes(self) -> Mapping[str, object]: ...
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
        if activation is not None and usable and not activation.lent and _is_short(activation, after):
            with self._noticing_damage(activation):
                return self._changes(activation, after)
        if activation is None:
            changes = await self._changes_at_rest(after)
            if changes is not None:
                return changes
        seat = self._seats.seat(self.name)
        async with seat.visit(follows=True) as activation:
            if not activation.lent and _is_short(activation, after):
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
        seat = self._seats.seat(self.name)
        try:
            with seat.borrowed():
                async with seat.lock:  # a room that is being closed holds it: then it is at rest
                    entry = self._seats.catalog.get(self.name)
                    if seat.activation is not None or entry is None or not entry.at_rest:
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
        async with seat.visit(follows=True) as activation, seat.lock:
            storage = activation.storage
            local, threads = seat.actor_class.actor.local_tables, self._seats.doors.threads
            with self._noticing_damage(activation):
                if activation.lent:
                    timeline, schema = await threads.run(self._moment, storage.path, local)
                else:
                    timeline, schema = capture.timeline(storage.connection), storage.transaction.schema.replicated
            yield RoomCopy(
                room=self.name,
                path=storage.path,
                timeline=timeline,
                schema=schema,
                commit_now=partial(self._commit_now, activation),
            )

    async def census(self, bytes_max: int) -> Census | None:
        seats, name = self._seats, self.name
        entry, activation = seats.catalog.get(name), seats.seated(name)
        if entry is None or not entry.proven or entry.sick is not None or name.actor not in seats.classes:
            return None
        if activation is None and entry.active:
            return None  # of a start after a crash: nobody reads it before it was put right (rule 19)
        seat = seats.seat(name)
        with seat.borrowed():
            async with seat.lock:
                if seat.activation is not activation or (activation is not None and activation.broken):
                    return None
                local = seat.actor_class.actor.local_tables
                try:
                    return await seats.doors.threads.run(self._census, seats.directory.room(name), local, bytes_max)
                except (OSError, apsw.Error, StatementRefused) as error:
                    raise RoomUnfit(f"{name}: its file cannot be read ({error}).", room=str(name)) from error

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
            with noticing_damage(activation):
                yield
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
        changes = found(self.name, tables, transaction.schema.replicated, transaction.timeline, bounds, after)
        changes.commit = commit
        return changes

    def _changes_in_lane(self, path: Path, local: frozenset[str], after: int) -> Changes:
        """The same on a connection of its own, for a long outbox or a room at rest. Blocks; the loop may commit meanwhile."""
        with beside(self._seats.doors.disk, path) as connection:  # schema and timeline of the same moment, too
            known = self._seats.schemas.of(connection, local)
            tables = capture.extract(connection, known.extractions, after)
            timeline, bounds = capture.timeline(connection), capture.bounds(connection)
            return found(self.name, tables, known.schema.replicated, timeline, bounds, after)

    def _moment(self, path: Path, local: frozenset[str]) -> tuple[tuple[EpochStart, ...], Schema]:
        """Timeline and schema as of the last commit. Blocks."""
        with beside(self._seats.doors.disk, path) as connection:
            return capture.timeline(connection), self._seats.schemas.of(connection, local).schema.replicated

    def _census(self, path: Path, local: frozenset[str], bytes_max: int) -> Census:
        """Blocks."""
        with beside(self._seats.doors.disk, path) as connection:
            position = capture.position(connection)
            pages, size = (internal(connection, f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
            if pages * size > bytes_max:
                return Census(position, None)
            names = [table.name for table in self._seats.schemas.of(connection, local).schema.replicated.tables]
            counts = {name: internal(connection, f"SELECT count(*) FROM {quoted(name)}")[0][0] for name in names}  # noqa: S608 (quoted)
            return Census(position, counts)


@contextmanager
def noticing_damage(activation: Activation) -> Generator[None]:
    """Whoever reads between turns may be the first to meet a damaged page. Raises RoomUnfit then."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        if not is_damage(error):
            raise
        activation.damaged(error)
        room = activation.storage.transaction.room
        raise RoomUnfit(
            f"{room}: its file was found damaged ({error}). Nothing was written; the next call tells where it lies and how to "
            "recover the room.",
            room=room,
        ) from error


def found(
    room: RoomName,
    tables: list[TableChanges],
    schema: Schema,
    timeline: tuple[EpochStart, ...],
    bounds: tuple[int | None, int],
    after: int,
    commit: Commit = NEVER,
) -> Changes:
    first, seq = bounds
    return Changes(
        room=room,
        position=Position(timeline[-1].epoch, seq),
        timeline=timeline,
        first_seq=first,
        schema=schema,
        tables=tables,
        entries=max(0, seq - max(after, (first or 1) - 1)),
        bytes=sum(_bytes_about(changes.upserts) for changes in tables),
        commit=commit,
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
