"""A room's SQLite file while it is open: the connection, the descriptors that a round syncs through, and the levels.

Opening and closing block (files, migrations, syncs) and run in a worker thread; everything else is the loop's.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from actors.errors import RoomUnfit
from actors.statements.sql import internal
from actors.statements.transaction import FRAME_BYTES, Transaction
from actors.storage.rehome import wal_of
from actors.system.disk import Disk


class Storage:
    """An open room file."""

    def __init__(self, disk: Disk, path: Path, transaction: Transaction, wal_fd: int, *, level_off: bool) -> None:
        self.disk = disk
        self.path = path
        self.connection = transaction.connection
        self.transaction = transaction
        self.wal_fd = wal_fd
        self.database_fd: int | None = None  # a newborn's, opened before SQLite opened the file (rule 7)
        self.newborn = False  # its birth is not durable yet
        self.level_off = (
            level_off  # synchronous=OFF: exactly while the WAL is ours and its first round has not returned (rule 11)
        )
        # Its directory joins the first round (rule 15), a newborn's database too (rule 6). Also where the WAL was found: the
        # process that made it may have died before it synced the name.
        self.first_round = True
        self.ask_itself = False  # a syncfs failed while it was opened, so its first round must ask its own descriptors (rule 23)
        self.needs_round = False  # opening committed something
        self.closed_bytes = 0  # database and WAL, as the close left them
        self._connected = True

    @property
    def epoch(self) -> int:
        return self.transaction.epoch

    def descriptors(self) -> list[int]:
        """What a round must sync, apart from the directory."""
        if self.newborn and self.database_fd is not None:
            return [self.database_fd, self.wal_fd]
        return [self.wal_fd]

    def raise_level(self) -> None:
        """After the first round, outside a transaction: from now on SQLite syncs a WAL's new header itself (rule 11)."""
        internal(self.connection, "PRAGMA synchronous = NORMAL")
        self.level_off = False

    @property
    def stamp(self) -> tuple[int, int]:
        return self.disk.stamp(self.wal_fd)

    @property
    def wal_bytes(self) -> int:
        return self.disk.size(self.wal_fd)

    def close(self) -> None:
        """Close cleanly: checkpoint at NORMAL on a connection of its own, so that no WAL stays behind. Blocks for syncs.

        On a full disk, and where no descriptor is left, the WAL stays: everything in it is durable (rule 5), and the next
        activation goes on from it.

        Raises:
          OSError, apsw.Error: the room is broken (rule 21); call `abandon`.
        """
        try:
            checkpoint(self.disk, self.path, "TRUNCATE", then=self._close_connection)
        except (apsw.FullError, apsw.CantOpenError):
            self._close_connection()
        self.closed_bytes = self.disk.footprint(self.path)[0] + self.disk.size(self.wal_fd)
        self._close_descriptors()

    def leave(self) -> bool:
        """Close without a checkpoint, with everything durable in the WAL (rule 5); True if a WAL stays behind. 0.05 ms.

        An empty WAL goes with the connection: there is nothing to checkpoint, and nothing to sync.
        """
        wal_bytes = self.wal_bytes
        self.closed_bytes = self.disk.footprint(self.path)[0] + wal_bytes
        if wal_bytes:
            self._close_connection()
        else:
            self.raise_level()  # another program may write in between, and then this close checkpoints (rule 12)
            self._connected = False
            self.connection.close(True)
        self._close_descriptors()
        return wal_bytes > 0

    def abandon(self) -> None:
        """Close without touching the file: after a failed sync nothing is read, written or checkpointed here (rule 21)."""
        try:
            self._close_connection()
        finally:
            self._close_descriptors()

    def _close_connection(self) -> None:
        if not self._connected:
            return
        self._connected = False
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close(True)

    def _close_descriptors(self) -> None:
        """After every connection of ours to this file: their locks go with the first descriptor that is closed (rule 7)."""
        for fd in (self.wal_fd, self.database_fd):
            if fd is not None and fd >= 0:
                self.disk.close(fd)
        self.wal_fd, self.database_fd = -1, None


def set_pragmas(connection: apsw.Connection, *, synchronous: str) -> None:
    """The settings that durability stands on, each read back: a pragma that does not take says nothing."""
    level = {"OFF": 0, "NORMAL": 1, "FULL": 2}[synchronous]
    for pragma, value in (("journal_mode", "wal"), ("synchronous", level), ("recursive_triggers", 1)):
        told = internal(connection, f"PRAGMA {pragma} = {value}") or internal(connection, f"PRAGMA {pragma}")
        if told[0][0] != value:
            raise RoomUnfit(
                f"{connection.filename}: SQLite kept {pragma} = {told[0][0]} instead of {value}; the file system may "
                "not support WAL."
            )
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
    # Or a new value of `seq > ?` prepares the statement anew: 12 µs, not 4.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.wal_autocheckpoint(0)  # a checkpoint inside a COMMIT stalls the whole loop for 4 to 100 ms
    connection.set_busy_timeout(0)


def checkpoint(disk: Disk, path: Path, mode: str, *, then: Callable[[], None] | None = None) -> int:
    """Checkpoint a database on a connection of its own, at NORMAL (rule 12). Blocks for syncs.

    Returns the bytes of the WAL that are still needed: 0 if the next commit may begin it again.

    `then` runs while this connection is still open: the room's own connection closed there is not the last one.
    """
    return run_checkpoint(open_to_checkpoint(disk, path), mode, then=then)


def open_to_checkpoint(disk: Disk, path: Path) -> apsw.Connection:
    """The connection of a checkpoint, its files open: from now on it is told of every failed sync of theirs (rule 22)."""
    connection = disk.connect(path)
    try:
        set_pragmas(connection, synchronous="NORMAL")
        internal(connection, "SELECT 1 FROM sqlite_schema LIMIT 1")  # opens the WAL
    except BaseException:
        abandon_checkpoint(connection)
        raise
    return connection


def abandon_checkpoint(connection: apsw.Connection) -> None:
    """Close the connection of one that was not begun; of one that failed, it is closed already."""
    with suppress(apsw.ConnectionClosedError):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()


def run_checkpoint(connection: apsw.Connection, mode: str, *, then: Callable[[], None] | None = None) -> int:
    """Checkpoint and close the connection."""
    try:
        _, frames, done = internal(connection, f"PRAGMA wal_checkpoint({mode})")[0]
        if then is not None:
            then()
        return 0 if frames == done else frames * FRAME_BYTES
    except BaseException:
        # Closing the last connection would checkpoint once more and, the kernel having told its error, remove the WAL (rule 21).
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        raise
    finally:
        connection.close()


@contextmanager
def beside(disk: Disk, path: Path) -> Generator[apsw.Connection]:
    """A connection of its own to a room's file, beside the room's, in one read transaction. Leaves no trace. Blocks."""
    wal_stays = disk.exists(wal_of(path))
    connection = disk.connect(path)
    try:
        connection.wal_autocheckpoint(0)
        # A WAL that was left behind stays as it is; where there was none, none stays behind.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal_stays)
        internal(connection, "BEGIN")
        try:
            yield connection
        finally:
            if connection.in_transaction:
                internal(connection, "COMMIT")
    finally:
        connection.close()
