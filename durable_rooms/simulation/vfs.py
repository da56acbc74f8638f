"""SQLite's way to the simulated disk: an apsw VFS over the real one, for reads, locks and shared memory as they are."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import apsw

from durable_rooms.simulation.descriptors import Descriptor, Errors
from durable_rooms.simulation.faults import Fault

NAMED_WITH_FIRST_SYNC = ("-wal", "-journal")
JULIAN_MILLISECONDS_1970 = 210_866_760_000_000


class Ledger(Protocol):
    """What SQLite's files need of the disk: where each operation is noted, and meets its fault."""

    faults: list[Fault]
    open_files: int
    wall_clock: Callable[[], float]

    def relative(self, path: str) -> str: ...
    def node(self, path: str, *, new: bool = False, by: str = "ours") -> int: ...
    def errors(self, node: int) -> Errors: ...
    def note(
        self, kind: str, path: str = "", *, by: str = "ours", node: int = 0, offset: int = 0, data: bytes = b""
    ) -> object: ...
    def strike(self, kind: str, path: str, by: str = "ours") -> Fault | None: ...
    def sync(self, kind: str, path: str, descriptor: Descriptor | None, by: str = "ours") -> int: ...
    def unbind(self, path: str, by: str = "ours") -> None: ...


class SimulatedVFS(apsw.VFS):
    """Of one disk."""

    def __init__(self, disk: Ledger, name: str) -> None:
        self.disk = disk
        self.name = name
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        if filename is None:
            return apsw.VFSFile("", name, flags)
        fault = self.disk.strike("open", self.disk.relative(filename), "sqlite")
        if fault is not None:
            raise error_of(fault.code, apsw.SQLITE_CANTOPEN)
        return SimulatedFile(self.disk, name, filename, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        name = self.disk.relative(filename)
        fault = self.disk.strike("unlink", name, "sqlite")
        if fault is not None:
            raise error_of(fault.code, apsw.SQLITE_IOERR_DELETE)
        super().xDelete(filename, syncdir)
        self.disk.unbind(name, "sqlite")
        if syncdir:
            self.disk.sync("directory sync", os.path.dirname(name) or ".", None, by="sqlite")

    def xCurrentTimeInt64(self) -> int:
        return JULIAN_MILLISECONDS_1970 + int(self.disk.wall_clock() * 1000)

    def xCurrentTime(self) -> float:
        return self.xCurrentTimeInt64() / 86_400_000


class SimulatedConnection(apsw.Connection):
    """One whose close is silent about a checkpoint that failed in it, as SQLite's is; apsw would hand on the VFS's exception."""

    def close(self, force: bool = False) -> None:
        with suppress(apsw.IOError, apsw.FullError):
            super().close(force)


class SimulatedFile(apsw.VFSFile):
    """A file that SQLite has open."""

    def __init__(self, disk: Ledger, name: Any, filename: str, flags: list[int]) -> None:
        self._disk = disk
        self._path = disk.relative(filename)
        existed = os.path.exists(filename)
        super().__init__("", name, flags)
        node = disk.node(self._path, new=not existed, by="sqlite")
        self._descriptor = Descriptor(self._path, node, disk.errors(node))
        # SQLite syncs the directory with the first sync of a WAL or journal; only through the handle that made the file.
        self._directory_too = not existed and self._path.endswith(NAMED_WITH_FIRST_SYNC)
        disk.open_files += 1
        disk.note("open", self._path, by="sqlite", node=node)

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """An injected error inside a close reaches nobody, as a real one."""
        return True

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._disk.faults:
            fault = self._disk.strike("read", self._path, "sqlite")
            if fault is not None:
                raise error_of(fault.code, apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        fault = self._disk.strike("write", self._path, "sqlite") if self._disk.faults else None
        written = bytes(data)
        if fault is not None:
            if not fault.short:
                raise error_of(fault.code, apsw.SQLITE_IOERR_WRITE)
            written = written[: len(written) // 2]
        super().xWrite(written, offset)
        self._disk.note("write", self._path, by="sqlite", node=self._descriptor.node, offset=offset, data=written)
        if fault is not None:
            raise error_of(fault.code, apsw.SQLITE_IOERR_WRITE)

    def xTruncate(self, newsize: int) -> None:
        fault = self._disk.strike("truncate", self._path, "sqlite")
        if fault is not None:
            raise error_of(fault.code, apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(newsize)
        self._disk.note("truncate", self._path, by="sqlite", node=self._descriptor.node, offset=newsize)

    def xSync(self, flags: int) -> None:
        if self._disk.sync("sync", self._path, self._descriptor, by="sqlite"):
            raise error_of(errno.EIO, apsw.SQLITE_IOERR_FSYNC)
        if self._directory_too:
            self._directory_too = False
            self._disk.sync("directory sync", os.path.dirname(self._path) or ".", None, by="sqlite")

    def xClose(self) -> None:
        super().xClose()
        self._disk.open_files -= 1
        self._disk.note("close", self._path, by="sqlite", node=self._descriptor.node)


def error_of(code: int, extended: int) -> apsw.Error:
    """As SQLite raises it: apsw hands on the exception of the VFS itself, so it must carry SQLite's codes."""
    if code == errno.ENOSPC:
        return _coded(apsw.FullError("injected: database or disk is full"), apsw.SQLITE_FULL)
    if extended == apsw.SQLITE_CANTOPEN:
        return _coded(apsw.CantOpenError("injected: unable to open database file"), extended)
    return _coded(apsw.IOError("injected: disk I/O error"), extended)


def _coded(error: Any, extended: int) -> apsw.Error:
    error.result, error.extendedresult = extended & 0xFF, extended
    return error
