"""A long statement in a worker thread lets the loop have its processor, and asks less for the lock while the loop is busy."""

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors import RoomName
from actors.statements import deadline
from actors.statements.deadline import BUSY_STEPS, THREAD_STEPS
from durable_rooms import Actor, DeadlineExceeded, command, read
from durable_rooms.testing import open_test_runtime
from tests.reading.own import SOON, rest
from tests.reading.replicas import HandMade

COUNT = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?) SELECT count(*) FROM n"
ROWS, STEPS_OF_A_ROW = 20_000, 10  # at least


class Counting(Actor):
    def post(self) -> None: ...

    @command(offload=True)
    def offloaded(self, rows: int) -> int:
        return self.sql(COUNT, rows).scalar()

    @read(fresh="room")
    def at_rest(self, rows: int) -> int:
        return self.sql(COUNT, rows).scalar()


async def in_an_offloaded_call(rows: int, _path: Path) -> int:
    async with open_test_runtime(Counting) as runtime:
        return await runtime.room(Counting, "one").offloaded(rows)


async def in_a_room_at_rest(rows: int, _path: Path) -> int:
    async with open_test_runtime(Counting, limits=SOON) as runtime:
        room = runtime.room(Counting, "one")
        await room.post()
        await rest(runtime)
        return await room.at_rest(rows)


async def in_a_reader_of_the_replica(rows: int, path: Path) -> int:
    with closing(HandMade(path / "replica.db")) as replica:
        replica.put("one", {})
        with closing(replica.reader()) as reader:
            return reader.read(RoomName("ChatRoom", "one"), None, lambda sql: sql(COUNT, rows).scalar()).value


ANYWHERE = pytest.mark.parametrize(
    "count", [in_an_offloaded_call, in_a_room_at_rest, in_a_reader_of_the_replica], ids=lambda where: where.__name__
)
Count = Callable[[int, Path], Any]


class Loop:
    """What the threads hear of it, and how often they gave way to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy = False
        self.gone_first = 0
        monkeypatch.setattr(deadline, "lock_is_wanted", lambda: self.busy)
        monkeypatch.setattr(deadline, "give_way", self._go_first)

    def _go_first(self) -> None:
        self.gone_first += 1


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


@ANYWHERE
async def test_a_long_statement_in_a_thread_gives_way_again_and_again(count: Count, loop: Loop, tmp_path: Path, autojump_clock):
    assert await count(ROWS, tmp_path) == ROWS
    assert loop.gone_first >= ROWS * STEPS_OF_A_ROW // THREAD_STEPS


@ANYWHERE
async def test_it_keeps_its_processor_while_the_loop_is_busy(count: Count, loop: Loop, tmp_path: Path, autojump_clock):
    """Each time it would wait for Python's lock, for up to 2 ms."""
    loop.busy = True
    assert await count(ROWS, tmp_path) == ROWS
    assert loop.gone_first == 0


@ANYWHERE
async def test_it_gives_way_no_more_when_the_loop_becomes_busy(
    count: Count, loop: Loop, tmp_path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch
):
    """A query of 70 ms that had begun beside an idle loop took over 250 ms beside 16 callers who came later."""
    looks = iter([False] * 3)
    monkeypatch.setattr(deadline, "lock_is_wanted", lambda: next(looks, True))
    assert await count(ROWS, tmp_path) == ROWS
    assert loop.gone_first <= 2


@pytest.mark.parametrize("busy", [False, True])
def test_it_is_interrupted_at_its_deadline_all_the_same(busy: bool, loop: Loop, tmp_path: Path):
    loop.busy = busy
    with closing(HandMade(tmp_path / "replica.db")) as replica:
        replica.put("one", {})
        with closing(replica.reader(seconds=itertools.count())) as reader, pytest.raises(DeadlineExceeded):
            reader.read(RoomName("ChatRoom", "one"), None, lambda sql: sql(COUNT, BUSY_STEPS * 1_000).scalar())
