"""Recovering one room: find its damaged file, read it and the replica, build the room anew, put it in its place durably."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw

from actors.directory.catalog import Catalog, Entry
from actors.directory.owner import Ownership
from actors.directory.quarantine import call_recovered, place_of, put_into_quarantine
from actors.follower import Position
from actors.names import DataDir, RoomName, room_file
from actors.statements.sql import internal
from actors.storage.rehome import delete_database, wal_of
from actors.system.disk import Disk
from durable_rooms.inspect.place import require
from durable_rooms.inspect.status import replica_path
from durable_rooms.recovery.assemble import Sources, assemble
from durable_rooms.recovery.copied import Copied, read_copied
from durable_rooms.recovery.pages import read_image
from durable_rooms.recovery.report import NotRecovered, Recovery, Source
from durable_rooms.recovery.salvage import EPOCH_MAX, Salvage
from durable_rooms.verify.files import Unreadable


def recover(data: Path, name: RoomName, *, source: Source | None = None, replica: Path | None = None) -> Recovery:
    """Rebuild a room. No process may run on the directory meanwhile, and none can start.

    Args:
      source: only from the damaged file, or only from the replica; else from both.
      replica: its file, if it is not where the last process had it.

    Raises:
      NotADataDirectory: there is no catalog here.
      DataDirInUse: a process runs on the directory; names its pid.
      NotRecovered: nothing was put into the room's place. OSError, DiskUnfit: the disk refused; likewise.
    """
    require(data)
    disk, directory = Disk(), DataDir.at(data)
    with owned(disk, directory) as catalog:
        return _Work(disk, directory, catalog, name).run(source, replica or replica_path(data))


@contextmanager
def owned(disk: Disk, directory: DataDir) -> Generator[Catalog]:
    """The directory's catalog, while this process owns it. A directory that was left clean is left clean; but where the disk
    failed, the next start re-homes the catalog before it believes it (rules 21 and 24)."""
    ownership = Ownership.take(disk, directory)
    try:
        catalog = Catalog.open(disk, directory.catalog)
        failed = False
        try:
            yield catalog
        except (OSError, apsw.Error):
            failed = True
            raise
        finally:
            if failed:
                catalog.abandon()
            else:
                catalog.close()
                if ownership.was_clean:
                    ownership.mark_clean()
    finally:
        ownership.give_up()


class _Work:
    def __init__(self, disk: Disk, directory: DataDir, catalog: Catalog, name: RoomName) -> None:
        self.disk, self.directory, self.catalog, self.name = disk, directory, catalog, name
        self.path = directory.room(name)
        unnamed = catalog.get(RoomName("", room_file(name)))  # the catalog was made again and could not read its file
        self.unnamed = unnamed is not None
        self.entry = catalog.get(name) or (replace(unnamed, name=name) if unnamed else None)

    def run(self, source: Source | None, replica: Path) -> Recovery:
        report = Recovery(str(self.name), self.path)
        entry = self.entry
        if entry is None and self.catalog.tombstones.get(self.name) is not None:
            raise NotRecovered(
                f"{self.name} was deleted; `durable-rooms load` makes it again from a dump, or a call makes a new one"
            )
        in_place = self.disk.exists(self.path) and self._is_sound()
        if in_place and source != "replica" and entry is not None and entry.sick is None:
            report.sound = True
            return report
        copied = self._copied(replica, report) if source != "file" else None
        if entry is None and copied is None and not self.disk.exists(self.path):
            raise NotRecovered(f"neither the catalog nor the replica knows a room {self.name}")
        report.file = self.path if in_place else self._in_quarantine()
        read = Salvage(report.file, self.name) if report.file is not None else None
        salvage = read if source != "replica" else None
        sources = Sources(self.disk, self.directory, self.catalog, self.name, salvage, copied)
        position = self._position(read, copied)
        aside = self.path.with_name(self.path.name + ".recovering")
        delete_database(self.disk, aside)
        try:
            assemble(sources, aside, position, time.time(), report)
            self._put_in_place(aside, report)
        except apsw.Error as error:
            raise NotRecovered(f"the new file could not be made ({error})") from error
        finally:
            delete_database(self.disk, aside)
        report.epoch, report.seq = position
        return report

    # -- what there is ------------------------------------------------------------------------------------------------
    def _is_sound(self) -> bool:
        """By SQLite's own check, on a copy: the file itself is left as it is. SQLite passes over the end of a damaged WAL."""
        if read_image(self.path, wal_of(self.path)).notes:
            return False
        copy = self.path.with_name(self.path.name + ".examined")
        self._copy(copy)
        try:
            connection = self.disk.connect(copy)
            try:
                if internal(connection, "PRAGMA integrity_check(1)") != [("ok",)]:
                    return False
                return internal(connection, "SELECT actor, id FROM _room") == [tuple(self.name)]
            finally:
                connection.close()
        except apsw.Error:
            return False
        finally:
            delete_database(self.disk, copy)

    def _copy(self, copy: Path) -> None:
        delete_database(self.disk, copy)
        self.disk.copy_synced(self.path, copy)
        if self.disk.exists(wal_of(self.path)):
            self.disk.copy_synced(wal_of(self.path), wal_of(copy))

    def _in_quarantine(self) -> Path | None:
        """The damaged file; one that still lies in its place goes to quarantine now, the catalog first."""
        if not self.disk.exists(self.path):
            return place_of(self.disk, self.directory, self.name)
        reason = self.entry.sick if self.entry is not None and self.entry.sick is not None else "found damaged by recover"
        self._put(replace(self._known(), sick=reason, active=False, proven=True))
        return put_into_quarantine(self.disk, self.directory, self.name, reason, time.time())

    def _copied(self, replica: Path, report: Recovery) -> Copied | None:
        try:
            return read_copied(replica, self.name)
        except Unreadable as error:
            report.damage.append(f"the replica cannot be read: {error}")
            return None

    def _known(self) -> Entry:
        now = time.time()
        return self.entry or Entry(self.name, active=False, proven=True, position=Position(1, 0), created=now, last_active=now)

    def _position(self, read: Salvage | None, copied: Copied | None) -> Position:
        """Beyond every epoch and seq that anybody may have seen of this room."""
        seen = [self._known().position]
        if copied is not None:
            seen.append(copied.position)
        if read is not None:
            seen.append(read.history.position)
        epochs = [position.epoch for position in seen if position.epoch < EPOCH_MAX]
        return Position(max(epochs) + 2, max(position.seq for position in seen) + 2)

    # -- what is done ---------------------------------------------------------------------------------------------------
    def _put_in_place(self, aside: Path, report: Recovery) -> None:
        disk = self.disk
        fd = os.open(aside, os.O_RDWR)  # closed: no connection of ours has it open any more
        try:
            disk.sync_data(fd)
        finally:
            os.close(fd)
        disk.sync_directory(self.path.parent)
        damaged = report.file
        if disk.exists(self.path):  # sound, or it would be in quarantine; kept there, too
            damaged = put_into_quarantine(disk, self.directory, self.name, "replaced by recover", time.time())
        delete_database(disk, self.path)  # a WAL that is left there would replay into the new file
        disk.rename(aside, self.path)
        disk.sync_directory(self.path.parent)
        known, position = self._known(), Position(report.epoch, report.seq)
        size = disk.footprint(self.path)[0]
        entry = replace(known, sick=None, active=True, proven=True, position=position, bytes=size, last_active=time.time())
        entry = replace(entry, wake_at=0.0)  # opened by the next start: what it has to do by itself is in the file alone
        self._put(entry)
        report.file = damaged
        while (place := place_of(disk, self.directory, self.name)) is not None:
            call_recovered(disk, place, time.time())

    def _put(self, entry: Entry) -> None:
        """A catalog row, durable when this returns."""
        self.entry = entry
        self.catalog.put(entry)
        if self.unnamed:
            self.catalog.forget(RoomName("", room_file(self.name)))
        self.catalog.commit()
        self.disk.sync_data(self.catalog.wal_fd)
