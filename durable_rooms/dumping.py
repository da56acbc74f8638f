"""A consistent copy of one room's file, made while the room works: one file, without a WAL, that any SQLite reads.

VACUUM INTO copies one moment of the room through a second connection; the room's turns go on meanwhile.
"""

import errno
import os
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import trio

from actors import Disk, RoomName, RoomUnfit
from actors.runtime import Runtime
from actors.statements.sql import internal
from actors.statements.sqltext import quoted
from durable_rooms.verify.files import BUSY_SECONDS, FileMoved, footprint, held_still, wal_of

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # of file systems without hard links
_numbers = count(1)  # of dumps: several to one place at once must not take each other's copies


@dataclass(frozen=True, slots=True)
class Dumped:
    """A finished copy: checked, and durable. `rows`: by table, the room's own tables only."""

    room: str
    path: Path
    bytes: int
    epoch: int
    seq: int
    rows: dict[str, int]


async def dump_open(runtime: Runtime, name: RoomName, path: Path) -> Dumped:
    """Dump a room of this process, opening it if need be. Its checkpoint and its close wait for the copying, its calls do not."""
    disk, run = runtime.doors.disk, runtime.doors.threads.run
    target = Target(path)
    try:
        seat = runtime.seat(name)
        async with seat.visit(follows=True) as activation:  # a room that is deleted meanwhile is not made anew for this
            async with seat.lock:
                await run(_copy_open, disk, activation.storage.path, target.aside)
            await activation.commit_now().durable()  # what was read may not have been (rule 2)
        return await run(target.finish, name, disk)
    finally:
        with trio.CancelScope(shield=True):  # who asked may have left
            await run(target.clear)


def _copy_open(disk: Disk, source: Path, aside: Path) -> None:
    with closing(disk.connect(source, read_only=True)) as connection:
        internal(connection, "VACUUM INTO ?", (str(aside),))


def dump_beside(source: Path, name: RoomName, path: Path) -> Dumped:
    """Dump a room from outside, beside a process that may have it open. Blocks.

    Raises:
      FileExistsError: there is a file of this name.
      Unreadable: the room's file is missing, or did not hold still. apsw.Error: it cannot be read.
      RoomUnfit: the copy does not pass SQLite's check, so the room's file is damaged.
    """
    target = Target(path)
    try:
        held_still(lambda: _copy_beside(source, target))
        return target.finish(name, Disk())
    finally:
        target.clear()


def _copy_beside(source: Path, target: "Target") -> None:
    """A file at rest is read as immutable, or reading it would leave a WAL behind; it must then not change meanwhile."""
    at_rest, before = not wal_of(source).exists(), footprint(source)
    uri = f"file:{quote(str(source.absolute()))}?mode=ro{'&immutable=1' if at_rest else ''}"
    target.clear()
    try:
        with closing(apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)) as connection:
            connection.set_busy_timeout(int(BUSY_SECONDS * 1_000))
            internal(connection, "VACUUM INTO ?", (str(target.aside),))
    except apsw.Error as error:
        if at_rest and (wal_of(source).exists() or footprint(source) != before):
            raise FileMoved(str(source)) from error
        raise
    if at_rest and (wal_of(source).exists() or footprint(source) != before):
        raise FileMoved(str(source))


class Target:
    """Where the copy shall lie. Written aside; it has its name only when it is whole, and never takes another file's."""

    def __init__(self, path: Path) -> None:
        """Raises FileExistsError, NotADirectoryError."""
        self.path = path.absolute()
        self.aside = self.path.with_name(f"{self.path.name}.{os.getpid()}-{next(_numbers)}.dumping")
        if not self.path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "there is no such directory", str(self.path.parent))
        if os.path.lexists(self.path):
            raise FileExistsError(errno.EEXIST, "there is a file of this name; a dump overwrites nothing", str(self.path))

    def clear(self) -> None:
        for suffix in ("", "-journal"):
            self.aside.with_name(self.aside.name + suffix).unlink(missing_ok=True)

    def finish(self, name: RoomName, disk: Disk) -> Dumped:
        """Check the copy, make it durable, give it its name. Blocks."""
        with closing(apsw.Connection(str(self.aside), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            check = internal(connection, "PRAGMA quick_check(1)")
            if check != [("ok",)] or internal(connection, "SELECT actor, id FROM _room") != [tuple(name)]:
                raise RoomUnfit(
                    f"the copy of {name} does not pass SQLite's check ({check!r:.200}); it was removed", room=str(name)
                )
            epoch, seq = internal(
                connection, "SELECT (SELECT max(epoch) FROM _timeline), (SELECT ifnull(max(seq), 0) FROM _outbox)"
            )[0]
            rows = dict(_counted(connection))
        fd = os.open(self.aside, os.O_RDWR)
        try:
            disk.sync_data(fd)
        finally:
            os.close(fd)
        self._name()
        disk.sync_directory(self.path.parent)
        return Dumped(str(name), self.path, self.path.stat().st_size, epoch, seq, rows)

    def _name(self) -> None:
        try:
            os.link(self.aside, self.path)  # unlike a rename it fails where somebody has made a file meanwhile
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.aside.rename(self.path)


def _counted(connection: apsw.Connection) -> list[tuple[str, int]]:
    tables: list[tuple[Any, ...]] = internal(
        connection, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name"
    )
    names = [name for (name,) in tables if not name.startswith(("_", "sqlite_"))]
    return [(name, internal(connection, f"SELECT count(*) FROM {quoted(name)}")[0][0]) for name in names]  # noqa: S608 - quoted


def unknown(name: RoomName) -> RoomUnfit:
    return RoomUnfit(
        f"{name} was never called, or was deleted, so there is nothing to dump. Nothing was written.", room=str(name)
    )
