"""Rules 1 to 3: for every reply, write < sync began < sync returned < reply."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from durable_rooms import CallFailed, Limits, OutcomeUnknown
from tests.durability.callers import (
    Callers,
    assert_durable_before_reply,
    commit_place,
    covering_sync,
    recorded,
    reply_place,
    room,
    syncs,
    wal,
)
from tests.durability.chat import Refused

FEW = "sync began"
MANY = "file system sync began"


async def test_rule_01_a_round_certifies_only_what_was_committed_before_it_began(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        first, second = threads.hold(FEW, wal("a")), threads.hold(FEW, wal("a"))
        await callers.start("one", a.post("1", "body-one"))
        await first.reached.wait()
        await callers.start("two", a.post("2", "body-two"))
        assert commit_place(disk, "a", "body-two") > disk.where(FEW, wal("a"))[-1]  # committed while the sync is in flight
        first.release()
        await second.reached.wait()
        await wait_all_tasks_blocked()
        assert "one" in callers
        assert "two" not in callers
        second.release()
        await wait_all_tasks_blocked()
        assert "two" in callers
    assert_durable_before_reply(disk, "a", "body-one", "one")
    assert_durable_before_reply(disk, "a", "body-two", "two")


async def test_rule_01_the_gate_counts_commits_not_seq(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        first, second = threads.hold(FEW, wal("a")), threads.hold(FEW, wal("a"))
        await callers.start("table", a.add_table("one"))
        await first.reached.wait()
        await callers.start("index", a.run("CREATE INDEX by_body ON messages (body)"))
        first.release()
        await second.reached.wait()
        await wait_all_tasks_blocked()
        assert "table" in callers
        assert "index" not in callers
        second.release()


@pytest.mark.parametrize("rooms", [1, 8], ids=["each file", "one syncfs"])
async def test_rule_01_every_reply_follows_a_sync_that_began_after_its_write(open_rooms, disk, tasks, rooms):
    async with open_rooms() as runtime:
        callers = Callers(tasks, disk)
        for number in range(3):
            for id in range(rooms):
                tasks.start_soon(callers._wait, f"{id}.{number}", room(runtime, str(id)).post(str(number), f"body-{id}-{number}"))
            await wait_all_tasks_blocked()
    assert bool(disk.where("file system sync returned")) == (rooms > 1)
    for id in range(rooms):
        for number in range(3):
            assert_durable_before_reply(disk, str(id), f"body-{id}-{number}", f"{id}.{number}")


async def test_rule_02_a_read_that_shares_a_turn_with_a_write_waits_for_its_sync(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold(FEW, wal("a"))
        tasks.start_soon(callers._wait, "write", a.post("1", "body-one"))
        await callers.start("read", a.ids())
        await hold.reached.wait()
        assert "read" not in callers
        hold.release()
        await wait_all_tasks_blocked()
    assert callers["read"] in (["0"], ["0", "1"])
    assert_durable_before_reply(disk, "a", "body-one", "read")


@pytest.mark.parametrize("call", ["ids", "ping"])
async def test_rule_02_a_read_that_follows_an_undurable_turn_waits_for_its_sync(open_rooms, disk, threads, tasks, call):
    """A call without SQL, too: it may have seen what the turn left in the actor's memory."""
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold(FEW, wal("a"))
        await callers.start("write", a.post("1", "body-one"))
        await hold.reached.wait()
        await callers.start("read", getattr(a, call)())
        assert "read" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert "read" in callers
    assert_durable_before_reply(disk, "a", "body-one", "read")


