"""A session over several replicas: what it saw in one does not disappear because another one answers."""

import pytest
import trio

from actors import Position, RoomName
from durable_rooms.testing import open_test_runtime
from replication.reading.bookmark import ROOMS_MAX, Bookmark, parsed
from tests.reading.chat import ChatRoom
from tests.reading.several import deleted, gone, locked


async def made_anew(runtime, replica):
    """So that its generation sorts behind the other's."""
    await trio.sleep(1.0)
    deleted(replica)
    await runtime.room(ChatRoom, "other").post("ann", "so that somebody notices")
    await trio.sleep(1.0)
    await runtime.replicated()


@pytest.mark.parametrize("later", ["near", "far"])
async def test_what_was_seen_across_rooms_stays_seen_where_a_lagging_replica_answers_next(near, far, later, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ann", "first")
        await runtime.replicated()
        await made_anew(runtime, {"near": near, "far": far}[later])
        with locked(far):
            await room.post("ann", "second")
            await trio.sleep(1.0)
            session = runtime.session(fresh="any")
            rows = await session.across({ChatRoom: "all"}).sql("SELECT body FROM ChatRoom_messages WHERE room_id = 'a'")
            assert rows.scalars() == ["first", "second"]
            gone(near)
            assert await session.room(ChatRoom, "a").bodies() == ["first", "second"]


@pytest.mark.parametrize("later", ["near", "far"])
async def test_what_only_the_floor_covers_stays_seen_where_a_lagging_replica_answers_next(near, far, later, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        ids = [f"{number}" for number in range(ROOMS_MAX + 2)]
        for id in ids:
            await runtime.room(ChatRoom, id).post("ann", "first")
        await runtime.replicated()
        await made_anew(runtime, {"near": near, "far": far}[later])
        with locked(far):
            for id in ids[:2]:
                await runtime.room(ChatRoom, id).post("ann", "second")
            await trio.sleep(1.0)
            session = runtime.session()
            for id in ids:
                await session.room(ChatRoom, id).bodies()
            session = runtime.session(session.bookmark, fresh="any")
            gone(near)
            assert await session.room(ChatRoom, ids[-1]).bodies() == ["first"]  # of a room that is known: far may answer
            for id in ids[:2]:
                assert await session.room(ChatRoom, id).bodies() == ["first", "second"]


async def test_a_session_that_saw_both_is_answered_by_either_once_it_has_everything(near, far, autojump_clock):
    async with open_test_runtime(ChatRoom, replicas=[near, far]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "first")
        await runtime.replicated()
        session = runtime.session(fresh="any")
        await session.across({ChatRoom: "all"}).sql("SELECT body FROM ChatRoom_messages")
        gone(near)
        reply = await session.room(ChatRoom, "a").ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["first"], "far")


async def test_a_replica_that_began_as_a_copy_of_the_other_is_another_one(tmp_path, near, far, autojump_clock):
    """Both files have one generation, and from then on each counts its own batches."""
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[near]) as runtime:
        await runtime.room(ChatRoom, "a").post("ann", "first")
        await runtime.replicated()
    far.path.write_bytes(near.path.read_bytes())
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[near, far]) as runtime:
        with locked(near):
            for number in range(5):  # so that far counts more batches
                await runtime.room(ChatRoom, f"{number}").post("ann", "hello")
                await trio.sleep(1.0)
        await runtime.replicated()
        assert not any(status.resyncs for status in runtime.status().replicas)
        with locked(far):
            await runtime.room(ChatRoom, "a").post("ann", "second")
            await trio.sleep(1.0)
            session = runtime.session(fresh="any")
            rows = await session.across({ChatRoom: ["a"]}).sql("SELECT body FROM ChatRoom_messages")
            assert rows.scalars() == ["first", "second"]
            gone(near)
            assert await session.room(ChatRoom, "a").bodies() == ["first", "second"]


# -- the bookmark alone ---------------------------------------------------------------------------------------------
def name(number):
    return RoomName("ChatRoom", f"{number}")


@pytest.mark.parametrize(("one", "other"), [("1", "2"), ("2", "1")])
def test_the_floor_of_one_replica_says_nothing_of_what_was_forgotten_on_another(one, other):
    bookmark = Bookmark()
    for number in range(ROOMS_MAX + 5):
        bookmark.saw_replica(name(number), Position(1, 5), one, number)
    bookmark.saw_replica(name(ROOMS_MAX), Position(1, 5), other, 1_000)
    for seen in (bookmark, parsed(bookmark.token(b"k" * 32), b"k" * 32)):
        assert not seen.trusts(name(0), other, 1_001, whole=True)
        assert not seen.trusts(name(0), one, 1_001, whole=True), "of what was seen since, its floor says nothing"
        assert seen.trusts(name(ROOMS_MAX), other, 0, whole=False), "its position is known, and was asked for"


@pytest.mark.parametrize(("one", "other"), [("1", "2"), ("2", "1")])
def test_what_was_seen_across_rooms_on_one_replica_is_not_trusted_on_another(one, other):
    bookmark = Bookmark()
    bookmark.saw_across(one, 7)
    bookmark.saw_across(other, 3)
    assert not bookmark.trusts(name(0), one, 1_000, whole=True)
    assert not bookmark.trusts(name(0), other, 1_000, whole=True), "of the first look it knows nothing"


def test_a_token_stays_short_whichever_replica_is_read_last():
    bookmark = Bookmark()
    for generation in ("2", "1", "3"):
        for number in range(2 * ROOMS_MAX):
            bookmark.saw_replica(name(f"{generation}-{number}"), Position(1, 5), generation, number)
    assert len(bookmark.rooms) == ROOMS_MAX
