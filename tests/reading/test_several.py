"""Several replicas: each has everything, the slowest keeps the outboxes, and reads go to whichever is fresh enough."""

import contextlib
from collections import Counter

import apsw
import pytest
import trio

from actors import Position, RoomName
from durable_rooms import ReplicationLate, Runtime, SQLiteReplica
from durable_rooms.hatch.wire import Recopy, ask
from durable_rooms.testing import open_test_runtime
from replication import Replicators
from tests.reading.chat import ChatRoom
from tests.reading.several import gone, locked

READS = 400
POSTS = 600  # outboxes are trimmed in steps of 256


def bodies_in(replica: SQLiteReplica) -> list[str]:
    with contextlib.closing(apsw.Connection(str(replica.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM ChatRoom_messages ORDER BY room_id, id")]


def outbox(runtime: Runtime, room: str) -> int:
    file = runtime.directory.room(RoomName("ChatRoom", room))
    with contextlib.closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return int(connection.execute("SELECT count(*) FROM _outbox").fetchone()[0])


async def sources(room, times: int = READS) -> Counter[str]:
    return Counter([(await room.ask(ChatRoom.bodies)).source for _ in range(times)])


async def test_every_change_arrives_in_each_and_all_are_known_again_after_a_restart(tmp_path, near, far, autojump_clock):
    for number in range(3):
        async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[near, far]) as runtime:
            await runtime.room(ChatRoom, "a").post("ann", f"a{number}")
            await runtime.room(ChatRoom, "b").post("ann", f"b{number}")
            await runtime.replicated()
            states = {status.name: (status.state, dict(status.resyncs)) for status in runtime.status().replicas}
            assert states == {"near": ("live", {}), "far": ("live", {})}
        assert bodies_in(near) == bodies_in(far) == [f"{room}{n}" for room in "ab" for n in range(number + 1)]


async def test_a_room_keeps_what_the_slowest_replica_lacks(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "first")
        await runtime.replicated()
        with locked(far):
            for number in range(POSTS):
                await room.post("ann", f"{number}")
            await trio.sleep(1.0)
            assert len(bodies_in(near)) == POSTS + 1
            await room.post("ann", "last")
            assert outbox(runtime, "a") >= POSTS
        await runtime.replicated(timeout=60)
        await room.post("ann", "after the last")
        assert outbox(runtime, "a") < 5
        assert len(bodies_in(far)) == POSTS + 2
        assert not any(status.resyncs for status in runtime.status().replicas)


async def test_a_replica_that_is_added_later_is_filled(tmp_path, near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[near]) as runtime:
        for number in range(5):
            await runtime.room(ChatRoom, "a").post("ann", f"{number}")
            await runtime.replicated()
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[near, far]) as runtime:
        await runtime.replicated()
        assert bodies_in(far) == bodies_in(near) == list("01234")


async def test_reads_go_on_with_the_other_while_one_is_gone(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        await runtime.replicated()
        gone(near)
        assert (await sources(room, 50))["far"] == 50
        assert len(await runtime.across({ChatRoom: "all"}, fresh="any").sql("SELECT * FROM ChatRoom_messages")) == 1


async def test_a_replica_that_came_back_is_asked_again_though_the_other_answers_everything(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        await runtime.replicated()
        away = near.path.parent.with_name("elsewhere")
        gone(near)
        await sources(room, 50)
        assert runtime.status().reads.replicas["near"].breaker == "open"
        away.rename(near.path.parent)
        await trio.sleep(20.0)
        await runtime.replicated()
        assert set(await sources(room, 100)) == {"near", "far"}


async def test_a_write_that_one_replica_has_is_read_there_and_nobody_waits_for_the_other(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        await runtime.replicated()
        with locked(far):
            await room.post("ann", "again")
            await trio.sleep(1.0)
            began = trio.current_time()
            assert (await sources(room, 20))["near"] == 20
            assert trio.current_time() == began


async def test_replicated_waits_for_each_within_one_bound(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "hello")
        await runtime.replicated()
        with locked(far):
            await runtime.room(ChatRoom, "a").post("ann", "again")
            began = trio.current_time()
            with pytest.raises(ReplicationLate, match="replica far"):
                await runtime.replicated(timeout=3.0)
            assert trio.current_time() - began == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize(("weights", "share"), [((1.0, 1.0), 0.5), ((3.0, 1.0), 0.75), ((0.0, 1.0), 0.0)])
async def test_replicas_that_are_alike_share_the_reads_by_weight(tmp_path, weights, share, autojump_clock):
    names = ("one", "two")
    replicas = [
        SQLiteReplica(tmp_path / f"{name}.db", name=name, weight=weight) for name, weight in zip(names, weights, strict=True)
    ]
    async with open_test_runtime(ChatRoom, replicas=replicas) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        await runtime.replicated()
        asked = await sources(room)
        assert asked["one"] + asked["two"] == READS
        assert asked["one"] / READS == pytest.approx(share, abs=0.1)


async def test_a_session_stays_with_the_replica_that_it_has_read(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        for id in ("a", "b"):
            await runtime.room(ChatRoom, id).post("ann", "hello")
        await runtime.replicated()
        seen = set()
        for _ in range(20):
            session = runtime.session()
            asked = await sources(session.room(ChatRoom, "a"), 10) + await sources(session.room(ChatRoom, "b"), 10)
            assert len(asked) == 1
            seen |= set(asked)
        assert seen == {"near", "far"}, "sessions are shared among them"


async def test_a_session_loses_nothing_as_its_replica_goes_and_another_lags(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        session = runtime.session(fresh="any")
        room = session.room(ChatRoom, "a")
        await room.post("ann", "first")
        await runtime.replicated()
        with locked(far):
            await room.post("ann", "second")
            await trio.sleep(1.0)
            assert (await room.ask(ChatRoom.bodies)).source == "near"
            gone(near)
            for _ in range(20):
                assert await room.bodies() == ["first", "second"]


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ([SQLiteReplica("a.db"), SQLiteReplica("b.db")], "a name of its own: replica, replica"),
        ([SQLiteReplica(name="one"), SQLiteReplica(name="two")], r"a path of its own: replica.db \(the default\), replica.db"),
        ([SQLiteReplica(f"{n}.db", name=f"{n}") for n in range(9)], "9 replicas: at most 8"),
    ],
    ids=["name", "path", "many"],
)
async def test_replicas_that_cannot_be_told_apart_are_refused(replicas, words):
    with pytest.raises(ValueError, match=words):
        async with open_test_runtime(ChatRoom, replicas=replicas):
            pass


class Told:
    """A source that notes what it is told."""

    def __init__(self) -> None:
        self.name = RoomName("ChatRoom", "a")
        self.acknowledged: list[int] = []

    def acknowledge(self, seq: int) -> None:
        self.acknowledged.append(seq)


def test_a_room_hears_of_the_slowest_and_of_nobody_before_all_have_spoken(near, far):
    both, source = Replicators([near, far]), Told()
    for number, seq in [(0, 5), (0, 7), (1, 3), (1, 7), (0, 9), (1, 8), (1, 9)]:
        both.acknowledge(source, number, seq)
    assert source.acknowledged == [3, 7, 8, 9]
    assert not both._acknowledged, "where all agree nothing is kept"


def test_what_was_acknowledged_before_a_room_was_opened_again_does_not_count(near, far):
    both, source = Replicators([near, far]), Told()
    both.acknowledge(source, 0, 50)
    both.changed(source, Position(2, 20), 0)
    both.acknowledge(source, 1, 40)
    assert source.acknowledged == [], "the first one has said nothing of this timeline"


async def test_replicated_does_not_wait_for_what_was_committed_while_the_other_replica_was_waited_for(
    near, far, monkeypatch, autojump_clock
):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "hello")
        await runtime.replicated()

        async def slowly(timeout: float) -> None:  # noqa: ASYNC109 - as the one that it stands for
            """The first one has everything at the last moment, and then there is news for the second."""
            await trio.sleep(timeout)
            runtime.replicators[1].arrivals.collector.changed(runtime.source(RoomName("ChatRoom", "a")), Position(1, 99), 1)

        monkeypatch.setattr(runtime.replicators[0], "replicated", slowly)
        await runtime.replicated(timeout=3.0)


async def test_replicated_names_each_replica_that_is_late(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "hello")
        await runtime.replicated()
        with locked(near), locked(far):
            await runtime.room(ChatRoom, "a").post("ann", "again")
            with pytest.raises(ReplicationLate, match=r"replica far .*; replica near"):
                await runtime.replicated(timeout=3.0)


async def test_a_room_is_copied_again_into_each_replica_though_one_is_away(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "hello")
        await runtime.replicated()
        with locked(near):
            reply = await ask(runtime, Recopy(RoomName("ChatRoom", "a")))
            assert (reply.error, "replica near" in reply.message, "replica far" in reply.message) == (
                "ReplicationLate",
                True,
                False,
            )
            states = {status.name: dict(status.resyncs) for status in runtime.status().replicas}
            assert states == {"near": {}, "far": {"repair": 1}}
