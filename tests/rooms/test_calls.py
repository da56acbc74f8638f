"""A call: from a stub to a room and back."""

import inspect
from copy import copy

import pytest
import trio

from durable_rooms import Actor, BadArguments, Reply, UnknownMethod
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, one_room, together


class Counted(Actor):
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.calls = 0

    def call_me(self) -> int:
        self.calls += 1
        return self.calls


async def test_a_call_returns_what_the_handler_returned(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        assert await room.post("hello") == 1
        assert await room.call(ChatRoom.post, "again") == 2
        assert await room.bodies() == ["hello", "again"]


async def test_f19_a_thousand_callers_at_once_meet_one_actor(autojump_clock) -> None:
    Counted.made = 0
    async with open_test_runtime(Counted) as runtime:
        counts = await together(*[runtime.room(Counted, "one").call_me for _ in range(1_000)])
        assert sorted(counts) == list(range(1, 1_001))
        assert Counted.made == 1
        assert runtime.status().rooms_open == 1


async def test_ask_says_the_seq_which_grows_with_every_write_and_with_no_read(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        first = await room.ask(ChatRoom.post, "one")
        second = await room.ask(ChatRoom.post, "two")
        read = await room.ask(ChatRoom.bodies)
        third = await room.ask(ChatRoom.post, "three")
        assert first == Reply(1, first.seq, "room", first.bookmark)
        assert first.seq < second.seq == read.seq < third.seq


async def test_calls_that_wait_together_share_one_commit_and_one_round(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("first")
        rounds = runtime.status().rounds
        replies = await together(*[lambda n=n: room.ask(ChatRoom.post, f"post {n}") for n in range(100)])
        assert len({reply.seq for reply in replies}) == 1
        assert {reply.value for reply in replies} == set(range(2, 102))
        assert runtime.status().rounds == rounds + 1


async def test_calls_that_only_read_need_no_round(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("hello")
        rounds = runtime.status().rounds
        for _ in range(10):
            await room.bodies()
            await room.ping()
        assert runtime.status().rounds == rounds


async def test_calls_run_in_the_order_in_which_they_came(autojump_clock) -> None:
    class Ordered(Actor):
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def hold(self) -> None:
            async with self.exclusive():
                await trio.sleep(1)

        def note(self, name: str) -> None:
            self.seen.append(name)

        async def note_async(self, name: str) -> None:
            self.seen.append(name)
            await trio.sleep(1)

        def all(self) -> list[str]:
            return self.seen

    async with one_room(Ordered) as room:
        async with trio.open_nursery() as nursery:
            await one_after_another(
                nursery,
                room.hold,
                lambda: room.note("a"),
                lambda: room.note_async("b"),
                lambda: room.note("c"),
                lambda: room.note_async("d"),
                lambda: room.note_async("e"),
                lambda: room.note("f"),
            )
        assert await room.all() == ["a", "b", "c", "d", "e", "f"]


async def test_a_stub_costs_nothing_and_two_of_them_are_one_room(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        for n in range(1_000):
            runtime.room(ChatRoom, f"room {n}")
        assert runtime.status().rooms_open == 0
        await runtime.room(ChatRoom, "general").post("hello")
        assert await runtime.room(ChatRoom, "general").bodies() == ["hello"]
        assert repr(runtime.room(ChatRoom, "general")) == "<room ChatRoom/general>"


async def test_rooms_of_one_id_and_two_classes_are_two_rooms(autojump_clock) -> None:
    class Other(ChatRoom):
        pass

    async with open_test_runtime(ChatRoom, Other) as runtime:
        await runtime.room(ChatRoom, "general").post("here")
        assert await runtime.room(Other, "general").bodies() == []


async def test_inherited_handlers_can_be_called(autojump_clock) -> None:
    class Loud(ChatRoom):
        def shout(self, body: str) -> int:
            return self.post(body.upper())

    async with one_room(Loud) as room:
        assert await room.shout("hey") == 1
        assert await room.call(ChatRoom.bodies) == ["HEY"]


NO_HANDLERS = ["_secret", "now", "new_id", "sql", "exclusive", "random", "migrations", "on_start", "constant", "nope"]


async def test_what_is_not_a_handler_is_refused_by_name(autojump_clock) -> None:
    class Room(ChatRoom):
        constant = 5

        def _secret(self) -> None: ...
        def on_start(self) -> None: ...

    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "general")
        for name in NO_HANDLERS:
            with pytest.raises(UnknownMethod, match=name) as caught:
                getattr(room, name)
            assert caught.value.ran == "no"
            assert "post" in str(caught.value)  # what there is instead
            assert not hasattr(room, name)
        for method in (Room._secret, Room.__init__, Room.now):
            with pytest.raises(UnknownMethod):
                await room.call(method)
        assert runtime.status().rooms_open == 0


async def test_a_room_can_be_copied(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        assert await copy(room).post("hello") == 1


async def test_call_refuses_a_function_of_another_class(autojump_clock) -> None:
    def post(self, body: str) -> None: ...

    async with one_room(ChatRoom) as room:
        with pytest.raises(UnknownMethod, match=r"is not ChatRoom\.post"):
            await room.call(post, "hello")
        with pytest.raises(UnknownMethod, match="is not a method"):
            await room.call(5)


async def test_a_class_that_the_runtime_does_not_know_is_refused(autojump_clock) -> None:
    class Stranger(Actor):
        pass

    async with open_test_runtime(ChatRoom) as runtime:
        with pytest.raises(BadArguments, match=r"Stranger is not an actor class.*ChatRoom"):
            runtime.room(Stranger, "general")


async def test_f25_a_caller_cancelled_before_its_call_began_never_ran(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        with trio.CancelScope() as scope:
            scope.cancel()
            await room.post("never")
        assert await room.bodies() == []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.post, "also never")
                nursery.cancel_scope.cancel()
        assert await room.bodies() == []


async def test_f25_a_call_that_has_begun_completes_without_its_caller(autojump_clock) -> None:
    class Slow(ChatRoom):
        async def post_slowly(self, body: str) -> int:
            self.post(f"{body} 1")
            await trio.sleep(10)
            return self.post(f"{body} 2")

    async with one_room(Slow) as room:
        with trio.move_on_after(1) as scope:
            await room.post_slowly("a")
        assert scope.cancelled_caught
        assert await room.bodies() == ["a 1"]
        await trio.sleep(10)
        assert await room.bodies() == ["a 1", "a 2"]


async def test_handlers_may_have_the_names_of_lifecycle_verbs(autojump_clock) -> None:
    class Verbs(Actor):
        def delete(self) -> str:
            return "deleted"

        def subscribe(self, room: int, self_: int = 1, handler: int = 2, name: int = 3) -> list[int]:
            return [room, self_, handler, name]

    async with one_room(Verbs) as room:
        assert await room.delete() == "deleted"
        assert await room.subscribe(room=7, handler=8, name=9) == [7, 1, 8, 9]


async def test_one_raising_call_among_many_costs_only_itself(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        await room.ping()
        found = await together(*[lambda n=n: (room.post_and_raise if n == 50 else room.post)(f"{n}") for n in range(100)])
        assert sum(isinstance(one, Sorry) for one in found) == 1
        assert len(await room.bodies()) == 99


async def test_a_handler_is_an_awaitable_of_its_own(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        post = room.post  # bound once, called often
        assert [await post("a"), await post("b")] == [1, 2]
        coroutine = room.post("never awaited")
        assert inspect.iscoroutine(coroutine)
        coroutine.close()
        assert await room.bodies() == ["a", "b"]
