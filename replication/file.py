"""The replica's file, as one worker thread sees it.

It can always be made again from the rooms. So it runs at synchronous=NORMAL (rule 30: a commit costs no sync, and a power cut
leaves an exact earlier state), a damaged one is put aside and made anew, and only a file that is not ours is left alone.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from actors import Disk, Position, RoomName, SQLValue
from replication.house import House
from replication.limits import JOB_STEPS, WAL_BYTES_MAX, WAL_BYTES_TRUNCATED
from replication.repair import put_aside, rehome_wal, remove_companions, stamped
from replication.replica import ReplicaDamaged, ReplicaForeign, ReplicaGone, ReplicaRefused
from replication.standing import Mark, Moment
from replication.statement import run, run_many, scalar
from replication.tables import TABLES_SCHEMA, Tables

APPLICATION_ID = 0x64727270  # "drrp": durable-rooms replica
FORMAT = 1

SCHEMA = (
    "CREATE TABLE _rooms (key INTEGER PRIMARY KEY, actor TEXT NOT NULL, id TEXT NOT NULL,"
    " epoch INTEGER NOT NULL, seq INTEGER NOT NULL, schema TEXT NOT NULL, settled INTEGER NOT NULL, at REAL NOT NULL,"
    " UNIQUE (actor, id))",
    "CREATE TABLE _applied (one INTEGER PRIMARY KEY CHECK (one = 1), batch INTEGER NOT NULL, at REAL NOT NULL)",
    "INSERT INTO _applied VALUES (1, 0, 0.0)",
    *TABLES_SCHEMA,
)


class ReplicaFile:
    """The replica's file. Every method blocks and runs in a worker thread, one at a time."""

    def __init__(self, disk: Disk, path: Path, house: House | None = None) -> None:
        """Without a house (a benchmark's) the file is nobody's and is not signed."""
        self.path = path
        self._disk = disk
        self._house = house
        self._connection: apsw.Connection | None = None
        self._tables: Tables | None = None
        self._identity: tuple[int, int] | None = None  # of the file that was ours when we last had it open
        self._wal_pages = 0
        self._page_bytes = 4096
        self._checkpoint_at = WAL_BYTES_MAX
        self._damage: str | None = None
        self._rehome = False
        self.beats = 0  # signs of life of the statement that runs; also read from the loop

    # -- open and close ---------------------------------------------------------------------------------------------
    def open(self) -> str | None:
        """Open the file, make it when missing, put it aside when damaged or of other rooms; returns what was found, if anything.

        Raises:
          ReplicaRefused: the file is another program's, or another runtime writes it.
          apsw.Error, OSError: it cannot be opened now.
        """
        damage, self._damage = self._damage, None
        if self._house is not None:
            self._house.own(self.path)
        try:
            if damage is not None and self._ours():
                raise ReplicaDamaged(damage)
            self._open()
            return None
        except (ReplicaDamaged, apsw.CorruptError, apsw.NotADBError) as error:
            self.close()
            if not (self._ours() or stamped(self._disk, self.path, APPLICATION_ID) or self._kept()):
                raise ReplicaRefused(f"{self.path} is not a replica ({error}). Move it away, or give another path.") from error
            aside = put_aside(self._disk, self.path, "damaged")
            self._identity = None
            self._open()
            return f"damaged and made anew, put aside as {aside.name}: {error}"
        except ReplicaForeign as error:
            self.close()
            aside = put_aside(self._disk, self.path, "foreign")
            self._identity = None
            self._open()
            return f"made anew, the one found put aside as {aside.name}: {error}"

    def close(self, *, tidy: bool = False) -> None:
        """Close the file. `tidy` takes the WAL into the database, so that the one file is the whole replica."""
        connection, self._connection, self._tables = self._connection, None, None
        if connection is None:
            return
        with suppress(apsw.Error, OSError):
            if tidy and self._ours():
                # Otherwise never: SQLite deletes the WAL by its name, which may be another file's by now.
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        with suppress(apsw.Error):
            connection.close()

    def release(self) -> None:
        """After the last `close`: another runtime may have the file."""
        if self._house is not None:
            self._house.disown()

    def suspect(self, error: BaseException) -> None:
        """Remember what the next `open` has to repair after this error of a job."""
        if isinstance(error, apsw.CorruptError | apsw.NotADBError | ReplicaDamaged):
            self._damage = str(error)
        if isinstance(error, apsw.IOError):
            self._rehome = True

    def _open(self) -> None:
        if not self._disk.exists(self.path):
            if self._house is not None:
                self._house.note()  # first: a power cut may leave garbage of a file that has just been made
            if self._disk.make_file(self.path):  # else its directory came back since we looked: the WAL there is its own
                remove_companions(self._disk, self.path)
        elif self._rehome:
            rehome_wal(self._disk, self.path)
        self._rehome = False
        connection = self._disk.connect(self.path)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0)  # a room's file is only ever read from here
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0)
            connection.set_progress_handler(self._beat, JOB_STEPS)
            connection.set_busy_timeout(0)  # a locked replica is tried again by the task, no thread waits for it
            self._prepare(connection)
            if self._house is not None:
                self._house.sign(connection)
            self._identity = self._disk.identity(self.path)
            self._tables = Tables(connection)
            if not self._tables.intact():
                raise ReplicaDamaged("tables of the replica are missing")
            self._disk.sync_directory(self.path.parent)  # the WAL's name, before a checkpoint relies on it
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _kept(self) -> bool:
        """A power cut may leave garbage where the stamp was; a file is known by its place then."""
        return self._house is not None and self._house.keeps(self.path)

    def _prepare(self, connection: apsw.Connection) -> None:
        """Set the pragmas; stamp a new file; refuse a foreign one before anything is written to it."""
        stamp = scalar(connection, "PRAGMA application_id")
        version = scalar(connection, "PRAGMA user_version")
        empty = scalar(connection, "SELECT count(*) FROM sqlite_schema") == 0
        if stamp != APPLICATION_ID and not (stamp == 0 and version == 0 and empty):
            raise ReplicaRefused(f"{self.path} is a database of another program. Move it away, or give the replica another path.")
        if stamp == APPLICATION_ID and version != FORMAT:
            raise ReplicaRefused(f"{self.path} has format {version}, this version has {FORMAT}. Delete it to have it made again.")
        _pragma(connection, "journal_mode", "WAL", "wal")
        _pragma(connection, "synchronous", "NORMAL", 1)
        _pragma(connection, "wal_autocheckpoint", 0, 0)
        _pragma(connection, "cache_size", -16_384, -16_384)  # KiB; the default of 2 MiB reads index pages again and again
        self._page_bytes = int(scalar(connection, "PRAGMA page_size"))
        self._wal_pages = 0
        self._checkpoint_at = WAL_BYTES_MAX
        connection.set_wal_hook(self._noted_wal)
        if stamp != APPLICATION_ID:
            run(connection, "BEGIN IMMEDIATE")
            for statement in (*SCHEMA, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {FORMAT}"):
                run(connection, statement)
            run(connection, "COMMIT")

    def _noted_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return 0

    def _beat(self) -> bool:
        self.beats += 1
        return False  # go on

    def _ours(self) -> bool:
        return self._identity is not None and self._disk.identity(self.path) == self._identity

    # -- jobs -------------------------------------------------------------------------------------------------------
    @property
    def tables(self) -> Tables:
        assert self._tables is not None, "the replica is not open"
        return self._tables

    @property
    def connection(self) -> apsw.Connection:
        if self._connection is None:
            raise ReplicaGone("the replica is not open")
        return self._connection

    def run(self, statement: str, values: Sequence[SQLValue] = ()) -> list[tuple[Any, ...]]:
        return run(self.connection, statement, values)

    def begin(self) -> None:
        """Begin a write transaction on the file that the path names. What is lost with an unlinked file is lost unseen."""
        if self._disk.identity(self.path) != self._identity:
            raise ReplicaGone(f"{self.path} was deleted or replaced while it was in use")
        self.run("BEGIN IMMEDIATE")
        if self._house is not None:
            try:
                self._house.check(self.connection)
            except BaseException:
                self.rollback()
                raise

    def commit(self) -> None:
        self.run("COMMIT")
        self._checkpoint()

    def rollback(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            run(connection, "ROLLBACK")
            self.tables.reload()

    @contextmanager
    def transaction(self) -> Generator[None]:
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise

    @property
    def wal_bytes(self) -> int:
        """About, as of the last commit."""
        return self._wal_pages * self._page_bytes

    def _checkpoint(self) -> None:
        """Keep the WAL near 4 MiB. No mode waits here (the busy timeout is 0); a reader that stays makes a checkpoint partial.

        Then the next one is due when as much again was written: each looks through all that is pinned, 30 ms in a WAL of 1 GB.
        """
        size = self.wal_bytes
        if size < self._checkpoint_at - WAL_BYTES_MAX:  # it began anew
            self._checkpoint_at = WAL_BYTES_MAX
        if size > self._checkpoint_at:
            mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if size > WAL_BYTES_TRUNCATED else apsw.SQLITE_CHECKPOINT_PASSIVE
            with suppress(apsw.BusyError, apsw.LockedError):
                self.connection.wal_checkpoint("main", mode)
            self._checkpoint_at = size + WAL_BYTES_MAX

    # -- rooms ------------------------------------------------------------------------------------------------------
    def room(self, name: RoomName) -> tuple[int, Mark] | None:
        """A room's key and where the replica stands in its history."""
        rows = self.run("SELECT key, epoch, seq, schema, settled FROM _rooms WHERE actor = ? AND id = ?", (name.actor, name.id))
        for key, epoch, seq, schema, settled in rows:
            return key, Mark(Position(epoch, seq), schema, bool(settled))
        return None

    def intern(self, name: RoomName) -> int:
        """The key of a room that the replica does not know yet; its watermark is written before the commit."""
        self.run("INSERT INTO _rooms (actor, id, epoch, seq, schema, settled, at) VALUES (?, ?, 0, 0, '', 0, 0.0)", tuple(name))
        return self.connection.last_insert_rowid()

    def put_marks(self, marks: Iterable[tuple[int, Mark]], now: float) -> None:
        values = [(*mark.position, mark.schema, int(mark.settled), now, key) for key, mark in marks]
        run_many(self.connection, "UPDATE _rooms SET epoch = ?, seq = ?, schema = ?, settled = ?, at = ? WHERE key = ?", values)

    def marks(self, names: Iterable[RoomName]) -> dict[RoomName, Mark | None]:
        found = {name: self.room(name) for name in names}
        return {name: None if room is None else room[1] for name, room in found.items()}

    def next_batch(self, now: float) -> int:
        ((number,),) = self.run("UPDATE _applied SET batch = batch + 1, at = ? RETURNING batch", (now,))
        return number

    def moment(self) -> Moment:
        ((generation, batch),) = self.run("SELECT id, batch FROM _generation, _applied")
        return Moment(generation, batch)


def _pragma(connection: apsw.Connection, name: str, value: object, expected: object) -> None:
    run(connection, f"PRAGMA {name} = {value}")
    actual = scalar(connection, f"PRAGMA {name}")
    if actual != expected:
        raise apsw.CantOpenError(f"{name} is {actual!r} instead of {expected!r}; the replica needs a local file system")
