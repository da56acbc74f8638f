"""Deleting a room: first its tombstone, durable in a round; then its files. After any crash the room is whole, or it is gone.

    tombstone, the row goes ─▶ a round ─▶ followers are told ─▶ database, directory synced, WAL (rule 10) ─▶ nothing is left

The round is what makes it so. Files that a crash leaves behind it are removed by the next start, or by the opening that meets
them: what lies in a deleted room's place is never read. A file in quarantine stays there; its note says that the room was
deleted, so that nobody takes it for a room that waits to be recovered.
"""

import logging
from dataclasses import replace
from typing import Protocol

import trio

from actors.directory.catalog import Catalog, Entry
from actors.directory.quarantine import call_deleted
from actors.directory.tombstones import Tombstone
from actors.errors import OutcomeUnknown
from actors.follower import Follower, Source
from actors.lifecycle.loading import put_in_place
from actors.names import DataDir, RoomName, room_file
from actors.storage.rehome import delete_database
from actors.sync.syncer import Syncer
from actors.system.disk import Disk
from actors.system.doors import Doors

logger = logging.getLogger("durable_rooms.actors")

# Of a room that was not closed in order nobody has written down the last epoch. It grows by one an unclean activation or a
# rewind, so that a million of them would have to lie between two orderly closes.
EPOCHS_LEAP = 1 << 20


class Grounds(Protocol):
    """What finishing a deletion needs of the runtime."""

    doors: Doors
    directory: DataDir
    catalog: Catalog


class Cemetery(Grounds, Protocol):
    """What deleting needs of it."""

    syncer: Syncer
    follower: Follower

    def source(self, name: RoomName) -> Source: ...
    def forget(self, name: RoomName) -> None:
        """What is remembered of the room as it was is of no account any more."""
        ...


def beyond(entry: Entry | None, stone: Tombstone | None) -> int:
    """An epoch that the room never had. One epoch is left out between it and those that the room had: no replica that stands in
    one of them can be in the history of what begins above (rule 31)."""
    epochs = [stone.epoch + 1] if stone is not None else []
    if entry is not None:
        epochs.append(entry.position.epoch + (1 if entry.at_rest else EPOCHS_LEAP))
    return max(epochs, default=EPOCHS_LEAP)


async def delete(house: Cemetery, name: RoomName, lock: trio.Lock) -> bool:
    """Delete a room that is not in memory; False if there was none. Durable when it returns.

    Cancelled, it may be deleted or not; then the next start, or the next call, finishes it.

    Raises:
      OutcomeUnknown: it is deleted and does not come back, but its files could not be removed yet.
    """
    async with lock:
        catalog, path = house.catalog, house.directory.room(name)
        stone = bury(catalog, name, house.doors.wall_clock(), litter=await house.doors.threads.run(house.doors.disk.exists, path))
        if stone is None:
            if name in catalog.tombstones.unfinished:
                await _finish_now(house, catalog.tombstones.unfinished[name])
            return False
        await house.syncer.catalog_round()
        house.follower.deleted(house.source(name), stone.epoch)
        house.forget(name)
        await _finish_now(house, stone)
        return True


def bury(catalog: Catalog, name: RoomName, now: float, *, litter: bool) -> Tombstone | None:
    """Let the next round put a tombstone in the place of the room's row; None: there is no such room. `litter`: a file lies in
    its place, perhaps of a birth that nobody was told of."""
    entry, stone = catalog.get(name), catalog.tombstones.get(name)
    unnamed = RoomName("", room_file(name))  # a rebuild of the catalog could not read its file
    if entry is None and catalog.get(unnamed) is None and (not litter or name in catalog.tombstones.unfinished):
        return None
    catalog.forget(name)
    catalog.forget(unnamed)
    stone = Tombstone(name, beyond(entry, stone), now, "remove")
    catalog.tombstones.put(stone)
    return stone


async def _finish_now(house: Cemetery, stone: Tombstone) -> None:
    try:
        await finish(house, stone)
    except OSError as error:
        raise OutcomeUnknown(
            f"{stone.name}: it is deleted, durably, but its files could not be removed from {house.directory.room(stone.name)} "
            f"({error}). Nobody opens them any more; delete it again, or the next start removes them.",
            room=str(stone.name),
        ) from error


async def finish(house: Grounds, stone: Tombstone) -> None:
    """Do with the files what a durable tombstone says is left. Under the room's lock, or before any room is opened.

    Raises:
      OSError: the disk refused; it is still to be done.
    """
    run, disk = house.doors.threads.run, house.doors.disk
    if stone.rest == "load":
        await run(put_in_place, disk, house.directory.room(stone.name), stone.epoch)
        await run(call_deleted, disk, house.directory, stone.name, stone.at)
        house.catalog.tombstones.lift(stone.name)
    else:
        if house.catalog.get(stone.name) is None:  # else its new incarnation is there, and the old one's files went before
            await run(remove_files, disk, house.directory, stone)
        house.catalog.tombstones.put(replace(stone, rest=""))


def remove_files(disk: Disk, directory: DataDir, stone: Tombstone) -> None:
    """All that is left of a room but what lies in quarantine. Blocks for syncs."""
    path = directory.room(stone.name)
    delete_database(disk, path)
    for copy in (path, path.with_name(path.name + "-wal")):
        disk.unlink(copy.with_name(copy.name + ".rehome"))
    for file in sorted(disk.list(path.parent)):  # of a load that was never decided
        if file.startswith(f"{path.name}.") and file.endswith(".loading") and not file.startswith(f"{path.name}.part"):
            disk.unlink(path.parent / file)
    call_deleted(disk, directory, stone.name, stone.at)


async def finish_all(house: Grounds) -> None:
    """At a start, before any room is opened: what a crash has left to be done."""
    for stone in list(house.catalog.tombstones.unfinished.values()):
        try:
            await finish(house, stone)
        except OSError as error:
            logger.error(
                "%s: what is left of its deletion could not be done (%s); its next opening tries again", stone.name, error
            )
