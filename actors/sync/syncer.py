"""Group sync: one task per runtime makes what rooms have committed durable, in rounds.

A round notes what is committed, then syncs, then certifies exactly what it noted (rule 1): a commit made meanwhile may or may
not have been written, so it waits for the next round. Few descriptors are synced one by one; for many, one `syncfs` of the data
directory costs the same as one of them. Nothing is ever retried after a failed sync: the kernel reports an error once and then
calls the page clean (rules 21 to 24).
"""

import errno
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import apsw
import trio

from actors.directory.catalog import Catalog
from actors.errors import DiskFailed
from actors.limits import LOCK_POLL_SECONDS
from actors.storage.storage import Storage
from actors.sync.gate import Gate
from actors.system.disk import Disk
from actors.system.threads import Threads
from actors.system.wakeup import Wakeup

logger = logging.getLogger("durable_rooms.actors")

FULL_SECONDS = 0.25  # until a round that a full disk put off is tried again
SYNC_EACH_MAX = 4  # descriptors; from here on one syncfs is as cheap (measured on ext4: 0.2 ms against 0.13 ms each)


class Target(Protocol):
    """A room that a round may sync."""

    gate: Gate
    storage: Storage
    in_round: bool  # the round owns its descriptors until it returns (rule 4)

    def certified(self, count: int) -> None: ...
    def sync_failed(self, error: OSError) -> None: ...
    def wake(self) -> None: ...


