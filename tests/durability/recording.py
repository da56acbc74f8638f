"""A disk that writes down what happens to it, SQLite's own writes and syncs included, in one list; and that fails on demand.

Our operations are recorded by the methods of `Disk`, SQLite's by an apsw VFS. Tests add replies, so that the order
write < sync began < sync returned < reply can be read off one list.
"""

import errno
import itertools
import math
import os
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import apsw

from actors import Disk
from tests.durability.stepped import SteppedThreads
from tests.durability.world import DIRECTORY, Event, World

_DATABASE_FILES = ("-wal", "-journal")
_FILE_SYSTEM = -2  # where errors of all files together are counted
_numbers = itertools.count(1)


@dataclass
class Fault:
    """Operations of `kind` on paths that match fail with `code`: the `first`-th to come (from 1), and `times` in all."""

    kind: str
    pattern: str
    code: int
    by: str | None
    first: int
    times: float
    seen: int = 0

    def strikes(self, kind: str, path: str, by: str) -> bool:
        if kind != self.kind or (self.by is not None and by != self.by) or not fnmatch(path, self.pattern):
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.times


class RecordingDisk(Disk):
    """The real disk below `root`, with a record. `before` is the world that an earlier process left."""

    def __init__(self, root: Path, threads: SteppedThreads | None = None, before: World | None = None) -> None:
        self.root = root
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self._threads = threads
        self._names: dict[str, int] = dict(before.names) if before else {}
        self._next_node = itertools.count(max(before.nodes, default=0) + 1 if before else 1)
        self._open_files: dict[int, tuple[str, int]] = {}  # the file itself, not its name: a name may be another file's by now
        self._tokens = itertools.count(1 + next(_numbers) * 1_000_000)
        # Failed syncs of each file, and how many of them each descriptor was told of or is younger than: as Linux keeps them
        # (rule 22), so that no sync that was under way meanwhile, or comes later through an older descriptor, returns in peace.
        self.errors: Counter[int] = Counter()
        self._told: dict[int, int] = {}
        self._vfs = _RecordingVFS(self, f"recording-{next(_numbers)}")
        self.vfs = self._vfs.name

    def forget(self) -> None:
        self._vfs.unregister()

    # -- for tests ------------------------------------------------------------------------------------------------------
    def reply(self, what: str) -> None:
        self.note("reply", other=what)

    def fail(
        self, kind: str, pattern: str = "*", *, code: int = errno.EIO, by: str | None = None, first: int = 1, times: float = 1
    ) -> Fault:
        """Let operations fail (Fault). Kinds: (directory, file system) sync, write, truncate, open, rename, unlink, copy."""
        fault = Fault(kind, pattern, code, by, first, times)
        self.faults.append(fault)
        return fault

    def repair(self) -> None:
        self.faults.clear()

    def where(self, kind: str, pattern: str = "*", *, by: str | None = None, holding: bytes = b"") -> list[int]:
        """The places of matching events."""
        return [
            place
            for place, event in enumerate(self.events)
            if event.kind == kind and fnmatch(event.path, pattern) and by in (None, event.by) and holding in event.data
        ]

    # -- for itself and the VFS -----------------------------------------------------------------------------------------
    def relative(self, path: str | Path) -> str:
        return os.path.relpath(path, self.root)

    def note(
        self,
        kind: str,
        path: str = "",
        *,
        by: str = "ours",
        node: int = 0,
        token: int = 0,
        offset: int = 0,
        data: bytes = b"",
        other: str = "",
    ) -> None:
        self.events.append(Event(kind, path, by, node, token, offset, data, other))
        if self._threads is not None:
            self._threads.point(kind, path)

    def node(self, path: str, *, new: bool = False, by: str = "ours") -> int:
        """The file that a path names; notes its birth."""
        if new or path not in self._names:
            self._names[path] = next(self._next_node)
            self.note("create", path, by=by, node=self._names[path])
        return self._names[path]

    def strike(self, kind: str, path: str, by: str = "ours") -> int | None:
        """The errno that an operation must fail with."""
        for fault in self.faults:
            if fault.strikes(kind, path, by):
                return fault.code
        return None

    def _raise_if_struck(self, kind: str, path: str) -> None:
        code = self.strike(kind, path)
        if code is not None:
            raise OSError(code, os.strerror(code), path)

    def unbind(self, path: str, by: str = "ours") -> None:
        node = self._names.pop(path, 0)
        self.note("unlink", path, by=by, node=node)

    def sync(self, kind: str, path: str, node: int = 0, by: str = "ours", told: float = math.inf) -> int | None:
        """Note that a sync began, and that it returned or failed; the errno it failed with."""
        token = next(self._tokens)
        self.note(f"{kind} began", path, by=by, node=node, token=token)
        code = self.strike(kind, path, by)
        if code is not None and kind == "sync":
            self.errors.update((node, _FILE_SYSTEM))
        elif self.errors[_FILE_SYSTEM if kind == "file system sync" else node] > told:
            code = errno.EIO
        self.note(f"{kind} failed" if code else f"{kind} returned", path, by=by, node=node, token=token)
        return code

    # -- the disk -------------------------------------------------------------------------------------------------------
    def open(self, path: Path, *, create: bool = False) -> int:
        name = self.relative(path)
        self._raise_if_struck("open", name)
        existed = path.exists()
        fd = super().open(path, create=create)
        node = self.node(name, new=not existed)
        self._open_files[fd], self._told[fd] = (name, node), self.errors[node]
        self.note("open", name, node=node)
        return fd

    def write(self, fd: int, content: bytes) -> None:
        name, node = self._open_files[fd]
        self._raise_if_struck("write", name)
        super().write(fd, content)
        self.note("write", name, node=node, offset=0, data=content)

    def open_directory(self, path: Path) -> int:
        fd = super().open_directory(path)
        self._open_files[fd], self._told[fd] = (self.relative(path), DIRECTORY), self.errors[_FILE_SYSTEM]
        self.note("open", self.relative(path), node=DIRECTORY)
        return fd

    def close(self, fd: int) -> None:
        name, node = self._open_files.pop(fd)
        self.note("close", name, node=node)
        super().close(fd)

    # The syncs themselves are left out: no test pulls a plug, and what a process sees is the same.
    def sync_data(self, fd: int) -> None:
        name, node = self._open_files.get(fd, (f"closed descriptor {fd}", 0))
        os.fstat(fd)
        try:
            self._sync("sync", name, node, self._told.get(fd, math.inf))
        finally:
            self._told[fd] = self.errors[node]

    def sync_directory(self, path: Path) -> None:
        if not path.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))
        self._sync("directory sync", self.relative(path))

    def sync_file_system(self, fd: int) -> None:
        try:
            self._sync("file system sync", self._open_files[fd][0], told=self._told[fd])
        finally:
            self._told[fd] = self.errors[_FILE_SYSTEM]

    def _sync(self, kind: str, name: str, node: int = 0, told: float = math.inf) -> None:
        code = self.sync(kind, name, node, told=told)
        if code is not None:
            raise OSError(code, os.strerror(code), name)

    def make_directory(self, path: Path) -> bool:
        made = super().make_directory(path)
        if made:
            self._names[self.relative(path)] = DIRECTORY
            self.note("mkdir", self.relative(path), node=DIRECTORY)
        return made

    def unlink(self, path: Path) -> bool:
        name = self.relative(path)
        self._raise_if_struck("unlink", name)
        found = super().unlink(path)
        if found:
            self.unbind(name)
        return found

    def rename(self, old: Path, new: Path) -> None:
        name = self.relative(old)
        self._raise_if_struck("rename", name)
        super().rename(old, new)
        node = self._names.pop(name, 0)
        self._names[self.relative(new)] = node
        self.note("rename", name, node=node, other=self.relative(new))

    def copy_synced(self, old: Path, new: Path) -> None:
        self._raise_if_struck("copy", self.relative(old))
        self._write_whole(new, old.read_bytes())

    def write_synced(self, path: Path, content: bytes) -> None:
        self._write_whole(path, content)

    def _write_whole(self, path: Path, content: bytes) -> None:
        name = self.relative(path)
        node = self.node(name, new=not path.exists())
        self.note("truncate", name, node=node)
        path.write_bytes(content)
        self.note("write", name, node=node, data=content)
        self._sync("sync", name, node)

    def replace_content(self, fd: int, content: bytes) -> None:
        super().replace_content(fd, content)
        name, node = self._open_files[fd]
        self.note("truncate", name, node=node)
        self.note("write", name, node=node, data=content)


