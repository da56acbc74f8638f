"""`async with self.exclusive()`: nobody else runs in the room until the block ends."""

import pytest
import trio

from tests.rooms.chat import ChatRoom, Sorry, one_after_another, one_room


class Exclusive(ChatRoom):
    async def post_twice(self, body: str, seconds: float) -> None:
        self.post(f"{body} 1")
        await trio.sleep(seconds)
        self.post(f"{body} 2")

    async def exclusive_post(self, body: str) -> None:
        async with self.exclusive():
            self.post(f"{body} 1")
            await trio.sleep(5)
            self.post(f"{body} 2")
        await trio.sleep(1_000)

    async def deadline(self) -> None:
        with trio.move_on_after(1):
            await trio.sleep(100)
        self.post("deadline")


async def test_exclusive_keeps_others_out_until_its_block_ends_and_no_longer(autojump_clock) -> None:
    async with one_room(Exclusive) as room, trio.open_nursery() as nursery:
        began = trio.current_time()
        await one_after_another(nursery, lambda: room.post_twice("sleeper", 2), lambda: room.exclusive_post("mine"))
        await room.post("other")
        assert trio.current_time() - began == pytest.approx(5)
        bodies = await room.bodies()
        assert bodies[bodies.index("mine 1") + 1] == "mine 2"
        assert set(bodies[bodies.index("mine 2") + 1 :]) <= {"other", "sleeper 2"}
        nursery.cancel_scope.cancel()


async def test_the_next_call_runs_when_the_block_ends_though_its_handler_goes_on(autojump_clock) -> None:
    async with one_room(Exclusive) as room, trio.open_nursery() as nursery:
        began = trio.current_time()
        await one_after_another(nursery, lambda: room.exclusive_post("mine"))
        await room.post("other")
        assert trio.current_time() - began == pytest.approx(5)
        nursery.cancel_scope.cancel()


async def test_a_deadline_of_another_handler_does_not_break_into_an_exclusive_block(autojump_clock) -> None:
    async with one_room(Exclusive) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, room.deadline, lambda: room.exclusive_post("mine"))
        await trio.sleep(6)
        assert await room.bodies() == ["mine 1", "mine 2", "deadline"]
        nursery.cancel_scope.cancel()


async def test_two_exclusive_blocks_run_one_after_the_other(autojump_clock) -> None:
    async with one_room(Exclusive) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.exclusive_post("a"), lambda: room.exclusive_post("b"))
        await trio.sleep(11)
        assert await room.bodies() == ["a 1", "a 2", "b 1", "b 2"]
        nursery.cancel_scope.cancel()


async def test_exclusive_ends_when_its_handler_raises(autojump_clock) -> None:
    class Raises(ChatRoom):
        async def fail(self) -> None:
            async with self.exclusive(), self.exclusive():
                await trio.sleep(1)
                raise Sorry

    async with one_room(Raises) as room:
        with pytest.raises(Sorry):
            await room.fail()
        assert await room.post("free again") == 1
