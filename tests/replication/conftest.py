"""A data directory with fake rooms, and a replicator that runs in the test's nursery."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from replication import Replicator, SQLiteReplica
from tests.replication.fakes import FakeRooms

Follow = Callable[..., AbstractAsyncContextManager[Replicator]]


@pytest.fixture
def rooms(tmp_path: Path) -> FakeRooms:
    return FakeRooms(tmp_path)


@pytest.fixture
def replica(rooms: FakeRooms) -> Path:
    return rooms.path / "replica.db"


@pytest.fixture
def follow(rooms: FakeRooms) -> Follow:
    return lambda *args, **options: following(rooms, *args, **options)


@asynccontextmanager
async def following(rooms: FakeRooms, description: SQLiteReplica | None = None) -> AsyncGenerator[Replicator, None]:
    """Run a replicator for the rooms; at the end it is cancelled, as a runtime does."""
    replicator = Replicator(description or SQLiteReplica())
    rooms.follower = replicator
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run, rooms)
        try:
            yield replicator
        finally:
            rooms.follower = None
            nursery.cancel_scope.cancel()


Wait = Callable[[], Awaitable[None]]
