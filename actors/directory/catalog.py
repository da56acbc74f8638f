"""The catalog: every room of a data directory, with what a start after a crash must know of it.

Which writes must join a round (rule 17), and why:

    a new room's row                 before its first reply, or a crash would lose sight of the room
    active = 1                       before the first reply to a write of an activation, or a crash would not drain it
    sick                             before the damaged file is moved, or a crash in between would look like a lost file
    a tombstone                      before the first file of a deleted room is removed, or it would look like a lost one
    proven = 1                       with any later round (rule 9); lost, the room is judged once more
    active = 0, epoch, seq, bytes …  with any later round; lost, the room is opened and drained once more than needed
    wake_at, earlier                 before the first reply to the turn that made it so, or a crash would oversleep it
    wake_at, later or NULL           with any later round; lost, the room is opened once in vain

Changes wait in memory, the syncer commits them as a round begins, and the catalog's WAL joins that round. The catalog can be made
again from the room files (`rebuild`); nothing has to be believed that the rooms deny.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from actors.directory.tombstones import SCHEMA as TOMBSTONES
from actors.directory.tombstones import Tombstone, Tombstones, all_tombstones
from actors.errors import DiskUnfit, RoomUnfit
from actors.follower import Position
from actors.limits import ROOM_ID_BYTES_MAX
from actors.names import RoomName, room_file
from actors.statements.sql import SQLValue, internal, internal_many
from actors.statements.sqltext import end_of
from actors.storage.rehome import wal_of
from actors.storage.storage import checkpoint, set_pragmas
from actors.system.disk import Disk

_SCHEMA = """CREATE TABLE IF NOT EXISTS rooms (
    actor TEXT NOT NULL, id TEXT NOT NULL, file TEXT NOT NULL,
    active INTEGER NOT NULL, proven INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (actor, id)) WITHOUT ROWID"""
_SCHEMA_2 = (  # added to a catalog of format 1 as it is opened
    "ALTER TABLE rooms ADD COLUMN version INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE rooms ADD COLUMN created REAL NOT NULL DEFAULT 0.0",
    "ALTER TABLE rooms ADD COLUMN last_active REAL NOT NULL DEFAULT 0.0",
    "ALTER TABLE rooms ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE rooms ADD COLUMN sick TEXT",
    "CREATE TABLE classes (actor TEXT PRIMARY KEY, module TEXT NOT NULL, version INTEGER NOT NULL)",
)
_SCHEMA_3 = (
    "ALTER TABLE rooms ADD COLUMN wake_at REAL",
    "CREATE INDEX rooms_to_wake ON rooms (wake_at) WHERE wake_at IS NOT NULL",
    TOMBSTONES,
    "CREATE INDEX rooms_sick ON rooms (actor, id) WHERE sick IS NOT NULL",
)
_STEPS = ((_SCHEMA,), _SCHEMA_2, _SCHEMA_3)  # what each format added to the one before
FORMAT = len(_STEPS)

_COLUMNS = "actor, id, active, proven, epoch, seq, version, created, last_active, bytes, sick, wake_at"
_UPSERT = """INSERT INTO rooms (actor, id, file, active, proven, epoch, seq, version, created, last_active, bytes, sick, wake_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (actor, id) DO UPDATE SET active = excluded.active, proven = excluded.proven, epoch = excluded.epoch,
    seq = excluded.seq, version = excluded.version, created = excluded.created, last_active = excluded.last_active,
    bytes = excluded.bytes, sick = excluded.sick, wake_at = excluded.wake_at"""
_TO_WAKE = f"""SELECT {_COLUMNS} FROM rooms WHERE wake_at IS NOT NULL AND wake_at >= ?1 AND (wake_at, actor, id) > (?1, ?2, ?3)
    ORDER BY wake_at, actor, id LIMIT ?4"""  # noqa: S608 - constants

WakeKey = tuple[float, str, str]  # (wake_at, actor, id): the order in which rooms are to be woken

APPLICATION_ID = 0x64726361  # "drca"
WAL_BYTES_MAX = 4 * 1024 * 1024  # as a room's: keeps the re-home of an unclean start short
PAGE_ROOMS_MAX = 1_000  # of a listing, read on the loop: 2 ms


@dataclass(frozen=True, slots=True)
class Entry:
    """One room, as of its last change here.

    Attributes:
      active: it may hold commits that a crash must find.
      proven: its birth is durable (rule 9).
      position: where its outbox stood when it last left memory, or where its present activation began to write.
      version: its migrations, when it last left memory (0: not known, of format 1).
      created: Unix seconds, 0.0 if not known. last_active: when it last began to write or left memory.
      bytes: database and WAL, when it last left memory.
      sick: why its file was moved to quarantine; None for every other room.
      wake_at: Unix seconds at which the room must be in memory by itself, or earlier; None: it has nothing to do.
    """

    name: RoomName
    active: bool
    proven: bool
    position: Position
    version: int = 0
    created: float = 0.0
    last_active: float = 0.0
    bytes: int = 0
    sick: str | None = None
    wake_at: float | None = None

    @property
    def at_rest(self) -> bool:
        """Closed in order and sound: unless somebody has it open by now, its file may be read without opening the room."""
        return self.proven and not self.active and self.sick is None


class Catalog:
    """The open catalog. On the loop, except for `open`, `checkpoint` and `close`, which block for syncs."""

    def __init__(self, disk: Disk, connection: apsw.Connection, path: Path, wal_fd: int) -> None:
        self._disk = disk
        self._connection = connection
        self._path = path
        self.wal_fd = wal_fd
        self._waiting: dict[RoomName, Entry] = {}
        self._forgotten: dict[RoomName, None] = {}
        self.tombstones = Tombstones(connection)

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
        if waiting is not None or name in self._forgotten:
            return waiting
        rows = internal(self._connection, f"SELECT {_COLUMNS} FROM rooms WHERE actor = ? AND id = ?", name)  # noqa: S608 - constant
        return _entry(*rows[0]) if rows else None

    def page(
        self, actor: str, *, prefix: str = "", after: str = "", limit: int = PAGE_ROOMS_MAX, sick: bool = False
    ) -> list[Entry]:
        """Rooms of one class in the order of their ids (by bytes of UTF-8), from the first behind `after`; 2 µs a room, also of
        those that are `sick`, which have an index of their own. Fewer than `limit`: there are no more."""
        only = "AND sick IS NOT NULL" if sick else ""
        query = f"SELECT {_COLUMNS} FROM rooms WHERE actor = ? AND id > ? AND id >= ? AND id < ? {only} ORDER BY id LIMIT ?"  # noqa: S608 - constants
        limits = prefix, end_of(prefix, ROOM_ID_BYTES_MAX)
        found: list[Entry] = []
        while (left := limit - len(found)) > 0:
            entries = [_entry(*row) for row in internal(self._connection, query, (actor, after, *limits, left))]
            found += [self._waiting.get(entry.name, entry) for entry in entries if entry.name not in self._forgotten]
            if len(entries) < left:
                break
            after = entries[-1].name.id  # some of them have just been deleted
        return found

    def buried(self) -> Iterator[Tombstone]:
        """The tombstones as committed here, in the order of (actor, id). On its own connection, as `entries`."""
        if not self.tombstones.some:
            return
        connection = self._disk.connect(self._path, read_only=True)
        try:
            yield from all_tombstones(connection)
        finally:
            connection.close(True)

    def to_wake(self, after: WakeKey, limit: int) -> list[Entry]:
        """The first rooms behind `after` that are to be woken, in the order of (wake_at, class, id); 3 µs a room.

        Of those that wait for the next round all that belong between, so that there may be more than `limit`.
        """
        while True:
            entries = [_entry(*row) for row in internal(self._connection, _TO_WAKE, (*after, limit))]
            last = wake_key(entries[-1]) if len(entries) == limit else None
            found = {wake_key(entry): entry for entry in entries if self._is_current(entry.name)}
            for entry in self._waiting.values():
                if entry.wake_at is not None and after < (key := wake_key(entry)) and (last is None or key <= last):
                    found[key] = entry
            if found or last is None:
                return [found[key] for key in sorted(found)]
            after = last  # all of these have changed since

    def _is_current(self, name: RoomName) -> bool:
        """What is committed of the room is what the catalog says of it."""
        return name not in self._waiting and name not in self._forgotten

    def entries(self) -> Iterator[Entry]:
        """Every room as committed here, in the order of (actor, id). On its own connection: a worker thread may read, too."""
        connection = self._disk.connect(self._path, read_only=True)
        try:
            rows: Iterable[tuple[SQLValue, ...]] = connection.execute(f"SELECT {_COLUMNS} FROM rooms ORDER BY actor, id")  # noqa: S608
            for row in rows:
                yield _entry(*row)
        finally:
            connection.close(True)

    def count(self) -> int:
        return internal(self._connection, "SELECT count(*) FROM rooms")[0][0]

    def note_classes(self, classes: Iterable[tuple[str, str, int]]) -> None:
        """Where each class was found (module) and its newest version, for the command line. Needs no round; what is known already
        writes nothing, so that a start needs no space.

        Raises:
          DiskUnfit: it cannot be written.
        """
        query = (
            "INSERT INTO classes (actor, module, version) VALUES (?, ?, ?)"
            " ON CONFLICT (actor) DO UPDATE SET module = excluded.module, version = excluded.version"
            " WHERE module <> excluded.module OR version <> excluded.version"
        )
        try:
            internal_many(self._connection, query, classes)
        except apsw.Error as error:
            raise DiskUnfit(
                f"{self._path} cannot be written ({error}). Nothing was started, and every room is as it was; look at the disk, "
                "then start again."
            ) from error

    def class_version(self, actor: str) -> int:
        """The newest version of a class that was run here; 0 if none was."""
        rows = internal(self._connection, "SELECT version FROM classes WHERE actor = ?", (actor,))
        return rows[0][0] if rows else 0

    def put(self, entry: Entry) -> None:
        """Change a row with the next round. The caller asks the syncer for one if a reply depends on it."""
        self._waiting[entry.name] = entry
        self._forgotten.pop(entry.name, None)

    def forget(self, name: RoomName) -> None:
        """Remove a row with the next round."""
        self._waiting.pop(name, None)
        self._forgotten[name] = None

    @contextmanager
    def writing(self) -> Generator[apsw.Connection]:
        """One transaction on the catalog, for `add`."""
        internal(self._connection, "BEGIN IMMEDIATE")
        try:
            yield self._connection
            internal(self._connection, "COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                internal(self._connection, "ROLLBACK")
            raise

    def commit(self) -> bool:
        """Commit what waits; True if there was anything. Its durability is the caller's round.

        Raises:
          apsw.Error: nothing was committed; the changes still wait.
        """
        if not (self._waiting or self._forgotten or self.tombstones.changed):
            return False
        with self.writing() as connection:
            add(connection, self._waiting.values())
            internal_many(connection, "DELETE FROM rooms WHERE actor = ? AND id = ?", self._forgotten)
            self.tombstones.write()
        self._waiting.clear()
        self.tombstones.written()
        self._forgotten.clear()
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


def add(connection: apsw.Connection, entries: Iterable[Entry]) -> None:
    """Write rows straight into a catalog; the caller holds the transaction."""
    internal_many(connection, _UPSERT, (_row(entry) for entry in entries))


def wake_key(entry: Entry) -> WakeKey:
    """Of a room that is to be woken."""
    return (entry.wake_at or 0.0, entry.name.actor, entry.name.id)


def _make_ready(disk: Disk, connection: apsw.Connection, path: Path) -> int:
    """Check the catalog, make it if it is new, and make that durable; returns a descriptor of its WAL."""
    stamp = internal(connection, "PRAGMA application_id")[0][0]
    tables = internal(connection, "SELECT count(*) FROM sqlite_schema")[0][0]
    format = internal(connection, "PRAGMA user_version")[0][0] or 1
    if tables and stamp != APPLICATION_ID:
        raise DiskUnfit(
            f"{path} is a database, but not a catalog of rooms. Nothing was written; move it away or choose another directory."
        )
    if format > FORMAT:
        raise DiskUnfit(
            f"{path} has format {format}, written by a newer version of durable-rooms; this one knows {FORMAT}. Nothing was "
            "written; run the newer version."
        )
    set_pragmas(connection, synchronous="FULL")
    internal(connection, "SELECT count(*) FROM sqlite_schema")  # the first read makes the WAL
    wal_fd = disk.open(wal_of(path))
    try:
        if not tables or format < FORMAT:
            _make_tables(connection, format if tables else 0)
        disk.sync_data(wal_fd)
        disk.sync_directory(path.parent)
        set_pragmas(connection, synchronous="NORMAL")
    except BaseException:
        disk.close(wal_fd)
        raise
    return wal_fd


def _make_tables(connection: apsw.Connection, format: int) -> None:
    """What a catalog of this format lacks (0: a new one), in one transaction."""
    internal(connection, "BEGIN IMMEDIATE")
    internal(connection, f"PRAGMA application_id = {APPLICATION_ID}")
    internal(connection, f"PRAGMA user_version = {FORMAT}")
    for step in _STEPS[format:]:
        for statement in step:
            internal(connection, statement)
    internal(connection, "COMMIT")


def _row(entry: Entry) -> tuple[SQLValue, ...]:
    name = entry.name
    flags = (entry.active, entry.proven, *entry.position, entry.version)
    return (*name, room_file(name), *flags, entry.created, entry.last_active, entry.bytes, entry.sick, entry.wake_at)


def _entry(actor: str, id: str, active: int, proven: int, epoch: int, seq: int, *rest: SQLValue) -> Entry:
    return Entry(RoomName(actor, id), bool(active), bool(proven), Position(epoch, seq), *rest)  # pyright: ignore[reportArgumentType]