async def test_rule_02_a_read_of_what_is_durable_waits_for_nothing(open_rooms, disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        before = len(disk.events)
        assert await room(runtime, "a").ids() == ["0"]
        assert disk.events[before:] == []


@pytest.mark.parametrize("call", ["post_and_raise", "look_and_raise"])
async def test_rule_02_an_exception_waits_like_a_reply(open_rooms, disk, threads, tasks, call):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold(FEW, wal("a"))
        await callers.start("write", a.post("1", "body-one"))
        await hold.reached.wait()
        await callers.start("error", getattr(a, call)(*(["2"] if call == "post_and_raise" else [])))
        assert "error" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert isinstance(callers["error"], Refused)
        assert await a.ids() == ["0", "1"]
    assert_durable_before_reply(disk, "a", "body-one", "error")


async def test_rule_02_a_result_that_cannot_cross_waits_like_a_reply(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=Limits(result_bytes_max=2)) as runtime:
        a = room(runtime, "a")
        callers = Callers(tasks, disk)
        hold = threads.hold(FEW, wal("a"))
        await callers.start("write", a.post("1", "body-one"))
        await hold.reached.wait()
        await callers.start("too large", a.ids())
        assert "too large" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert "result_bytes_max" in str(callers["too large"])


async def test_rule_02_a_write_that_no_counter_sees_is_gated_too(open_rooms, disk):
    """ANALYZE and REINDEX change the file without changing a row."""
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.run("CREATE INDEX by_body ON messages (body)")
        await a.post("1", "x")
        for number in range(2):
            for statement in ("ANALYZE", "REINDEX by_body"):
                await a.post(f"{statement}{number}", "y")
                before = len(disk.events)
                await recorded(disk, f"{statement} {number}", a.run(statement))
                writes = [place for place in disk.where("write", wal("a")) if place >= before]
                if writes:
                    began, returned = covering_sync(disk, wal("a"), writes[-1])
                    assert began < returned < reply_place(disk, f"{statement} {number}"), statement


async def test_rule_03_a_later_write_never_delays_an_earlier_reply(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        first, second = threads.hold(FEW, wal("a")), threads.hold(FEW, wal("a"))
        await callers.start("one", a.post("1"))
        await first.reached.wait()
        await callers.start("read", a.ids())  # sees "1", so it waits for the first round only
        await callers.start("two", a.post("2"))
        first.release()
        await second.reached.wait()
        await wait_all_tasks_blocked()
        assert "one" in callers
        assert callers["read"] == ["0", "1"]
        assert "two" not in callers
        second.release()


async def test_rule_03_turns_go_on_while_a_sync_is_in_flight(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync returned", wal("a"))
        for number in range(1, 6):
            await callers.start(str(number), a.post(str(number), f"body-{number}"))
        await hold.reached.wait()
        in_flight = disk.where(FEW, wal("a"))[-1]
        assert [commit_place(disk, "a", f"body-{number}") > in_flight for number in range(1, 6)] == [
            False,
            True,
            True,
            True,
            True,
        ]
        before = len(syncs(disk, wal("a")))
        hold.release()
        await wait_all_tasks_blocked()
        assert len(callers.outcomes) == 5
        assert len(syncs(disk, wal("a"))) - before == 1  # one more round for the four


async def test_rule_03_each_slice_of_an_async_handler_belongs_to_the_turn_in_which_it_ran(
    open_rooms, disk, threads, tasks, autojump_clock
):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        await callers.start("slow", a.post_twice("1", "2", 5.0))
        first_slice = disk.where("write", wal("a"))[-1]
        assert covering_sync(disk, wal("a"), first_slice)  # committed and synced while the handler is suspended
        assert await recorded(disk, "look", a.ids()) == ["0", "1"]
        hold = threads.hold(FEW, wal("a"))
        await hold.reached.wait()  # the second slice's round
        assert "slow" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert callers["slow"] is None
        second_slice = disk.where("write", wal("a"))[-1]
        began, returned = covering_sync(disk, wal("a"), second_slice)
        assert second_slice < began < returned < reply_place(disk, "slow")


async def test_rule_03_the_reply_of_an_async_handler_waits_for_what_it_read(open_rooms, disk, threads, tasks, autojump_clock):
    """Its last slice reads another call's undurable post."""
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        await callers.start("slow", a.post_slowly("1", 5.0))
        await trio.sleep(4.9)
        hold = threads.hold(FEW, wal("a"))
        await callers.start("fast", a.post("2", "body-two"))
        await hold.reached.wait()
        await trio.sleep(5.0)
        assert "slow" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert callers["slow"] == ["0", "1", "2"]
    assert_durable_before_reply(disk, "a", "body-two", "slow")


async def test_rule_03_when_a_sync_fails_every_turn_beyond_the_last_good_round_is_unknown_together(
    open_rooms, disk, threads, tasks
):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold(FEW, wal("a"))
        disk.fails("sync", wal("a"), by="ours")
        await callers.start("one", a.post("1"))
        await hold.reached.wait()
        await callers.start("two", a.post("2"))
        await callers.start("read", a.ids())
        await callers.start("error", a.look_and_raise())
        hold.release()
        await wait_all_tasks_blocked()
        assert [type(callers[name]) for name in ("one", "two", "read", "error")] == [OutcomeUnknown] * 4
        assert not isinstance(callers["one"], CallFailed)
