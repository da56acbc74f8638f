"""F23: whoever blocks the loop is named, with the stack, while it happens; beyond a bound the process ends itself."""

import logging
import math
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Doors, InlineThreads
from durable_rooms import Actor, Limits, Runtime, open_runtime
from durable_rooms.runtime import open_with_doors
from tests.rooms.chat import ChatRoom, one_room, together

LOOK = 0.125  # seconds between two looks, a sum of which has no error


class Hand:
    """A lookout moved by hand, and its stopwatch: `passes(seconds)` is what happens beside a loop that does not come round."""

    def __init__(self) -> None:
        self.time = 100.0
        self.aborted: list[str] = []
        self.watching = False
        self._look: Callable[[], None]
        self._loop: trio.lowlevel.TrioToken

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            self.time += LOOK
            self._look()

    async def comes_round(self) -> None:
        """The loop answers what it was asked, and is looked at again."""
        await wait_all_tasks_blocked()
        self.passes(LOOK)

    def start(self, look: Callable[[], None]) -> None:
        self._look = look
        self._loop = trio.lowlevel.current_trio_token()
        self.watching = True
        look()

    def ask(self, answer: Callable[[], None]) -> None:
        self._loop.run_sync_soon(answer)

    def stack(self) -> str:
        return "  File here, line 7, in somebody"

    def abort(self, words: str) -> None:
        self.aborted.append(words)

    def stop(self) -> None:
        self.watching = False


HAND = Hand()


class Slow(ChatRoom):
    def block(self, seconds: float) -> None:
        HAND.passes(seconds)

    def be_paused(self, seconds: float) -> None:
        HAND.passes(2 * LOOK)
        HAND.time += seconds
        HAND.passes(2 * LOOK)

    def fail_slowly(self, seconds: float) -> None:
        HAND.passes(seconds)
        raise ValueError("at last")

    async def block_between(self, seconds: float) -> None:
        await trio.sleep(1)
        HAND.passes(seconds)
        await trio.sleep(1)


@pytest.fixture
def hand() -> Hand:
    HAND.__init__()
    return HAND


@asynccontextmanager
async def watched(hand: Hand, **limits: Any) -> AsyncGenerator[Runtime]:
    doors = Doors(threads=InlineThreads(), wall_clock=lambda: 1_700_000_000.0, stopwatch=lambda: hand.time, lookout=hand)
    bounds = Limits(turn_seconds_max=1e9, **limits)
    with tempfile.TemporaryDirectory() as temporary:
        async with open_with_doors(temporary, [Slow], replicas=[], limits=bounds, doors=doors) as runtime:
            await runtime.room(Slow, "general").ping()
            await hand.comes_round()
            yield runtime
    assert not hand.watching


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_f23_a_handler_that_blocks_the_loop_is_named_with_its_stack_and_again_when_it_ends(
    hand: Hand, caplog: pytest.LogCaptureFixture, autojump_clock
) -> None:
    async with watched(hand) as runtime:
        await runtime.room(Slow, "general").block(3)
        await hand.comes_round()
        began, ended = said(caplog)
    assert began.startswith("Slow/general.block has blocked the loop for 500 ms, and every room with it.")
    assert began.endswith("File here, line 7, in somebody")
    assert ended == "Slow/general.block blocked the loop for 3000 ms in all; it goes on now"


async def test_f23_the_status_counts_stalls_and_knows_the_last_one(hand: Hand, autojump_clock) -> None:
    async with watched(hand) as runtime:
        assert (runtime.status().stalls, runtime.status().last_stall) == (0, None)
        for seconds, room in ((1, "a"), (2, "b")):
            await runtime.room(Slow, room).block(seconds)
            await hand.comes_round()
        status = runtime.status()
    assert status.stalls == 2
    stall = status.last_stall
    assert stall is not None
    assert (stall.room, stall.method, stall.over, stall.noticed_at) == ("Slow/b", "block", True, 1_700_000_000.0)
    assert stall.seconds == pytest.approx(2)
    assert "in somebody" in stall.stack


async def test_f23_a_hostile_room_id_writes_no_line_of_its_own_into_the_log(hand: Hand, caplog, autojump_clock) -> None:
    async with watched(hand) as runtime:
        await runtime.room(Slow, "a\nroot logged in\x1b[2J").block(1)
        await hand.comes_round()
    assert said(caplog)[1] == r"Slow/a\nroot logged in\x1b[2J.block blocked the loop for 1000 ms in all; it goes on now"


