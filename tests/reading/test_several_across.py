"""Questions across rooms where several replicas could answer: whichever has everything is asked, and nobody waits for another."""

from contextlib import ExitStack

import pytest
import trio

from durable_rooms import ReplicationLate
from durable_rooms.testing import open_test_runtime
from replication.reading.router import ACROSS_SECONDS_MAX
from tests.reading.chat import ChatRoom
from tests.reading.several import gone, locked

BODIES = "SELECT body FROM ChatRoom_messages ORDER BY id"


async def test_a_session_does_not_wait_for_its_last_replica_where_another_has_everything(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        session = runtime.session()
        room = session.room(ChatRoom, "a")
        await room.post("ann", "first")
        await runtime.replicated()
        last = (await room.ask(ChatRoom.bodies)).source
        with locked(near if last == "near" else far):
            await runtime.room(ChatRoom, "b").post("ann", "second")
            await trio.sleep(1.0)
            began = trio.current_time()
            assert len(await session.across({ChatRoom: "all"}).sql(BODIES)) == 2
            assert trio.current_time() == began


async def test_all_replicas_together_are_waited_for_within_one_bound(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "first")
        await runtime.replicated()
        with ExitStack() as held:
            for replica in (near, far):
                held.enter_context(locked(replica))
            await runtime.room(ChatRoom, "a").post("ann", "second")
            began = trio.current_time()
            with pytest.raises(ReplicationLate, match=r"replica near.*replica far|replica far.*replica near"):
                await runtime.across({ChatRoom: "all"}).sql(BODIES)
            assert trio.current_time() - began == pytest.approx(ACROSS_SECONDS_MAX, abs=0.1)


async def test_the_answer_of_a_replica_that_is_gone_is_had_from_the_other_at_once(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "first")
        await runtime.replicated()
        gone(near)
        began = trio.current_time()
        for _ in range(10):
            assert len(await runtime.across({ChatRoom: "all"}).sql(BODIES)) == 1
        assert trio.current_time() == began
