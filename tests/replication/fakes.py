"""Rooms as replication sees them: real SQLite files with an outbox, without actors, turns or rounds.

`FakeRooms` is a runtime's end, `FakeRoom` one room with its `Source`. A commit is durable at once unless `sync` is False; then
it is when `make_durable()` is called, or never when `break_activation()` is.
"""

import json
import shutil
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import apsw
import trio

from actors import (
    Census,
    Changes,
    Column,
    Commit,
    Disk,
    Doors,
    EpochStart,
    Index,
    InlineThreads,
    OutcomeUnknown,
    Position,
    RoomCopy,
    RoomName,
    Schema,
    Source,
    Table,
    TableChanges,
)
from replication.replicator import Replicator

MESSAGES = "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT UNIQUE)"


class TestDisk(Disk):
    """The real disk, and what it was asked to do."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    def copy_synced(self, old: Path, new: Path) -> None:
        self.calls.append(("copy_synced", old.name))
        super().copy_synced(old, new)

    def sync_directory(self, path: Path) -> None:
        self.calls.append(("sync_directory", path.name))
        super().sync_directory(path)


class SlowThreads(InlineThreads):
    """Jobs that take virtual time after their work: whoever asks sees a job that has begun and not returned."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.jobs: list[str] = []

    async def run(self, job: Any, *args: object) -> Any:
        self.jobs.append(getattr(job, "__name__", "partial"))
        result = await super().run(job, *args)
        if self.seconds:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.seconds)
        return result


class FakeRooms:
    """A data directory with rooms and no runtime."""

    def __init__(self, path: Path, threads: InlineThreads | None = None) -> None:
        self.path = path
        self.disk = TestDisk()
        self.doors = Doors(disk=self.disk, threads=threads or SlowThreads(), wall_clock=lambda: 1000.0, random=Random(7))
        self.rooms: dict[RoomName, FakeRoom] = {}
        self.follower: Replicator | None = None
        self.buried: dict[RoomName, int] = {}  # rooms that were deleted, with the epoch at which they were

    def room(self, id: str, *migrations: str, actor: str = "ChatRoom", **options: Any) -> "FakeRoom":
        name = RoomName(actor, id)
        if name not in self.rooms:
            self.rooms[name] = FakeRoom(self, name, **options)
            self.rooms[name].write(*(migrations or (MESSAGES,)))
        return self.rooms[name]

    def positions(self) -> Iterable[tuple[RoomName, Position, bool]]:
        return [(room.name, room.position, room.active) for _, room in sorted(self.rooms.items())]

    def tombstones(self) -> Iterable[tuple[RoomName, int]]:
        return sorted(self.buried.items())

    def source(self, name: RoomName) -> Source:
        return self.rooms[name]


@dataclass
class FakeCommit:
    room: "FakeRoom"
    count: int
    life: int

    async def durable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.room.life == self.life and self.room.durable < self.count:
            await self.room.lot.park()
        if self.room.life != self.life:
            raise OutcomeUnknown("the room broke", room=str(self.room.name))
        self.room.log.append(f"durable {self.count}")


