"""A disk that writes down what happens to it, SQLite's own writes and syncs included, and that fails on demand.

It is the product's disk door over real files (best on a RAM disk): our operations are recorded by the methods of `Disk`,
SQLite's by an apsw VFS. Syncs cost nothing here and make nothing durable but in the `World`, which knows what a power cut
would leave.
"""

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import apsw

from actors import Disk
from durable_rooms.simulation.descriptors import Descriptor, Errors
from durable_rooms.simulation.events import Event
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.threads import SteppedThreads
from durable_rooms.simulation.vfs import SimulatedConnection, SimulatedVFS
from durable_rooms.simulation.world import DIRECTORY, World

FREE_BYTES = 1 << 40  # of a disk that is not full
_numbers = itertools.count(1)


class SimulatedDisk(Disk):
    """A disk below `root`. `before` is the world that an earlier process left; it is this one's from now on."""

    has_syncfs = True

    def __init__(
        self,
        root: Path,
        threads: SteppedThreads | None = None,
        before: World | None = None,
        *,
        now: Callable[[], float] = lambda: 0.0,
        wall_clock: Callable[[], float] = lambda: 1_700_000_000.0,
        kernel_errors: bool = True,
    ) -> None:
        """With `kernel_errors` a failed write is told once per descriptor (descriptors.py), else just where it is injected."""
        self.root = root
        self.world = before or World()
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self.free = FREE_BYTES
        self.now = now
        self.wall_clock = wall_clock
        self._name = str(root)
        self._prefix = f"{root}/"
        self._threads = threads
        self._kernel_errors = kernel_errors
        self._nodes = itertools.count(self.world.last_node + 1)
        self._tokens = itertools.count(1)
        self._writes: dict[int, int] = {}  # by node: so often it was changed
        self._errors: dict[int, Errors] = {}
        self._file_system_errors = Errors()
        self._descriptors: dict[int, Descriptor] = {}  # the file itself, not its name: a name may be another file's by now
        self.open_files = 0  # of SQLite's
        self._vfs = SimulatedVFS(self, f"simulated-{next(_numbers)}")
        self.vfs = self._vfs.name

    def forget(self) -> None:
        """The VFS is of no more use."""
        self._vfs.unregister()

    @property
    def open_descriptors(self) -> list[str]:
        """What of ours is open; nothing after an orderly stop."""
        return sorted(descriptor.path for descriptor in self._descriptors.values())

    # -- the record -----------------------------------------------------------------------------------------------------
    def relative(self, path: str | Path) -> str:
        text = str(path)
        return text[len(self._prefix) :] if text.startswith(self._prefix) else os.path.relpath(text, self.root)

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
        """Something happened; other tasks may get their turn now."""
        event = Event(kind, path, by, node, token, offset, data, other.replace(self._name, "DATA"), self.now())
        self.events.append(event)
        self.world.apply(event)
        if kind == "write" or kind == "truncate":
            self._writes[node] = self._writes.get(node, 0) + 1
        if self._threads is not None:
            self._threads.point(kind, path)

    def node(self, path: str, *, new: bool = False, by: str = "ours") -> int:
        """The file that a path names; notes its birth."""
        if new or path not in self.world.names:
            node = next(self._nodes)
            self.note("create", path, by=by, node=node)
            return node
        return self.world.names[path]

    def unbind(self, path: str, by: str = "ours") -> None:
        self.note("unlink", path, by=by, node=self.world.names.get(path, 0))

    def token(self) -> int:
        return next(self._tokens)

    # -- faults -----------------------------------------------------------------------------------------------------------
    def fail(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def strike(self, kind: str, path: str, by: str = "ours") -> Fault | None:
        """The fault that an operation meets."""
        for fault in self.faults:
            if fault.strikes(kind, path, by):
                self.note("fault", path, by="fault", other=str(fault))
                return fault
        return None

    def _raise_if_struck(self, kind: str, path: str) -> None:
        fault = self.strike(kind, path)
        if fault is not None:
            raise OSError(fault.code, os.strerror(fault.code), path)

    def errors(self, node: int) -> Errors:
        return self._errors.setdefault(node, Errors())

    def writeback_fails(self, path: str, code: int = errno.EIO, *, evict: bool = False) -> bool:
        """The kernel writes a file back by itself, and cannot: whoever syncs next is told. False where nothing is unsynced."""
        node = self.world.names.get(path, 0)
        if node <= 0 or not self.world.node(node).pending:
            return False
        self._went_wrong(node, code)
        self.note("writeback failed", path, by="fault", node=node)
        if evict:
            self._evict(path, node)
        return True

    def _went_wrong(self, node: int, code: int) -> None:
        """Before the event that makes its pages clean, as in the kernel: no sync finds them clean and hears nothing."""
        self.errors(node).happened(code)
        self._file_system_errors.happened(code)

    def _evict(self, path: str, number: int) -> None:
        """Reads find what the disk has where writes were lost."""
        node = self.world.node(number)
        lost = list(node.lost)
        self.note("evicted", path, by="fault", node=number)
        if self.world.names.get(path) != number:
            return
        content = node.now()
        fd = os.open(self.root / path, os.O_RDWR | os.O_CLOEXEC)
        try:
            for change in lost:
                os.pwrite(fd, content[change.offset : change.offset + len(change.data)], change.offset)
        finally:
            os.close(fd)

    def sync(self, kind: str, path: str, descriptor: Descriptor | None, by: str = "ours") -> int:
        """Note that a sync began, and that it returned or failed; the errno that its caller is told, or 0."""
        node = descriptor.node if descriptor is not None else 0
        token = self.token()
        self.note(f"{kind} began", path, by=by, node=node, token=token)
        fault = self.strike(kind, path, by)
        if fault is not None and kind == "file system sync":
            self._file_system_errors.happened(fault.code)
            if fault.lost:
                self._file_system_fails(fault)
        if fault is not None and kind == "sync":
            self._went_wrong(node, fault.code)
        self.note(f"{kind} failed" if fault else f"{kind} returned", path, by=by, node=node, token=token)
        if fault is not None and kind == "sync" and fault.evict:
            self._evict(path, node)
        if descriptor is not None and self._kernel_errors and kind != "directory sync":
            return descriptor.hears() or (fault.code if fault else 0)
        return fault.code if fault else 0

    def _file_system_fails(self, fault: Fault) -> None:
        """Some files' writes are lost, all others are not written yet: those that ask hear of their own."""
        changed = [(path, node) for path, node in sorted(self.world.names.items()) if node > 0 and self.world.node(node).pending]
        for place, (path, node) in enumerate(changed):  # a name may go while others run: its file is lost all the same
            if place % 2 == 0 or len(changed) == 1:
                self.errors(node).happened(fault.code)
                self.note("writeback failed", path, by="fault", node=node)

    # -- the disk door: SQLite --------------------------------------------------------------------------------------------
    def connect(self, path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        flags |= apsw.SQLITE_OPEN_CREATE if create else 0
        return SimulatedConnection(str(path), flags=flags, vfs=self.vfs, statementcachesize=128)

    # -- the disk door: descriptors -----------------------------------------------------------------------------------------
    def open(self, path: Path, *, create: bool = False) -> int:
        name = self.relative(path)
        self._raise_if_struck("open", name)
        existed = path.exists()
        fd = super().open(path, create=create)
        node = self.node(name, new=not existed)
        self._descriptors[fd] = Descriptor(name, node, self.errors(node))
        self.note("open", name, node=node)
        return fd

    def open_directory(self, path: Path) -> int:
        fd = super().open_directory(path)
        self._descriptors[fd] = Descriptor(self.relative(path), DIRECTORY, self._file_system_errors)
        self.note("open", self.relative(path), node=DIRECTORY)
        return fd

    def close(self, fd: int) -> None:
        descriptor = self._descriptors.pop(fd)
        self.note("close", descriptor.path, node=descriptor.node)
        super().close(fd)

    def write(self, fd: int, content: bytes) -> None:
        descriptor = self._descriptors[fd]
        fault = self.strike("write", descriptor.path)
        if fault is not None and not fault.short:
            raise OSError(fault.code, os.strerror(fault.code), descriptor.path)
        written = content if fault is None else content[: len(content) // 2]
        super().write(fd, written)
        self.note("write", descriptor.path, node=descriptor.node, data=written)
        if fault is not None:
            raise OSError(fault.code, os.strerror(fault.code), descriptor.path)

    def replace_content(self, fd: int, content: bytes) -> None:
        super().replace_content(fd, content)
        descriptor = self._descriptors[fd]
        self.note("truncate", descriptor.path, node=descriptor.node)
        self.note("write", descriptor.path, node=descriptor.node, data=content)

    def stamp(self, fd: int) -> tuple[int, int]:
        return self.size(fd), self._writes.get(self._descriptors[fd].node, 0)

    # -- syncs ----------------------------------------------------------------------------------------------------------------
    def sync_data(self, fd: int) -> None:
        os.fstat(fd)
        descriptor = self._descriptors.get(fd)
        self._sync("sync", descriptor.path if descriptor else f"closed descriptor {fd}", descriptor)

    def sync_directory(self, path: Path) -> None:
        if not path.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))
        self._sync("directory sync", self.relative(path), None)

    def sync_file_system(self, fd: int) -> None:
        descriptor = self._descriptors[fd]
        self._sync("file system sync", descriptor.path, descriptor)

    def _sync(self, kind: str, name: str, descriptor: Descriptor | None) -> None:
        code = self.sync(kind, name, descriptor)
        if code:
            raise OSError(code, os.strerror(code), name)

    # -- names ----------------------------------------------------------------------------------------------------------------
    def make_directory(self, path: Path) -> bool:
        made = super().make_directory(path)
        if made:
            self.note("mkdir", self.relative(path), node=DIRECTORY)
        return made

    def make_file(self, path: Path) -> bool:
        name = self.relative(path)
        self._raise_if_struck("open", name)
        made = super().make_file(path)
        if made:
            self.note("open", name, node=self.node(name, new=True))
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
        self.note("rename", name, node=self.world.names.get(name, 0), other=self.relative(new))

    def copy_synced(self, old: Path, new: Path) -> None:
        self._raise_if_struck("copy", self.relative(old))
        self._write_whole(new, old.read_bytes())

    def write_synced(self, path: Path, content: bytes, *, private: bool = False) -> None:
        self._write_whole(path, content)

    def _write_whole(self, path: Path, content: bytes) -> None:
        name = self.relative(path)
        self.overwrite(path, content)
        node = self.world.names[name]
        self._sync("sync", name, Descriptor(name, node, self.errors(node)))

    def overwrite(self, path: Path, content: bytes, by: str = "ours") -> None:
        """Give a file new contents, unsynced; it keeps its node."""
        name = self.relative(path)
        node = self.node(name, new=not path.exists(), by=by)
        self.note("truncate", name, node=node, by=by)
        path.write_bytes(content)
        self.note("write", name, node=node, data=content, by=by)

    def put(self, path: Path, content: bytes) -> None:
        """Somebody puts a file there, and syncs it: a copy that a power cut tore inside its rows would be found by nobody."""
        self.overwrite(path, content, by="fault")
        name, token = self.relative(path), self.token()
        for kind in ("sync began", "sync returned"):
            self.note(kind, name, by="fault", node=self.world.names[name], token=token)

    def scribble(self, path: Path, offset: int, content: bytes) -> None:
        """Somebody writes into the middle of a file."""
        name = self.relative(path)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(fd, content, offset)
        finally:
            os.close(fd)
        self.note("write", name, node=self.world.names[name], offset=offset, data=content, by="fault")

    def remove(self, path: Path) -> bool:
        """Somebody deletes a file."""
        if not super().unlink(path):
            return False
        if self.relative(path) in self.world.names:
            self.unbind(self.relative(path), "fault")
        return True

    # -- what a real disk answers by itself, and not twice the same ---------------------------------------------------------
    def list(self, path: Path) -> "list[str]":
        return sorted(super().list(path))

    def free_bytes(self, path: Path) -> int:
        return self.free

    def footprint(self, path: Path) -> tuple[int, float]:
        return path.stat().st_size, self.wall_clock()

    def identity(self, path: Path) -> tuple[int, int] | None:
        node = self.world.names.get(self.relative(path))
        return None if node is None or not path.exists() else (1, node)

    def mount(self, path: Path) -> None:
        return None

    def has_descriptors(self) -> bool:
        return True

    def raise_descriptor_limit(self, needed: int) -> int:
        return needed

    def readers(self, shm: Path) -> "list[str]":
        return []
