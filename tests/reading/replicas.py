"""A replica that is written by hand, through the product's own file and tables; and plain databases of one room beside it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

import apsw

from actors import Disk, Limits, Position, RoomName
from actors.tables.schema import read_schema
from replication.file import ReplicaFile
from replication.house import House
from replication.reading.reader import Reader
from replication.standing import Mark

CHAT = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT, score REAL)",
    "CREATE INDEX by_author ON messages (author)",
    "CREATE TABLE members (name TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, since INTEGER) WITHOUT ROWID",
)
Rows = Mapping[str, Iterable[tuple[object, ...]]]


def room_database(ddl: Iterable[str], rows: Rows) -> apsw.Connection:
    """What one room has, in memory: the same tables and rows, and nothing of ours."""
    connection = apsw.Connection(":memory:")
    for statement in ddl:
        connection.execute(statement).fetchall()
    for table, values in rows.items():
        for row in values:
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row).fetchall()
    return connection


class HandMade:
    """A replica without a runtime: its writer."""

    def __init__(self, path: Path, generation: str = "first") -> None:
        self.path = path
        self._house = House(Disk(), path.parent, f"token-{generation}", lambda: generation)
        self.file = ReplicaFile(Disk(), path, self._house)
        self.file.open()

    def put(self, id: str, rows: Rows, *, actor: str = "ChatRoom", ddl: Iterable[str] = CHAT, seq: int = 1) -> Position:
        """A batch: rows of one room, and where it stands now."""
        connection = room_database(ddl, {})
        schema = read_schema(connection, frozenset()).replicated
        connection.close()
        name, position = RoomName(actor, id), Position(1, seq)
        with self.file.transaction():
            known = self.file.room(name)
            key = known[0] if known else self.file.intern(name)
            placements = self.file.tables.placements(actor, schema)
            for table, values in rows.items():
                for row in values:
                    self.file.run(placements[table].upsert, (key, *row))
            self.file.put_marks([(key, Mark(position, schema.digest, True))], 0.0)
            self.file.next_batch(0.0)
        return position

    def reader(self, limits: Limits | None = None, *, seed: int = 1, seconds: Iterable[float] = ()) -> Reader:
        """`seconds`: what its stopwatch says, one at each look; 0 without."""
        ticks = iter(seconds)
        return Reader(Disk(), self.path, Random(seed), limits or Limits(), lambda: next(ticks, 0.0))

    def close(self) -> None:
        self.file.close()
        self.file.release()