@dataclass
class FakeRoom:
    rooms: FakeRooms
    name: RoomName
    sync: bool = True  # commits are durable at once
    trim: bool = True  # acknowledge() trims the outbox at once
    active: bool = False
    committed: int = 0
    durable: int = 0
    life: int = 0
    acked: int = 0
    fails: Exception | None = None  # raised by collect and copy
    rewinds: int = 0
    new_epoch: bool = False
    held: bool = False  # its file is being read by a resync
    log: list[str] = field(default_factory=list)
    lot: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    during_copy: list[str] = field(default_factory=list)  # statements of the room while its file is being copied

    def __post_init__(self) -> None:
        self.path = self.rooms.path / f"{self.name.actor}-{self.name.id}.db".replace("/", "_")
        self.open()
        self.run("CREATE TABLE _outbox (seq INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, pk)")
        self.run("CREATE TABLE _timeline (epoch INTEGER PRIMARY KEY, start_seq INTEGER NOT NULL)")
        self.run("CREATE TABLE _tables (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        self.run("INSERT INTO _timeline VALUES (1, 0)")

    # -- the room's own life ------------------------------------------------------------------------------------------
    def open(self) -> None:
        self.connection = apsw.Connection(str(self.path))
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "recursive_triggers = ON", "wal_autocheckpoint = 0"):
            self.run(f"PRAGMA {pragma}")

    def run(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def write(self, *statements: str | tuple[str, tuple[Any, ...]]) -> Position:
        """One turn: the statements in one transaction, told to the follower."""
        before = self.seq
        self.run("BEGIN IMMEDIATE")
        if self.new_epoch:
            self.run("INSERT INTO _timeline SELECT max(epoch) + 1, ? FROM _timeline", (before,))
            self.new_epoch = False
        for statement in statements:
            self.run(*(statement if isinstance(statement, tuple) else (statement,)))
        self._capture()
        if self.seq == before:
            self.run("INSERT INTO _outbox (tbl, pk) VALUES (0, NULL)")
        self.run("COMMIT")
        self.committed += 1
        if self.sync:
            self.durable = self.committed
        self.tell(self.seq - before)
        return self.position

    def post(self, count: int = 1, author: str = "ann") -> Position:
        first = (self.run("SELECT max(id) FROM messages")[0][0] or 0) + 1
        rows = [
            ("INSERT INTO messages (author, body) VALUES (?, ?)", (author, f"{self.name.id} {first + n}")) for n in range(count)
        ]
        return self.write(*rows)

    def tell(self, entries: int) -> None:
        if self.rooms.follower is not None:
            self.rooms.follower.changed(self, self.position, entries)

    def make_durable(self) -> None:
        self.durable = self.committed
        self.lot.unpark_all()

    def break_activation(self) -> None:
        self.life += 1
        self.lot.unpark_all()

    def snapshot(self) -> bytes:
        return self.connection.serialize("main")

    def restore(self, content: bytes) -> None:
        """Put an older file in the room's place, as an administrator would, without a word to anybody."""
        self.connection.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.path.write_bytes(content)
        self.open()

    def trim_to(self, seq: int) -> None:
        self.run("DELETE FROM _outbox WHERE seq < min(?, (SELECT max(seq) FROM _outbox))", (seq,))

    @property
    def seq(self) -> int:
        return self.run("SELECT coalesce(max(seq), 0) FROM _outbox")[0][0]

    @property
    def timeline(self) -> tuple[EpochStart, ...]:
        return tuple(EpochStart(*row) for row in self.run("SELECT epoch, start_seq FROM _timeline ORDER BY epoch"))

    @property
    def position(self) -> Position:
        return Position(self.timeline[-1].epoch, self.seq)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return sorted(self.run(f'SELECT * FROM "{table}"'), key=repr)

    # -- capture ------------------------------------------------------------------------------------------------------
    def _user_tables(self) -> list[str]:
        found = self.run("SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 1) <> '_' ORDER BY name")
        return [name for (name,) in found if not name.startswith("sqlite_")]

    def _key(self, table: str) -> list[str]:
        info = self.run(f'PRAGMA table_xinfo("{table}")')
        return [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]

    def _capture(self) -> None:
        """Capture triggers on new tables; a dropped table breaks the outbox's continuity."""
        known = {name: id for id, name in self.run("SELECT id, name FROM _tables")}
        tables = self._user_tables()
        captured = set(self.run("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'"))
        for name in [name for name, id in known.items() if (f"_c{id}_INSERT", name) not in captured]:
            for trigger, _ in captured:
                if trigger.startswith(f"_c{known[name]}_"):
                    self.run(f'DROP TRIGGER "{trigger}"')
            del known[name]
            self.run("DELETE FROM _tables WHERE name = ?", (name,))
            self.run("INSERT INTO _outbox (tbl, pk) VALUES (0, NULL), (0, NULL)")
            self.run("DELETE FROM _outbox WHERE seq < (SELECT max(seq) FROM _outbox)")
        for name in tables:
            if name in known:
                continue
            self.run("INSERT INTO _tables (name) VALUES (?)", (name,))
            id = self.connection.last_insert_rowid()
            key = self._key(name)

            def logged(row: str, id: int = id, key: list[str] = key) -> str:
                parts = ", ".join(f'{row}."{column}"' for column in key)
                return f"INSERT INTO _outbox (tbl, pk) VALUES ({id}, {f'json_array({parts})' if len(key) > 1 else parts});"

            moved = " OR ".join(f'old."{column}" IS NOT new."{column}"' for column in key)
            for event, when, body in (
                ("INSERT", "", logged("new")),
                ("UPDATE", "", logged("new")),
                ("UPDATE", f"WHEN {moved}", logged("old")),
                ("DELETE", "", logged("old")),
            ):
                trigger = f"_c{id}_{event}{'_moved' if when else ''}"
                self.run(f'CREATE TRIGGER "{trigger}" AFTER {event} ON "{name}" {when} BEGIN {body} END')
            log = logged("t").replace("VALUES (", "SELECT ").rstrip(";")
            self.run(f'{log[:-1]} FROM "{name}" t')

    def schema(self, connection: apsw.Connection | None = None) -> Schema:
        tables = tuple(self._table(name) for name in self._user_tables())
        return Schema(tables, blake2b(repr(tables).encode(), digest_size=8).hexdigest())

    def _table(self, name: str) -> Table:
        columns: list[Column] = []
        for _, column, type_, _, default, _, _ in self.run(f'PRAGMA table_xinfo("{name}")'):
            collation = self.connection.column_metadata("main", name, column)[1]
            columns.append(Column(column, type_, collation, default))
        indexes = [
            Index(index, sql[sql.index("(") :])
            for index, sql in self.run(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql > ''", (name,)
            )
        ]
        return Table(name, tuple(columns), tuple(self._key(name)), tuple(indexes))

    # -- Source -------------------------------------------------------------------------------------------------------
    def commit_now(self) -> Commit:
        return FakeCommit(self, self.committed, self.life)

    async def collect(self, after: int) -> Changes:
        await trio.lowlevel.checkpoint()
        self.log.append(f"collect {after}")
        if self.fails is not None:
            raise self.fails
        schema = self.schema()
        ids = {name: id for id, name in self.run("SELECT id, name FROM _tables")}
        tables: list[TableChanges] = []
        for table in schema.tables:
            keys = self.run("SELECT DISTINCT pk FROM _outbox WHERE tbl = ? AND seq > ?", (ids[table.name], after))
            changes = TableChanges(table)
            for (packed,) in keys:
                key = tuple(json.loads(packed)) if len(table.key) > 1 else (packed,)
                where = " AND ".join(f'"{column}" = ?' for column in table.key)
                found = self.run(f'SELECT * FROM "{table.name}" WHERE {where}', key)
                changes.upserts.extend(found)
                if not found:
                    changes.deletes.append(key)
            if keys:
                tables.append(changes)
        entries = self.run("SELECT count(*) FROM _outbox WHERE seq > ?", (after,))[0][0]
        first = self.run("SELECT min(seq) FROM _outbox")[0][0]
        size = sum(len(repr(row)) for table in tables for row in table.upserts)
        return Changes(self.name, self.position, self.timeline, first, schema, tables, entries, size, self.commit_now())

    @asynccontextmanager
    async def copy(self) -> AsyncGenerator[RoomCopy, None]:
        await trio.lowlevel.checkpoint()
        if self.fails is not None:
            raise self.fails
        copy = RoomCopy(self.name, self.path, self.timeline, self.schema(), self.commit_now)
        if self.during_copy:
            self.write(self.during_copy.pop(0))
        self.held = True
        try:
            yield copy
        finally:
            self.held = False

    async def census(self, bytes_max: int) -> Census | None:
        await trio.lowlevel.checkpoint()
        self.log.append("census")
        if self.fails is not None:
            return None
        counts = {table.name: self.run(f'SELECT count(*) FROM "{table.name}"')[0][0] for table in self.schema().tables}
        return Census(self.position, counts)

    def acknowledge(self, seq: int) -> None:
        self.acked = seq
        if self.trim:
            self.trim_to(seq)

    def rewound(self) -> None:
        self.rewinds += 1
        self.new_epoch = True


def replica_rows(path: Path, view: str, id: str | None = None) -> list[tuple[Any, ...]]:
    """What a reader sees, with the room's id where no room is named."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        cursor = connection.execute(
            f'SELECT * FROM "{view}"' + ("" if id is None else " WHERE room_id = ?"), () if id is None else (id,)
        )
        rows = cursor.fetchall()
    finally:
        connection.close()
    return sorted(rows if id is None else [row[1:] for row in rows], key=repr)


def replica_marks(path: Path) -> dict[str, Position]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {id: Position(epoch, seq) for id, epoch, seq in connection.execute("SELECT id, epoch, seq FROM _rooms").fetchall()}
    finally:
        connection.close()


def assert_equal(rooms: FakeRooms, path: Path) -> None:
    """Every room equals its slice of the replica, column by column, and no other row is there."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        expected: dict[str, list[Any]] = {}
        for room in rooms.rooms.values():
            assert connection.execute("SELECT epoch, seq FROM _rooms WHERE id = ?", (room.name.id,)).fetchall() == [room.position]
            for table in room.schema().tables:
                names = ", ".join(f'"{column.name}"' for column in table.columns)
                view = f"{room.name.actor}_{table.name}"
                there = connection.execute(f'SELECT {names} FROM "{view}" WHERE room_id = ?', (room.name.id,)).fetchall()
                here = room.run(f'SELECT {names} FROM "{table.name}"')
                assert sorted(there, key=repr) == sorted(here, key=repr), f"{room.name}.{table.name}"
                expected.setdefault(view, []).extend(here)
        for (view,) in connection.execute("SELECT DISTINCT view FROM _tables").fetchall():
            count = connection.execute(f'SELECT count(*) FROM "{view}"').fetchall()[0][0]
            assert count == len(expected.get(view, [])), f"rows of nobody in {view}"
    finally:
        connection.close()


def shutil_copy_replica(path: Path, target: Path) -> None:
    """The replica as a power cut may leave it: database and WAL as they are now."""
    for suffix in ("", "-wal"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            shutil.copy(source, f"{target}{suffix}")
        else:
            Path(f"{target}{suffix}").unlink(missing_ok=True)