async def test_f23_a_handler_that_raises_in_the_end_is_named_too(hand: Hand, caplog, autojump_clock) -> None:
    async with watched(hand) as runtime:
        with pytest.raises(ValueError, match="at last"):
            await runtime.room(Slow, "general").fail_slowly(1)
        await hand.comes_round()
    assert [words.split(" ")[0] for words in said(caplog)] == ["Slow/general.fail_slowly"] * 2


async def test_f23_a_slice_of_an_async_handler_is_named_and_its_waiting_is_none(hand: Hand, caplog, autojump_clock) -> None:
    async with watched(hand) as runtime:
        await runtime.room(Slow, "general").block_between(1)
        await hand.comes_round()
    assert [words.split(" for")[0] for words in said(caplog)] == [
        "Slow/general.block_between has blocked the loop",
        "Slow/general.block_between blocked the loop",
    ]


async def test_f23_a_loop_blocked_outside_a_handler_is_noticed(hand: Hand, caplog, autojump_clock) -> None:
    async with watched(hand) as runtime:
        await trio.lowlevel.checkpoint()
        hand.passes(2)
        stall = runtime.status().last_stall
        assert stall is not None
        assert (stall.room, stall.method, stall.over) == ("", "", False)
        assert stall.seconds >= 1.8
        await hand.comes_round()
    assert [words.split(" the loop")[0] for words in said(caplog)] == [
        "something outside a handler has blocked",
        "something outside a handler blocked",
    ]


async def test_f23_a_busy_loop_is_no_stall(hand: Hand, caplog, autojump_clock) -> None:
    """Many calls one after another in one turn: the loop does not come round for 5 s, but no call takes more than 0.25 s."""
    async with watched(hand) as runtime:
        await together(*[lambda: runtime.room(Slow, "general").block(0.25)] * 20)
        await hand.comes_round()
        assert runtime.status().stalls == 0
    assert said(caplog) == []


async def test_f23_beyond_its_bound_the_process_is_ended_and_says_why(hand: Hand, autojump_clock) -> None:
    async with watched(hand, blocked_seconds_max=5) as runtime:
        await runtime.room(Slow, "general").block(5)
        assert hand.aborted == []
        await runtime.room(Slow, "general").block(5.5)
        await hand.comes_round()
    assert hand.aborted[0].startswith("Slow/general.block has blocked the loop for 5.1 s; blocked_seconds_max is 5 s.")
    assert "supervisor" in hand.aborted[0]


async def test_f23_a_process_that_was_paused_is_not_ended_for_that(hand: Hand, caplog, autojump_clock) -> None:
    """SIGSTOP, a suspended machine: an hour passes between two looks, in the middle of a handler."""
    async with watched(hand, blocked_seconds_max=5) as runtime:
        await runtime.room(Slow, "general").be_paused(3_600)
        await hand.comes_round()
        stall = runtime.status().last_stall
    assert hand.aborted == []
    assert stall is not None
    assert stall.seconds == pytest.approx(3_600, abs=1)


async def test_f23_by_default_nothing_ends_the_process_as_a_breakpoint_blocks_the_loop_too(hand: Hand, autojump_clock) -> None:
    assert Limits().blocked_seconds_max == math.inf
    async with watched(hand) as runtime:
        await runtime.room(Slow, "general").block(100)
    assert hand.aborted == []


class Sleepy(Actor):
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def ping(self) -> str:
        return "pong"


async def test_f23_a_real_thread_sees_a_real_handler(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_runtime(tmp_path, [Sleepy], limits=Limits(blocked_seconds_warn=0.2)) as runtime:
        await runtime.room(Sleepy, "a").sleep(0.7)
        while not getattr(runtime.status().last_stall, "over", False):  # noqa: ASYNC110 - the thread looks again soon
            await trio.sleep(0.01)
        stall = runtime.status().last_stall
    assert stall is not None
    assert (stall.room, stall.method) == ("Sleepy/a", "sleep")
    assert "time.sleep(seconds)" in stall.stack
    assert "in run" in stall.stack, "from the turn inward"
    assert stall.seconds >= 0.2
    assert [words.split(" ")[0] for words in said(caplog)] == ["Sleepy/a.sleep"] * 2


async def test_nobody_looks_where_time_is_virtual(autojump_clock) -> None:
    async with one_room(Sleepy) as room:
        await room.ping()
        await trio.sleep(3_600)
        assert await room.ping() == "pong"
