"""The terms of a call: how long it may take, that it runs once; and what its errors say."""

import pytest
import trio

from durable_rooms import DeadlineExceeded, Limits, RoomsError
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Callers, Notes
from tests.conformance.yardstick import behaviour
from tests.rooms.chat import one_after_another, together


class Busy(Notes):
    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)


@behaviour(19)
async def test_an_error_says_that_it_is_overload_and_of_which_method(autojump_clock) -> None:
    """Given a call that is refused for its arguments and one for overload, when they raise, then only the second is
    `overloaded`, and both name their room and method."""
    async with open_test_runtime(Busy, limits=Limits(mailbox_calls_max=1)) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Busy, "a")
        await one_after_another(nursery, lambda: room.hold(10), lambda: room.remember("waits"))
        found: list[RoomsError] = []
        for call in (lambda: room.remember(), lambda: room.remember("too many")):
            with pytest.raises(RoomsError) as caught:
                await call()
            found.append(caught.value)
        assert [(error.overloaded, error.room, error.method) for error in found] == [
            (False, "Busy/a", "remember"),
            (True, "Busy/a", "remember"),
        ]


@behaviour(20)
async def test_a_call_that_has_waited_past_its_timeout_never_runs(autojump_clock) -> None:
    """Given a room at work, when a call with a timeout waits beyond it, then its caller is told in time that nothing ran,
    and nothing does."""
    async with open_test_runtime(Busy) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Busy, "a")
        await one_after_another(nursery, lambda: room.hold(10))
        before = trio.current_time()
        with pytest.raises(RoomsError) as caught:
            await room.options(timeout=2).post("late")
        assert trio.current_time() - before < 3
        assert isinstance(caught.value, (DeadlineExceeded, TimeoutError))
        assert caught.value.ran == "no"
        await trio.sleep(10)
        assert await room.bodies() == []


@behaviour(19)
async def test_whoever_does_not_know_repeats_with_the_same_key(tmp_path, autojump_clock) -> None:
    """Given a call with a key whose caller does not know what became of it, when it is repeated, a hundred times at once
    and after a restart, then it has run once and each gets the same reply."""
    async with open_test_runtime(Busy, path=tmp_path) as runtime:
        keyed = runtime.room(Busy, "a").options(key="message 42")
        async with trio.open_nursery() as nursery:
            callers = Callers(nursery)
            await callers.start("first", keyed.post, "hello")
        assert await together(*[lambda: keyed.post("hello")] * 100) == [1] * 100
    async with open_test_runtime(Busy, path=tmp_path) as runtime:
        room = runtime.room(Busy, "a")
        assert await room.options(key="message 42").post("hello") == 1
        assert await room.bodies() == ["hello"]
