"""The catalog: every room of a data directory, with what a start after a crash must know of it.

Written in the same rounds as the rooms (rule 17): changes wait in memory, the syncer commits them as a round begins, and the
catalog's WAL joins that round. It can be made again from the room files; nothing has to be believed that the rooms deny.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from actors.disk import Disk
from actors.errors import DiskUnfit, RoomUnfit
from actors.follower import Position
from actors.names import RoomName, room_file
from actors.rehome import wal_of
from actors.sql import internal, internal_many
from actors.storage import checkpoint, set_pragmas

_SCHEMA = """CREATE TABLE IF NOT EXISTS rooms (
    actor TEXT NOT NULL, id TEXT NOT NULL, file TEXT NOT NULL,
    active INTEGER NOT NULL, proven INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (actor, id)) WITHOUT ROWID"""

_COLUMNS = "actor, id, active, proven, epoch, seq"
_UPSERT = """INSERT INTO rooms (actor, id, file, active, proven, epoch, seq) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (actor, id) DO UPDATE SET
    active = excluded.active, proven = excluded.proven, epoch = excluded.epoch, seq = excluded.seq"""

APPLICATION_ID = 0x64726361  # "drca"
WAL_BYTES_MAX = 4 * 1024 * 1024  # as a room's: keeps the re-home of an unclean start short


@dataclass(frozen=True, slots=True)
class Entry:
    """One room. `active`: it may hold commits that a crash must find. `proven`: its birth is durable (rule 9)."""

    name: RoomName
    active: bool
    proven: bool
    position: Position


class Catalog:
    """The open catalog. On the loop, except for `open`, `checkpoint` and `close`, which block for syncs."""

    def __init__(self, disk: Disk, connection: apsw.Connection, path: Path, wal_fd: int) -> None:
        self._disk = disk
        self._connection = connection
        self._path = path
        self.wal_fd = wal_fd
        self._waiting: dict[RoomName, Entry] = {}

    @classmethod
    def open(cls, disk: Disk, path: Path) -> "Catalog":
        """Open or make the catalog, durably. Blocks.

        Raises:
          DiskUnfit: the file is damaged or not a catalog.
        """
        try:
            connection = disk.connect(path, create=True)
            try:
                wal_fd = _make_ready(disk, connection, path)
            except BaseException:
                connection.close()
                raise
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise DiskUnfit(
                f"{path} is damaged ({error}). Nothing was written; move it away, and the rooms are found again as "
                "they are called."
            ) from error
        except (OSError, apsw.Error, RoomUnfit) as error:
            raise DiskUnfit(f"{path} cannot be opened ({error}). Choose a directory that can hold rooms.") from error
        return cls(disk, connection, path, wal_fd)

    def get(self, name: RoomName) -> Entry | None:
        waiting = self._waiting.get(name)
        if waiting is not None:
            return waiting
        rows = internal(self._connection, f"SELECT {_COLUMNS} FROM rooms WHERE actor = ? AND id = ?", name)  # noqa: S608 - constant
        return _entry(*rows[0]) if rows else None

    def __iter__(self) -> Iterator[Entry]:
        """Every room, as committed here; reads at once."""
        for row in internal(self._connection, f"SELECT {_COLUMNS} FROM rooms"):  # noqa: S608 - constant
            entry = _entry(*row)
            yield self._waiting.get(entry.name, entry)

    def put(self, entry: Entry) -> None:
        """Change a row with the next round. The caller asks the syncer for one if a reply depends on it."""
        self._waiting[entry.name] = entry

    def forget(self, name: RoomName) -> None:
        """A room that was never durable and is gone: its row must not outlive it. With the next round, like `put`."""
        self._waiting.pop(name, None)
        internal(self._connection, "DELETE FROM rooms WHERE actor = ? AND id = ?", name)

    def prove(self, name: RoomName) -> None:
        """The room's birth is durable. A later write than its first round's (rule 9)."""
        entry = self.get(name)
        if entry is not None and not entry.proven:
            self.put(replace(entry, proven=True))

    def commit(self) -> bool:
        """Commit what waits; True if there was anything. Its durability is the caller's round.

        Raises:
          apsw.Error: nothing was committed; the changes still wait.
        """
        if not self._waiting:
            return False
        internal(self._connection, "BEGIN IMMEDIATE")
        try:
            rows = [
                (entry.name.actor, entry.name.id, room_file(entry.name), entry.active, entry.proven, *entry.position)
                for entry in self._waiting.values()
            ]
            internal_many(self._connection, _UPSERT, rows)
            internal(self._connection, "COMMIT")
        except apsw.Error:
            if self._connection.in_transaction:
                internal(self._connection, "ROLLBACK")
            raise
        self._waiting.clear()
        return True

    @property
    def wants_checkpoint(self) -> bool:
        return self._disk.size(self.wal_fd) > WAL_BYTES_MAX

    def checkpoint(self) -> None:
        """Blocks for syncs; never beside `commit`."""
        checkpoint(self._disk, self._path, "TRUNCATE")

    def abandon(self) -> None:
        """After a failure: close without touching the file (rule 21)."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.close()

    def close(self) -> None:
        """Blocks. Everything was durable before (the runtime's last round)."""
        self._connection.close()
        self._disk.close(self.wal_fd)


def _make_ready(disk: Disk, connection: apsw.Connection, path: Path) -> int:
    """Check the catalog, make it if it is new, and make that durable; returns a descriptor of its WAL."""
    stamp = internal(connection, "PRAGMA application_id")[0][0]
    tables = internal(connection, "SELECT count(*) FROM sqlite_schema")[0][0]
    if tables and stamp != APPLICATION_ID:
        raise DiskUnfit(
            f"{path} is a database, but not a catalog of rooms. Nothing was written; move it away or choose another directory."
        )
    set_pragmas(connection, synchronous="FULL")
    internal(connection, "SELECT count(*) FROM sqlite_schema")  # the first read makes the WAL
    wal_fd = disk.open(wal_of(path))
    try:
        if not tables:
            internal(connection, f"PRAGMA application_id = {APPLICATION_ID}")
            internal(connection, _SCHEMA)
        disk.sync_data(wal_fd)
        disk.sync_directory(path.parent)
        set_pragmas(connection, synchronous="NORMAL")
    except BaseException:
        disk.close(wal_fd)
        raise
    return wal_fd


def _entry(actor: str, id: str, active: int, proven: int, epoch: int, seq: int) -> Entry:
    return Entry(RoomName(actor, id), bool(active), bool(proven), Position(epoch, seq))
