"""The rooms of these tests: a chat whose posts write two rows in two tables, so that half a post would show."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from actors import Disk, Doors, InlineThreads, Limits, Migration, Threads
from durable_rooms import Actor, Runtime, SQLiteReplica
from durable_rooms.runtime import open_with_doors


class Refused(Exception):
    """What a handler of the room raises itself."""


class Chat(Actor):
    migrations: Sequence[str | Migration] = (
        "CREATE TABLE messages (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL);"
        "CREATE TABLE tally (one INTEGER PRIMARY KEY, posts INTEGER NOT NULL);"
        "INSERT INTO tally VALUES (1, 0)",
    )
    local_tables = frozenset({"drafts"})

    def post(self, id: str, body: str = "") -> int:
        self.sql("INSERT INTO messages (id, body) VALUES (?, ?)", id, body)
        self.sql("UPDATE tally SET posts = posts + 1")
        return self.sql("SELECT posts FROM tally").scalar()

    def ids(self) -> list[str]:
        assert self.sql("SELECT posts = (SELECT count(*) FROM messages) FROM tally").scalar(), "half a post"
        return self.sql("SELECT id FROM messages ORDER BY id").scalars()

    def ping(self) -> str:
        """Touches no SQL."""
        return "pong"

    def post_and_raise(self, id: str) -> None:
        self.post(id)
        raise Refused(id)

    def look_and_raise(self) -> None:
        raise Refused(",".join(self.ids()))

    def draft(self, text: str) -> None:
        self.sql("CREATE TABLE IF NOT EXISTS drafts (text TEXT)")
        self.sql("INSERT INTO drafts VALUES (?)", text)

    def add_table(self, name: str) -> None:
        self.sql(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY)")

    def run(self, statement: str) -> None:
        self.sql(statement)

    async def post_slowly(self, id: str, seconds: float = 1.0) -> list[str]:
        """Two slices: a post, a suspension, a read."""
        self.post(id)
        await trio.sleep(seconds)
        return self.ids()

    async def post_twice(self, one: str, two: str, seconds: float = 1.0) -> None:
        self.post(one)
        await trio.sleep(seconds)
        self.post(two)


class GrownChat(Chat):
    """The same class, one release later."""

    migrations = (
        *Chat.migrations,
        "ALTER TABLE messages ADD COLUMN likes INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE pins (id TEXT PRIMARY KEY NOT NULL)",
    )


GrownChat.__name__ = "Chat"


@asynccontextmanager
async def opened(
    path: Path,
    disk: Disk | None = None,
    threads: Threads | None = None,
    *,
    limits: Limits | None = None,
    actor: type[Chat] = Chat,
    replicas: Sequence[SQLiteReplica] = (),
) -> AsyncIterator[Runtime]:
    """A runtime with this disk and these threads (inline if none are given), and no chance in it."""
    doors = Doors(disk=disk or Disk(), threads=threads or InlineThreads(), wall_clock=lambda: 1_700_000_000.0, random=Random(0))
    async with open_with_doors(path, [actor], replicas=replicas, limits=limits, doors=doors) as runtime:
        yield runtime
