"""A rehearsal (`--dry-run`): copies of a few rooms, migrated by the real runtime in a directory of their own, and timed.

The copies are consistent and made beside a process that may be at work; nothing is written in the data directory itself.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import trio

import actors
from actors import Actor, DataDir, Disk, Doors, Limits, NoFollower, Position, RoomName, RoomsError, RoomUnfit
from actors.directory.catalog import Catalog, Entry, add
from actors.statements.sql import internal
from durable_rooms.caretaker import Caretaker
from durable_rooms.dumping import dump_beside
from durable_rooms.inspect.words import size
from durable_rooms.migrate.report import Failure, Rehearsal, Tried
from durable_rooms.migrate.state import ClassState, State
from durable_rooms.verify.files import Unreadable, columns
from durable_rooms.verify.walk import settled

CHOSEN_BY = ("bytes DESC", "bytes", "last_active DESC")  # of each class and version: the biggest, the smallest, the most recent
TIMES_SPACE = 4  # a copy, its WAL while it is migrated, and room for tables that a migration makes anew

Told = Callable[[str], None]


class NoSpace(Exception):
    """There is no space for the copies; nothing was done."""


@dataclass(frozen=True, slots=True)
class Sample:
    name: RoomName
    bytes: int
    tried: Tried


def rehearse(data: Path, classes: Mapping[str, type[Actor]], found: State, told: Told) -> Rehearsal:
    """Migrate copies of a few rooms of each class and version. Blocks.

    Raises:
      NoSpace, OSError, DiskUnfit: there is no place for the copies. NotADataDirectory: the catalog cannot be read.
    """
    began = time.perf_counter()
    report = Rehearsal()
    samples = [one for each in found.classes if each.actor in classes for one in samples_of(data, each, report)]
    with place_beside(data, sum(sample.bytes for sample in samples)) as place:
        told(f"Copying {len(samples):,} of {sum(each.rooms for each in found.classes):,} rooms.")
        copied = copy_rooms(DataDir.at(data), DataDir.at(place), samples)
        report.bytes = sum(tried.bytes for tried in report.tried)
        if copied:
            told("Migrating the copies.")
            used = [classes[actor] for actor in {sample.name.actor: None for sample in copied}]
            trio.run(migrate_copies, place, used, copied, report)
    report.estimate = estimated(report)
    report.seconds = time.perf_counter() - began
    return report


# -- which rooms ------------------------------------------------------------------------------------------------------
def samples_of(data: Path, each: ClassState, report: Rehearsal) -> list[Sample]:
    """Of every version, the newest included: a step that was edited after it ran is refused there, too."""
    samples: list[Sample] = []
    for version, count in each.versions.items():
        if each.newest is not None and version > each.newest:
            continue  # told without trying: the class knows fewer steps
        tried = Tried(each.actor, version, each.newest or 0, count)
        report.tried.append(tried)
        chosen = settled(data / "catalog.db", lambda connection, at=(each.actor, version): choose(connection, *at))
        samples += [Sample(RoomName(each.actor, id), bytes_of(data, each.actor, id), tried) for id in chosen]
    return samples


def choose(connection: sqlite3.Connection, actor: str, version: int) -> list[str]:
    have = {name for name, _ in columns(connection, "rooms")}
    if "bytes" not in have:  # format 1 knows no versions and no sizes
        rows = connection.execute("SELECT id FROM rooms WHERE actor = ? ORDER BY id LIMIT ?", (actor, len(CHOSEN_BY)))
        return [id for (id,) in rows]
    chosen: dict[str, None] = {}
    for order in CHOSEN_BY:
        query = f"SELECT id FROM rooms WHERE actor = ? AND version = ? AND sick IS NULL ORDER BY {order} LIMIT ?"  # noqa: S608 - constants
        for (id,) in connection.execute(query, (actor, version, len(CHOSEN_BY))):
            if id not in chosen:
                chosen[id] = None
                break
    return list(chosen)


def bytes_of(data: Path, actor: str, id: str) -> int:
    try:
        return DataDir.at(data).room(RoomName(actor, id)).stat().st_size
    except OSError:
        return 0  # the copying tells


# -- their copies -----------------------------------------------------------------------------------------------------
@contextmanager
def place_beside(data: Path, bytes: int) -> Generator[Path]:
    """A new directory beside the data directory, on the same disk, else where temporary files go; removed in the end."""
    parent = data.absolute().parent
    above = parent if os.access(parent, os.W_OK | os.X_OK) else None
    with TemporaryDirectory(prefix=".durable-rooms-rehearsal-", dir=above) as place:
        free = shutil.disk_usage(place).free
        if free < bytes * TIMES_SPACE:
            raise NoSpace(f"copies of {size(bytes)} need about {size(bytes * TIMES_SPACE)}, and {place} has {size(free)} free")
        yield Path(place)


def copy_rooms(source: DataDir, place: DataDir, samples: list[Sample]) -> list[Sample]:
    """The samples of which there is a copy now, at rest in a data directory that was stopped cleanly."""
    disk = Disk()
    copied: list[Sample] = []
    entries: list[Entry] = []
    place.rooms.mkdir()
    for sample in samples:
        name, path = sample.name, place.room(sample.name)
        path.parent.mkdir(exist_ok=True)
        try:
            dumped = dump_beside(source.room(name), name, path)
            with closing(disk.connect(path)) as connection:
                internal(connection, "PRAGMA journal_mode = wal")  # as rooms are; a dump is not
        except (Unreadable, RoomUnfit, OSError, apsw.Error) as error:
            sample.tried.failures.append(Failure(str(name), type(error).__name__, f"it could not be copied: {error}"))
            continue
        sample.tried.bytes += dumped.bytes
        version = sample.tried.version
        entries.append(Entry(name, active=False, proven=True, position=Position(dumped.epoch, dumped.seq), version=version))
        copied.append(sample)
    catalog = Catalog.open(disk, place.catalog)
    with catalog.writing() as connection:
        add(connection, entries)
    catalog.close()
    disk.write_synced(place.clean_stop, b"copied\n")
    return copied


# -- the rehearsal itself ---------------------------------------------------------------------------------------------
async def migrate_copies(place: Path, classes: list[type[Actor]], samples: list[Sample], report: Rehearsal) -> None:
    """One after another, so that each has its own time."""
    async with actors.open_house(Caretaker, place, classes, NoFollower(), Limits(), Doors()) as runtime:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.cut_when_told, report, nursery.cancel_scope)
                for sample in samples:
                    began = time.perf_counter()
                    try:
                        await runtime.wake(sample.name)
                        sample.tried.seconds.append(time.perf_counter() - began)
                    except RoomsError as error:
                        sample.tried.failures.append(Failure(str(sample.name), type(error).__name__, str(error)))
                nursery.cancel_scope.cancel()
        finally:
            if runtime.termination is not None:
                runtime.termination.give_back()


def estimated(report: Rehearsal) -> float | None:
    """As if one room came after the other. A sweep migrates them side by side, but closes them, too, and brings the replica
    along: 2,000 small rooms took 5.4 to 7.3 s on 2 processors where this says 6.6."""
    behind = [one for one in report.tried if one.behind]
    typical = [one.typical for one in behind]
    if not all(typical):
        return None
    return sum(seconds * one.rooms for seconds, one in zip(typical, behind, strict=True) if seconds)
