"""The figure's side of reads: a chat room whose questions are @read methods, and a runtime full of filled ones."""

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import trio

from benchmarks import workload
from durable_rooms import Actor, Limits, Room, Rows, Runtime, SQLiteReplica, open_runtime, read

FILL_ROWS = 500  # in one call
FILLERS = 32


class ReadingRoom(Actor):
    migrations = (workload.SCHEMA,)

    def post(self, author: str, body: str) -> int:
        return self.sql(workload.INSERT, author, body, self.now()).scalar()

    def fill(self, rows: list[list[Any]]) -> int:
        return self.sql.many("INSERT INTO messages (author, body, sent_at) VALUES (?, ?, ?)", [row[1:] for row in rows])

    @read
    def history(self, limit: int = 50) -> Rows:
        return self.sql(workload.HISTORY, limit)

    @read
    def heaviest(self, rows: int) -> Any:
        """Work through so many rows, each message up to a hundred times: nothing that an index could help."""
        query = """
            WITH RECURSIVE times(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < 100)
            SELECT sum(length(replace(body, 'a', ''))) FROM (SELECT body FROM times, messages LIMIT ?)"""
        return self.sql(query, rows).scalar()

    @read
    def last(self) -> int:
        return self.sql("SELECT max(id) FROM messages").scalar()


class SearchedRoom(ReadingRoom):
    fulltext: ClassVar = {"messages": ["body"]}

    @read
    def find(self, words: str) -> Rows:
        return self.sql.match("messages", words)


R = TypeVar("R", bound=ReadingRoom)

Lines = Sequence[tuple[int, str, str, float]]
"""Whole rows of a room's messages."""


def _same_in_each(rows: int, _room: int) -> Lines:
    return workload.rows(rows)


@asynccontextmanager
async def open_reading(
    path: Path, count: int, rows: int, actor: type[R] = ReadingRoom, lines: Callable[[int, int], Lines] = _same_in_each
) -> AsyncGenerator[tuple[Runtime, list[Room[R]]]]:
    """A runtime with a replica and `count` rooms of `rows` messages, all of them there, too. `lines`: those of a room."""
    limits = Limits(open_rooms_max=count + 16, idle_seconds_max=3600.0)
    (path / "replica").mkdir()
    replica = SQLiteReplica(path / "replica" / "replica.db")
    async with open_runtime(path / "rooms", [actor], replicas=[replica], limits=limits) as runtime:
        rooms = [runtime.room(actor, f"room-{number}") for number in range(count)]
        await _fill(rooms, partial(lines, rows))
        await runtime.replicated(timeout=120.0)
        yield runtime, rooms


@contextmanager
def gone(directory: Path) -> Generator[None]:
    """An outage of the replica: its directory is somewhere else meanwhile."""
    elsewhere = directory.with_name(f"{directory.name}-gone")
    directory.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(directory)


async def _fill(rooms: Sequence[Room[Any]], lines: Callable[[int], Lines]) -> None:
    waiting = iter(enumerate(rooms))

    async def fill() -> None:
        for number, room in waiting:
            rows = [list(row) for row in lines(number)]
            for begin in range(0, len(rows), FILL_ROWS):
                await room.fill(rows[begin : begin + FILL_ROWS])

    async with trio.open_nursery() as nursery:
        for _ in range(min(FILLERS, len(rooms))):
            nursery.start_soon(fill)
