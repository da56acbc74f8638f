"""A room leaves memory when nobody needs it; its rows stay."""

import trio

from durable_rooms import Limits
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Notes
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import one_after_another


class Sleepers(Notes):
    async def sleep(self, seconds: float) -> list[str]:
        await trio.sleep(seconds)
        return self.memory


def memory_is_kept(limits: Limits):
    return open_test_runtime(Sleepers, limits=limits)


@statement(42)
@behaviour(21)
async def test_an_idle_room_forgets_its_memory_and_keeps_its_rows(autojump_clock) -> None:
    """Given a room with memory and rows, when nobody calls it for idle_seconds_max, then it leaves; the next call
    constructs it anew and finds the rows."""
    async with memory_is_kept(Limits(idle_seconds_max=10)) as runtime:
        room = runtime.room(Sleepers, "a")
        await room.post("kept")
        await room.remember("forgotten")
        await trio.sleep(9)
        assert runtime.status().rooms_open == 1
        await trio.sleep(15)
        assert runtime.status().rooms_open == 0
        assert await room.remember("fresh") == ["fresh"]
        assert await room.bodies() == ["kept"]


@statement(42)
@behaviour(21)
async def test_a_handler_that_waits_keeps_its_room_and_the_room_leaves_after_it(autojump_clock) -> None:
    """Given a handler that sleeps for an hour, when the room is otherwise idle, then it stays until the handler has ended
    and idle_seconds_max more."""
    async with memory_is_kept(Limits(idle_seconds_max=10)) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Sleepers, "a")
        await room.remember("kept")
        await one_after_another(nursery, lambda: room.sleep(3_600))
        await trio.sleep(3_599)
        assert await room.remember("still") == ["kept", "still"]
        await trio.sleep(30)
        assert runtime.status().rooms_open == 0


@behaviour(21)
async def test_where_too_many_are_open_the_least_recently_used_makes_room(autojump_clock) -> None:
    """Given open_rooms_max rooms in memory, when one more is called, then the one that was called longest ago has left,
    and nothing of it is lost."""
    async with memory_is_kept(Limits(open_rooms_max=2)) as runtime:
        for id in "abc":
            room = runtime.room(Sleepers, id)
            await room.post(id)
            await room.remember(id)
            await trio.sleep(1)
        assert runtime.status().rooms_open == 2
        assert await runtime.room(Sleepers, "c").remember("+") == ["c", "+"]
        assert await runtime.room(Sleepers, "b").remember("+") == ["b", "+"]
        assert await runtime.room(Sleepers, "a").remember("+") == ["+"]
        assert await runtime.room(Sleepers, "a").bodies() == ["a"]