class Syncer:
    def __init__(self, disk: Disk, threads: Threads, catalog: Catalog, file_system_fd: int, directory: Path) -> None:
        self._disk = disk
        self._threads = threads
        self._catalog = catalog
        self._file_system_fd = file_system_fd  # one descriptor, older than every write, held for life (rule 22)
        self._directory = directory
        self._waiting: dict[Target, None] = {}
        self._open: dict[Target, None] = {}
        self._catalog_waiting: list[Wakeup] = []
        self._returned = trio.lowlevel.ParkingLot()  # rooms that close wait here for a round that uses their descriptors
        self._wakeup = Wakeup()
        self.catalog_full = False  # rounds are put off until there is space
        self.patient = True
        self._catalog_locked = False  # the same, until another program lets go of it
        self.rounds = 0
        self.commits = 0  # of rooms, certified by rounds
        self.failures = 0  # of syncfs

    # -- what rooms tell it -----------------------------------------------------------------------------------------
    def opened(self, target: Target) -> None:
        self._open[target] = None

    async def closing(self, target: Target) -> None:
        """The room's descriptors are about to be closed: wait until no round uses them."""
        while target.in_round:
            await self._returned.park()
        self._open.pop(target, None)
        self._waiting.pop(target, None)

    async def returned(self, target: Target) -> None:
        """Wait for the round that uses the room's descriptors now, if one does; not for one that begins meanwhile."""
        if target.in_round:
            await self._returned.park()

    def request(self, target: Target) -> None:
        """What this room has committed must become durable."""
        self._waiting[target] = None
        self._wakeup.set()

    async def catalog_round(self) -> None:
        """Wait until what waits in the catalog is durable: for a round that begins after this call, and returns."""
        returned = Wakeup()
        self._catalog_waiting.append(returned)
        self._wakeup.set()
        await returned.wait()

    # -- the task ---------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Run rounds until cancelled. A round that has begun finishes first.

        Raises:
          DiskFailed: a sync or a write of the catalog failed (rule 24).
        """
        while True:
            await self._wakeup.wait()
            while self._waiting or self._catalog_waiting:
                with trio.CancelScope(shield=True):
                    await self.round()
                await trio.lowlevel.checkpoint_if_cancelled()

    async def round(self) -> None:
        """One round: everything committed when it begins is durable when it returns."""
        catalog_changed = await self._commit_catalog()
        if catalog_changed is None:
            return
        targets, self._waiting = list(self._waiting), {}
        for_catalog, self._catalog_waiting = self._catalog_waiting, []
        noted = [(target, target.gate.committed) for target in targets]
        failed = await self._sync(targets, catalog_changed)
        self.rounds += 1
        for target, error in failed.items():
            target.sync_failed(error)
        for target, count in noted:
            if target not in failed:
                self.commits += count - target.gate.durable
                target.certified(count)
        for returned in for_catalog:
            returned.set()
        if self._catalog.wants_checkpoint:
            await self._checkpoint_catalog()

    # -- a round's parts ----------------------------------------------------------------------------------------------
    async def _commit_catalog(self) -> bool | None:
        """True if there is something to sync; None if the round is put off.

        The disk is full, or another program holds the catalog's lock: SQLite has rolled back, so nothing is lost, what waits in
        the catalog keeps waiting, and so does every reply that needs a round, for none may leave before its room's row is durable
        (rule 17). Nothing but space helps, or that program's end, so that is waited for; not at a stop, which must end.
        """
        try:
            changed = self._catalog.commit()
            self.catalog_full = self._catalog_locked = False
            return changed
        except apsw.Error as error:
            if isinstance(error, apsw.FullError) and self.patient:
                if not self.catalog_full:
                    logger.error("the disk of %s is full; calls wait for space to become durable", self._directory)
                self.catalog_full = True
                await trio.sleep(FULL_SECONDS)
                return None
            if isinstance(error, apsw.BusyError) and self.patient:
                if not self._catalog_locked:
                    logger.error("another program holds the lock of the catalog of %s; calls wait for it", self._directory)
                self._catalog_locked = True
                await trio.sleep(LOCK_POLL_SECONDS)
                return None
            raise DiskFailed(
                f"the catalog of {self._directory} could not be written ({error}). The runtime stopped: without it a "
                "crash would lose "
                "sight of rooms. Acknowledged calls are safe; repair the disk or make space, then start again."
            ) from error

    async def _checkpoint_catalog(self) -> None:
        try:
            await self._threads.run(self._catalog.checkpoint)
        except (apsw.FullError, apsw.CantOpenError):
            return  # no space, or no descriptor: the WAL is whole, and grows meanwhile
        except (OSError, apsw.Error) as error:
            raise self._catalog_failed(error) from error

    async def _sync(self, targets: list[Target], catalog_changed: bool) -> dict[Target, OSError]:
        """Sync what the round noted; returns the rooms whose sync failed. Owns the descriptors until it returns (rule 4)."""
        owned = list(targets)
        for target in owned:
            target.in_round = True
        try:
            if self._syncs_each(targets, catalog_changed):
                return await self._sync_each(targets, catalog=catalog_changed)
            try:
                await self._threads.run(self._disk.sync_file_system, self._file_system_fd)
            except OSError:
                # It does not say which file failed: ask every descriptor that is older than the writes (rule 23).
                self.failures += 1
                owned = list(self._open | dict.fromkeys(targets))
                for target in owned:
                    target.in_round = True
                return await self._sync_each(owned, catalog=True)
            return {}
        finally:
            for target in owned:
                target.in_round = False
            if len(owned) > len(targets):
                for target in owned:
                    target.wake()  # those that asked for no round are told by nobody else that they may leave now
            self._returned.unpark_all()

    def _syncs_each(self, targets: list[Target], catalog_changed: bool) -> bool:
        storages = [target.storage for target in targets]
        descriptors = sum(len(storage.descriptors()) + storage.first_round for storage in storages) + catalog_changed
        return descriptors <= SYNC_EACH_MAX or not self._disk.has_syncfs or any(storage.ask_itself for storage in storages)

    async def _sync_each(self, targets: Iterable[Target], *, catalog: bool) -> dict[Target, OSError]:
        work = [
            (target, target.storage.descriptors(), target.storage.path.parent if target.storage.first_round else None)
            for target in targets
        ]
        alone = len(work) == 1 and len(work[0][1]) == 1 and work[0][2] is None and not catalog
        run = self._threads.run_brief if alone else self._threads.run  # one WAL's sync may take less than the hop to a thread
        failed, catalog_error = await run(self._sync_in_thread, work, catalog)
        if catalog_error is not None:
            raise self._catalog_failed(catalog_error) from catalog_error
        return failed

    def _sync_in_thread(
        self, work: list[tuple[Target, list[int], Path | None]], catalog: bool
    ) -> tuple[dict[Target, OSError], OSError | None]:
        failed: dict[Target, OSError] = {}
        for target, descriptors, directory in work:
            try:
                for descriptor in descriptors:
                    self._disk.sync_data(descriptor)
                if directory is not None:
                    self._sync_directory(directory)
            except OSError as error:
                failed[target] = error
        if catalog:
            try:
                self._disk.sync_data(self._catalog.wal_fd)
            except OSError as error:
                return failed, error
        return failed, None

    def _sync_directory(self, directory: Path) -> None:
        """It has to be opened for that; where no descriptor is left, the one that is held for life serves as well."""
        try:
            self._disk.sync_directory(directory)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._disk.has_syncfs:
                raise
            self._disk.sync_file_system(self._file_system_fd)

    def _catalog_failed(self, error: Exception) -> DiskFailed:
        return DiskFailed(
            f"a sync of the catalog of {self._directory} failed ({error}). The runtime stopped and retried nothing; "
            "what was not yet "
            "acknowledged is unknown. Check the disk, then start again."
        )
