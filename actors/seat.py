"""A seat: the one place in the runtime where calls for a room wait and where its activation sits, one at a time.

It exists while the room is called, open, or read by a follower, and costs nothing afterwards. It is the follower's end of the
room, too (follower.Source).
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import apsw
import trio

from actors import capture
from actors.activation import Activation
from actors.actor import Actor
from actors.catalog import Catalog, Entry
from actors.doors import Doors
from actors.envelope import Envelope
from actors.errors import RoomsError, RoomUnfit, RuntimeClosed, StorageFull
from actors.follower import Changes, Follower, Position, RoomCopy
from actors.gate import NEVER
from actors.handlers import Handlers
from actors.limits import Limits
from actors.mailbox import Mailbox
from actors.migration import Migration
from actors.names import DataDir, RoomName
from actors.opening import RoomPlan, open_room
from actors.rehome import delete_database, rehome_wal
from actors.sql import SQLValue, internal
from actors.storage import Storage
from actors.syncer import Syncer
from actors.transaction import Schemas
from actors.wakeup import Wakeup

COLLECT_ENTRIES_ON_LOOP_MAX = 4_000  # 5 ms of the loop; more is read in a worker thread


class ActorClass:
    """One actor class as the runtime uses it."""

    def __init__(self, actor: type[Actor], handlers: Handlers, migrations: tuple[Migration, ...]) -> None:
        self.actor = actor
        self.handlers = handlers
        self.migrations = migrations


class House(Protocol):
    """What a seat needs of the runtime."""

    doors: Doors
    limits: Limits
    directory: DataDir
    catalog: Catalog
    syncer: Syncer
    schemas: Schemas
    follower: Follower
    stopping: bool

    async def take_place(self, seat: "Seat") -> None:
        """Wait for one of `open_rooms_max` places; the least recently used idle room makes room."""
        ...

    def leave_place(self, seat: "Seat") -> None: ...
    def start(self, seat: "Seat") -> None: ...
    def used(self, seat: "Seat") -> None: ...
    def rested(self) -> None: ...
    def broke(self, seat: "Seat", error: BaseException) -> None: ...
    def vacated(self, seat: "Seat") -> None: ...


class Seat:
    def __init__(self, name: RoomName, actor_class: ActorClass, house: House) -> None:
        self.name = name
        self.actor_class = actor_class
        self.mailbox = Mailbox(house.limits, str(name))
        self.lock = trio.Lock()  # checkpoint, close, re-home and read lane of this room exclude each other (rule 14)
        self.activation: Activation | None = None
        self.occupied = False  # its task runs
        self._house = house
        self._known_active = False  # the catalog knows that this activation wrote
        self._quiet = trio.lowlevel.ParkingLot()  # the runtime's stop waits here
        self._visitors: dict[_Visitor, None] = {}  # followers that wait for the room to be open

    # -- calls ----------------------------------------------------------------------------------------------------------
    def submit(self, envelope: Envelope) -> None:
        """Queue a call. Raises Overloaded."""
        self.mailbox.put(envelope)
        activation = self.activation
        if activation is not None:
            activation.wake()
        elif not self.occupied:
            self.occupied = True
            self._house.start(self)

    def refuse_all(self, error: RoomsError) -> None:
        for envelope in self.mailbox.empty():
            envelope.refuse(error)

    async def until_quiet(self) -> None:
        """Wait until no call is queued or under way here."""
        while self.occupied and not (self.activation is not None and self.activation.quiet and not len(self.mailbox)):
            await self._quiet.park()

    # -- its task --------------------------------------------------------------------------------------------------------
    async def live(self) -> None:
        """Open the room, let it serve, close it; again while calls or followers wait."""
        try:
            while len(self.mailbox) or self._visitors:
                await self._house.take_place(self)
                try:
                    await self._stay()
                finally:
                    self._house.leave_place(self)
        finally:
            self.occupied = False
            self._quiet.unpark_all()
            self._house.vacated(self)

    async def _stay(self) -> None:
        try:
            storage = await self._open()
        except RoomsError as error:
            self.refuse_all(error)
            self._receive_visitors(error)
            return
        house = self._house
        try:
            activation = Activation(self.actor_class.actor, storage, self, house.doors, house.limits, house.syncer)
            self._known_active = False
            self.activation = activation
            self._receive_visitors(None)
            house.follower.changed(self, activation.position, 0)
            if house.stopping:
                activation.leave()
            await activation.run()
            await house.syncer.closing(activation)
        except BaseException:  # the runtime has failed: let go of the file as after a crash
            storage.abandon()
            raise
        finally:
            self.activation = None
        async with self.lock:
            await self._close(activation)

    def _receive_visitors(self, refusal: RoomsError | None) -> None:
        visitors, self._visitors = self._visitors, {}
        for visitor in visitors:
            visitor.refusal = refusal
            visitor.wakeup.set()

    async def _open(self) -> Storage:
        house = self._house
        async with self.lock:
            entry = house.catalog.get(self.name)
            plan = RoomPlan(
                name=self.name,
                path=house.directory.room(self.name),
                litter=house.directory.litter,
                migrations=self.actor_class.migrations,
                local_tables=self.actor_class.actor.local_tables,
                limits=house.limits,
                now=house.doors.wall_clock(),
                catalogued=entry.position if entry else None,
                proven=entry.proven if entry else False,
                unclean=entry is None or entry.active or not entry.proven,
            )
            try:
                return await house.doors.threads.run(open_room, house.doors.disk, plan, house.schemas)
            except apsw.FullError as error:
                raise StorageFull(
                    f"{self.name}: the disk is full, so the room could not be opened. Nothing ran.", room=str(self.name)
                ) from error
            except (OSError, apsw.Error) as error:
                raise RoomUnfit(
                    f"{self.name}: its file {plan.path} could not be opened ({error}). Nothing ran; other rooms are "
                    "not affected.",
                    room=str(self.name),
                ) from error

    async def _close(self, activation: Activation) -> None:
        house, storage = self._house, activation.storage
        if not activation.broken:
            try:
                await house.doors.threads.run(storage.close)
            except (OSError, apsw.Error) as error:
                activation.sync_failed(OSError(f"while closing: {error}"))
        if activation.broken:
            await house.doors.threads.run(self._put_right, storage)
            return
        entry = Entry(self.name, active=False, proven=True, position=activation.position)
        if house.catalog.get(self.name) != entry:
            house.catalog.put(entry)

    def _put_right(self, storage: Storage) -> None:
        """Close a broken room's file and make what it holds durable before anybody reads it again (rules 8, 21). Blocks."""
        disk = storage.disk
        storage.abandon()
        try:
            if storage.newborn:
                delete_database(disk, storage.path)
            else:
                rehome_wal(disk, storage.path)
        except OSError:
            # The disk refuses this, too. The catalog calls the room active, so the next opening re-homes it first and tells its
            # callers if that fails; nothing is lost by leaving the file as it is.
            return

    # -- what its activation tells it ---------------------------------------------------------------------------------------
    def wrote(self, position: Position, entries: int) -> None:
        house = self._house
        if not self._known_active:
            entry = house.catalog.get(self.name)
            if entry is None or not entry.active:
                house.catalog.put(Entry(self.name, active=True, proven=entry.proven if entry else False, position=position))
            self._known_active = True
        house.follower.changed(self, position, entries)

    def birth_durable(self) -> None:
        self._house.catalog.prove(self.name)

    def broke(self, error: BaseException) -> None:
        self._house.broke(self, error)

    def used(self) -> None:
        self._house.used(self)

    def rested(self) -> None:
        self._quiet.unpark_all()
        self._house.rested()

    # -- the follower's end ---------------------------------------------------------------------------------------------------
    async def collect(self, after: int) -> Changes:
        """See follower.Source."""
        async with self._visit() as activation:
            storage = activation.storage
            if storage.transaction.seq - after <= COLLECT_ENTRIES_ON_LOOP_MAX:
                changes = self._changes(storage.connection, after)
            else:
                async with self.lock:
                    changes = await self._house.doors.threads.run(self._changes_in_lane, storage.path, after)
            changes.commit = activation.commit_now()
            return changes

    @asynccontextmanager
    async def copy(self) -> AsyncGenerator[RoomCopy]:
        """See follower.Source."""
        async with self._visit() as activation, self.lock:
            storage = activation.storage
            yield RoomCopy(
                room=self.name,
                path=storage.path,
                timeline=capture.timeline(storage.connection),
                schema=storage.transaction.schema.replicated,
                commit_now=activation.commit_now,
            )

    def acknowledge(self, seq: int) -> None:
        activation = self.activation
        if activation is not None:
            transaction = activation.storage.transaction
            transaction.acknowledged = max(transaction.acknowledged, seq)

    def rewound(self) -> None:
        activation = self.activation
        if activation is not None and activation.storage.transaction.new_epoch is None:
            activation.storage.transaction.new_epoch = activation.storage.epoch + 1

    def _changes(self, connection: apsw.Connection, after: int) -> Changes:
        """Read at one moment of the room. The commit to wait for is taken afterwards, on the loop (rule 26)."""
        internal(connection, "BEGIN")
        try:
            schema = self._house.schemas.of(connection, self.actor_class.actor.local_tables).replicated
            tables, entries = capture.extract(connection, schema, after)
            timeline = capture.timeline(connection)
            first, seq = capture.first_seq(connection), capture.last_seq(connection)
        finally:
            internal(connection, "COMMIT")
        return Changes(
            room=self.name,
            position=Position(timeline[-1].epoch, seq),
            timeline=timeline,
            first_seq=first,
            schema=schema,
            tables=tables,
            entries=entries,
            bytes=sum(_bytes_about(changes.upserts) for changes in tables),
            commit=NEVER,
        )

    def _changes_in_lane(self, path: Path, after: int) -> Changes:
        """The same on a connection of its own, for a long outbox. Blocks; the loop may commit turns meanwhile."""
        connection = self._house.doors.disk.connect(path)
        try:
            connection.wal_autocheckpoint(0)
            return self._changes(connection, after)
        finally:
            connection.close()

    @asynccontextmanager
    async def _visit(self) -> AsyncGenerator[Activation]:
        """Hold the room open, opening it if need be. Raises why it cannot be opened."""
        while (activation := self.activation) is None:
            await self._knock()
        if activation.broken:
            raise RuntimeClosed(f"{self.name}: the room is being put right after a failed sync; try again.", room=str(self.name))
        activation.pins += 1
        try:
            yield activation
        finally:
            activation.pins -= 1
            activation.wake()

    async def _knock(self) -> None:
        visitor = _Visitor()
        self._visitors[visitor] = None
        if not self.occupied:
            self.occupied = True
            self._house.start(self)
        try:
            await visitor.wakeup.wait()
        finally:
            self._visitors.pop(visitor, None)
        if visitor.refusal is not None:
            raise visitor.refusal


class _Visitor:
    """A follower that waits for a room to be open."""

    def __init__(self) -> None:
        self.wakeup = Wakeup()
        self.refusal: RoomsError | None = None


def _bytes_about(rows: list[tuple[SQLValue, ...]]) -> int:
    """The size of rows, from up to 16 of them: a batch's cap in bytes need not be exact."""
    sample = rows[:: max(1, len(rows) // 16)]
    total = sum(len(value) if isinstance(value, str | bytes) else 8 for row in sample for value in row)
    return total * len(rows) // max(1, len(sample))
