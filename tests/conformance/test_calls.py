"""Calls: their order, what their errors say, and how many may wait."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from durable_rooms import (
    ActorFailed,
    BadArguments,
    CallFailed,
    CallRefused,
    Limits,
    OutcomeUnknown,
    Overloaded,
    RoomsError,
    UnknownMethod,
)
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Callers, Notes, on_still_disk
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import Sorry, one_after_another, one_room
from tests.rooms.faults import FailsOnce


class Held(Notes):
    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    def unfit_result(self) -> set[int]:
        self.post("gone")
        return {1}


@statement(46)
@behaviour(18)
async def test_calls_of_one_stub_arrive_in_order_though_the_room_is_cold(tmp_path, autojump_clock) -> None:
    """Given a room that is not in memory yet, when three calls are made before it is, then they run in the order in which
    they were made."""
    async with on_still_disk(tmp_path, Notes) as (runtime, disk, callers):
        room = runtime.room(Notes, "cold")
        disk.still = True
        for body in ("zero", "one", "two"):
            await callers.start(body, room.remember, body)
        assert runtime.status().calls_waiting == 3
        await disk.move()
        assert [len(callers.outcomes[body]) for body in ("zero", "one", "two")] == [1, 2, 3]


@behaviour(18)
async def test_calls_of_one_stub_arrive_in_order_in_a_room_at_work(autojump_clock) -> None:
    """Given a room that is busy, when 50 calls are made one after the other, then they run in that order."""
    async with one_room(Held) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(5), *[lambda n=n: room.remember(f"{n}") for n in range(50)])
        await trio.sleep(6)
        assert await room.remember("end") == [*[f"{n}" for n in range(50)], "end"]


@behaviour(17)
async def test_a_stub_works_again_after_whatever_became_of_its_room(autojump_clock) -> None:
    """Given one stub, when a handler raises, a call is refused and a sync fails, then the same stub calls the room again
    after each."""
    disk = FailsOnce()
    async with open_test_runtime(Held, disk=disk) as runtime:
        room = runtime.room(Held, "a")
        with pytest.raises(Sorry):
            await room.post_and_raise("x")
        assert await room.ping() == "pong"
        with pytest.raises(BadArguments):
            await room.post()
        assert await room.post("there") == 1
        disk.fail_next()
        with pytest.raises(OutcomeUnknown):
            await room.post("unknown")
        assert "there" in await room.bodies()


@behaviour(19)
async def test_an_error_says_first_whether_anything_ran(autojump_clock) -> None:
    """Given calls that are refused, that fail, and whose sync fails, when each raises, then `ran` tells them apart, the
    room is named, and only what may succeed later is retryable."""
    disk = FailsOnce()
    async with open_test_runtime(Held, disk=disk) as runtime:
        room = runtime.room(Held, "a")
        await room.post("there")

        async def raised(kind: type[RoomsError], call) -> tuple[str, bool, str]:
            with pytest.raises(kind) as caught:
                await call()
            return caught.value.ran, caught.value.retryable, caught.value.room

        assert await raised(CallRefused, lambda: room.post()) == ("no", False, "Held/a")
        assert await raised(CallFailed, room.unfit_result) == ("rolled back", False, "Held/a")
        disk.fail_next()
        assert (await raised(OutcomeUnknown, lambda: room.post("new")))[0] == "unknown"
        with pytest.raises(UnknownMethod):
            _ = room.nothing_of_the_kind
        with pytest.raises(Sorry) as own:
            await room.post_and_raise("x")
        assert "Held/a" in own.value.__notes__[0]


@behaviour(19)
async def test_a_call_that_was_given_up_before_it_began_never_runs_and_one_that_had_begun_completes(autojump_clock) -> None:
    """Given callers who give up, when their call still waits, then it never runs; when it has begun, then it completes."""

    class Slow(Held):
        async def post_slowly(self, body: str) -> None:
            await trio.sleep(3)
            self.post(body)

    async with one_room(Slow) as room:
        async with trio.open_nursery() as nursery:
            await one_after_another(nursery, lambda: room.post_slowly("begun"), lambda: room.hold(1), lambda: room.post("waits"))
            nursery.cancel_scope.cancel()
        await trio.sleep(5)
        assert await room.bodies() == ["begun"]


@behaviour(20)
@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        (Limits(mailbox_calls_max=3), "mailbox_calls_max"),
        (Limits(mailbox_bytes_max=3_200, call_bytes_max=3_000), "mailbox_bytes_max"),
    ],
)
async def test_a_full_mailbox_refuses_at_once_by_count_and_by_bytes_and_keeps_its_order(limits, bound, autojump_clock) -> None:
    """Given a room at work whose mailbox is full, when one more call comes, then it is refused at once with the bound's
    name and value, others are not aged, and what waits runs in order."""
    async with one_room(Held, limits=limits) as room, trio.open_nursery() as nursery:
        words = [letter * 1_000 for letter in "abc"]
        await one_after_another(nursery, lambda: room.hold(5), *[lambda word=word: room.remember(word) for word in words])
        before = trio.current_time()
        with pytest.raises(Overloaded, match=rf"{bound} = {getattr(limits, bound):,}") as caught:
            await room.remember("d" * 1_000)
        assert trio.current_time() == before
        assert (caught.value.ran, caught.value.retryable) == ("no", True)
        await trio.sleep(6)
        assert await room.remember("end") == [*words, "end"]


@behaviour(4)
async def test_a_constructor_runs_once_before_any_call_and_its_failure_is_told_to_all(autojump_clock) -> None:
    """Given a class whose constructor fails, when calls come together, then it ran once and each is refused with its
    reason; they are so for a growing while; then the next call tries again, and meets a room."""
    tries: list[float] = []

    class Fails(Notes):
        def __init__(self) -> None:
            super().__init__()
            tries.append(trio.current_time())
            if len(tries) == 1:
                raise Sorry("not today")

    async with open_test_runtime(Fails) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Fails, "a"), Callers(nursery)
        for n in range(5):
            nursery.start_soon(callers.start, f"{n}", room.ping)
        await wait_all_tasks_blocked()
        assert [type(error) for error in callers.outcomes.values()] == [ActorFailed] * 5
        assert all("not today" in str(error) and error.ran == "no" for error in callers.outcomes.values())
        assert len(tries) == 1
        await trio.sleep(3)
        assert await room.ping() == "pong"
        assert len(tries) == 2
