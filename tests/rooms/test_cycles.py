"""Rooms that wait for each other: found at once, printed, and never where there is no circle."""

import pytest
import trio

from durable_rooms import Actor, CallCycle, CallRefused
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import outcome, together


class Peer(Actor):
    def ping(self) -> str:
        return "pong"

    async def hold_and_call(self, *way: str) -> str:
        """Keep others out, then call along the way."""
        async with self.exclusive():
            await trio.sleep(1)
            return await self.onward(*way)

    async def hold_and_relay(self, *way: str) -> str:
        async with self.exclusive():
            await trio.sleep(1)
            return await self.relay(*way)

    async def relay(self, *way: str) -> str:
        return await self.onward(*way)

    async def hold_and_call_by_a_child(self, *way: str) -> str:
        found: list[str] = []

        async def child() -> None:
            found.append(await self.onward(*way))

        async with self.exclusive(), trio.open_nursery() as nursery:
            nursery.start_soon(child)
        return found[0]

    async def onward(self, *way: str) -> str:
        if not way:
            return "end"
        room = self.room(Peer, way[0])
        return await (room.relay(*way[1:]) if way[1:] else room.ping())

    async def hold_twice(self, other: str) -> str:
        async with self.exclusive():
            await trio.sleep(1)
            return await self.room(Peer, other).hold_and_relay()

    async def call_from_outside_the_block(self, other: str) -> str:
        """The block ends by itself: the call of the child is not in it, and comes back behind it."""
        found: list[str] = []

        async def child() -> None:
            found.append(await self.room(Peer, other).relay(self.id))

        async with trio.open_nursery() as nursery, self.exclusive():
            nursery.start_soon(child)
            await trio.sleep(1)
        return found[0]

    async def exclusive_after(self, other: str) -> str:
        return await self.room(Peer, other).hold_and_call(self.id)


@pytest.fixture
async def peers(autojump_clock):
    async with open_test_runtime(Peer) as runtime:
        with trio.fail_after(20):  # below exclusive_seconds_max: nothing here may be ended by that
            yield lambda id: runtime.room(Peer, id)


async def test_f27_a_call_that_comes_back_to_its_own_exclusive_room_is_refused_at_once_with_the_cycle(peers) -> None:
    began = trio.current_time()
    error = await outcome(lambda: peers("a").hold_and_call("b", "a"))
    assert trio.current_time() - began < 1.1  # the second that it holds the room first
    assert type(error) is CallCycle
    assert isinstance(error, CallRefused)
    assert "Peer/a.hold_and_call → Peer/b.relay → Peer/a.ping" in str(error)
    assert error.room == "Peer/a"
    assert not error.retryable
    assert await peers("a").ping() == "pong"
    assert await peers("b").ping() == "pong"


async def test_without_an_exclusive_block_rooms_may_call_in_circles(peers) -> None:
    assert await peers("a").relay("b", "c", "a", "b", "a") == "pong"
    assert await peers("a").relay("a", "a") == "pong"


async def test_a_room_that_calls_itself_in_its_exclusive_block_is_refused(peers) -> None:
    error = await outcome(lambda: peers("a").hold_and_call("a"))
    assert type(error) is CallCycle
    assert "Peer/a.hold_and_call → Peer/a.ping" in str(error)


async def test_an_exclusive_block_along_the_way_is_no_cycle(peers) -> None:
    assert await peers("a").hold_and_call("b", "c") == "pong"
    assert await peers("a").exclusive_after("b") == "pong"


async def test_two_chains_that_lock_each_other_are_found_and_one_of_them_goes_on(peers) -> None:
    found = await together(lambda: peers("a").hold_and_call("b"), lambda: peers("b").hold_and_call("a"))
    cycles = [one for one in found if isinstance(one, CallCycle)]
    assert len(cycles) == 1
    assert cycles[0].retryable
    assert [one for one in found if not isinstance(one, CallCycle)] == ["pong"]
    first, second = ("a", "b") if isinstance(found[0], CallCycle) else ("b", "a")
    assert (
        f"Peer/{first}.hold_and_call → Peer/{second}.ping, which waits for Peer/{second}.hold_and_call → Peer/{first}.ping, "
        f"which waits for Peer/{first}.hold_and_call"
    ) in str(cycles[0])


async def test_three_chains_in_a_ring_are_found_and_two_of_them_go_on(peers) -> None:
    found = await together(
        lambda: peers("a").hold_and_call("b"), lambda: peers("b").hold_and_call("c"), lambda: peers("c").hold_and_call("a")
    )
    assert sorted(type(one).__name__ for one in found) == ["CallCycle", "str", "str"]


async def test_chains_that_wait_for_each_others_exclusive_are_found(peers) -> None:
    found = await together(lambda: peers("a").hold_twice("b"), lambda: peers("b").hold_twice("a"))
    assert sorted(type(one).__name__ for one in found) == ["CallCycle", "str"]
    (cycle,) = [one for one in found if isinstance(one, CallCycle)]
    assert "hold_twice → Peer/" in str(cycle)
    assert "hold_and_relay, which waits for Peer/" in str(cycle)


async def test_a_child_tasks_call_closes_a_cycle_as_its_handlers_does(peers) -> None:
    group = await outcome(lambda: peers("a").hold_and_call_by_a_child("b", "c", "a"))
    (error,) = group.exceptions
    assert type(error) is CallCycle
    assert "Peer/a.hold_and_call_by_a_child → Peer/b.relay → Peer/c.relay → Peer/a.ping" in str(error)


async def test_a_call_behind_a_block_that_ends_by_itself_is_no_cycle(peers) -> None:
    assert await peers("a").call_from_outside_the_block("b") == "pong"


async def test_a_refused_call_leaves_its_handler_the_choice_what_to_do(autojump_clock) -> None:
    class Careful(Actor):
        def ping(self) -> str:
            return "pong"

        async def hold(self) -> str:
            async with self.exclusive():
                return await self.room(Careful, "b").back()

        async def back(self) -> str:
            try:
                return await self.room(Careful, "a").ping()
            except CallCycle as error:
                return error.ran

    async with open_test_runtime(Careful) as runtime:
        assert await runtime.room(Careful, "a").hold() == "no"
