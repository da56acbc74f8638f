"""The life of rooms, as whoever runs them sees it: which there are, and what is done to one from outside.

Everything here is on the runtime, never on a room, whose handlers may be called as they like. What closes a room is an order to
its seat (`orders`), whose task carries it out between two stays of the room in memory.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import apsw
import trio

from actors.activation.seat import Seat
from actors.actor import Actor
from actors.actor_class import ActorClass
from actors.alarms.waker import Waker
from actors.directory.catalog import PAGE_ROOMS_MAX, Catalog
from actors.directory.listing import Filters, RoomInfo, deleted, info, listed
from actors.directory.tombstones import Tombstone
from actors.errors import OutcomeUnknown, RoomAborted, RoomDeleted, RoomExists, RoomsError, RoomUnfit
from actors.follower import Follower, Source
from actors.lifecycle.deletion import beyond, delete, finish
from actors.lifecycle.loading import Loaded, clear, lay_ready, part_of, prepare
from actors.lifecycle.orders import Order
from actors.names import DataDir, RoomName, room_file
from actors.room import Room, closed
from actors.storage.tidying import Tidying
from actors.sync.syncer import Syncer
from actors.system.backoff import Backoff
from actors.system.doors import Doors
from actors.tells.courier import Courier

T = TypeVar("T")


class Lifecycle:
    """The part of a runtime that lists, evicts, aborts, deletes and loads rooms."""

    doors: Doors
    directory: DataDir
    catalog: Catalog
    syncer: Syncer
    follower: Follower
    tidying: Tidying
    backoff: Backoff
    waker: Waker
    courier: Courier
    _classes: Mapping[str, ActorClass]
    _seats: dict[RoomName, Seat]
    _admitting: bool
    _loads = 0  # files that were taken in; each copy has a name of its own

    def seat(self, name: RoomName) -> Seat:
        raise NotImplementedError

    def source(self, name: RoomName) -> Source:
        raise NotImplementedError

    async def wake(self, name: RoomName) -> None:
        """For a sweep of migrations: open a room of the catalog and do nothing with it. Its migrations have run and are durable
        when this returns, and it closes again unless somebody else uses it.

        Raises:
          CallRefused, StorageFull: it cannot be opened; it is as it was before.
          OutcomeUnknown: its file broke on the way; waking it again tells.
        """
        if not self._admitting:
            raise closed(name)
        async with self.seat(name).visit(follows=True) as activation:
            await activation.commit_now().durable()
        if activation.idle:
            activation.leave()

    # -- which there are --------------------------------------------------------------------------------------------------
    def list_rooms(
        self,
        actor: type[Actor] | None = None,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = PAGE_ROOMS_MAX,
        resident: bool | None = None,
        sick: bool | None = None,
        deleted: bool = False,
    ) -> list[RoomInfo]:
        """Rooms of one class by id, from the first behind `after`; none is opened. At most 1,000 a call; 2 µs each. Fewer than
        asked for: there are no more.

        Without a class: of every class of this runtime that has any, class by class; `after` then counts within each, so page
        through one class at a time.

        Args:
          resident: only rooms that are in memory, or only others. sick: only rooms whose file is in quarantine, or only others.
            None: no matter.
          deleted: instead of rooms that are there, those that were deleted and not called since.
        """
        actors = sorted(self._classes) if actor is None else [actor.__name__]
        filters = Filters(prefix=prefix, after=after, limit=limit, resident=resident, sick=sick)
        if deleted:
            return [] if resident or sick else _deleted(self.catalog, actors, filters)
        return listed(self.catalog, actors, filters, self)

    def describe(self, room: Room[Any]) -> RoomInfo | None:
        """One room as the catalog has it; None if it was never called, or was deleted. Opens nothing."""
        name = RoomName(room.actor.__name__, room.id)
        entry = self.catalog.get(name)
        return None if entry is None else info(entry, resident=self.is_resident(name))

    def is_resident(self, name: RoomName) -> bool:
        seat = self._seats.get(name)
        return seat is not None and seat.activation is not None

    def residents(self, actor: str) -> Iterator[str]:
        return (name.id for name, seat in self._seats.items() if name.actor == actor and seat.activation is not None)

    # -- what is done to one ----------------------------------------------------------------------------------------------
    async def evict(self, room: Room[Any]) -> bool:
        """Let a room leave memory now, as it does by itself when nobody calls it: calls that have begun end first, its file is
        closed when this returns. Calls that wait, and those that come, open it again. False: it was not in memory.

        Raises RuntimeClosed; OutcomeUnknown: the runtime ended meanwhile.
        """
        seat = self._seats.get(self._name_of(room))
        if seat is None or not seat.occupied:
            return False
        return await self._ordered(seat, Order(_nothing))

    async def abort(self, room: Room[Any], reason: str = "") -> bool:
        """Throw away a room's memory, without waiting for async and offloaded handlers: they are cut short (RoomReset;
        OutcomeUnknown where slices of them are committed, which stay), calls that had not begun are refused (RoomAborted, to be
        called again). Calls that have committed get their replies when they are durable, as ever. The next call begins with a
        fresh actor. False: the room was not in memory.

        Raises as `evict`.
        """
        seat = self._seats.get(self._name_of(room))
        if seat is None or not seat.occupied:
            return False
        why = f"aborted{f': {reason}' if reason else ''}"
        refusal = RoomAborted(f"{seat.name}: the room was {why}. Nothing ran; call it again.", room=str(seat.name))
        return await self._ordered(seat, Order(_nothing, cut=f"the room was {why}", refusal=refusal))

    async def delete(self, room: Room[Any]) -> bool:
        """Delete a room: its data, and its rows in every replica. When this returns no power cut brings it back; replicas follow
        as they follow every change (`replicated` waits for them). False: there was none.

        Calls that have not begun are refused (RoomDeleted), async handlers cut short. Whoever calls it later makes a new, empty
        room of that name. A sick room can be deleted, too; its damaged file stays in quarantine. Costs two rounds.

        Raises:
          RuntimeClosed: nothing was done.
          OutcomeUnknown: the runtime ended meanwhile; or it is deleted, but its files could not be removed yet (the message says
            which).
        Cancelled while it waits, it is done all the same.
        """
        name = self._name_of(room)
        seat = self.seat(name)
        refusal = RoomDeleted(f"{name}: the room was deleted. Nothing ran; called again, it is a new one.", room=str(name))
        work = partial(delete, self, name, seat.lock)
        return await self._ordered(seat, Order(work, cut="the room was deleted", refusal=refusal))

    async def load(self, room: Room[Any], path: str | PathLike[str], *, replace: bool = False) -> None:
        """Make a room from a file that `dump` made of a room of the same class, of this id or any other. It is durable when this
        returns, and after any crash the room is as it was or as the file has it; replicas copy it whole. The file stays as it
        is. Costs copying and checking it, while the room works on, then as `delete`.

        Args:
          replace: also where there is a room, whose data go (calls that have not begun: RoomAborted).
        Raises:
          RoomExists: there is a room, and `replace` is not set.
          RoomUnfit, SchemaTooNew, MigrationEdited: the file is damaged, of another class or of a newer version.
          FileNotFoundError, OSError: it cannot be read. RuntimeClosed. OutcomeUnknown: as `delete`.
        Nothing was written but in the last case.
        """
        name = self._name_of(room)
        self._refuse_existing(name, replace=replace)
        self._loads += 1
        aside = part_of(self.directory.room(name), self._loads)
        run, disk, migrations = self.doors.threads.run, self.doors.disk, self._classes[name.actor].migrations
        loaded = await run(prepare, disk, self.directory, Path(path), aside, name, migrations)
        try:
            seat = self.seat(self._name_of(room))
            self._refuse_existing(name, replace=replace)  # it may have been called meanwhile
        except RoomsError:
            with trio.CancelScope(shield=True):
                await run(clear, disk, aside)
            raise

        async def work() -> None:
            try:
                await self._take_in(seat, loaded, replace=replace)
            finally:
                await run(clear, disk, aside)

        if not replace:
            return await self._ordered(seat, Order(work))
        refusal = RoomAborted(f"{name}: another file was loaded as this room. Nothing ran; call it again.", room=str(name))
        return await self._ordered(seat, Order(work, cut="another file was loaded", refusal=refusal))

    def _refuse_existing(self, name: RoomName, *, replace: bool) -> None:
        there = self.catalog.get(name) or self.catalog.get(RoomName("", room_file(name)))
        if there is not None and not replace:
            raise RoomExists(
                f"{name} is there already. Nothing was written; load with replace=True to put the file in its place.",
                room=str(name),
            )

    async def _take_in(self, seat: Seat, loaded: Loaded, *, replace: bool) -> None:
        """While the room is closed."""
        name, path = seat.name, self.directory.room(seat.name)
        catalog, run, disk = self.catalog, self.doors.threads.run, self.doors.disk
        async with seat.lock:
            self._refuse_existing(name, replace=replace)
            try:
                if (left := catalog.tombstones.unfinished.get(name)) is not None:
                    await finish(self, left)
                entry, stone = catalog.get(name), catalog.tombstones.get(name)
                had = beyond(entry, stone) if entry is not None or stone is not None else 0
                buried, now = max(had, loaded.epoch + 1), self.doors.wall_clock()
                row = await run(lay_ready, disk, loaded, path, name, buried, now)
            except (OSError, apsw.Error) as error:
                raise RoomUnfit(
                    f"{name}: the file could not be loaded ({error}). Nothing was written.", room=str(name)
                ) from error
            catalog.put(row)
            catalog.forget(RoomName("", room_file(name)))
            stone = Tombstone(name, buried, now, "load")
            catalog.tombstones.put(stone)
            await self.syncer.catalog_round()
            self.forget(name)
            self.waker.left(name, row.wake_at)
            self.follower.changed(self.source(name), row.position, 1)
            try:
                await finish(self, stone)
            except OSError as error:
                raise OutcomeUnknown(
                    f"{name}: the file is loaded, durably, but could not be put into its place yet ({error}). The next call of "
                    "the room, or the next start, does so before anything else.",
                    room=str(name),
                ) from error

    def forget(self, name: RoomName) -> None:
        """What is remembered of a room whose file is gone, or another one now: that its opening failed, what it was to do, which
        tells of it are under way, and that its WAL waits to be taken in."""
        self.backoff.succeeded(name)
        self.waker.forget(name)
        self.courier.forget(name)
        self.tidying.opened(name)

    # -- orders -----------------------------------------------------------------------------------------------------------
    def _name_of(self, room: Room[Any]) -> RoomName:
        """Raises RuntimeClosed."""
        name = RoomName(room.actor.__name__, room.id)
        if not self._admitting:
            raise closed(name)
        return name

    async def _ordered(self, seat: Seat, order: Order[T]) -> T:
        seat.order(order)
        return await order.done()


_deleted = deleted  # `list_rooms` has an argument of that name


async def _nothing() -> bool:
    return True
