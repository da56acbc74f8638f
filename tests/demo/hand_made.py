"""Data directories made by hand with Python's sqlite3, as a runtime leaves them, so that each can be spoiled in one place."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

MESSAGES = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, uid TEXT NOT NULL, kind TEXT NOT NULL, "
    "author TEXT NOT NULL, body TEXT NOT NULL, sent_at REAL NOT NULL)"
)


class HandMade:
    """A data directory of class ChatRoom with any number of rooms."""

    def __init__(self, path: Path, schema: Sequence[str] = (MESSAGES,)) -> None:
        self.path = path
        self.schema = schema
        (path / "rooms" / "ab").mkdir(parents=True)
        with self.catalog() as db:
            db.execute(
                "CREATE TABLE rooms (actor TEXT, id TEXT, file TEXT, active INTEGER, proven INTEGER, epoch INTEGER, seq INTEGER)"
            )
        with self.replica() as db:
            db.execute(
                "CREATE TABLE _rooms (key INTEGER PRIMARY KEY, actor TEXT, id TEXT, epoch INT, seq INT, UNIQUE (actor, id))"
            )
            db.execute("CREATE TABLE _tables (base TEXT PRIMARY KEY, actor TEXT, tbl TEXT, view TEXT)")
            for name in self.tables():
                columns = ", ".join(f'"{column}"' for column in self.columns(name))
                db.execute(f"CREATE TABLE base_{name} (_room INTEGER, {columns})")
                db.execute(
                    f"CREATE VIEW ChatRoom_{name} (room_id, {columns}) AS "
                    f"SELECT r.id, b.{columns.replace(', ', ', b.')} FROM base_{name} b "
                    "JOIN _rooms r ON r.key = b._room WHERE r.actor = 'ChatRoom'"
                )
                db.execute("INSERT INTO _tables VALUES (?, 'ChatRoom', ?, ?)", (f"base_{name}", name, f"ChatRoom_{name}"))

    def room(
        self, id: str, rows: Sequence[Sequence[Any]] = (), *, table: str = "messages", seq: int | None = None, proven: int = 1
    ) -> Path:
        """A room and the same rows in the replica, both at position `seq` (as many as there are rows)."""
        seq = len(rows) if seq is None else seq
        with self.catalog() as db:
            file = f"ab/{db.execute('SELECT count(*) FROM rooms').fetchone()[0]:03}.db"
            db.execute("INSERT INTO rooms VALUES ('ChatRoom', ?, ?, 0, ?, 1, ?)", (id, file, proven, seq))
        path = self.path / "rooms" / file
        with opened(path) as db:
            for statement in self.schema:
                db.execute(statement)
            db.execute("CREATE TABLE _outbox (seq INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, pk)")
            db.execute("CREATE TABLE _tables (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, replicated INTEGER NOT NULL)")
            db.executemany("INSERT INTO _tables VALUES (?, ?, 1)", enumerate(self.tables(), 1))
            if seq:
                db.execute("INSERT INTO _outbox VALUES (?, 0, NULL)", (seq,))
            insert(db, table, rows)
        with self.replica() as db:
            key = db.execute(
                "INSERT INTO _rooms (actor, id, epoch, seq) VALUES ('ChatRoom', ?, 1, ?) RETURNING key", (id, seq)
            ).fetchone()[0]
            insert(db, f"base_{table}", [(key, *row) for row in rows])
        return path

    def tables(self) -> list[str]:
        with closing(self._scratch()) as db:
            return [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]

    def columns(self, table: str) -> list[str]:
        with closing(self._scratch()) as db:
            return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]

    def catalog(self) -> Any:
        return opened(self.path / "catalog.db")

    def replica(self) -> Any:
        return opened(self.path / "replica.db")

    def _scratch(self) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:")
        for statement in self.schema:
            db.execute(statement)
        return db


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        yield db


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    for row in rows:
        db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def change(path: Path, statement: str, *values: Any) -> None:
    with opened(path) as db:
        db.execute(statement, values)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
