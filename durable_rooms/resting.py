"""Deleting and loading rooms of a directory on which no process runs. Runs no line of their classes; blocks.

The same steps as a runtime's (`actors/lifecycle/deletion.py`, `loading.py`), and finished by the next start if they are cut
short. Replicas follow at the next start: they meet the tombstone, or the room in its new epoch.
"""

import time
from pathlib import Path

import apsw

from actors import DataDir, Disk, RoomExists, RoomName, RoomUnfit
from actors.directory.catalog import Catalog
from actors.directory.quarantine import call_deleted
from actors.directory.tombstones import Tombstone
from actors.lifecycle.deletion import beyond, bury, remove_files
from actors.lifecycle.loading import clear, lay_ready, part_of, prepare, put_in_place
from actors.names import room_file
from durable_rooms.inspect.place import require
from durable_rooms.recovery.recover import owned


def delete_at_rest(data: Path, name: RoomName) -> bool:
    """Delete a room; False if there is none. Durable when it returns.

    Raises:
      NotADataDirectory: there is no catalog here. DataDirInUse: a process runs on the directory. DiskUnfit.
      OSError: the disk refused; the room is as it was, or it is deleted and the next start removes its files.
    """
    require(data)
    disk, directory = Disk(), DataDir.at(data)
    with owned(disk, directory) as catalog:
        _finish(disk, directory, catalog, name)
        stone = bury(catalog, name, time.time(), litter=disk.exists(directory.room(name)))
        if stone is None:
            return False
        _commit(disk, catalog)
        _finish(disk, directory, catalog, name)
        return True


def load_at_rest(data: Path, name: RoomName, file: Path, *, replace: bool) -> None:
    """Make a room from a file that `dump` made. Durable when it returns.

    Raises:
      RoomExists: there is a room, and `replace` is not set. RoomUnfit: the file is no sound room of this class.
      As `delete_at_rest` otherwise.
    """
    require(data)
    disk, directory = Disk(), DataDir.at(data)
    path = directory.room(name)
    with owned(disk, directory) as catalog:
        _finish(disk, directory, catalog, name)
        entry, stone = catalog.get(name), catalog.tombstones.get(name)
        unnamed = RoomName("", room_file(name))
        if not replace and (entry is not None or catalog.get(unnamed) is not None):
            raise RoomExists(
                f"{name} is there already. Nothing was written; --replace puts the file in its place.", room=str(name)
            )
        loaded = prepare(disk, directory, file, part_of(path, 0), name, None)
        try:
            newest = catalog.class_version(name.actor)
            had = beyond(entry, stone) if entry is not None or stone is not None else 0
            buried, now = max(had, loaded.epoch + 1), time.time()
            if newest and loaded.version > newest:
                raise RoomUnfit(
                    f"{file} stands at migration {loaded.version}, and the newest {name.actor} that was run here at {newest}. "
                    "Nothing was written; run the newer program first.",
                    room=str(name),
                )
            row = lay_ready(disk, loaded, path, name, buried, now)
        except apsw.Error as error:
            raise RoomUnfit(f"{file} could not be loaded ({error}). Nothing was written.", room=str(name)) from error
        finally:
            clear(disk, loaded.aside)
        catalog.put(row)
        catalog.forget(unnamed)
        catalog.tombstones.put(Tombstone(name, buried, now, "load"))
        _commit(disk, catalog)
        _finish(disk, directory, catalog, name)


def _finish(disk: Disk, directory: DataDir, catalog: Catalog, name: RoomName) -> None:
    """What a durable tombstone says is left to be done."""
    stone = catalog.tombstones.unfinished.get(name)
    if stone is None:
        return
    if stone.rest == "load":
        put_in_place(disk, directory.room(name), stone.epoch)
        call_deleted(disk, directory, name, stone.at)
        catalog.tombstones.lift(name)
    else:
        remove_files(disk, directory, stone)
        catalog.tombstones.put(Tombstone(name, stone.epoch, stone.at))
    _commit(disk, catalog)


def _commit(disk: Disk, catalog: Catalog) -> None:
    """Durable when it returns."""
    catalog.commit()
    disk.sync_data(catalog.wal_fd)
