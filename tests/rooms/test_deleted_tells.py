"""Tells of rooms that are deleted, or replaced by another file, while they are under way; and tells to such rooms."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import outcome
from tests.rooms.telling import Board, Desk

LARGE = "x" * 3_000  # arguments that are read again from the sender's file when they are sent


@pytest.fixture(autouse=True)
def sound():
    Board.failing.clear()
    Board.tries.clear()
    yield
    Board.failing.clear()


class Closed(Board):
    """A board that nobody gets into for a while."""

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)


Closed.__name__ = "Board"


class Office(Desk):
    def tell_board(self, *numbers: int, padding: str = "") -> None:
        for number in numbers:
            self.tell(Closed, "main", Closed.note, self.id, number, padding=padding)


async def told_and_under_way(runtime, number, padding):
    """A sender whose tell lies in the mailbox of a board that is held."""
    desk, board = runtime.room(Office, "d"), runtime.room(Closed, "main")
    await desk.tell_board(number, padding=padding)
    await wait_all_tasks_blocked()
    return desk, board


@pytest.mark.parametrize("padding", ["", LARGE], ids=["small", "large"])
async def test_what_a_deleted_room_told_is_not_tried_again_by_the_new_one(autojump_clock, padding):
    Board.failing.add(1)
    async with open_test_runtime(Closed, Office) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(runtime.room(Closed, "main").hold, 10)
        await wait_all_tasks_blocked()
        desk, board = await told_and_under_way(runtime, 1, padding)
        await runtime.delete(desk)
        await desk.tell_board(7, padding=padding)
        await trio.sleep(60)
        assert await board.seen() == [7]
        assert Board.tries == [1, 7]
        assert await desk.dead() == []


async def test_a_new_incarnation_that_has_told_less_is_left_alone_by_what_the_old_one_told(autojump_clock):
    Board.failing.add(3)
    async with open_test_runtime(Closed, Office) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(runtime.room(Closed, "main").hold, 10)
        await wait_all_tasks_blocked()
        desk, board = await told_and_under_way(runtime, 1, LARGE)
        await desk.tell_board(2, 3, padding=LARGE)
        await wait_all_tasks_blocked()
        await runtime.delete(desk)
        await desk.tell_board(7, padding=LARGE)
        await trio.sleep(60)
        assert await board.seen() == [1, 2, 7]
        assert Board.tries == [1, 2, 3, 7]


async def test_a_tell_that_a_loaded_file_does_not_have_is_not_tried_again(tmp_path, autojump_clock):
    Board.failing.add(2)
    async with open_test_runtime(Closed, Office) as runtime, trio.open_nursery() as nursery:
        desk = runtime.room(Office, "d")
        await desk.tell_board(1, padding=LARGE)
        await trio.sleep(5)
        await runtime.dump(desk, tmp_path / "dump.db")
        nursery.start_soon(runtime.room(Closed, "main").hold, 10)
        await wait_all_tasks_blocked()
        desk, board = await told_and_under_way(runtime, 2, LARGE)
        await runtime.load(desk, tmp_path / "dump.db", replace=True)
        await desk.ping()
        await trio.sleep(60)
        await desk.tell_board(3, padding=LARGE)
        await trio.sleep(5)
        assert await board.seen() == [1, 3]
        assert Board.tries == [1, 2, 3]


async def test_deleting_a_told_room_is_no_failure_of_what_it_is_told(autojump_clock):
    """The tells that wait for it are delivered to its next incarnation, each once and in order."""
    async with open_test_runtime(Closed, Office) as runtime, trio.open_nursery() as nursery:
        desk, board = runtime.room(Office, "d"), runtime.room(Closed, "main")
        for number in range(5):
            nursery.start_soon(outcome, lambda: board.hold(1_000))
            await wait_all_tasks_blocked()
            if number == 0:
                await desk.tell_board(1, 2)
            await trio.sleep(20)  # the tells lie in its mailbox again
            assert await runtime.delete(board)
        await trio.sleep(60)
        assert await desk.dead() == []
        assert await board.seen() == [1, 2]


async def test_what_the_file_of_another_room_has_yet_to_tell_is_told_by_the_one_it_becomes(tmp_path, autojump_clock):
    """Though those whom it tells have heard more from that name already."""
    Board.failing.add(9)
    async with open_test_runtime(Board, Desk) as runtime:
        one, other, board = runtime.room(Desk, "one"), runtime.room(Desk, "other"), runtime.room(Board, "main")
        await one.tell_board(1, 2, 3)
        await trio.sleep(5)
        await other.tell_board(9)
        await runtime.dump(other, tmp_path / "dump.db")
        for desk in (one, other):
            await runtime.delete(desk)
        Board.failing.clear()
        await trio.sleep(60)
        await runtime.load(one, tmp_path / "dump.db")
        await trio.sleep(60)
        assert (await board.seen())[:4] == [1, 2, 3, 9]
        await one.tell_board(10)
        await trio.sleep(5)
        assert (await board.seen())[4:] == [10]


async def test_what_waits_for_a_room_is_not_taken_for_what_another_one_was_told_whose_file_it_becomes(tmp_path, autojump_clock):
    Board.failing.add(1)
    async with open_test_runtime(Board, Desk) as runtime:
        desk, one, other = runtime.room(Desk, "d"), runtime.room(Board, "one"), runtime.room(Board, "other")
        await desk.tell_board(1, board="one")  # is tried again
        await desk.tell_board(2, 3, board="other")
        await trio.sleep(0.5)
        await runtime.dump(other, tmp_path / "dump.db")
        Board.failing.clear()
        await runtime.load(one, tmp_path / "dump.db", replace=True)
        await trio.sleep(60)
        assert await one.seen() == [2, 3, 1]
        assert await other.seen() == [2, 3]
