"""Async handlers: atomic from one suspension to the next, open to others in between."""

import apsw
import pytest
import trio

from durable_rooms import Actor, OutcomeUnknown, StatementRefused
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, one_room, outcome


class AsyncRoom(ChatRoom):
    migrations = (
        *ChatRoom.migrations,
        "CREATE TABLE replies (id INTEGER PRIMARY KEY, message INTEGER NOT NULL "
        "REFERENCES messages (id) DEFERRABLE INITIALLY DEFERRED)",
    )

    async def post_twice(self, body: str, seconds: float = 1) -> None:
        self.post(f"{body} 1")
        await trio.sleep(seconds)
        self.post(f"{body} 2")

    async def raise_in_second_slice(self) -> None:
        self.post("first")
        await trio.sleep(1)
        self.post("second")
        raise Sorry

    async def add_up(self) -> int:
        """Reads, writes, reads: no other call may come in between."""
        before = self.sql("SELECT count(*) FROM messages").scalar()
        self.post(f"added {before}")
        assert self.sql("SELECT count(*) FROM messages").scalar() == before + 1
        await trio.lowlevel.checkpoint()
        return before

    async def within(self, seconds: float) -> str:
        with trio.move_on_after(seconds) as scope:
            self.post("in time")
            await trio.sleep(10)
        self.post("after")
        return "late" if scope.cancelled_caught else "done"

    async def fail_after(self) -> None:
        self.post("kept")
        with trio.fail_after(1):
            await trio.sleep(2)

    async def nursery(self) -> list[str]:
        found: list[str] = []

        async def child(name: str, seconds: float) -> None:
            await trio.sleep(seconds)
            found.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, "slow", 2)
            nursery.start_soon(child, "fast", 1)
        self.post(",".join(found))
        return found

    async def child_uses_sql(self) -> None:
        async with trio.open_nursery() as nursery:
            self.post("parent")
            nursery.start_soon(self.from_child)

    async def from_child(self) -> None:
        await trio.sleep(1)
        self.post("child")

    async def dangling_reply(self, repair: bool) -> str:
        self.sql("INSERT INTO replies (message) VALUES (99)")
        if repair:
            self.sql("INSERT INTO messages (id, body) VALUES (99, 'there')")
        try:
            await trio.sleep(1)
        except apsw.ConstraintError:
            self.post("noticed")
            return "noticed"
        return "kept"


async def test_a_slice_is_atomic_and_others_run_only_at_suspensions(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(room.add_up)
        assert await room.bodies() == [f"added {n}" for n in range(50)]


async def test_other_calls_see_what_earlier_slices_wrote(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.post_twice("a"))
        assert await room.bodies() == ["a 1"]
        await room.post("between")
        await trio.sleep(2)
        assert await room.bodies() == ["a 1", "between", "a 2"]


async def test_an_exception_in_the_second_slice_keeps_the_first(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room:
        with pytest.raises(Sorry) as caught:
            await room.raise_in_second_slice()
        assert "AsyncRoom/general" in caught.value.__notes__[0]
        assert await room.bodies() == ["first"]


async def test_deadlines_inside_a_handler_work_as_ever(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room:
        assert await room.within(1) == "late"
        assert await room.bodies() == ["in time", "after"]
        with pytest.raises(trio.TooSlowError):
            await room.fail_after()
        assert "kept" in await room.bodies()


async def test_a_handler_may_open_a_nursery(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room:
        assert await room.nursery() == ["fast", "slow"]
        assert await room.bodies() == ["fast,slow"]


async def test_sql_from_a_child_task_is_refused_with_its_statement(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room:
        with pytest.raises(ExceptionGroup) as caught:
            await room.child_uses_sql()
        (refused,) = caught.value.exceptions
        assert isinstance(refused, StatementRefused)
        assert "child task" in str(refused)
        assert "INSERT INTO messages" in str(refused)
        assert await room.bodies() == ["parent"]


async def test_a_deferred_foreign_key_that_does_not_hold_at_a_suspension_undoes_the_slice(autojump_clock) -> None:
    async with one_room(AsyncRoom) as room:
        assert await room.dangling_reply(repair=True) == "kept"
        assert await room.bodies() == ["there"]
    async with one_room(AsyncRoom) as room:
        assert await room.dangling_reply(repair=False) == "noticed"
        assert await room.bodies() == ["noticed"]


async def test_a_deferred_foreign_key_fails_its_call_and_not_the_neighbours(autojump_clock) -> None:
    class Replies(AsyncRoom):
        def reply(self, message: int) -> None:
            self.sql("INSERT INTO replies (message) VALUES (?)", message)

    async with one_room(Replies) as room:
        found: list[object] = []
        async with trio.open_nursery() as nursery:

            async def keep(call) -> None:
                found.append(await outcome(call))

            for call in (lambda: room.post("a"), lambda: room.reply(1_000), lambda: room.post("b")):
                nursery.start_soon(keep, call)
        assert sum(isinstance(one, apsw.ConstraintError) for one in found) == 1
        assert sorted(await room.bodies()) == ["a", "b"]


async def test_an_async_handler_that_never_suspends_is_one_turn(autojump_clock) -> None:
    class Direct(ChatRoom):
        async def direct(self, fail: bool) -> int:
            number = self.post("direct")
            if fail:
                raise Sorry
            return number

    async with one_room(Direct) as room:
        with pytest.raises(Sorry):
            await room.direct(fail=True)
        assert await room.direct(fail=False) == 1


async def test_a_stop_cuts_long_handlers_short_and_says_so(autojump_clock) -> None:
    class Long(ChatRoom):
        async def for_ever(self) -> None:
            self.post("begun")
            await trio.sleep_forever()

        async def for_ever_with_children(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(self.fails_at_the_end)

        async def fails_at_the_end(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Sorry

    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep(call) -> None:
            found.append(await outcome(call))

        async with open_test_runtime(Long) as runtime:
            room = runtime.room(Long, "a")
            await one_after_another(nursery, lambda: keep(room.for_ever), lambda: keep(room.for_ever_with_children))
    assert [type(one) for one in found] == [OutcomeUnknown] * 2
    assert all("cut short" in str(one) for one in found)


async def test_a_handler_waits_for_events_that_other_calls_set(autojump_clock) -> None:
    class News(ChatRoom):
        def __init__(self) -> None:
            self.news = trio.Event()

        async def wait(self) -> list[str]:
            await self.news.wait()
            return self.bodies()

        def announce(self, body: str) -> None:
            self.post(body)
            self.news.set()

    async with one_room(News) as room, trio.open_nursery() as nursery:
        found: list[object] = []

        async def keep() -> None:
            found.append(await room.wait())

        await one_after_another(nursery, keep, keep)
        await room.announce("it rains")
        await trio.sleep(0.1)
        assert found == [["it rains"]] * 2


def test_an_actor_outside_a_room_says_so() -> None:
    with pytest.raises(StatementRefused, match="not in a room"):
        Actor().now()
