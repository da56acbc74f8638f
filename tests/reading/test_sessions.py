"""What a session promises: what it saw does not disappear, whoever answers; its bookmark, in any hands."""

import pytest
import trio

from actors import Position, RoomName
from durable_rooms import BadBookmark
from replication.reading.bookmark import ROOMS_MAX, Bookmark, parsed
from tests.reading.chat import ChatRoom, reading
from tests.reading.test_freshness import locked


async def test_a_session_sees_its_own_writes_even_where_anything_would_do(autojump_clock):
    async with reading() as runtime:
        session = runtime.session(fresh="any")
        room = session.room(ChatRoom, "general")
        for n in range(20):
            await room.post("ann", f"{n}")
            assert (await room.bodies())[-1] == f"{n}"


async def test_without_a_session_any_may_miss_what_was_just_written(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh="any")
        await room.post("ann", "one")
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        await room.post("ann", "two")
        assert await room.bodies() == ["one"]
        assert await runtime.session(fresh="any").room(ChatRoom, "general").bodies() == ["one"]
        other.close()


async def test_a_session_goes_on_from_its_bookmark(tmp_path, autojump_clock):
    async with reading(path=tmp_path) as runtime:
        first = runtime.session(fresh="any")
        await runtime.room(ChatRoom, "general").post("ann", "one")
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        await first.room(ChatRoom, "general").post("ann", "two")
        again = runtime.session(first.bookmark, fresh="any")
        reply = await again.room(ChatRoom, "general").ask(ChatRoom.bodies)
        assert (reply.value, reply.source) == (["one", "two"], "room")
        bookmark = again.bookmark
        other.close()
    async with reading(path=tmp_path) as runtime:
        after = runtime.session(bookmark, fresh="any")
        assert await after.room(ChatRoom, "general").bodies() == ["one", "two"]


async def test_the_bookmark_of_a_reply_carries_what_it_saw(autojump_clock):
    async with reading() as runtime:
        other = None
        await runtime.room(ChatRoom, "general").post("ann", "one")
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        reply = await runtime.room(ChatRoom, "general").ask(ChatRoom.post, "ann", "two")
        seen = runtime.session(reply.bookmark, fresh="any").room(ChatRoom, "general")
        assert await seen.bodies() == ["one", "two"]
        other.close()


async def test_what_was_read_from_the_room_stays_seen_when_the_replica_answers_next(autojump_clock):
    async with reading() as runtime:
        await runtime.room(ChatRoom, "general").post("ann", "one")
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        await runtime.room(ChatRoom, "general").post("bob", "two")
        session = runtime.session(fresh="any")
        assert await session.room(ChatRoom, "general").options(fresh="room").bodies() == ["one", "two"]
        assert await session.room(ChatRoom, "general").bodies() == ["one", "two"]
        other.close()


async def test_an_older_copy_of_the_replica_does_not_answer_a_session_that_saw_more(tmp_path, autojump_clock):
    """Put back by somebody while the runtime was down: batches that the session saw are not in it."""
    async with reading(path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "general").post("ann", "one")
    old = (tmp_path / "replica.db").read_bytes()
    async with reading(path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "general").post("ann", "two")
        await runtime.replicated()
        session = runtime.session(fresh="any")
        assert await session.room(ChatRoom, "general").bodies() == ["one", "two"]
        bookmark = session.bookmark
    (tmp_path / "replica.db").write_bytes(old)
    async with reading(path=tmp_path) as runtime:
        assert await runtime.session(bookmark, fresh="any").room(ChatRoom, "general").bodies() == ["one", "two"]


async def test_a_bookmark_is_short_and_survives_a_cookie(autojump_clock):
    async with reading() as runtime:
        session = runtime.session()
        for n in range(200):
            await session.room(ChatRoom, f"room-{n}").post("ann", "x")
            await session.room(ChatRoom, f"room-{n}").bodies()
        assert len(session.bookmark) < 4_000
        assert session.bookmark.replace("-", "").replace("_", "").isalnum()
        assert runtime.session(session.bookmark).bookmark == session.bookmark


@pytest.mark.parametrize("forge", [str.swapcase, lambda text: text[:-1], lambda text: text + "AAAA", lambda text: "A" + text[1:]])
async def test_a_forged_bookmark_is_refused(forge, autojump_clock):
    async with reading() as runtime:
        session = runtime.session()
        await session.room(ChatRoom, "general").post("ann", "x")
        with pytest.raises(BadBookmark):
            runtime.session(forge(session.bookmark))


@pytest.mark.parametrize("text", ["", "x", "€", "=" * 50, "A" * 10_000, "../../etc/passwd"])
async def test_what_is_no_bookmark_is_refused(text, autojump_clock):
    async with reading() as runtime:
        with pytest.raises(BadBookmark):
            runtime.session(text)


async def test_the_bookmark_of_another_directory_is_refused(tmp_path, autojump_clock):
    async with reading(path=tmp_path / "a", seed=1) as runtime:
        session = runtime.session()
        await session.room(ChatRoom, "general").post("ann", "x")
        bookmark = session.bookmark
    async with reading(path=tmp_path / "b", seed=2) as runtime:
        with pytest.raises(BadBookmark, match="not made for this data directory"):
            runtime.session(bookmark)


def test_the_key_is_for_its_owner_alone(tmp_path):
    async def main() -> None:
        async with reading(path=tmp_path):
            pass

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert (tmp_path / "bookmark-key").stat().st_mode & 0o777 == 0o600


# -- the bookmark alone ---------------------------------------------------------------------------------------------
def name(number):

    return RoomName("ChatRoom", f"{number}")


def test_rooms_that_a_replica_has_are_forgotten_and_its_floor_remembers_them():

    bookmark = Bookmark()
    for number in range(ROOMS_MAX + 10):
        bookmark.saw_replica(name(number), Position(1, 5), "generation", number)
    assert len(bookmark.rooms) == ROOMS_MAX
    assert bookmark.needs(name(0)) is None
    assert bookmark.trusts(name(0), "generation", ROOMS_MAX + 9, whole=True)
    assert not bookmark.trusts(name(0), "generation", ROOMS_MAX + 9, whole=False)
    assert not bookmark.trusts(name(0), "generation", ROOMS_MAX + 8, whole=True)
    assert not bookmark.trusts(name(0), "an older one", 10_000, whole=True)
    assert not bookmark.trusts(name(0), "made later", 10_000, whole=True), "another replica's batches are counted for themselves"
    assert bookmark.trusts(name(ROOMS_MAX), "an older one", 0, whole=False)  # its position is known, and was asked for


def test_rooms_that_no_replica_has_are_never_forgotten():

    bookmark = Bookmark()
    for number in range(ROOMS_MAX + 10):
        bookmark.saw_room(name(number), Position(1, 5))
    assert all(bookmark.needs(name(number)) == Position(1, 5) for number in range(ROOMS_MAX + 10))


def test_an_older_position_never_replaces_a_newer_one():

    bookmark = Bookmark()
    bookmark.saw_room(name(1), Position(2, 1))
    bookmark.saw_replica(name(1), Position(1, 9), "generation", 1)
    assert bookmark.needs(name(1)) == Position(2, 1)
    assert parsed(bookmark.token(b"k" * 32), b"k" * 32).rooms == bookmark.rooms
