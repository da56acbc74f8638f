"""What a runtime refuses when there is too much of it."""

import pytest
import trio

from durable_rooms import Limits, Overloaded
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Notes
from tests.conformance.yardstick import behaviour
from tests.rooms.chat import one_after_another


class Busy(Notes):
    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)


@behaviour(20)
async def test_a_runtime_has_a_bound_of_its_own_over_all_rooms(autojump_clock) -> None:
    """Given many rooms at work, when more calls wait in all of them than waiting_calls_max, then the next one is refused
    at once, whichever room it is for, and says which bound it met."""
    async with open_test_runtime(Busy, limits=Limits(waiting_calls_max=6)) as runtime, trio.open_nursery() as nursery:
        rooms = [runtime.room(Busy, f"{n}") for n in range(3)]
        for room in rooms:
            await one_after_another(nursery, lambda room=room: room.hold(10))
        for room in rooms * 2:
            await one_after_another(nursery, lambda room=room: room.remember("waits"))
        before = trio.current_time()
        with pytest.raises(Overloaded, match="waiting_calls_max") as caught:
            await rooms[0].remember("one too many")
        assert trio.current_time() == before
        assert (caught.value.ran, caught.value.retryable) == ("no", True)
        await trio.sleep(11)
        assert await rooms[0].remember("end") == ["waits", "waits", "end"]
