"""A chat room that is read, and how the tests of reads open a runtime."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from durable_rooms import Actor, Runtime, SQLiteReplica, read
from durable_rooms.testing import open_test_runtime


class ChatRoom(Actor):
    migrations: ClassVar = [
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE drafts (body TEXT)",
    ]
    local_tables: ClassVar = frozenset({"drafts"})

    def __init__(self) -> None:
        self.cache = ["in memory"]

    def post(self, author: str, body: str) -> int:
        return self.sql("INSERT INTO messages (author, body) VALUES (?, ?) RETURNING id", author, body).scalar()

    def draft(self, body: str) -> None:
        self.sql("INSERT INTO drafts VALUES (?)", body)

    @read
    def bodies(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @read(fresh="any")
    def bodies_somehow(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @read(fresh="room")
    def bodies_here(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @read
    def drafts(self) -> list[str]:
        return self.sql("SELECT body FROM drafts").scalars()

    @read
    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self.sql(query, *values).dicts()

    @read
    def whoami(self) -> list[Any]:
        return [self.id, self.now() > 0]

    @read
    def looks_into_memory(self) -> list[str]:
        return self.cache

    @read
    def keeps(self) -> None:
        self.seen = True

    @read
    def draws(self) -> float:
        return self.random.random()

    @read
    def names(self) -> str:
        return self.new_id()

    @read
    def excludes(self) -> None:
        self.exclusive()

    @read
    def calls_a_command(self) -> int:
        return self.post("ann", "written by a read")

    @read
    def raises(self) -> None:
        raise LookupError("nothing here")

    @read
    def eats(self, items: list[int]) -> int:
        return len([items.pop() for _ in range(len(items))])


@asynccontextmanager
async def reading(**options: Any) -> AsyncGenerator[Runtime]:
    async with open_test_runtime(ChatRoom, replicas=[SQLiteReplica()], **options) as runtime:
        yield runtime
