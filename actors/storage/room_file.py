"""A room's file as its seat keeps it: opened in a worker thread, closed or put right, its catalog row true at every step."""

import errno
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import apsw
import trio

from actors.actor_class import ActorClass
from actors.directory.catalog import Catalog, Entry
from actors.directory.quarantine import Damaged, finish_move, is_damage, put_into_quarantine, refusal
from actors.directory.tombstones import Tombstone
from actors.errors import NoDescriptors, RoomLocked, RoomQuarantined, RoomUnfit, StorageFull
from actors.follower import Follower, Position, Source
from actors.lifecycle.deletion import finish
from actors.limits import LOCK_POLL_SECONDS, Limits
from actors.names import DataDir, RoomName, room_file
from actors.storage.opening import RoomPlan, open_room
from actors.storage.rehome import delete_database, rehome_wal
from actors.storage.storage import Storage, checkpoint
from actors.storage.tidying import Tidying
from actors.sync.space import Space
from actors.sync.syncer import Syncer
from actors.system.doors import Doors
from actors.tables.schemas import Schemas
from actors.tables.template import Templates

logger = logging.getLogger("durable_rooms.actors")

DESCRIPTORS_POLL_SECONDS = 0.05  # until a room that found no descriptor is tried again: others need as long to close
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Records(Protocol):
    """What a room's file needs of the runtime."""

    doors: Doors
    limits: Limits
    directory: DataDir
    catalog: Catalog
    syncer: Syncer
    schemas: Schemas
    space: Space
    templates: Templates
    tidying: Tidying
    follower: Follower
    opening: trio.Lock  # a room is being opened on the loop

    def source(self, name: RoomName) -> Source: ...
    def short_of_descriptors(self) -> None:
        """Let some rooms close that nobody needs now."""
        ...


