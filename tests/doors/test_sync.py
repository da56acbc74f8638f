"""Rooms inside plain code and threads."""

import math
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_rooms import (
    BadArguments,
    CallTimeout,
    DataDirInUse,
    DeadlineExceeded,
    KeyInvalid,
    KeyReused,
    Limits,
    Overloaded,
    Reply,
    RoomsError,
    RuntimeClosed,
    SQLiteReplica,
    UnknownMethod,
)
from durable_rooms.sync import open_runtime
from tests.doors.chat import ChatRoom, Sorry, asker, for_threads, gate


def test_calls_call_and_ask_answer_as_in_trio(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        assert room.post("one") == 1
        assert room.call(ChatRoom.post, "two") == 2
        reply = room.ask(ChatRoom.post, "three")
        assert isinstance(reply, Reply)
        assert reply.value == 3
        assert room.bodies() == ["one", "two", "three"]
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").bodies() == ["one", "two", "three"]


def test_status_replica_listing_description_and_dump(tmp_path):
    with open_runtime(tmp_path / "data", [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(ChatRoom, "general")
        assert runtime.describe(room) is None
        room.post("hello")
        runtime.replicated()
        assert runtime.status().replicas[0].lag_rooms == 0
        assert [info.id for info in runtime.list_rooms(ChatRoom)] == ["general"]
        found = runtime.describe(room)
        assert found is not None
        assert found.id == "general"
        assert runtime.dump(room, tmp_path / "copy.db").rows == {"messages": 1}


def test_many_threads_at_once_each_get_their_own_answer(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime, ThreadPoolExecutor(16) as pool:
        room = runtime.room(ChatRoom, "general")
        ids = list(pool.map(lambda number: room.post(str(number)), range(400)))
        bodies = room.bodies()
        assert sorted(ids) == list(range(1, 401))
        assert [bodies[id - 1] for id in ids] == [str(number) for number in range(400)]


def test_a_handlers_exception_arrives_itself_with_note_and_traceback(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        with pytest.raises(Sorry) as caught:
            room.post_and_raise("no")
        assert "ChatRoom/general" in caught.value.__notes__[0]
        assert "raise Sorry(body)" in "".join(traceback.format_exception(caught.value))
        with pytest.raises(StopIteration):
            room.stop_iteration()
        assert room.bodies() == []


def test_calls_that_cannot_be_made_are_refused_at_once(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        with pytest.raises(UnknownMethod):
            room.nothing  # noqa: B018
        with pytest.raises(BadArguments):
            room.post()
        with pytest.raises(ValueError, match="timeout"):
            room.options(timeout=-1)


def test_a_timeout_says_that_the_call_never_ran_and_it_never_does(tmp_path):
    started, opened = gate("timeout")
    with open_runtime(tmp_path, [ChatRoom]) as runtime, ThreadPoolExecutor(1) as pool:
        room = runtime.room(ChatRoom, "general")
        held = pool.submit(room.held_up, "timeout")
        assert started.wait(30)
        with pytest.raises(CallTimeout, match="had not begun and never runs") as caught:
            room.options(timeout=0.01).post("late")
        assert caught.value.ran == "no"
        assert isinstance(caught.value, TimeoutError)
        opened.set()
        held.result(30)
        assert room.bodies() == []


def test_a_timeout_cancels_an_async_handler_and_says_that_it_left_nothing(tmp_path):
    started, opened = gate("begun")
    with open_runtime(tmp_path, [ChatRoom]) as runtime, ThreadPoolExecutor(1) as pool:
        room = runtime.room(ChatRoom, "general")
        room.ping()
        late = pool.submit(room.options(timeout=0.2).wait_for, "begun")
        assert started.wait(30)
        error = late.exception(30)
        assert isinstance(error, DeadlineExceeded)
        assert isinstance(error, TimeoutError)
        assert (error.ran, error.room, error.method) == ("rolled back", "ChatRoom/general", "wait_for")
        opened.set()
        assert room.bodies() == []


def test_a_caller_does_not_wait_for_a_loop_that_stands_still_and_the_handler_is_rolled_back(tmp_path):
    started, opened = gate("stands still")
    with open_runtime(tmp_path, [ChatRoom]) as runtime, ThreadPoolExecutor(1) as pool:
        room = runtime.room(ChatRoom, "general")
        room.ping()
        late = pool.submit(room.options(timeout=0.05).post_then_held_up, "stands still")
        assert started.wait(30)
        error = late.exception(30)
        assert isinstance(error, CallTimeout)
        assert (error.ran, error.retryable, error.method) == ("unknown", False, "post_then_held_up")
        opened.set()
        assert room.bodies() == []


def test_a_key_runs_once_across_the_border_and_its_repeats_get_the_reply(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime, ThreadPoolExecutor(8) as pool:
        room = runtime.room(ChatRoom, "general").options(key="client-msg-42")
        assert set(pool.map(lambda _: room.post("once"), range(100))) == {1}
        assert runtime.session().room(ChatRoom, "general").options(key="client-msg-42", timeout=30).post("once") == 1
        with pytest.raises(KeyReused) as caught:
            room.post("another")
        assert (caught.value.room, caught.value.method) == ("ChatRoom/general", "post")
        assert room.options(key=None).bodies() == ["once"]
        with pytest.raises(KeyInvalid):
            room.options(key="")


def test_errors_of_the_border_name_room_and_method(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")
        for call, method in ((lambda: room.post(), "post"), (lambda: room.nothing(), "nothing")):
            with pytest.raises(RoomsError) as caught:
                call()
            assert (caught.value.room, caught.value.method, caught.value.ran) == ("ChatRoom/general", method, "no")
    with pytest.raises(RuntimeClosed) as caught:
        room.ping()
    assert (caught.value.room, caught.value.method, caught.value.overloaded) == ("ChatRoom/general", "ping", False)


def test_a_call_within_its_timeout_answers(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").options(timeout=30).post("in time") == 1


@pytest.mark.parametrize("timeout", [math.inf, 1e12], ids=["inf", "30,000 years"])
def test_a_timeout_longer_than_threads_can_wait_is_none(timeout, tmp_path):
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").options(timeout=timeout).post("in time") == 1


def test_ctrl_c_in_the_middle_of_a_wake_up_holds_no_later_call_up(tmp_path):
    """A notebook, or whoever catches it, goes on with the same runtime."""

    def interrupted(what):
        border.tell = tell
        raise KeyboardInterrupt

    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general").options(timeout=30)
        room.ping()
        border = runtime._border
        tell = border.tell
        for call in (lambda: room.post("never"), runtime.status):
            border.tell = interrupted
            with pytest.raises(KeyboardInterrupt):
                call()
            assert room.bodies() == []
        assert border.under_way == set()


def test_a_full_mailbox_refuses_across_the_border(tmp_path):
    started, opened = gate("full")
    with for_threads(tmp_path, limits=Limits(mailbox_calls_max=4)) as runtime, ThreadPoolExecutor(12) as pool:
        room = runtime.room(ChatRoom, "general")
        room.ping()
        held = pool.submit(room.held_up, "full")
        assert started.wait(30)
        waiting = [pool.submit(room.post, str(number)) for number in range(10)]
        border = runtime._border
        while len(border._inbox) < 10:
            assert not any(one.done() for one in waiting)
        opened.set()
        outcomes = [one.exception(30) for one in waiting]
        assert [type(one) for one in outcomes if one is not None] == [Overloaded] * 6
        held.result(30)


def test_the_end_of_the_body_drains_calls_of_other_threads_and_refuses_later_ones(tmp_path):
    started, opened = gate("drain")
    with ThreadPoolExecutor(1) as pool:
        with open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            under_way = pool.submit(room.wait_for, "drain")
            assert started.wait(30)
            threading.Timer(0.05, opened.set).start()
        assert under_way.result(30) == "drain"
    with pytest.raises(RuntimeClosed, match="Nothing ran"):
        room.ping()
    with pytest.raises(RuntimeClosed):
        runtime.status()


def test_whoever_comes_while_it_drains_is_refused_and_the_drain_goes_on(tmp_path):
    started, opened = gate("long drain")
    with ThreadPoolExecutor(2) as pool:
        opening = open_runtime(tmp_path, [ChatRoom])
        runtime = opening.__enter__()
        room = runtime.room(ChatRoom, "general")
        under_way = pool.submit(room.wait_for, "long drain")
        assert started.wait(30)
        closing = pool.submit(opening.__exit__, None, None, None)
        while True:  # until the stop has been seen
            try:
                runtime.status()
            except RuntimeClosed:
                break
        for late in (runtime.status, runtime.replicated, room.ping):
            with pytest.raises(RuntimeClosed):
                late()
        assert not closing.done()
        opened.set()
        assert under_way.result(30) == "long drain"
        assert closing.result(30) is None
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").bodies() == ["waited for long drain"]


def test_a_directory_in_use_is_refused_and_nothing_is_left(tmp_path):
    with open_runtime(tmp_path, [ChatRoom]), pytest.raises(DataDirInUse), open_runtime(tmp_path, [ChatRoom]):
        raise AssertionError("opened twice")


def test_arguments_that_cannot_be_are_raised_and_not_logged_as_well(tmp_path, caplog):
    with pytest.raises(ValueError, match="at least one actor class"), open_runtime(tmp_path, []):
        raise AssertionError("opened")
    assert not caplog.records


def test_an_exception_of_the_body_leaves_it_as_it_is(tmp_path):
    with pytest.raises(Sorry), open_runtime(tmp_path, [ChatRoom]):
        raise Sorry


def test_a_handler_sees_nobodys_context_variables(tmp_path):
    asker.set("the one who opened")
    with open_runtime(tmp_path, [ChatRoom]) as runtime:
        assert runtime.room(ChatRoom, "general").who_asks() == "nobody"
        assert asker.get() == "the one who opened"
