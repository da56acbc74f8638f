"""`self.tell`: with the turn or not at all, once, in order, and never a burden to others."""

import logging
from contextlib import suppress
from typing import ClassVar

import pytest
import trio
import trio.lowlevel

from actors import Actor, Doors, Limits
from actors.names import RoomName
from actors.tells.courier import FORGET_SECONDS, RETRY_SECONDS_FIRST
from durable_rooms import (
    BadArguments,
    Overloaded,
    RoomIdInvalid,
    StatementRefused,
    StorageFull,
    TooLarge,
    UnknownMethod,
    read,
)
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import TEST_TIME, bare, open_test_runtime, told
from tests.rooms.chat import Sorry, together
from tests.rooms.faults import FailsOnce
from tests.rooms.telling import Board, Desk, stored
from tests.rooms.test_offload import Waiting


@pytest.fixture(autouse=True)
def nothing_fails():
    Board.failing.clear()
    Board.tries.clear()


async def settle(seconds: float = 10.0) -> None:
    """Virtual time for everything that is under way, with its retries."""
    await trio.sleep(seconds)


# -- with the turn ------------------------------------------------------------------------------------------------------
async def test_what_is_told_runs_there_once_and_in_order(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.tell_board(*range(1, 501))
        await settle()
        assert await board.seen() == list(range(1, 501))
        assert Board.tries == list(range(1, 501))


async def test_a_call_that_raises_has_told_nothing(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        with pytest.raises(Sorry):
            await desk.tell_and_raise(1)
        outcomes = await together(lambda: desk.tell_board(2), lambda: desk.tell_and_raise(3), lambda: desk.tell_board(4))
        assert [type(outcome) for outcome in outcomes] == [type(None), Sorry, type(None)]
        await settle()
        assert sorted(await board.seen()) == [2, 4]


async def test_a_void_turn_has_told_nothing_and_the_next_one_is_delivered(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.tell_board(1)
        await together(lambda: desk.tell_board(2), lambda: desk.tell_and_roll_back(3))
        await desk.tell_board(4)
        await settle()
        assert await board.seen() == await desk.told()


async def test_each_slice_of_an_async_handler_tells_with_its_own_commit(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        with pytest.raises(Sorry):
            await desk.tell_in_slices(1, 2, 3)
        await settle()
        assert await board.seen() == [1, 2, 3]


async def test_what_was_settled_is_forgotten_and_its_number_does_not_come_again(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        for number in (1, 2, 3):
            await desk.tell_board(number)
            await settle(2 * FORGET_SECONDS + 1)
            assert stored(runtime, Desk, "a") == []
        assert await board.seen() == [1, 2, 3]
        connection = runtime.seated(RoomName("Desk", "a")).storage.connection
        assert connection.execute("SELECT number FROM _tells").fetchall() == [(3,)]  # the mark


# -- what is refused ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("what", "error"),
    [
        ((Board, "main", Board.note, ["a"]), BadArguments),
        ((Board, "main", Board.note, ["a", {1, 2}]), BadArguments),
        ((Board, "main", Board.note, ["a", 1, 2, 3, 4]), BadArguments),
        ((Board, "", Board.note, ["a", 1]), RoomIdInvalid),
        ((Board, "main", Board._here, []), UnknownMethod),
        ((Board, "main", Desk.ping, []), UnknownMethod),
        ((Board, "main", "note", []), UnknownMethod),
        (("Board", "main", Board.note, ["a", 1]), BadArguments),
        ((Actor, "main", Board.note, ["a", 1]), BadArguments),
        ((Board, "main", Board.note, ["x" * 2_000_000, 1]), TooLarge),
    ],
)
async def test_what_cannot_be_told_is_refused_at_once_and_rolls_the_call_back(what, error, autojump_clock):
    class Teller(Desk):
        def tell_it(self):
            actor, id, method, args = what
            self.tell_board(7)
            self.tell(actor, id, method, *args)

    async with open_test_runtime(Teller, Board) as runtime:
        teller = runtime.room(Teller, "a")
        with pytest.raises(error) as caught:
            await teller.tell_it()
        assert caught.value.ran == "rolled back"
        await settle()
        assert await runtime.room(Board, "main").seen() == []
        assert await teller.told() == []


async def test_a_read_may_not_tell_and_cannot_be_told(autojump_clock):
    class Reader(Desk):
        @read
        def look(self):
            self.tell(Board, "main", Board.note, "a", 1)

        def tell_a_read(self):
            self.tell(Reader, "b", Reader.look)

    async with open_test_runtime(Reader, Board) as runtime:
        with pytest.raises(StatementRefused, match="may not tell"):
            await runtime.room(Reader, "a").look()
        with pytest.raises(BadArguments, match="is a @read"):
            await runtime.room(Reader, "a").tell_a_read()


async def test_nobody_tells_outside_of_a_call(autojump_clock):
    kept = []

    class Keeper(Desk):
        def keep(self):
            kept.append(self)

    async with open_test_runtime(Keeper, Board) as runtime:
        await runtime.room(Keeper, "a").keep()
        with pytest.raises(StatementRefused):
            kept[0].tell(Board, "main", Board.note, "a", 1)


async def test_more_pending_tells_than_allowed_fail_their_call_and_lose_nothing(autojump_clock):
    async with open_test_runtime(Desk, Board, limits=Limits(tells_pending_max=10)) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        with pytest.raises(Overloaded, match="tells_pending_max is 10") as caught:
            await desk.tell_board(*range(11))
        assert (caught.value.ran, caught.value.retryable) == ("rolled back", True)
        await desk.tell_board(*range(9))
        await settle()
        await desk.tell_board(*range(9, 18))  # settled ones do not count
        await settle()
        assert await board.seen() == list(range(18))


async def test_a_tell_that_is_settled_takes_no_place_of_one_that_is_pending(autojump_clock):
    async with open_test_runtime(Desk, Board, limits=Limits(tells_pending_max=1)) as runtime:
        for number in range(3):
            await runtime.room(Desk, "a").tell_board(number)
            await settle()
        assert await runtime.room(Board, "main").seen() == [0, 1, 2]


async def test_on_a_full_disk_nothing_is_told_and_what_is_pending_waits(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.ping()
        await board.seen()
        await desk.tell_board(1)
        runtime.space.full = True
        with pytest.raises(StorageFull):
            await desk.tell_board(2)
        await settle(0.05)
        assert await board.seen() == []
        runtime.space.full = False
        await settle()
        assert await board.seen() == [1]
        assert await desk.dead() == []


# -- order, and everybody's turn ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rooms", [15, pytest.param(100, marks=pytest.mark.slow)])
async def test_many_rooms_tell_one_and_each_is_heard_in_its_order(autojump_clock, rooms):
    async with open_test_runtime(Desk, Board) as runtime:
        async with trio.open_nursery() as nursery:
            for number in range(rooms):
                nursery.start_soon(runtime.room(Desk, f"d{number}").tell_board, *range(1, 21))
        await settle()
        board = runtime.room(Board, "main")
        for number in range(rooms):
            assert await board.seen(f"d{number}") == list(range(1, 21))


@pytest.mark.parametrize("rooms", [50, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_one_room_tells_many_through_few_places_in_memory(autojump_clock, rooms):
    async with open_test_runtime(Desk, Board, limits=Limits(open_rooms_max=8)) as runtime:
        await runtime.room(Desk, "a").tell_many(rooms)
        await settle(3 * rooms)
        assert len(Board.tries) == rooms
        assert await runtime.room(Board, f"b{rooms - 1}").seen() == [0]


async def test_rooms_tell_each_other_and_themselves(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        await runtime.room(Board, "x").tell_back("y", 9)
        await runtime.room(Board, "self").tell_back("self", 5)
        await settle()
        assert await runtime.room(Board, "x").seen() == [9, 7, 5, 3, 1]
        assert await runtime.room(Board, "y").seen() == [8, 6, 4, 2, 0]
        assert await runtime.room(Board, "self").seen() == [5, 4, 3, 2, 1, 0]


async def test_two_rooms_with_one_place_in_memory_tell_each_other(autojump_clock):
    async with open_test_runtime(Desk, Board, limits=Limits(open_rooms_max=1)) as runtime:
        await runtime.room(Board, "x").tell_back("y", 5)
        await settle(60)
        assert await runtime.room(Board, "x").seen() == [5, 3, 1]
        assert await runtime.room(Board, "y").seen() == [4, 2, 0]
        assert Board.tries == [5, 4, 3, 2, 1, 0]


async def test_an_async_method_is_told_alone_so_that_the_next_does_not_overtake_it(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.tell_board(1, method="note_slowly")
        await desk.tell_board(2, 3)
        await desk.tell_board(4, method="note_slowly")
        await desk.tell_board(5)
        await settle(0.5)
        assert await board.seen() == []
        await settle()
        assert await board.seen() == [1, 2, 3, 4, 5]
        assert Board.tries == [1, 2, 3, 4, 5]


async def test_large_tells_do_not_fill_a_mailbox(autojump_clock):
    limits = Limits(call_bytes_max=100_000, mailbox_bytes_max=200_000)
    async with open_test_runtime(Desk, Board, limits=limits) as runtime:
        await runtime.room(Desk, "a").tell_board(*range(12), padding="x" * 60_000)
        await settle()
        assert await runtime.room(Board, "main").seen() == list(range(12))
        assert Board.tries == list(range(12))


# -- failures -------------------------------------------------------------------------------------------------------------
async def test_a_method_that_raises_is_tried_again_and_those_behind_it_wait(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        Board.failing.add(2)
        await desk.tell_board(1, 2, 3, 4)
        await settle(RETRY_SECONDS_FIRST / 2)
        assert await board.seen() == [1]
        Board.failing.clear()
        await settle()
        assert await board.seen() == [1, 2, 3, 4]
        assert Board.tries == [1, 2, 2, 3, 4]


async def test_f22_a_poison_tell_is_dead_after_three_tries_and_the_rest_proceeds(autojump_clock, caplog):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        Board.failing.add(2)
        with caplog.at_level(logging.ERROR):
            await desk.tell_board(1, 2, 3, 4)
            await desk.tell_board(5, board="other")
            await settle(RETRY_SECONDS_FIRST / 2)
            assert await runtime.room(Board, "other").seen() == [5], "another pair waits for nobody"
            await settle()
        assert await board.seen() == [1, 3, 4]
        assert Board.tries.count(2) == 3
        (dead,) = await desk.dead()
        assert (dead["actor"], dead["id"], dead["method"], dead["args"]) == ("Board", "main", "note", ["a", 2])
        assert (dead["number"], dead["attempts"], dead["reason"]) == (2, 3, "Sorry: number 2")
        assert dead["told_at"] < dead["dead_at"]
        assert sum("was given up" in record.message for record in caplog.records) == 1
        assert stored(runtime, Desk, "a") == []


async def test_a_method_whose_error_has_no_text_makes_a_dead_letter_with_one(autojump_clock, monkeypatch):
    monkeypatch.setattr(logging.getLogger("durable_rooms.actors"), "propagate", False)  # pytest-xdist cannot carry such a log
    async with open_test_runtime(Desk, Board) as runtime:
        desk = runtime.room(Desk, "a")
        await desk.tell_board(1, 2, method="fail_without_words")
        await desk.tell_board(3)
        await settle(30)
        assert [dead["reason"][:10] for dead in await desk.dead()] == ["Mute (its ", "Sorry: ???"]
        assert await runtime.room(Board, "main").seen() == [3]


async def test_a_dead_tell_can_be_told_again_or_forgotten(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        Board.failing |= {1, 2}
        await desk.tell_board(1, 2, 3)
        await settle(20)
        first, second = [dead["number"] for dead in await desk.dead()]
        Board.failing.clear()
        assert await desk.again(second)
        assert not await desk.again(second)
        assert await desk.forget(first)
        await settle()
        assert await board.seen() == [3, 2]
        assert await desk.dead() == []


async def test_with_no_place_for_dead_letters_the_pair_waits_and_nothing_is_lost(autojump_clock):
    async with open_test_runtime(Desk, Board, limits=Limits(tells_dead_max=1)) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        Board.failing |= {1, 2}
        await desk.tell_board(1, 2, 3)
        await settle(30)
        assert [dead["args"][1] for dead in await desk.dead()] == [1]
        assert await board.seen() == []
        (dead,) = await desk.dead()
        await desk.forget(dead["number"])
        await settle(200)
        assert [dead["args"][1] for dead in await desk.dead()] == [2]
        assert await board.seen() == [3]


async def test_attempts_are_counted_over_restarts(autojump_clock, tmp_path):
    Board.failing.add(1)
    for _ in range(2):
        async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
            if not Board.tries:
                await runtime.room(Desk, "a").tell_board(1)
            await settle(RETRY_SECONDS_FIRST / 2)
            assert len(Board.tries) == 1, "the time of the next try is kept, too"
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await settle(20)
        assert len(Board.tries) == 3
        assert len(await runtime.room(Desk, "a").dead()) == 1


async def test_a_class_that_is_gone_and_a_method_that_is_gone_make_dead_letters(autojump_clock, tmp_path):
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        Board.failing |= {1, 2}
        await runtime.room(Desk, "a").tell_board(1)
        await runtime.room(Desk, "b").tell_board(2)
    async with open_test_runtime(Desk, path=tmp_path) as runtime:
        await settle(20)
        (dead,) = await runtime.room(Desk, "a").dead()
        assert "Board is not an actor class of this runtime" in dead["reason"]

    class Renamed(Actor):
        migrations = Board.migrations

    Renamed.__name__ = "Board"
    async with open_test_runtime(Desk, Renamed, path=tmp_path) as runtime:
        await settle(20)
        for id in "ab":
            assert len(await runtime.room(Desk, id).dead()) == 1


async def test_tells_to_a_room_whose_class_fails_wait_for_the_next_version_of_it(autojump_clock, tmp_path, monkeypatch):
    """A bad release makes no dead letters of all that is told meanwhile."""
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await runtime.room(Board, "main").seen()  # it is there, of the old version

    with monkeypatch.context() as patch:
        patch.setattr(Board, "migrations", [*Board.migrations, "INSERT INTO strict VALUES (-1)"])
        async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
            desk = runtime.room(Desk, "a")
            await desk.tell_board(1)
            await settle(60)
            assert await desk.dead() == []
            await desk.tell_board(2)
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await settle(120)  # its clock begins anew, and the time of the next try is kept
        assert await runtime.room(Board, "main").seen() == [1, 2]


async def test_a_method_that_voids_its_own_turn_is_given_up_and_its_neighbours_are_not(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await runtime.room(Desk, "b").tell_board(9)
        await desk.tell_board(1, method="note_and_pass_over_a_rollback")
        await desk.tell_board(2)
        await settle(30)
        assert sorted(await board.seen()) == [2, 9]
        (dead,) = await desk.dead()
        assert dead["reason"].startswith("TurnVoid")
        assert await runtime.room(Desk, "b").dead() == []


async def test_turns_that_others_void_are_not_counted(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await board.seen()

        async def void():
            while True:
                with suppress(Exception):
                    await board.void()
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(void)
            for number in range(20):
                await desk.tell_board(number)
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await settle(60)
        assert await board.seen() == list(range(20))
        assert await desk.dead() == []


async def test_a_receiver_that_is_deleted_or_aborted_under_a_tell_is_told_again_without_counting(autojump_clock, tmp_path):
    threads = Waiting()
    doors = Doors(threads=threads, wall_clock=lambda: TEST_TIME)
    once = Limits(tell_attempts_max=1)
    async with open_with_doors(tmp_path, [Desk, Board], replicas=[], limits=once, doors=doors) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.tell_board(1, method="note_slowly")
        await desk.tell_board(2)
        await runtime.delete(board)
        await settle()
        assert await board.seen() == [1, 2]
        threads.hold()
        await desk.tell_board(3, method="note_apart")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.abort, board)
            await trio.sleep(1)
            threads.go.set()
        await settle()
        assert await board.seen() == [1, 2, 3]
        assert await desk.dead() == []


@pytest.mark.parametrize("who", ["Desk/a", "Board/main"])
async def test_a_room_that_breaks_on_either_side_loses_and_repeats_nothing(who, autojump_clock):
    disk = FailsOnce()
    async with open_test_runtime(Desk, Board, disk=disk) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await board.seen()
        for number in range(1, 11):
            if number == 5:
                actor, id = who.split("/")
                activation = runtime.seated(RoomName(actor, id))
                certified = activation.certified
                activation.certified = lambda count, a=activation, c=certified: (
                    a.sync_failed(OSError(5, "Input/output error")) if "broken" not in vars(a.gate.__class__) else c(count)
                )
            with suppress(Exception):
                await desk.tell_board(number)
        await settle(60)
        assert await board.seen() == await desk.told()
        assert len(await desk.told()) >= 9
        assert await desk.dead() == []


# -- memory, stops and starts -----------------------------------------------------------------------------------------------
async def test_a_sender_stays_until_its_tells_are_settled_and_may_hibernate_while_one_waits(autojump_clock):
    limits = Limits(idle_seconds_max=5, tell_attempts_max=8)
    async with open_test_runtime(Desk, Board, limits=limits) as runtime:
        Board.failing.add(1)
        await runtime.room(Desk, "a").tell_board(1, 2)
        await settle(60)
        assert runtime.seated(RoomName("Desk", "a")) is None
        wake_at = runtime.catalog.get(RoomName("Desk", "a")).wake_at
        assert wake_at is not None
        Board.failing.clear()
        await settle(120)
        assert await runtime.room(Board, "main").seen() == [1, 2]
        await settle(60)
        assert runtime.catalog.get(RoomName("Desk", "a")).wake_at is None


async def test_senders_that_are_deleted_leave_nothing_behind(autojump_clock):
    async with open_test_runtime(Desk, Board) as runtime:
        for number in range(20):
            desk = runtime.room(Desk, f"d{number}")
            await desk.tell_board(number)
            await runtime.delete(desk)
        await settle()
        assert await runtime.room(Board, "main").seen() != []
        assert runtime.courier._outgoing == {}


async def test_a_sender_that_leaves_memory_as_it_settles_its_tells_settles_them_at_its_next_stay(autojump_clock, tmp_path):
    class Late(Desk):
        starts: ClassVar = 0

        def on_start(self) -> None:
            Late.starts += 1
            if Late.starts == 2:
                raise Sorry("the first stay after the restart")

    Board.failing.add(1)
    async with open_test_runtime(Late, Board, path=tmp_path) as runtime:
        await runtime.room(Late, "a").tell_board(1)
    Board.failing.clear()
    async with open_test_runtime(Late, Board, path=tmp_path) as runtime:
        await settle(10 * Limits().idle_seconds_max)  # nobody calls the sender
        assert await runtime.room(Board, "main").seen() == [1]
        assert runtime.seated(RoomName("Late", "a")) is None
        began = trio.current_time()
    assert trio.current_time() - began < Limits().drain_seconds_max / 2
    async with open_test_runtime(Late, Board, path=tmp_path) as runtime:
        await runtime.room(Late, "a").ping()
        assert stored(runtime, Late, "a") == []


async def test_a_stop_delivers_what_is_under_way_and_the_next_start_the_rest(autojump_clock, tmp_path):
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await runtime.room(Desk, "a").tell_many(12, each=160)
    before = len(Board.tries)
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await settle()  # nobody calls
        assert len(Board.tries) == 1_920
        for board in range(12):
            assert await runtime.room(Board, f"b{board}").seen() == list(range(160))
    assert before < 1_920


async def test_a_stop_does_not_wait_for_a_method_that_never_ends(autojump_clock, tmp_path):
    class Sleeper(Board):
        async def sleep(self):
            await trio.sleep_forever()

    class Teller(Desk):
        def tell_sleeper(self):
            self.tell(Sleeper, "s", Sleeper.sleep)
            self.tell(Sleeper, "s", Sleeper.note, "a", 1)

    async with open_test_runtime(Teller, Sleeper, path=tmp_path) as runtime:
        await runtime.room(Teller, "a").tell_sleeper()
        await settle(1)
        began = trio.current_time()
    assert trio.current_time() - began < 2 * Limits().drain_seconds_max
    assert Board.tries == []


async def test_a_sender_that_was_restored_from_a_copy_tells_nothing_twice_and_new_things_once(autojump_clock, tmp_path):
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        desk = runtime.room(Desk, "a")
        Board.failing.add(2)
        await desk.tell_board(1, 2)
        await settle(0.5)
        file = runtime.directory.room(RoomName("Desk", "a"))
    copy = file.read_bytes()  # in which 2 is pending
    Board.failing.clear()
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await settle()
        await runtime.room(Desk, "a").tell_board(3)
        await settle()
        assert await runtime.room(Board, "main").seen() == [1, 2, 3]
    file.write_bytes(copy)
    async with open_test_runtime(Desk, Board, path=tmp_path) as runtime:
        await runtime.room(Desk, "a").tell_board(4)  # has the number that 3 had
        await settle()
        assert await runtime.room(Board, "main").seen() == [1, 2, 3, 4]
        assert stored(runtime, Desk, "a") == []


async def test_what_a_dump_has_still_to_tell_is_told_by_the_room_that_it_becomes(autojump_clock, tmp_path):
    async with open_test_runtime(Desk, Board) as runtime:
        one, other = runtime.room(Desk, "one"), runtime.room(Desk, "other")
        await other.tell_board(*range(10))
        Board.failing.add(11)
        await one.tell_board(11)
        await runtime.dump(one, tmp_path / "one.db")
        Board.failing.clear()
        await runtime.load(other, tmp_path / "one.db", replace=True)
        await settle()
        assert await runtime.room(Board, "main").seen("one") == [11, 11]


async def test_a_room_that_was_the_dump_of_another_hears_what_is_still_to_be_told_to_it(autojump_clock, tmp_path):
    async with open_test_runtime(Desk, Board) as runtime:
        desk, copy = runtime.room(Desk, "a"), runtime.room(Board, "copy")
        Board.failing.add(1)
        await desk.tell_board(1, board="copy")
        await desk.tell_board(2)
        await settle(0.5)
        await runtime.dump(runtime.room(Board, "main"), tmp_path / "main.db")
        Board.failing.clear()
        await runtime.load(copy, tmp_path / "main.db", replace=True)
        await settle()
        assert await copy.seen() == [2, 1]


def test_bare_rooms_tell_nobody_but_the_test():
    desk = bare(Desk, "a")
    assert told(desk) == []
    desk.tell_board(1, 2, padding="x")
    with pytest.raises(Sorry):
        desk.tell_and_raise(3)
    assert told(desk) == [("Board", "main", "note", ["a", number], {"padding": "x"}) for number in (1, 2)]
