"""The disk door: every file operation of ours, and the way to SQLite's.

A simulator replaces this class; SQLite's own operations follow through `vfs`, the name of an apsw VFS ("" is the real one).
"""

import ctypes
import errno
import fcntl
import os
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import apsw

from actors.system.libc import libc
from actors.system.mount import Mount, mount_of

READ_MARKS = (123, 127)  # of SQLite's locks in the shared memory of a WAL: WAL_READ_LOCK(0) to (4)


def _command(pid: str) -> str:
    try:
        return (Path("/proc") / pid / "comm").read_text(errors="replace").strip()
    except OSError:
        return "ended"


def _has_open(process: Path, file: os.stat_result) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:  # it has ended meanwhile, or is another user's
        return False
    for link in links:
        with suppress(OSError):  # closed meanwhile
            if os.path.samestat(link.stat(), file):
                return True
    return False


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Disk:
    """The real disk. All methods block; the ones that sync take 0.1 to 100 ms. Raises OSError as the system does."""

    vfs = ""
    has_syncfs = sys.platform == "linux" and hasattr(libc, "syncfs")

    def connect(self, path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
        """A connection of SQLite's; raises apsw.CantOpenError where there is no file and `create` is not set."""
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        if create:
            flags |= apsw.SQLITE_OPEN_CREATE
        return apsw.Connection(str(path), flags=flags, vfs=self.vfs or None, statementcachesize=128)

    # -- descriptors ------------------------------------------------------------------------------------------------
    def open(self, path: Path, *, create: bool = False) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)

    def open_directory(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def write(self, fd: int, content: bytes) -> None:
        """From the start of a file that we have just made."""
        written = 0
        while written < len(content):
            written += os.pwrite(fd, content[written:], written)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def stamp(self, fd: int) -> tuple[int, int]:
        """Size and time of the last change (ns) of an open file: another value, and somebody has written."""
        stat = os.fstat(fd)
        return stat.st_size, stat.st_mtime_ns

    # -- syncs ------------------------------------------------------------------------------------------------------
    def sync_data(self, fd: int) -> None:
        """Contents and size of one file (on macOS through the drive's cache, which fsync there leaves out)."""
        if sys.platform == "darwin":
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """The names in one directory."""
        fd = self.open_directory(path)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_file_system(self, fd: int) -> None:
        """Everything of the file system that holds `fd` (Linux syncfs). Errors since the descriptor was opened are
        reported once."""
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"syncfs: {os.strerror(code)}")

    # -- names ------------------------------------------------------------------------------------------------------
    def mount(self, path: Path) -> Mount | None:
        """The file system that holds a path; None where the system does not say."""
        return mount_of(path)

    def has_descriptors(self) -> bool:
        """Whether this process may open one more file: SQLite's "unable to open" does not say why."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def free_bytes(self, path: Path) -> int:
        """What this user may still write to the file system of a directory."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def exists(self, path: Path) -> bool:
        return path.exists()

    def list(self, path: Path) -> "list[str]":
        """The names in a directory, in no order."""
        return os.listdir(path)

    def footprint(self, path: Path) -> tuple[int, float]:
        """Bytes of a file, and when it was last changed (Unix seconds)."""
        stat = path.stat()
        return stat.st_size, stat.st_mtime

    def make_directory(self, path: Path) -> bool:
        """True if it was made, False if it was there; the parent must be there."""
        try:
            path.mkdir()
        except FileExistsError:
            return False
        return True

    def make_file(self, path: Path) -> bool:
        """The same for an empty file. Who made it knows that the name was nobody's."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            return False
        return True

    def unlink(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def rename(self, old: Path, new: Path) -> None:
        old.replace(new)

    def copy_synced(self, old: Path, new: Path) -> None:
        """Copy a file's bytes and sync the copy; its name is not durable until its directory is synced."""
        with old.open("rb") as source, new.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            self.sync_data(copy.fileno())

    def write_synced(self, path: Path, content: bytes, *, private: bool = False) -> None:
        """A new file; `private`: for its owner's eyes only."""
        with open(path, "wb", opener=_privately if private else None) as file:
            file.write(content)
            file.flush()
            self.sync_data(file.fileno())

    def replace_unsynced(self, path: Path, aside: Path, content: bytes) -> None:
        """For what is worth nothing after a crash: a reader sees the old content or the new one, never half."""
        aside.write_bytes(content)
        aside.replace(path)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def head(self, path: Path, size: int) -> bytes:
        """The first bytes of a file that no connection of ours has open: closing it here would drop their locks."""
        with path.open("rb") as file:
            return file.read(size)

    def identity(self, path: Path) -> tuple[int, int] | None:
        """Which file a path names now (device, inode), None where there is none."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        return stat.st_dev, stat.st_ino

    def resolved(self, path: Path) -> Path:
        """The path without links; of a file that may not be there yet."""
        return path.resolve()

    def raise_descriptor_limit(self, needed: int) -> int:
        """Raise the soft limit of open files to `needed`, at most to the hard one; returns what it is now."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        return needed if soft == resource.RLIM_INFINITY else soft

    def readers(self, shm: Path) -> "list[str]":
        """Who holds a read mark of a WAL's shared memory: "pid 4711 (sqlite3)"; none where the system does not tell (Linux does).

        Our own process cannot ask for its own locks; in /proc/locks it is named as such.
        """
        try:
            inode = str(shm.stat().st_ino)
            lines = Path("/proc/locks").read_text().splitlines()
        except OSError:
            return []
        pids: dict[str, None] = {}
        for line in lines:  # `12: POSIX  ADVISORY  READ 4711 fe:00:131074 124 124`
            fields = line.split()
            if len(fields) < 8 or fields[1] != "POSIX" or fields[3] != "READ" or fields[5].rpartition(":")[2] != inode:
                continue
            if int(fields[6]) > READ_MARKS[1] or (fields[7] != "EOF" and int(fields[7]) < READ_MARKS[0]):
                continue
            pids[fields[4]] = None
        return [f"this process, pid {pid}" if pid == str(os.getpid()) else f"pid {pid} ({_command(pid)})" for pid in pids]

    # -- ownership --------------------------------------------------------------------------------------------------
    def lock(self, fd: int) -> bool:
        """Take the exclusive flock of a descriptor; False if somebody else holds it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True

    def holders(self, fd: int) -> "dict[int, str]":
        """Other processes that have this file open, by pid: a child that was forked has its parent's descriptors. None where the
        system does not tell (Linux does, of processes of the same user)."""
        file = os.fstat(fd)
        pids = [int(process.name) for process in Path("/proc").glob("[0-9]*") if _has_open(process, file)]
        return {pid: _command(str(pid)) for pid in pids if pid != os.getpid()}

    def replace_content(self, fd: int, content: bytes) -> None:
        os.ftruncate(fd, 0)
        os.pwrite(fd, content, 0)

    def content(self, fd: int) -> bytes:
        return os.pread(fd, 4096, 0)
