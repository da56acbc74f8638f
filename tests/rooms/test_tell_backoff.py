"""How long tells and what is known of them wait after a failure: longer each time, over the sender's stays, never too long."""

import random
from collections.abc import Iterator

import apsw
import pytest
import trio

from actors import Disk, Doors, InlineThreads, Limits
from actors.activation.seat import Seat
from actors.names import RoomName
from actors.statements.sql import internal
from actors.statements.transaction import Transaction
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import TEST_TIME, open_test_runtime
from tests.rooms.telling import Board, Desk, stored

TRIES_MAX = 300  # then the disk has space again: a test of what tries for ever must end


class FullDisks:
    """Commits of these rooms fail."""

    def __init__(self) -> None:
        self.rooms: set[str] = set()
        self.tries: list[float] = []

    def fails(self, transaction: Transaction) -> bool:
        if transaction.room not in self.rooms or len(self.tries) >= TRIES_MAX:
            return False
        self.tries.append(trio.current_time())
        return True


@pytest.fixture
def full(monkeypatch) -> Iterator[FullDisks]:
    disks, commit = FullDisks(), Transaction.commit

    def commits(transaction):
        if disks.fails(transaction):
            raise apsw.exception_for(apsw.SQLITE_FULL)
        return commit(transaction)

    monkeypatch.setattr(Transaction, "commit", commits)
    Board.failing.clear()
    return disks


@pytest.mark.parametrize("other", ["a", "b"], ids=["itself", "one another"])
async def test_rooms_that_tell_themselves_wait_longer_each_time(autojump_clock, full, other):
    """A failure ends the stay of the room that is told, and with it what it knew of failures of its own."""
    async with open_test_runtime(Board) as runtime:
        one, two = runtime.room(Board, "a"), runtime.room(Board, other)
        await one.tell_back(other, 1)
        if other != "a":
            await two.tell_back("a", 1)
        full.rooms |= {"Board/a", "Board/b"}
        await trio.sleep(60)
        assert 8 <= len(full.tries) <= 25
        full.rooms.clear()
        await trio.sleep(30)
        assert sorted(await one.seen(other)) == sorted(await two.seen("a")) == [0, 1]


async def test_what_was_settled_is_written_down_later(autojump_clock, full):
    """Each try costs the room its memory: without a pause, a processor as well, for as long as the disk is full."""
    async with open_test_runtime(Desk, Board) as runtime:
        await runtime.room(Desk, "a").tell_board(1)
        await trio.sleep(0.2)
        full.rooms.add("Desk/a")
        await trio.sleep(60)
        assert 6 <= len(full.tries) <= 15
        assert full.tries[5] - full.tries[0] > 2
        assert stored(runtime, Desk, "a") == [1]
        full.rooms.clear()
        await trio.sleep(20)
        assert stored(runtime, Desk, "a") == []
        assert await runtime.room(Board, "main").seen() == [1]


async def test_a_sender_that_hibernates_is_woken_for_each_try_and_no_more_often(autojump_clock, full, monkeypatch):
    opened, serve = [], Seat._serve

    async def noted(seat, *args):
        opened.append(str(seat.name))
        return await serve(seat, *args)

    monkeypatch.setattr(Seat, "_serve", noted)
    async with open_test_runtime(Desk, Board, limits=Limits(idle_seconds_max=5.0)) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await board.seen()
        full.rooms.add("Board/main")
        await desk.tell_board(1)
        await trio.sleep(30)
        await runtime.evict(desk)
        opened.clear()
        await trio.sleep(120)
        assert 5 <= opened.count("Desk/a") <= 12
        full.rooms.clear()
        await trio.sleep(30)
        assert await board.seen() == [1]
        assert runtime.courier._outgoing == {}


@pytest.mark.parametrize("jump", [-3_600, -20, 3_600])
@pytest.mark.parametrize("evicted", [False, True])
async def test_a_wall_clock_that_is_set_delays_no_tell(autojump_clock, full, tmp_path, jump, evicted):
    ahead = 0.0
    doors = Doors(
        disk=Disk(),
        threads=InlineThreads(),
        wall_clock=lambda: TEST_TIME + trio.current_time() + ahead,
        random=random.Random(0),
    )
    async with open_with_doors(tmp_path, [Desk, Board], limits=Limits(), replicas=[], doors=doors) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await board.seen()
        full.rooms.add("Board/main")
        await desk.tell_board(1)
        await trio.sleep(0.35)
        full.rooms.clear()
        ahead = jump
        if evicted:
            await runtime.evict(desk)
            await desk.ping()
        await trio.sleep(2)
        assert await board.seen() == [1]


@pytest.mark.parametrize("well_again", [True, False])
async def test_a_stop_does_not_wait_for_what_could_not_be_written_down(autojump_clock, full, well_again):
    async with open_test_runtime(Desk, Board) as runtime:
        await runtime.room(Desk, "a").tell_board(1)
        await trio.sleep(0.2)
        full.rooms.add("Desk/a")
        await trio.sleep(13.5)
        assert stored(runtime, Desk, "a") == [1]
        if well_again:
            full.rooms.clear()
        began = trio.current_time()
    assert trio.current_time() - began < 1


async def test_nothing_is_kept_of_a_sender_whose_tells_are_garbled(autojump_clock, tmp_path):
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        desk = runtime.room(Desk, "a")
        Board.failing.add(1)
        await desk.tell_board(1, 2)
        await trio.sleep(0.5)
        activation = runtime.seated(RoomName("Desk", "a"))
        internal(activation.storage.connection, "UPDATE _tells SET attempts = 'x' WHERE number = 2")
        await runtime.evict(desk)
        await trio.sleep(300)
        assert runtime.courier._outgoing == {}
    Board.failing.clear()
