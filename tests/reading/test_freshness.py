"""Which answers may be given: how new they must be, and what happens when no replica is that new."""

import apsw
import pytest
import trio

from durable_rooms import CallTimeout, Limits
from tests.reading.chat import ChatRoom, reading


def locked(path):
    """Another program holds the replica: nothing arrives there any more."""
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE").fetchall()
    return other


@pytest.mark.parametrize("source", ["room", "replica"])
async def test_a_read_sees_every_post_that_has_returned(source, autojump_clock):
    """Without a session the room answers, which is at hand; a session waits for the replica."""
    async with reading() as runtime:
        room = (runtime if source == "room" else runtime.session()).room(ChatRoom, "general")
        for n in range(50):
            await room.post("ann", f"{n}")
            reply = await room.ask(ChatRoom.bodies)
            assert reply.value[-1] == f"{n}"
            assert reply.source == source


async def test_a_room_just_written_to_answers_at_once_and_the_replica_as_soon_as_it_can(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "hello")
        began = trio.current_time()
        assert (await room.ask(ChatRoom.bodies)).source == "room"
        assert trio.current_time() == began
        assert runtime.status().reads.by_why["room at hand"] == 1
        await runtime.replicated()
        assert (await room.ask(ChatRoom.bodies)).source == "replica"


async def test_a_session_waits_for_its_write_and_for_no_other(autojump_clock):
    """The write that must be seen is in the replica long before all that is under way is."""
    async with reading() as runtime, trio.open_nursery() as nursery:

        async def busy() -> None:
            while True:
                await runtime.room(ChatRoom, "busy").post("bob", "x")

        nursery.start_soon(busy)
        room = runtime.session().room(ChatRoom, "general")
        await room.post("ann", "hello")
        reply = await room.ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["hello"], "replica")
        nursery.cancel_scope.cancel()


async def test_a_replica_in_trouble_costs_no_wait_and_the_room_answers(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        await room.post("ann", "two")
        while runtime.status().replicas[0].state == "live":  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.01)
        began = trio.current_time()
        reply = await room.ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["one", "two"], "room")
        assert trio.current_time() - began < 0.01
        other.close()
        await runtime.replicated()
        assert (await room.ask(ChatRoom.bodies)).source == "replica"


async def test_any_takes_what_is_there_and_seconds_what_is_new_enough(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        await room.post("ann", "two")
        await trio.sleep(10)
        assert await room.options(fresh="any").bodies() == ["one"]
        assert await room.options(fresh=60).bodies() == ["one"]
        assert await room.options(fresh=5).bodies() == ["one", "two"]
        assert await room.bodies_somehow() == ["one"]  # its method says "any"
        assert await room.options(fresh="acknowledged").bodies_somehow() == ["one", "two"]  # the call has the last word
        other.close()


async def test_a_quiet_room_is_not_stale_however_long_ago_it_was_written(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        await trio.sleep(1_000)
        assert (await room.options(fresh=0).ask(ChatRoom.bodies)).source == "replica"


async def test_room_never_asks_a_replica(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        assert (await room.ask(ChatRoom.bodies_here)).source == "room"
        assert (await room.options(fresh="room").ask(ChatRoom.bodies)).source == "room"


async def test_a_room_that_was_never_called_answers_itself(autojump_clock):
    async with reading() as runtime:
        reply = await runtime.room(ChatRoom, "new").ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == ([], "room")


async def test_hibernated_rooms_are_read_in_the_replica_after_a_restart(tmp_path, autojump_clock):
    async with reading(path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "general").post("ann", "one")
    async with reading(path=tmp_path) as runtime:
        await runtime.replicated()
        reply = await runtime.room(ChatRoom, "general").ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["one"], "replica")
        assert runtime.status().rooms_open == 0


async def test_an_outage_reads_many_rooms_without_opening_one(tmp_path, autojump_clock):
    async with reading(path=tmp_path, limits=Limits(open_rooms_max=5, idle_seconds_max=1)) as runtime:
        for n in range(40):
            await runtime.room(ChatRoom, f"room-{n}").post("ann", f"in {n}")
        await runtime.replicated()
        await trio.sleep(10)
        other = locked(runtime.path / "replica.db")
        assert runtime.status().rooms_open == 0
        found = {}

        async def look(n: int) -> None:
            reply = await runtime.room(ChatRoom, f"room-{n}").options(fresh="room").ask(ChatRoom.bodies)
            found[n] = reply.value

        async with trio.open_nursery() as nursery:
            for n in range(40):
                nursery.start_soon(look, n)
        assert found == {n: [f"in {n}"] for n in range(40)}
        assert runtime.status().rooms_open == 0
        other.close()


async def test_a_deleted_replica_is_read_again_when_it_is_there_again(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        assert (await room.ask(ChatRoom.bodies)).source == "replica"
        for suffix in ("", "-wal", "-shm"):
            (runtime.path / f"replica.db{suffix}").unlink()
        assert await room.bodies() == ["one"]
        await room.post("ann", "two")
        await runtime.replicated()
        await trio.sleep(10)
        reply = await room.ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["one", "two"], "replica")


async def test_a_replica_that_only_a_writer_could_put_right_is_trouble_of_its_file(autojump_clock, tmp_path):
    """A rollback journal beside it: SQLite wants to write before a reader may see anything, and a reader may not."""
    other = apsw.Connection(str(tmp_path / "other.db"))
    for statement in ("PRAGMA cache_size = 1", "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))", "BEGIN"):
        other.execute(statement).fetchall()
    other.execute("UPDATE t SET x = randomblob(100000)").fetchall()
    hot = (tmp_path / "other.db-journal").read_bytes()
    other.close()
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        journal = runtime.path / "replica.db-journal"
        journal.write_bytes(hot)
        reply = await room.ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["one"], "room")
        journal.unlink()


async def test_the_runtime_says_how_many_reads_went_where(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
        await runtime.replicated()
        await room.bodies()
        await room.bodies()
        await room.bodies_here()
        reads = runtime.status().reads
        assert reads.by_source == {"replica": 2, "room": 1}
        assert reads.replicas["replica"].breaker == "closed"


async def test_reads_under_way_end_before_a_stop_and_later_ones_are_refused(tmp_path, autojump_clock):
    from durable_rooms import RuntimeClosed

    async with reading(path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "one")
    with pytest.raises(RuntimeClosed):
        await room.bodies()


@pytest.mark.parametrize("fresh", ["acknowledged", "any", "room"])
async def test_a_read_whose_time_is_over_when_its_turn_comes_never_runs(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.post("ann", "hello")
        await runtime.replicated()
        await trio.sleep(1)  # now and so little later are one moment
        with pytest.raises(CallTimeout, match="A read changes nothing"):
            await room.options(fresh=fresh, timeout=1e-30).bodies()
        assert await room.options(fresh=fresh, timeout=1.0).bodies() == ["hello"]
