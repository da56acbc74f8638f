"""Quarantine: where damaged room files go, byte for byte, each with a note of what it is and what was found.

A damaged file is never deleted and never replaced by an empty room: the catalog calls the room sick, and its calls are refused
until somebody has recovered it. The note makes the quarantine legible without the catalog.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors.disk import Disk
from actors.names import DataDir, RoomName
from actors.rehome import wal_of


def put_into_quarantine(disk: Disk, directory: DataDir, name: RoomName, reason: str, now: float) -> Path:
    """Move a closed room's file and WAL; returns the new place of the file. Blocks for syncs.

    The note first, then the database, then the WAL: cut short, a file without its note is still where it was.
    """
    path = directory.room(name)
    if disk.make_directory(directory.quarantine):
        disk.sync_directory(directory.path)
    target = _free(disk, directory.quarantine / path.parent.name, path.stem)
    note = {"actor": name.actor, "id": name.id, "reason": reason, "at": now, "from": f"{path.parent.name}/{path.name}"}
    disk.write_synced(target.with_suffix(".json"), json.dumps(note, indent=2).encode())
    disk.sync_directory(directory.quarantine)
    disk.rename(path, target)
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(path.name + suffix)
        if disk.exists(beside):
            disk.rename(beside, target.with_name(target.name + suffix))
    disk.unlink(path.with_name(path.name + "-shm"))
    disk.sync_directory(path.parent)
    disk.sync_directory(directory.quarantine)
    return target


def quarantined(disk: Disk, directory: DataDir) -> Iterator[tuple[RoomName, str, Path]]:
    """Every room with a file in quarantine, with the reason and the file; the latest file of a room comes last."""
    if not disk.exists(directory.quarantine):
        return
    notes = [file for file in disk.list(directory.quarantine) if file.endswith(".json")]
    for file in sorted(notes, key=lambda file: (file.partition(".")[0], int(file.split(".")[1]))):
        note: dict[str, Any] = json.loads(disk.read(directory.quarantine / file))
        moved = (directory.quarantine / file).with_suffix(".db")
        if disk.exists(moved) or disk.exists(wal_of(moved)):
            yield RoomName(note["actor"], note["id"]), note["reason"], moved


def _free(disk: Disk, place: Path, stem: str) -> Path:
    """`quarantine/<hash>.1.db`, or the first number that is free."""
    number = 1
    while disk.exists(place.with_name(f"{place.name}{stem}.{number}.json")):
        number += 1
    return place.with_name(f"{place.name}{stem}.{number}.db")
