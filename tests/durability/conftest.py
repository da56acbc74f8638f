"""Fixtures: a data directory with a recording disk, and threads whose jobs can be held."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from durable_rooms import Runtime
from durable_rooms.simulation.threads import SteppedThreads
from durable_rooms.simulation.world import World
from tests.durability.chat import opened
from tests.durability.recording import RecordingDisk

Open = Callable[..., AbstractAsyncContextManager[Runtime]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def threads() -> Iterator[SteppedThreads]:
    stepped = SteppedThreads()
    yield stepped
    stepped.end()


@pytest.fixture
def make_disk() -> Iterator[Callable[..., RecordingDisk]]:
    """Recording disks that are forgotten at the end."""
    made: list[RecordingDisk] = []

    def make(root: Path, threads: SteppedThreads | None = None, before: World | None = None) -> RecordingDisk:
        made.append(RecordingDisk(root, threads, before))
        return made[-1]

    yield make
    for disk in made:
        disk.forget()


@pytest.fixture
def disk(data: Path, threads: SteppedThreads, make_disk: Callable[..., RecordingDisk]) -> RecordingDisk:
    return make_disk(data, threads)


@pytest.fixture
def open_rooms(data: Path, disk: RecordingDisk, threads: SteppedThreads) -> Open:
    """Open the data directory through the recording disk and the stepped threads."""

    @asynccontextmanager
    async def open_released(**options: Any) -> AsyncIterator[Runtime]:
        async with opened(data, disk, threads, **options) as runtime:
            try:
                yield runtime
            finally:
                threads.release_all()

    return open_released


@pytest.fixture
async def tasks() -> AsyncIterator[Any]:
    """A nursery for callers that wait at a gate while the test looks on."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()
