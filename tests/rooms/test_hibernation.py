"""Rooms leave memory when nobody needs them, and come back with the next call."""

from itertools import pairwise

import pytest
import trio

from durable_rooms import Actor, Limits
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_after_another, together


class Remembers(ChatRoom):
    def __init__(self) -> None:
        self.calls = 0

    def count(self) -> int:
        self.calls += 1
        return self.calls

    async def sleep(self, seconds: float) -> int:
        await trio.sleep(seconds)
        return self.count()


async def test_an_idle_room_leaves_and_its_memory_is_gone_while_its_rows_stay(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(idle_seconds_max=60)) as runtime:
        room = runtime.room(Remembers, "a")
        await room.post("kept")
        assert [await room.count(), await room.count()] == [1, 2]
        await trio.sleep(59)
        assert runtime.status().rooms_open == 1
        await trio.sleep(20)
        assert runtime.status().rooms_open == 0
        assert await room.count() == 1
        assert await room.bodies() == ["kept"]


async def test_a_room_that_is_called_stays(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(idle_seconds_max=60)) as runtime:
        room = runtime.room(Remembers, "a")
        for n in range(1, 11):
            assert await room.count() == n
            await trio.sleep(50)


async def test_an_async_handler_keeps_its_room_in_memory(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(idle_seconds_max=60)) as runtime:
        room = runtime.room(Remembers, "a")
        await room.count()
        assert await room.sleep(10_000) == 2


async def test_no_more_rooms_are_open_than_allowed(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(open_rooms_max=10)) as runtime:
        most = 0

        async def post(n: int) -> None:
            nonlocal most
            assert await runtime.room(Remembers, f"room {n}").post(f"in {n}") == 1
            most = max(most, runtime.status().rooms_open)

        async with trio.open_nursery() as nursery:
            for n in range(500):
                nursery.start_soon(post, n)
        assert most <= 10
        for n in (0, 250, 499):
            assert await runtime.room(Remembers, f"room {n}").bodies() == [f"in {n}"]


async def test_the_least_recently_used_room_makes_way(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(open_rooms_max=3)) as runtime:
        a, b, c, d = (runtime.room(Remembers, name) for name in "abcd")
        for room in (a, b, c, a):
            await room.count()
        assert await d.count() == 1  # in the place of b
        assert await a.count() == 3
        assert await c.count() == 2
        assert await b.count() == 1


async def test_a_room_that_waits_gets_its_place_as_soon_as_one_is_idle(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(open_rooms_max=1)) as runtime, trio.open_nursery() as nursery:
        a, b = runtime.room(Remembers, "a"), runtime.room(Remembers, "b")
        await one_after_another(nursery, lambda: a.sleep(100))
        began = trio.current_time()
        assert await b.count() == 1
        assert trio.current_time() - began == pytest.approx(100, abs=1)


async def test_busy_rooms_take_turns_where_there_are_more_of_them_than_places(mock_clock) -> None:
    mock_clock.rate = 100
    answered = 0
    async with open_test_runtime(Remembers, limits=Limits(open_rooms_max=2)) as runtime, trio.open_nursery() as nursery:

        async def call_without_end(n: int) -> None:
            nonlocal answered
            while answered < 20_000:  # a bound, so that a late room that starves fails instead of hanging
                await runtime.room(Remembers, f"busy {n % 2}").bodies()
                answered += 1

        for n in range(40):
            nursery.start_soon(call_without_end, n)
        for _ in range(100):  # they never rest, so there is nothing to wait for
            await trio.lowlevel.checkpoint()
        assert await together(*[runtime.room(Remembers, f"late {n}").count for n in range(3)]) == [1] * 3
        assert answered < 20_000
        nursery.cancel_scope.cancel()


async def test_calls_that_come_while_a_room_leaves_are_served_by_its_next_stay(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(open_rooms_max=1)) as runtime:
        rooms = [runtime.room(Remembers, f"{n % 3}") for n in range(60)]
        await together(*[lambda room=room, n=n: room.post(f"{n}") for n, room in enumerate(rooms)])
        for n in range(3):
            assert sorted(map(int, await rooms[n].bodies())) == list(range(n, 60, 3))


async def test_a_cancelled_caller_of_a_waiting_room_leaves_no_place_taken(autojump_clock) -> None:
    async with open_test_runtime(Remembers, limits=Limits(open_rooms_max=1)) as runtime, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: runtime.room(Remembers, "a").sleep(10))
        with trio.move_on_after(1):
            await runtime.room(Remembers, "b").post("never")
        await trio.sleep(20)
        assert await runtime.room(Remembers, "c").count() == 1
        assert await runtime.room(Remembers, "b").bodies() == []
        assert await runtime.room(Remembers, "a").count() == 1


async def test_new_ids_are_unique_and_sort_by_time(autojump_clock) -> None:
    class Ids(Actor):
        def many(self, count: int) -> list[str]:
            return [self.new_id() for _ in range(count)]

    async with open_test_runtime(Ids) as runtime:
        made: list[list[str]] = []
        for n in range(5):
            made.append(await runtime.room(Ids, f"{n % 2}").many(1_000))
            await trio.sleep(0.001)
        flat = [id for ids in made for id in ids]
        assert len(set(flat)) == 5_000
        assert {len(id) for id in flat} == {26}
        assert [max(ids) < min(later) for ids, later in pairwise(made)] == [True] * 4
