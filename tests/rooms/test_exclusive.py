"""`async with self.exclusive()`: nobody else runs in the room until the block ends."""

import pytest
import trio

from durable_rooms import CallFailed, CallTimeout, Limits, OutcomeUnknown, RoomReset
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, one_room, outcome


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


class Careful(ChatRoom):
    """A room with something in its memory."""

    def __init__(self) -> None:
        self.half_done = False
        self.order: list[str] = []

    async def fail_half_way(self) -> None:
        async with self.exclusive():
            self.half_done = True
            self.post("kept")
            await trio.sleep(2)
            self.post("undone")
            raise Sorry

    async def pass_over_its_failure(self) -> str:
        try:
            async with self.exclusive():
                self.post("undone")
                raise Sorry
        except Sorry:
            self.post("never")
        return "went on"

    async def hold(self, seconds: float, bound: float | None = None) -> None:
        async with self.exclusive(timeout=bound):
            self.post("held")
            await trio.sleep(seconds)
            self.post("let go")

    async def hold_within(self, seconds: float) -> str:
        with trio.move_on_after(seconds):
            async with self.exclusive():
                await trio.sleep(100)
        return "left"

    async def write_and_wait(self, body: str) -> None:
        self.post(body)
        await trio.sleep_forever()

    async def wait(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.post("a cut handler cleans up")

    async def enter(self, name: str) -> None:
        async with self.exclusive():
            self.order.append(name)
            await trio.sleep(1)

    async def enter_soon(self, name: str) -> None:
        await trio.sleep(1 + 0.01 * ord(name))
        await self.enter(name)

    async def post_soon(self, body: str, seconds: float) -> None:
        await trio.sleep(seconds)
        self.post(body)

    async def enter_by_children(self) -> None:
        async def child(name: str) -> None:
            await trio.sleep(0.001 * ord(name))
            with trio.move_on_after(0.5 if name == "c" else 100):
                await self.enter(name)

        async with trio.open_nursery() as nursery:
            for name in "abcde":
                nursery.start_soon(child, name)

    async def nest(self, depth: int) -> int:
        async with self.exclusive():
            return 1 + await self.nest(depth - 1) if depth > 1 else 1

    async def nest_and_catch(self) -> str:
        async with self.exclusive():
            try:
                await self.nest_without_end()
            except CallFailed as error:
                return str(error)
        return ""

    async def nest_without_end(self) -> None:
        blocks = [self.exclusive() for _ in range(65)]
        entered = 0
        try:
            for block in blocks:
                await block.__aenter__()
                entered += 1
        finally:
            for block in reversed(blocks[:entered]):
                await block.__aexit__(None, None, None)

    async def children(self) -> list[str]:
        async def child(name: str) -> None:
            async with self.exclusive():
                self.order.append(f"{name} in")
                await trio.sleep(1)
                self.order.append(f"{name} out")

        async with self.exclusive(), trio.open_nursery() as nursery:
            nursery.start_soon(child, "a")
            nursery.start_soon(child, "b")
        return self.order

    def remembers(self) -> bool:
        return self.half_done

    def entered(self) -> list[str]:
        return self.order


async def test_a_block_that_raises_resets_the_room_and_what_was_committed_stays(autojump_clock) -> None:
    async with one_room(Careful) as room, trio.open_nursery() as nursery:
        found: dict[str, object] = {}

        async def keep(name: str, call) -> None:
            found[name] = await outcome(call)

        await one_after_another(
            nursery,
            lambda: keep("wrote", lambda: room.write_and_wait("a slice")),
            lambda: keep("waits", room.wait),
            lambda: keep("fails", room.fail_half_way),
            lambda: keep("queued", lambda: room.post("queued")),
        )
        await trio.sleep(3)
        assert isinstance(found["fails"], Sorry)
        assert "the room was reset" in " ".join(found["fails"].__notes__)
        assert isinstance(found["wrote"], OutcomeUnknown)
        assert not found["wrote"].retryable
        assert isinstance(found["waits"], RoomReset)
        assert (found["waits"].ran, found["waits"].retryable) == ("rolled back", True)
        assert "an exclusive block of fail_half_way raised Sorry" in str(found["waits"])
        assert found["queued"] == 3
        assert await room.bodies() == ["a slice", "kept", "queued"]
        assert not await room.remembers()


async def test_a_handler_that_passes_over_the_failure_of_its_block_does_not_go_on(autojump_clock) -> None:
    async with one_room(Careful) as room:
        assert isinstance(await outcome(room.pass_over_its_failure), Sorry)
        assert await room.bodies() == []


async def test_a_block_that_is_held_too_long_resets_the_room(autojump_clock) -> None:
    async with one_room(Careful) as room:
        began = trio.current_time()
        error = await outcome(lambda: room.hold(1_000))
        assert trio.current_time() - began == pytest.approx(Limits().exclusive_seconds_max, abs=0.1)
        assert isinstance(error, OutcomeUnknown)
        assert "an exclusive block of hold was held for more than 30 s" in str(error)
        assert await room.bodies() == ["held"]


async def test_a_block_may_be_given_less_time_and_not_more(autojump_clock) -> None:
    async with one_room(Careful) as room:
        began = trio.current_time()
        assert isinstance(await outcome(lambda: room.hold(10, 2)), OutcomeUnknown)
        assert trio.current_time() - began == pytest.approx(2, abs=0.1)
        with pytest.raises(ValueError, match="exclusive_seconds_max = 30"):
            await room.hold(1, 31)
        assert await room.bodies() == ["held"]


async def test_a_block_that_its_own_handler_cancels_just_ends(autojump_clock) -> None:
    async with one_room(Careful) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.enter("before"))
        assert await room.hold_within(2) == "left"
        assert await room.entered() == ["before"]


