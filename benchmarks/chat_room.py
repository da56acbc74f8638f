"""The figure's side: a chat room as a user would write it, and a runtime full of them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from benchmarks import workload
from durable_rooms import Actor, Limits, Room, Rows, Runtime, SQLiteReplica, open_runtime

WARMERS = 64  # rooms born at once
SETTLE_SECONDS = 0.05  # checkpoints in worker threads end within it


class ChatRoom(Actor):
    migrations = (workload.SCHEMA,)

    def post(self, author: str, body: str) -> int:
        return self.sql(workload.INSERT, author, body, self.now()).scalar()

    def fill(self, rows: list[list[Any]]) -> int:
        """Add rows to read from."""
        for _id, author, body, sent_at in rows:
            self.sql(workload.INSERT, author, body, sent_at)
        return len(rows)

    def history(self, limit: int = 50) -> Rows:
        return self.sql(workload.HISTORY, limit)

    def ping(self) -> str:
        return "pong"


@asynccontextmanager
async def open_rooms(
    path: Path, count: int, *, replicated: bool = True, replica: SQLiteReplica | None = None
) -> AsyncGenerator[tuple[Runtime, list[Room[ChatRoom]]]]:
    """A runtime with `count` rooms, all of them born, durable and in memory."""
    replicas = [replica or SQLiteReplica()] if replicated else []
    limits = Limits(open_rooms_max=count + 16, idle_seconds_max=3600.0)
    async with open_runtime(path, [ChatRoom], replicas=replicas, limits=limits) as runtime:
        rooms = [runtime.room(ChatRoom, f"room-{number}") for number in range(count)]
        await _be_born(rooms)
        yield runtime, rooms


async def _be_born(rooms: Sequence[Room[ChatRoom]]) -> None:
    waiting = iter(rooms)
    first = workload.posts()[0]

    async def bear() -> None:
        for room in waiting:
            await room.call(ChatRoom.post, first.author, first.body)

    async with trio.open_nursery() as nursery:
        for _ in range(min(WARMERS, len(rooms))):
            nursery.start_soon(bear)


async def settle(runtime: Runtime) -> None:
    """Until nothing of the last measurement is at work any more, neither the replicator nor a checkpoint."""
    if runtime.status().replicas:
        await runtime.replicated(timeout=120.0)
    await trio.sleep(SETTLE_SECONDS)
