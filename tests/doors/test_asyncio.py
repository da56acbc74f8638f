"""Rooms inside asyncio."""

import asyncio
import traceback

import pytest

import durable_rooms.sync
from durable_rooms import (
    BadArguments,
    CallFailed,
    CallTimeout,
    DataDirInUse,
    DeadlineExceeded,
    KeyReused,
    Limits,
    Overloaded,
    Reply,
    RuntimeClosed,
    SQLiteReplica,
    UnknownMethod,
    WrongDoor,
)
from durable_rooms.asyncio import open_runtime
from tests.doors.chat import ChatRoom, Sorry, asker, for_asyncio, gate


async def in_thread(event):
    assert await asyncio.to_thread(event.wait, 30)


def test_calls_call_and_ask_answer_as_in_trio(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            assert await room.post("one") == 1
            assert await room.call(ChatRoom.post, "two") == 2
            reply = await room.ask(ChatRoom.post, "three")
            assert isinstance(reply, Reply)
            assert reply.value == 3
            assert (await room.ask(ChatRoom.ping)).seq == reply.seq
            assert await room.bodies() == ["one", "two", "three"]

    asyncio.run(main())


def test_what_returned_is_there_for_the_next_process_of_any_kind(tmp_path):
    async def main(expected):
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            assert await room.bodies() == expected
            await room.post("hello")

    asyncio.run(main([]))
    asyncio.run(main(["hello"]))
    with durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").bodies() == ["hello", "hello"]


def test_status_replica_listing_description_and_dump(tmp_path):
    async def main():
        async with open_runtime(tmp_path / "data", [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
            room = runtime.room(ChatRoom, "general")
            assert await runtime.describe(room) is None
            await room.post("hello")
            await runtime.replicated()
            status = await runtime.status()
            assert status.rooms_open == 1
            assert status.replicas[0].lag_rooms == 0
            assert [info.id for info in await runtime.list_rooms(ChatRoom)] == ["general"]
            found = await runtime.describe(room)
            assert found is not None
            assert found.id == "general"
            dumped = await runtime.dump(room, tmp_path / "copy.db")
            assert dumped.rows == {"messages": 1}
            with pytest.raises(FileExistsError):
                await runtime.dump(room, tmp_path / "copy.db")

    asyncio.run(main())


def test_a_thousand_tasks_at_once_each_get_their_own_answer(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            ids = await asyncio.gather(*(room.post(str(number)) for number in range(1_000)))
            assert sorted(ids) == list(range(1, 1_001))
            bodies = await room.bodies()
            assert [bodies[id - 1] for id in ids] == [str(number) for number in range(1_000)]

    asyncio.run(main())


def test_a_handlers_exception_arrives_itself_with_note_and_traceback_and_leaves_nothing(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            with pytest.raises(Sorry) as caught:
                await room.post_and_raise("no")
            assert "ChatRoom/general" in caught.value.__notes__[0]
            shown = "".join(traceback.format_exception(caught.value))
            assert "post_and_raise" in shown
            assert "raise Sorry(body)" in shown
            assert await room.bodies() == []

    asyncio.run(main())


def test_an_exception_that_no_future_can_carry_arrives_all_the_same(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            with pytest.raises(RuntimeError, match="StopIteration") as caught:
                await runtime.room(ChatRoom, "general").stop_iteration()
            assert isinstance(caught.value.__cause__, StopIteration)

    asyncio.run(main())


def test_calls_that_cannot_be_made_are_refused_at_once(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            with pytest.raises(UnknownMethod):
                room.nothing  # noqa: B018
            with pytest.raises(BadArguments):
                await room.post()
            with pytest.raises(BadArguments):
                await room.post(object())
            with pytest.raises(BadArguments):
                runtime.room(durable_rooms.Actor, "general")

    asyncio.run(main())


def test_a_full_mailbox_refuses_across_the_border(tmp_path):
    started, opened = gate("full")

    async def main():
        async with for_asyncio(tmp_path, limits=Limits(mailbox_calls_max=4)) as runtime:
            room = runtime.room(ChatRoom, "general")
            await room.ping()
            held = asyncio.ensure_future(room.held_up("full"))
            await in_thread(started)
            waiting = [asyncio.ensure_future(room.post(str(number))) for number in range(10)]
            await asyncio.sleep(0)  # they have been handed over
            opened.set()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(one) for one in outcomes] == [int] * 4 + [Overloaded] * 6
            assert await held == "full"

    asyncio.run(main())


def test_a_cancelled_call_that_has_not_begun_never_runs(tmp_path):
    started, opened = gate("cancelled")

    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            held = asyncio.ensure_future(room.held_up("cancelled"))
            await in_thread(started)
            waiting = [asyncio.ensure_future(room.post(str(number))) for number in range(6)]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*waiting[::2], return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
            opened.set()
            await held
            await asyncio.gather(*waiting[1::2])
            assert await room.bodies() == ["1", "3", "5"]

    asyncio.run(main())


def test_a_deadline_leaves_a_waiting_call_unrun_and_lets_a_running_one_complete(tmp_path):
    started, opened = gate("deadline")

    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await room.wait_for("deadline")
            if not started.is_set():  # a slow machine: it never began, and never will
                opened.set()
                assert await room.bodies() == []
                return
            opened.set()
            while await room.bodies() == []:  # it had begun: it completes
                pass

    asyncio.run(main())


def test_a_timeout_of_the_room_says_whether_the_call_had_begun(tmp_path):
    started, opened = gate("options")
    blocks, unblock = gate("blocks options")

    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            begun = asyncio.ensure_future(room.options(timeout=0.3).wait_for("options"))
            await in_thread(started)
            with pytest.raises(DeadlineExceeded) as caught:
                await begun
            assert (caught.value.ran, caught.value.method) == ("rolled back", "wait_for")
            held = asyncio.ensure_future(room.held_up("blocks options"))
            await in_thread(blocks)
            with pytest.raises(CallTimeout) as caught:
                await room.options(timeout=0.01).post("late")
            assert caught.value.ran == "no"
            unblock.set()
            opened.set()
            await held
            assert await room.options(timeout=30).ping() == "pong"
            assert await room.bodies() == []

    asyncio.run(main())


def test_a_key_runs_once_and_its_repeats_get_the_reply(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general").options(key="client-msg-42")
            replies = await asyncio.gather(*(room.ask(ChatRoom.post, "once") for _ in range(100)))
            assert {reply.value for reply in replies} == {1}
            with pytest.raises(KeyReused):
                await room.ping()
            assert await room.options(key=None).bodies() == ["once"]

    asyncio.run(main())


def test_a_handler_sees_nobodys_context_variables_and_a_caller_keeps_his(tmp_path):
    async def caller(room, name):
        asker.set(name)
        assert await room.who_asks() == "nobody", "a room serves many callers: what it needs to know is an argument"
        assert asker.get() == name

    async def main():
        asker.set("the one who opened")
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            await asyncio.gather(caller(room, "ann"), caller(room, "bob"))

    asyncio.run(main())


def test_the_end_of_the_body_drains_calls_under_way_and_refuses_later_ones(tmp_path):
    started, opened = gate("drain")

    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            under_way = asyncio.ensure_future(room.wait_for("drain"))
            await in_thread(started)
            asyncio.get_running_loop().call_later(0.05, opened.set)
        assert await under_way == "drain"
        with pytest.raises(RuntimeClosed, match="Nothing ran"):
            await room.ping()
        with pytest.raises(RuntimeClosed):
            await runtime.status()

    asyncio.run(main())


def test_a_cancelled_body_drains_too_and_leaves_cancelled(tmp_path):
    async def service(entered):
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            await runtime.room(ChatRoom, "general").post("hello")
            entered.set()
            await asyncio.sleep(3600)

    async def main():
        entered = asyncio.Event()
        task = asyncio.ensure_future(service(entered))
        await entered.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # again, while it drains
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (tmp_path / "clean-stop").exists()

    asyncio.run(main())


def test_an_exception_of_the_body_leaves_it_as_it_is(tmp_path):
    async def main():
        with pytest.raises(Sorry):
            async with open_runtime(tmp_path, [ChatRoom]):
                raise Sorry

    asyncio.run(main())


def test_a_directory_in_use_is_refused_and_nothing_is_left(tmp_path):
    async def main():
        async with open_runtime(tmp_path, [ChatRoom]):
            with pytest.raises(DataDirInUse):
                async with open_runtime(tmp_path, [ChatRoom]):
                    raise AssertionError("opened twice")

    asyncio.run(main())


def test_a_call_from_another_loop_or_without_one_names_the_door(tmp_path):
    async def ping(room):
        return await room.ping()

    async def main():
        async with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            with pytest.raises(WrongDoor, match="another asyncio loop"):
                await asyncio.to_thread(asyncio.run, ping(room))
            call = ping(room)
            with pytest.raises(WrongDoor, match=r"durable_rooms\.sync\.open_runtime"):
                await asyncio.to_thread(call.send, None)

    asyncio.run(main())


def test_a_result_that_cannot_cross_fails_its_call(tmp_path):
    class Odd(ChatRoom):
        def odd(self):
            self.post("gone")
            return {1, 2}

    async def main():
        async with open_runtime(tmp_path, [Odd]) as runtime:
            room = runtime.room(Odd, "general")
            with pytest.raises(CallFailed):
                await room.odd()
            assert await room.bodies() == []

    asyncio.run(main())
