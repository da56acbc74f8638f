"""Quarantine: where damaged room files go, byte for byte, each with a note of what it is and what was found.

A damaged file is never deleted and never replaced by an empty room: the catalog calls the room sick, and its calls are refused
until somebody has recovered it. The note makes the quarantine legible without the catalog.
"""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from actors.errors import Ran, RoomQuarantined
from actors.names import DataDir, RoomName
from actors.storage.rehome import wal_of
from actors.system.disk import Disk

_SETTLED = frozenset({"recovered", "deleted"})  # what a note says of a file that is nobody's sickness any more


class Damaged(Exception):
    """A room's file is not what the room left there. It is closed, and as it was found."""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite found the file itself damaged; a virtual table's own complaint (a full text index whose content was
    changed behind its back) is the schema's matter."""
    if not isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return False
    return getattr(error, "extendedresult", None) != apsw.SQLITE_CORRUPT_VTAB


def refusal(directory: DataDir, name: RoomName, reason: str, place: Path | None, *, ran: Ran = "no") -> RoomQuarantined:
    """Why a call of a sick room is refused, and what to do now."""
    lies = f"its damaged file lies in {place}" if place is not None else "its damaged file is still in its place"
    done = "Nothing ran and nothing was written" if ran == "no" else "Nothing of this turn was written"
    recover = f"durable-rooms recover {shlex.quote(str(directory.path))} {shlex.quote(str(name))}"
    return RoomQuarantined(
        f"{name} is sick: {reason}; {lies}, byte for byte. {done}; the room refuses calls until it is recovered: stop this "
        f"process and run `{recover}`. Other rooms are not affected.",
        room=str(name),
        ran=ran,
    )


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
    _move_companions(disk, path, target)
    return target


def _move_companions(disk: Disk, path: Path, target: Path) -> None:
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(path.name + suffix)
        if disk.exists(beside):
            disk.rename(beside, target.with_name(target.name + suffix))
    disk.unlink(path.with_name(path.name + "-shm"))
    disk.sync_directory(path.parent)
    disk.sync_directory(target.parent)


def finish_move(disk: Disk, directory: DataDir, name: RoomName) -> Path | None:
    """Where the room's file in quarantine lies, None if it has none there yet. A crash may have left its WAL behind. Blocks."""
    place, path = place_of(disk, directory, name), directory.room(name)
    if place is not None and not disk.exists(path) and disk.exists(wal_of(path)) and not disk.exists(wal_of(place)):
        _move_companions(disk, path, place)
    return place


def call_recovered(disk: Disk, place: Path, now: float) -> None:
    """The room has a sound file again; this one is kept, and is nobody's sickness any more. Blocks."""
    _settle(disk, place, "recovered", now)


def call_deleted(disk: Disk, directory: DataDir, name: RoomName, now: float) -> None:
    """The room was deleted or another one was loaded in its place: its files in quarantine are kept, and nobody's. Blocks."""
    while (place := place_of(disk, directory, name)) is not None:
        _settle(disk, place, "deleted", now)


def _settle(disk: Disk, place: Path, how: str, now: float) -> None:
    path = place.with_suffix(".json")
    note = {**json.loads(disk.read(path)), how: now}
    disk.write_synced(path.with_suffix(".new"), json.dumps(note, indent=2).encode())
    disk.rename(path.with_suffix(".new"), path)
    disk.sync_directory(path.parent)


def quarantined(disk: Disk, directory: DataDir) -> Iterator[tuple[RoomName, str, Path]]:
    """Every room with a file in quarantine, with the reason and the file; the latest file of a room comes last."""
    if not disk.exists(directory.quarantine):
        return
    notes = [file for file in disk.list(directory.quarantine) if file.endswith(".json")]
    for file in sorted(notes, key=lambda file: (file.partition(".")[0], int(file.split(".")[1]))):
        note: dict[str, Any] = json.loads(disk.read(directory.quarantine / file))
        moved = (directory.quarantine / file).with_suffix(".db")
        if disk.exists(moved) and not _SETTLED & note.keys():
            yield RoomName(note["actor"], note["id"]), note["reason"], moved


def place_of(disk: Disk, directory: DataDir, name: RoomName) -> Path | None:
    """Where the room's latest file in quarantine lies that nobody has settled; None if there is none."""
    path = directory.room(name)
    place, number = None, 1
    while disk.exists((numbered := _numbered(directory.quarantine / path.parent.name, path.stem, number)).with_suffix(".json")):
        if disk.exists(numbered) and not _SETTLED & json.loads(disk.read(numbered.with_suffix(".json"))).keys():
            place = numbered
        number += 1
    return place


def _free(disk: Disk, place: Path, stem: str) -> Path:
    """`quarantine/<hash>.1.db`, or the first number that is free."""
    number = 1
    while disk.exists(_numbered(place, stem, number).with_suffix(".json")):
        number += 1
    return _numbered(place, stem, number)


def _numbered(place: Path, stem: str, number: int) -> Path:
    return place.with_name(f"{place.name}{stem}.{number}.db")