class RoomFile:
    def __init__(self, name: RoomName, actor_class: ActorClass, house: Records) -> None:
        self.name = name
        self.lock = trio.Lock()  # checkpoint, close, re-home and read lane of this room exclude each other (rule 14)
        self._actor_class = actor_class
        self._house = house
        self._entry: Entry | None = None  # the catalog's row, from the opening on: nobody else writes it
        self._stone: Tombstone | None = None  # of the incarnation before this one, while this one is not proven
        self._first_epoch = 1

    async def open(self) -> Storage:
        """Open the room's file; another program's lock on it is waited for, a little."""
        until = trio.current_time() + self._house.limits.lock_seconds_max
        async with self.lock:
            while True:
                try:
                    return await self._try_open()
                except RoomLocked:
                    if trio.current_time() >= until:
                        raise
                    await trio.sleep(LOCK_POLL_SECONDS)
                except NoDescriptors:
                    if trio.current_time() >= until:
                        raise
                    self._house.short_of_descriptors()
                    await trio.sleep(DESCRIPTORS_POLL_SECONDS)

    async def _try_open(self) -> Storage:
        house = self._house
        if (left := house.catalog.tombstones.unfinished.get(self.name)) is not None:
            await self._finish(left)
        self._entry = entry = house.catalog.get(self.name)
        self._stone = stone = house.catalog.tombstones.get(self.name) if entry is None or not entry.proven else None
        self._first_epoch = stone.epoch + 1 if stone is not None else 1
        sick = entry.sick if entry else self._unnamed()
        if sick is not None:
            raise await self._refused(sick)
        if house.space.full and (entry is None or 0 < entry.version < self._version):
            raise StorageFull(
                f"{self.name}: {house.space.words}, so no room is born or migrated. Nothing ran; try again when there is space.",
                room=str(self.name),
            )
        plan = RoomPlan(
            name=self.name,
            path=house.directory.room(self.name),
            litter=house.directory.litter,
            migrations=self._actor_class.migrations,
            local_tables=self._actor_class.actor.local_tables,
            fulltext=self._actor_class.fulltext,
            limits=house.limits,
            now=house.doors.wall_clock(),
            catalogued=entry.position if entry else None,
            proven=entry.proven if entry else False,
            first_epoch=self._first_epoch,
            deleted=entry is None and stone is not None,
            templates=house.templates,
            unclean=entry is None or entry.active or not entry.proven,
        )
        failures = house.syncer.failures
        try:
            brief = entry is not None and not plan.unclean and entry.version == self._version  # no re-home and no migration
            storage = await self._run_opening(plan, brief=brief)
            storage.transaction.space = house.space
            storage.ask_itself = house.syncer.failures != failures
            house.tidying.opened(self.name)
            return storage
        except Damaged as damage:
            raise await self._put_away(str(damage)) from damage
        except (OSError, apsw.Error) as error:
            if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in _FULL):
                raise StorageFull(
                    f"{self.name}: the disk is full, so the room could not be opened. Nothing ran.", room=str(self.name)
                ) from error
            if not house.doors.disk.has_descriptors():
                raise NoDescriptors(
                    f"{self.name}: the process may open no more files, so the room could not be opened. Nothing ran; try again, "
                    "and raise the limit (ulimit -n) or lower open_rooms_max.",
                    room=str(self.name),
                ) from error
            raise RoomUnfit(
                f"{self.name}: its file {plan.path} could not be opened ({error}). Nothing ran; other rooms are not affected.",
                room=str(self.name),
            ) from error

    async def _run_opening(self, plan: RoomPlan, *, brief: bool) -> Storage:
        """On the loop where that is brief, but one room a pass of the loop; the others meanwhile in threads."""
        house = self._house
        job = (open_room, house.doors.disk, plan, house.schemas)
        if not brief or house.opening.locked():
            return await house.doors.threads.run(*job)
        async with house.opening:
            await trio.lowlevel.checkpoint()
            return await house.doors.threads.run_brief(*job)

    async def close(self, storage: Storage, position: Position, *, wake_at: float | None, hurried: bool) -> None:
        """Close a room that is durable and quiet (rule 5); in a hurry a short WAL stays behind for later.

        Raises:
          OSError, apsw.Error: a sync failed; the room is broken.
        """
        house = self._house
        async with self.lock:
            if hurried and house.tidying.may_leave(storage.wal_bytes):
                if await house.doors.threads.run_brief(storage.leave):
                    house.tidying.left(self.name)
            else:
                await house.doors.threads.run(storage.close)
        known = self._entry or self._new_entry()
        stands = known.position == position and known.wake_at == wake_at and known.version == self._version
        if known.active or not known.proven or not stands:
            self._put(
                replace(
                    known,
                    active=False,
                    proven=True,
                    position=position,
                    version=self._version,
                    last_active=house.doors.wall_clock(),
                    bytes=storage.closed_bytes,
                    wake_at=wake_at,
                )
            )

    async def tidy(self, in_use: Callable[[], bool]) -> None:
        """Checkpoint a closed room's WAL and remove it.

        Raises:
          OSError, apsw.Error: a sync failed. The WAL is whole and the row says active: the next opening re-homes it (rule 21).
        """
        house = self._house
        async with self.lock:
            known = house.catalog.get(self.name)
            if in_use() or known is None or known.sick is not None:  # a damaged file that could not be moved stays as it is
                return
            try:
                await house.doors.threads.run(checkpoint, house.doors.disk, house.directory.room(self.name), "TRUNCATE")
            except (apsw.BusyError, apsw.FullError, apsw.CantOpenError):
                return  # another program reads it, or there is no space or descriptor now: the WAL stays for the next closing
            except (OSError, apsw.Error) as error:
                if is_damage(error):
                    await self._put_away(str(error))
                    return
                self._put(replace(known, active=True))
                raise

    async def put_right(self, storage: Storage, *, broken: bool = True) -> None:
        """Close the file without a checkpoint and make what it holds durable before anybody reads it again (rules 8, 21)."""
        known = self._entry
        if broken and known is not None and not known.active:  # the next opening re-homes it, should that not succeed now
            self._put(replace(known, active=True))
        async with self.lock:
            await self._house.doors.threads.run(_put_right, storage)

    async def put_away(self, storage: Storage, reason: str, position: Position) -> None:
        """The file was found damaged while the room was open: close it untouched, and put it into quarantine."""
        async with self.lock:
            await self._house.doors.threads.run(storage.abandon)
            await self._put_away(reason, position)

    # -- a damaged file -------------------------------------------------------------------------------------------------
    async def _put_away(self, reason: str, position: Position | None = None) -> RoomQuarantined:
        """Call the room sick, durably, then move its closed file to quarantine; returns what its callers are told."""
        known = self._entry or self._house.catalog.get(self.name) or self._new_entry()
        position = max(known.position, position or known.position)
        self._put(replace(known, sick=reason, active=False, proven=True, position=position))
        error = await self._refused(reason, found_now=True)
        logger.error("%s", error)
        return error

    async def _refused(self, reason: str, *, found_now: bool = False) -> RoomQuarantined:
        """A sick room's refusal. A file that is still in its place, because a crash came in between, goes to quarantine first;
        one that somebody put there since is for `recover` to judge."""
        house = self._house
        disk, directory, threads = house.doors.disk, house.directory, house.doors.threads
        try:
            place = None if found_now else await threads.run(finish_move, disk, directory, self.name)
            if place is None and await threads.run(disk.exists, directory.room(self.name)):
                await house.syncer.catalog_round()
                now = house.doors.wall_clock()
                place = await threads.run(put_into_quarantine, disk, directory, self.name, reason, now)
        except OSError as error:
            logger.error("%s: its damaged file could not be moved to quarantine: %s", self.name, error)
            place = None
        return refusal(directory, self.name, reason, place)

    def _unnamed(self) -> str | None:
        """Why a rebuild of the catalog could not read the file in this room's place, if so; the row is the room's from now on."""
        unnamed = RoomName("", room_file(self.name))
        entry = self._house.catalog.get(unnamed)
        if entry is None or entry.sick is None:
            return None
        self._put(replace(entry, name=self.name))
        self._house.catalog.forget(unnamed)
        return entry.sick

    def wrote(self, position: Position) -> None:
        """The first write of an activation: its row says so before the first reply (rule 17)."""
        known = self._entry
        if known is None or not known.active:
            known = known or self._new_entry()
            self._put(replace(known, active=True, position=position, last_active=self._house.doors.wall_clock()))

    def due(self, at: float) -> None:
        """The room must be in memory at that time. What the catalog says is never later than that, for every acknowledged turn;
        that it is earlier is put right when the room closes."""
        known = self._entry
        if known is not None and (known.wake_at is None or at < known.wake_at):
            self._put(replace(known, wake_at=at))

    @property
    def wake_at(self) -> float | None:
        """As the catalog says it."""
        known = self._entry
        return known.wake_at if known is not None and known.sick is None else None

    def prove(self) -> None:
        """The room's birth is durable. A later write than its first round's (rule 9)."""
        if self._entry is not None and not self._entry.proven:
            self._put(replace(self._entry, proven=True))
            if self._stone is not None:  # its row says as much from now on
                self._house.catalog.tombstones.lift(self.name)
                self._stone = None

    async def _finish(self, stone: Tombstone) -> None:
        """Do first what a crash, or the disk, left to be done of the room's deletion or loading."""
        try:
            await finish(self._house, stone)
        except OSError as error:
            raise RoomUnfit(
                f"{self.name}: what is left of its former incarnation could not be removed ({error}). Nothing ran; look at the "
                "disk, then try again. Other rooms are not affected.",
                room=str(self.name),
            ) from error

    def _put(self, entry: Entry) -> None:
        self._entry = entry
        self._house.catalog.put(entry)

    def _new_entry(self) -> Entry:
        now = self._house.doors.wall_clock()
        return Entry(self.name, active=False, proven=False, position=Position(self._first_epoch, 0), created=now, last_active=now)

    @property
    def _version(self) -> int:
        """Of a room that is open: it has run every migration of its class."""
        return len(self._actor_class.migrations)


def _put_right(storage: Storage) -> None:
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
