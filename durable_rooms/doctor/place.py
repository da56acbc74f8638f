"""What the file system under a directory is, and whether it can do what rooms need: tried out, not presumed."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from actors import Disk
from actors.system.mount import Mount
from durable_rooms.doctor.finding import Finding, notice, ok, problem
from durable_rooms.inspect.words import size

PROBE_PREFIX = ".durable-rooms-doctor-"  # of the directories in which we try things out
GIB = 1024**3
FREE_BYTES_MIN = 1 * GIB  # below this somebody should look; a WAL of each of 1,000 rooms may grow to 4 MiB
FREE_FILES_MIN = 10_000  # a room needs one, and two more while it is open
LOCAL = "Choose a directory on a local disk (ext4, xfs, btrfs, zfs, apfs)."


def kind(mount: Mount | None, *, wanted: bool) -> Iterator[Finding]:
    """Type and options, from the table of mounts. `wanted`: rooms are to live there."""
    name = "file system"
    if mount is None:
        yield notice(name, "not told by this system", "It must be a local disk that honours syncs.", "Make sure that it is.")
        return
    value = f"{mount.type} on {mount.device}, mounted at {mount.point}"
    if mount.network:
        yield problem(name, value, "Of another machine: locks, shared memory and syncs cannot be relied on there.", LOCAL)
    elif mount.memory:
        verdict = problem if wanted else notice
        yield verdict(name, value, "It is memory: everything in it is gone when the machine stops.", LOCAL)
    elif mount.type == "overlay":
        yield notice(
            name, value, "A container's own layer: it goes when the container is removed.", "Mount a volume for the data."
        )
    elif mount.type.startswith("fuse"):
        yield notice(
            name, value, "A program serves it; whether a sync reaches a disk is up to that.", "Prefer a disk of the kernel's."
        )
    else:
        yield ok(name, value, "Local.")
    yield from options(mount)


def options(mount: Mount) -> Iterator[Finding]:
    name = "mount options"
    if "ro" in mount.options:
        yield problem(
            name, "ro", "It is mounted for reading only.", "Remount it for writing; `dmesg` tells whether an error did this."
        )
    if lying := sorted(mount.options & {"nobarrier", "barrier=0", "volatile"}):
        yield problem(
            name,
            ", ".join(lying),
            "Syncs return before the disk has the data: a power cut loses what was acknowledged.",
            "Mount it without that option.",
        )
    if "data=writeback" in mount.options:
        yield notice(name, "data=writeback", "What was not synced may come back as old content; what was acknowledged is synced.")


def space(path: Path) -> Iterator[Finding]:
    disk = shutil.disk_usage(path)
    value = f"{size(disk.free)} free of {size(disk.total)}"
    if disk.free < FREE_BYTES_MIN:
        yield notice("space", value, "Rooms refuse writes when it is used up (StorageFull); nothing is lost.", "Make space.")
    else:
        yield ok("space", value, "Rooms refuse writes when it is used up (StorageFull); nothing is lost.")
    files = os.statvfs(path)
    if files.f_files and files.f_favail < FREE_FILES_MIN:
        yield notice(
            "files", f"{files.f_favail:,} free", "Each room takes one, and two more while it is open.", "Make more inodes."
        )


def abilities(disk: Disk, probe: Path) -> Iterator[Finding]:
    """Tried out in `probe`, an empty directory of ours."""
    yield tried("rename", disk, probe, rename, "A file takes the place of another in one step, and the directory can be synced.")
    yield tried("lock", disk, probe, lock, "One process owns a data directory: a second lock is refused.")
    yield tried("WAL", disk, probe, wal, "SQLite's write-ahead log works, with a second connection that reads.")


class Unfit(Exception):
    """It did not do what it should."""


def tried(name: str, disk: Disk, probe: Path, ability: Callable[[Disk, Path], None], meaning: str) -> Finding:
    try:
        ability(disk, probe)
    except (OSError, apsw.Error, Unfit) as error:
        return problem(name, f"fails: {error}", meaning, LOCAL)
    return ok(name, "works", meaning)


def rename(disk: Disk, probe: Path) -> None:
    old, new = probe / "old", probe / "new"
    disk.write_synced(old, b"old")
    disk.write_synced(new, b"new")
    disk.rename(new, old)
    disk.sync_directory(probe)
    if disk.read(old) != b"new" or disk.exists(new):
        raise Unfit("a renamed file was not found in its new place")
    disk.unlink(old)


def lock(disk: Disk, probe: Path) -> None:
    first, second = (disk.open(probe / "lock", create=True) for _ in range(2))
    try:
        if not disk.lock(first):
            raise Unfit("the lock of a new file is refused")
        if disk.lock(second):
            raise Unfit("a second lock of the same file is granted")
    finally:
        disk.close(second)
        disk.close(first)


def wal(disk: Disk, probe: Path) -> None:
    writer = disk.connect(probe / "wal.db", create=True)
    try:
        if writer.execute("PRAGMA journal_mode = WAL").fetchall() != [("wal",)]:
            raise Unfit("SQLite refuses the WAL mode")
        writer.execute("CREATE TABLE t (x)").fetchall()
        reader = disk.connect(probe / "wal.db")
        try:
            writer.execute("INSERT INTO t VALUES (1)").fetchall()
            if reader.execute("SELECT count(*) FROM t").fetchall() != [(1,)]:
                raise Unfit("a second connection does not see what the first one has committed")
        finally:
            reader.close()
    finally:
        writer.close()
