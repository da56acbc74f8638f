"""Owning a data directory: one process at a time, made ready before anything is read, marked when it stops cleanly."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from actors.errors import DataDirInUse, DiskUnfit
from actors.names import FOLDERS, DataDir
from actors.storage.rehome import rehome_database
from actors.system.disk import Disk


class Ownership:
    """A directory that is ours. `file_system_fd` is older than every write and kept for life, or errors are missed (rule 22)."""

    def __init__(self, disk: Disk, directory: DataDir, lock_fd: int) -> None:
        self._disk = disk
        self._directory = directory
        self._lock_fd = lock_fd
        self.file_system_fd = disk.open_directory(directory.path)
        self.was_clean = False

    @classmethod
    def take(cls, disk: Disk, directory: DataDir) -> "Ownership":
        """Make the directory if it is missing, and own it. Blocks for syncs.

        Raises:
          DataDirInUse: another process owns it; the message names its pid.
          DiskUnfit: it cannot hold rooms.
        """
        path = directory.path
        mount = disk.mount(path)
        if mount is not None and mount.network:
            raise DiskUnfit(
                f"{path} lies on {mount.type}, mounted at {mount.point}: a network file system, whose locks and syncs cannot be "
                "relied on. Nothing was written; choose a directory on a local disk."
            )
        try:
            _make_with_parents(disk, path)
            lock_fd = disk.open(directory.lock, create=True)
        except OSError as error:
            raise DiskUnfit(
                f"{path} cannot hold rooms: {error.strerror or error}. Choose a directory on a local disk that this "
                "user may write to."
            ) from error
        if not disk.lock(lock_fd):
            error = _in_use(disk, path, lock_fd)
            disk.close(lock_fd)
            raise error
        try:
            ownership = cls(disk, directory, lock_fd)
        except OSError as error:
            disk.close(lock_fd)
            raise DiskUnfit(f"{path} cannot hold rooms: {error}.") from error
        try:
            ownership._make_ready()
        except OSError as error:
            ownership.give_up()
            raise DiskUnfit(f"{path} cannot hold rooms: {error}.") from error
        return ownership

    def _make_ready(self) -> None:
        disk, directory = self._disk, self._directory
        disk.replace_content(self._lock_fd, f"{os.getpid()}\n".encode())
        self.was_clean = disk.unlink(directory.clean_stop)
        disk.make_directory(directory.rooms)
        there = set(disk.list(directory.rooms))
        for name in FOLDERS:  # looked at each time: the first start may have been cut short
            if name not in there:
                disk.make_directory(directory.rooms / name)
        disk.sync_directory(directory.rooms)
        disk.sync_directory(directory.path)
        if not self.was_clean and disk.exists(directory.catalog):
            rehome_database(disk, directory.catalog)  # before it is read (rule 19)

    def mark_clean(self) -> None:
        """Everything is durable and closed: the next start need not re-home anything. Blocks."""
        self._disk.write_synced(self._directory.clean_stop, b"stopped cleanly\n")
        self._disk.sync_directory(self._directory.path)

    def give_up(self) -> None:
        self._disk.close(self.file_system_fd)
        self._disk.close(self._lock_fd)


def _in_use(disk: Disk, path: Path, lock_fd: int) -> DataDirInUse:
    """The process that owns the directory; or a child that it forked, which keeps its lock after it has ended."""
    pid = disk.content(lock_fd).decode(errors="replace").strip() or "unknown"
    holders = disk.holders(lock_fd)
    if holders and pid not in {str(os.getpid()), *map(str, holders)}:
        left = ", ".join(f"pid {holder} ({command})" for holder, command in holders.items())
        return DataDirInUse(
            f"{path} was in use by the process with pid {pid}, which has ended; a process that it forked still holds the "
            f"lock: {left}. Nothing was written; end that one, then start again."
        )
    return DataDirInUse(
        f"{path} is in use by the process with pid {pid}. One process owns a data directory; stop that one first "
        "(if it has ended, a child that it forked may still hold the lock)."
    )


def _make_with_parents(disk: Disk, path: Path) -> None:
    """mkdir -p that syncs the parent of each directory it makes, and of the one it finds: the process that made that one may
    have been killed before it could."""
    if disk.exists(path):
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        with suppress(PermissionError):  # a parent that we may not even list was made by somebody else
            disk.sync_directory(path.parent)
        return
    if path.parent != path:
        _make_with_parents(disk, path.parent)
    disk.make_directory(path)
    disk.sync_directory(path.parent)