class _RecordingVFS(apsw.VFS):
    def __init__(self, disk: RecordingDisk, name: str) -> None:
        self.disk = disk
        self.name = name
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        if filename is None:
            return apsw.VFSFile("", name, flags)
        return _RecordingFile(self.disk, name, filename, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        name = self.disk.relative(filename)
        self.disk.unbind(name, "sqlite")
        if syncdir:
            self.disk.sync("directory sync", os.path.dirname(name) or ".", by="sqlite")


class _RecordingFile(apsw.VFSFile):
    def __init__(self, disk: RecordingDisk, name: Any, filename: str, flags: list[int]) -> None:
        self._disk = disk
        self._path = disk.relative(filename)
        existed = os.path.exists(filename)
        super().__init__("", name, flags)
        self._node = disk.node(self._path, new=not existed, by="sqlite")
        self._told = disk.errors[self._node]
        # SQLite syncs the directory with the first sync of a WAL or journal; counted only for the handle that made the file.
        self._directory_too = not existed and self._path.endswith(_DATABASE_FILES)
        disk.note("open", self._path, by="sqlite", node=self._node)

    def excepthook(self, *_: object) -> None:
        """An injected error inside a close reaches nobody, as a real one."""

    def xWrite(self, data: bytes, offset: int) -> None:
        code = self._disk.strike("write", self._path, "sqlite")
        if code is not None:
            raise _error(code, apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)
        self._disk.note("write", self._path, by="sqlite", node=self._node, offset=offset, data=bytes(data))

    def xTruncate(self, newsize: int) -> None:
        code = self._disk.strike("truncate", self._path, "sqlite")
        if code is not None:
            raise _error(code, apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(newsize)
        self._disk.note("truncate", self._path, by="sqlite", node=self._node, offset=newsize)

    def xSync(self, flags: int) -> None:
        code = self._disk.sync("sync", self._path, self._node, by="sqlite", told=self._told)
        self._told = self._disk.errors[self._node]
        if code is not None:
            raise _error(errno.EIO, apsw.SQLITE_IOERR_FSYNC)
        if self._directory_too:
            self._directory_too = False
            self._disk.sync("directory sync", os.path.dirname(self._path) or ".", by="sqlite")

    def xClose(self) -> None:
        super().xClose()
        self._disk.note("close", self._path, by="sqlite", node=self._node)


def _error(code: int, extended: int) -> apsw.Error:
    """As SQLite raises it: apsw hands on the exception of the VFS itself, so it must carry SQLite's codes."""
    if code == errno.ENOSPC:
        error, extended = apsw.FullError("injected: database or disk is full"), apsw.SQLITE_FULL
    else:
        error = apsw.IOError("injected: disk I/O error")
    error.result, error.extendedresult = extended & 0xFF, extended
    return error
