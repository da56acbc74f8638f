"""Random rooms that call each other: no schedule hangs, and no call is refused as a cycle where nobody keeps others out."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_rooms import Actor, CallCycle, Limits
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import outcome

ROOMS = 4

# A plan is what a handler does, in order: it waits, calls another room (which has a plan of its own), keeps others out meanwhile,
# or lets child tasks do several of these.
Plan = list[Any]

waits = st.tuples(st.just("wait"), st.integers(0, 3))
pings = st.tuples(st.just("ping"), st.integers(0, ROOMS - 1))


def deeper(plans: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    step = st.one_of(
        waits,
        pings,
        st.tuples(st.just("call"), st.integers(0, ROOMS - 1), plans),
        st.tuples(st.just("hold"), plans),
        st.tuples(st.just("children"), st.lists(plans, min_size=1, max_size=2)),
    )
    return st.lists(step, min_size=1, max_size=3)


plans = st.recursive(st.lists(st.one_of(waits, pings), min_size=1, max_size=2), deeper, max_leaves=8)
schedules = st.lists(st.tuples(st.integers(0, ROOMS - 1), st.integers(0, 3), plans), min_size=1, max_size=5)


def holds(plan: Plan) -> bool:
    return "'hold'" in repr(plan)


class Node(Actor):
    cycles: ClassVar[list[CallCycle]] = []

    def ping(self) -> str:
        return "pong"

    async def follow(self, plan: Plan) -> str:
        for what, *rest in plan:
            if what == "wait":
                await trio.sleep(rest[0])
            elif what == "ping":
                assert await self._noted(self.room(Node, str(rest[0])).ping) == "pong"
            elif what == "call":
                assert await self._noted(self.room(Node, str(rest[0])).follow, rest[1]) == "done"
            elif what == "hold":
                async with self._held():
                    await self._wait_for(rest[0])
            else:
                async with trio.open_nursery() as nursery:
                    for part in rest[0]:
                        nursery.start_soon(self._wait_for, part)
        return "done"

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        block = self.exclusive()
        await self._noted(block.__aenter__)
        async with AsyncExitStack() as stack:
            stack.push_async_exit(block)
            yield

    async def _noted(self, call: Any, *args: Any) -> str:
        try:
            return await call(*args)
        except CallCycle as error:
            self.cycles.append(error)
            raise

    async def _wait_for(self, plan: Plan) -> None:
        await self.follow(plan)


def flat(error: BaseException) -> list[BaseException]:
    return [one for part in error.exceptions for one in flat(part)] if isinstance(error, BaseExceptionGroup) else [error]


async def followed(schedule: list[tuple[int, int, Plan]]) -> list[Any]:
    """What becomes of each plan. Fails if one hangs: nothing here takes longer than its waits, and no bound may end it."""
    found: list[Any] = []
    async with open_test_runtime(Node, limits=Limits(exclusive_seconds_max=10_000, drain_seconds_max=1)) as runtime:

        async def start(room: int, after: int, plan: Plan) -> None:
            await trio.sleep(after)
            found.append(await outcome(lambda: runtime.room(Node, str(room)).follow(plan)))

        with trio.move_on_after(1_000) as scope:
            async with trio.open_nursery() as nursery:
                for room, after, plan in schedule:
                    nursery.start_soon(start, room, after, plan)
        assert not scope.cancelled_caught, "a call was never answered"
    return found


def run(schedule: list[tuple[int, int, Plan]]) -> list[Any]:
    Node.cycles.clear()
    return trio.run(followed, schedule, clock=trio.testing.MockClock(autojump_threshold=0))


ALLOWED = ("CallCycle", "RoomReset", "OutcomeUnknown")


@settings(max_examples=40, deadline=None)
@given(schedules)
def test_no_schedule_hangs_and_no_cycle_is_seen_where_nobody_keeps_others_out(schedule) -> None:
    found = run(schedule)
    assert len(found) == len(schedule)
    if not holds(schedule):
        assert found == ["done"] * len(schedule)
    for one in found:
        if isinstance(one, BaseException):  # a cycle, and what became of those whose room was reset by it
            assert {type(part).__name__ for part in flat(one)} <= set(ALLOWED)
    assert bool(Node.cycles) == any(isinstance(one, BaseException) for one in found)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_chain_after_another_never_meets_a_cycle_of_others(count: int) -> None:
    way = [("hold", [("call", 1, [("hold", [("call", 2, [("hold", [("ping", 3)])])])])])]
    assert run([(0, 0, way)] * count) == ["done"] * count
