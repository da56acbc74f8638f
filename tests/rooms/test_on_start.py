"""`on_start`: once for each stay in memory, before any call, alone."""

from typing import ClassVar

import pytest
import trio

from durable_rooms import Limits, OutcomeUnknown, RoomUnfit, StartFailed, StatementRefused, read
from durable_rooms.testing import bare, open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_room, outcome, together
from tests.rooms.faults import FailsOnce


class Remembers(ChatRoom):
    starts: ClassVar[list[str]] = []

    def on_start(self) -> None:
        self.starts.append(self.id)
        self.count = len(self.bodies())
        self.post(f"start {self.count}")

    def counted(self) -> int:
        return self.count

    @read
    def texts(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()


class Slow(ChatRoom):
    async def on_start(self) -> None:
        self.ready = False
        self.post("begins")
        await trio.sleep(5)
        self.post("ends")
        self.ready = True

    def is_ready(self) -> bool:
        return self.ready

    async def is_ready_later(self) -> bool:
        return self.ready


class Failing(ChatRoom):
    broken: ClassVar[list[str]] = []
    tries: ClassVar[list[float]] = []

    def on_start(self) -> None:
        self.tries.append(self.now())
        self.post(f"try {len(self.tries)}")
        if self.broken:
            raise Sorry("not yet")

    @read
    def texts(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()


@pytest.fixture(autouse=True)
def afresh() -> None:
    for kept in (Remembers.starts, Failing.broken, Failing.tries):
        kept.clear()


async def test_it_runs_once_for_each_stay_before_the_first_call(autojump_clock) -> None:
    async with one_room(Remembers) as room:
        assert await together(*[room.counted] * 5) == [0] * 5
        assert await room.bodies() == ["start 0"]
        await trio.sleep(100)  # it hibernates
        assert await room.counted() == 1
        assert Remembers.starts == ["general"] * 2


async def test_a_read_does_not_need_it(autojump_clock) -> None:
    async with one_room(Remembers) as room:
        assert await room.texts() == []
        assert Remembers.starts == []
        assert await room.counted() == 0
        assert await room.texts() == ["start 0"]


@pytest.mark.parametrize("method", ["is_ready", "is_ready_later"])
async def test_nothing_else_runs_until_an_async_one_is_done(method: str, autojump_clock) -> None:
    async with one_room(Slow) as room:
        began = trio.current_time()
        assert await together(*[getattr(room, method)] * 3) == [True] * 3
        assert trio.current_time() - began == pytest.approx(5)
        assert await room.bodies() == ["begins", "ends"]


@pytest.mark.parametrize("slow", [False, True])
async def test_what_it_wrote_is_gone_if_it_raises_and_it_is_tried_again_after_a_while(slow: bool, autojump_clock) -> None:
    class Slowly(Failing):
        async def on_start(self) -> None:
            await trio.lowlevel.checkpoint()
            super().on_start()

    async with one_room(Slowly if slow else Failing) as room:
        Failing.broken.append("yes")
        for error in await together(*[lambda: room.post("x")] * 3):
            assert isinstance(error, StartFailed)
            assert isinstance(error, RoomUnfit)
            assert (error.ran, error.retryable) == ("no", True)
            assert "on_start raised Sorry: not yet" in str(error)
        for _ in range(20):
            with pytest.raises(StartFailed, match="tries again"):
                await room.post("x")
        assert len(Failing.tries) == 1
        assert await room.texts() == []  # reads are served meanwhile
        await trio.sleep(1.2)
        assert isinstance(await outcome(lambda: room.post("x")), StartFailed)
        assert len(Failing.tries) == 2
        Failing.broken.clear()
        await trio.sleep(3)
        assert await room.post("here") == 2
        assert await room.bodies() == ["try 3", "here"]
        assert Failing.tries[1] - Failing.tries[0] < Failing.tries[2] - Failing.tries[1]


async def test_an_async_one_that_does_not_end_is_cut_short_and_its_callers_are_told(autojump_clock) -> None:
    class Endless(ChatRoom):
        async def on_start(self) -> None:
            await trio.sleep_forever()

    async with one_room(Endless, limits=Limits(exclusive_seconds_max=3)) as room:
        began = trio.current_time()
        error = await outcome(lambda: room.post("x"))
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)
        assert isinstance(error, StartFailed)
        assert "held for more than 3 s" in str(error)


async def test_it_runs_again_after_a_reset(autojump_clock) -> None:
    class Resets(Remembers):
        async def fail(self) -> None:
            async with self.exclusive():
                raise Sorry

    async with one_room(Resets) as room:
        assert await room.counted() == 0
        assert isinstance(await outcome(room.fail), Sorry)
        assert await room.counted() == 1


async def test_a_first_call_waits_for_the_sync_of_what_it_wrote(autojump_clock) -> None:
    disk = FailsOnce()
    async with one_room(Remembers, disk=disk) as room:
        assert await room.counted() == 0
        await trio.sleep(100)
        disk.fail_next()
        assert isinstance(await outcome(room.counted), OutcomeUnknown)
        assert await room.counted() in (1, 2)


async def test_it_may_not_call_other_rooms_unless_it_is_async(autojump_clock) -> None:
    class Calls(ChatRoom):
        def on_start(self) -> None:
            self.room(ChatRoom, "other")

    class CallsWell(ChatRoom):
        async def on_start(self) -> None:
            self.found = await self.room(ChatRoom, "other").post(f"from {self.id}")

        def what(self) -> int:
            return self.found

    async with open_test_runtime(Calls, CallsWell, ChatRoom) as runtime:
        error = await outcome(runtime.room(Calls, "a").ping)
        assert isinstance(error, StartFailed)
        assert isinstance(error.__cause__, StatementRefused)
        assert await runtime.room(CallsWell, "a").what() == 1
        assert await runtime.room(CallsWell, "b").what() == 2


def test_a_bare_room_starts_too() -> None:
    room = bare(Remembers)
    assert room.counted() == 0
    assert room.bodies() == ["start 0"]
    Failing.broken.append("yes")
    with pytest.raises(Sorry):
        bare(Failing)
    with pytest.raises(TypeError, match="async"):
        bare(Slow)