async def test_slices_that_wait_for_a_block_to_end_run_in_the_order_in_which_they_were_ready(autojump_clock) -> None:
    async with one_room(Careful) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, *(lambda name=name: room.enter_soon(name) for name in "abcdefgh"))
        await trio.sleep(10)
        assert await room.entered() == list("abcdefgh")


async def test_slices_behind_one_that_was_cancelled_while_it_waited_run_all_the_same(autojump_clock) -> None:
    async with one_room(Careful) as room, trio.open_nursery() as nursery:
        impatient, told = room.options(timeout=1), []

        async def give_up() -> None:
            told.append(await outcome(lambda: impatient.write_and_wait("given up")))

        await one_after_another(nursery, give_up, lambda: room.enter_soon("a"), lambda: room.hold(5))
        with trio.fail_after(100):
            assert await room.entered() == ["a"]
        assert [type(one) for one in told] == [CallTimeout]


async def test_s01_waiters_enter_in_order_and_one_that_was_cancelled_is_skipped(autojump_clock) -> None:
    async with one_room(Careful) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.enter("first"), room.enter_by_children)
        await trio.sleep(10)
        assert await room.entered() == ["first", "a", "b", "d", "e"]


async def test_a_waiting_block_comes_before_queued_calls(autojump_clock) -> None:
    class Two(Careful):
        async def later(self, name: str) -> None:
            await trio.sleep(0.1)
            await self.enter(name)

    async with one_room(Two) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.later("second"), lambda: room.enter("first"))
        await trio.sleep(0.5)
        began = trio.current_time()
        assert await room.entered() == ["first", "second"]
        assert trio.current_time() - began == pytest.approx(1.5)


async def test_blocks_nest_64_deep_and_one_more_is_an_error_that_breaks_nothing(autojump_clock) -> None:
    async with one_room(Careful) as room:
        assert await room.nest(64) == 64
        assert "more than 64 exclusive blocks" in await room.nest_and_catch()
        assert await room.entered() == []
        assert isinstance(await outcome(lambda: room.nest(65)), CallFailed)
        assert await room.nest(64) == 64


async def test_s04_children_of_the_holder_are_inside_and_enter_blocks_of_their_own_one_at_a_time(autojump_clock) -> None:
    async with one_room(Careful) as room:
        order = await room.children()
        assert sorted([order[:2], order[2:]]) == [["a in", "a out"], ["b in", "b out"]]


async def test_a_holder_goes_on_after_its_childs_block_though_others_have_waited_longer(autojump_clock) -> None:
    class Family(Careful):
        async def hold_with_a_child(self) -> None:
            async def child() -> None:
                async with self.exclusive():
                    await trio.sleep(3)

            async with self.exclusive(), trio.open_nursery() as nursery:
                nursery.start_soon(child)
                await trio.sleep(2)  # over while the child keeps its parent out, too
                self.post("the holder goes on")

    async with one_room(Family) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.post_soon("others", 1), room.hold_with_a_child)
        await trio.sleep(4)
        assert await room.bodies() == ["the holder goes on", "others"]


async def test_a_cut_handler_cannot_write_any_more(autojump_clock) -> None:
    async with one_room(Careful) as room, trio.open_nursery() as nursery:
        found: list[object] = []

        async def keep() -> None:
            found.append(await outcome(room.wait))

        await one_after_another(nursery, keep)
        assert isinstance(await outcome(room.fail_half_way), Sorry)
        assert [type(one) for one in found] == [RoomReset]
        assert await room.bodies() == ["kept"]


async def test_async_calls_that_wait_are_served_in_order_after_a_reset(autojump_clock) -> None:
    class Both(Careful):
        async def fail_when_it_holds(self) -> None:
            async with self.exclusive():
                await trio.sleep(1)
                raise Sorry

        async def post_slowly(self, body: str) -> int:
            number = self.post(body)
            await trio.sleep(1)
            return number

    async with one_room(Both) as room, trio.open_nursery() as nursery:
        found: list[object] = []

        async def keep(call) -> None:
            found.append(await outcome(call))

        calls = [lambda n=n: keep(lambda: room.post_slowly(str(n))) for n in range(5)]
        await one_after_another(nursery, lambda: keep(room.fail_when_it_holds), *calls)
        await trio.sleep(10)
        assert isinstance(found[0], Sorry)
        assert sorted(found[1:]) == [1, 2, 3, 4, 5]
        assert await room.bodies() == list("01234")
