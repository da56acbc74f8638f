"""What a caller learns when a call fails, and what is left of it."""

import traceback
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from actors import Disk
from durable_rooms import Actor, Migration, RoomsError, RoomUnfit, StorageFull, TooLarge
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_room, together
from tests.rooms.faults import Mute


async def test_f20_a_handler_that_raises_leaves_no_trace_and_the_room_serves_the_next_call(autojump_clock) -> None:
    """Instead of the trace id that F20 asks for: the handler's own exception, with a note that names room and handler (below)."""
    async with one_room(ChatRoom) as room:
        with pytest.raises(Sorry, match="one"):
            await room.post_and_raise("one")
        assert await room.bodies() == []
        assert await room.post("two") == 1


async def test_the_callers_exception_is_the_handlers_with_its_traceback_and_a_note_naming_the_room(autojump_clock) -> None:
    async with one_room(ChatRoom) as room:
        with pytest.raises(Sorry) as caught:
            await room.post_and_raise("one")
    assert type(caught.value) is Sorry
    assert "post_and_raise" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    (note,) = caught.value.__notes__
    assert "ChatRoom/general" in note
    assert "post_and_raise" in note
    assert "rolled back" in note


async def test_f20_the_neighbours_of_a_raising_handler_commit_in_the_same_turn(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.bodies()
        rounds = runtime.status().rounds
        before, error, after = await together(
            lambda: room.ask(ChatRoom.post, "before"), lambda: room.post_and_raise("no"), lambda: room.ask(ChatRoom.post, "after")
        )
        assert isinstance(error, Sorry)
        assert before.seq == after.seq  # one commit
        assert runtime.status().rounds == rounds + 1  # one round
        assert sorted(await room.bodies()) == ["after", "before"]


async def test_an_error_of_sqlite_may_be_caught_and_the_call_goes_on(autojump_clock) -> None:
    class Upsert(ChatRoom):
        def post_once(self, body: str) -> str:
            try:
                self.post(body)
            except apsw.ConstraintError:
                return "there already"
            return "posted"

    async with one_room(Upsert) as room:
        assert await room.post_once("a") == "posted"
        assert await room.post_once("a") == "there already"
        with pytest.raises(apsw.ConstraintError, match="UNIQUE"):
            await room.post("a")


@pytest.mark.parametrize("error", [ExceptionGroup("two", [Sorry(1), Sorry(2)]), TooLarge("mine"), KeyError("k"), TimeoutError()])
async def test_any_exception_crosses(error: Exception, autojump_clock) -> None:
    class Raises(Actor):
        def fail(self) -> None:
            raise error

    async with one_room(Raises) as room:
        with pytest.raises(type(error)) as caught:
            await room.fail()
        assert caught.value is error


async def test_the_runtimes_errors_name_the_room_wherever_they_were_raised(autojump_clock) -> None:
    class Asks(ChatRoom):
        def none(self) -> None:
            self.sql("SELECT id FROM messages").one()

    async with one_room(Asks) as room:
        with pytest.raises(RoomsError) as caught:
            await room.none()
        assert caught.value.room == "Asks/general"
        assert caught.value.ran == "rolled back"
        assert not caught.value.retryable


class SmallDisk(Disk):
    """Databases of 40 pages at most."""

    def connect(self, path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
        connection = super().connect(path, create=create, read_only=read_only)
        connection.execute("PRAGMA max_page_count = 40").fetchall()
        return connection


async def test_a_full_disk_is_storage_full_and_leaves_what_was_there(autojump_clock) -> None:
    async with one_room(ChatRoom, disk=SmallDisk()) as room:
        posted = ["small"]
        await room.post("small")
        found = await together(*[lambda n=n: room.post(f"{n}" * 20_000) for n in range(10)])
        full = [error for error in found if isinstance(error, Exception)]
        assert {type(error) for error in full} == {StorageFull}
        assert all(error.retryable and error.room == "ChatRoom/general" for error in full)
        posted += [f"{n}" * 20_000 for n, one in enumerate(found) if not isinstance(one, Exception)]
        assert sorted(await room.bodies()) == sorted(posted)
        with pytest.raises(StorageFull):
            await room.post("y" * 300_000)
        assert sorted(await room.bodies()) == sorted(posted)
        await room.post("fits")


async def test_f21_an_actor_whose_constructor_raises_refuses_calls_and_harms_nobody(autojump_clock) -> None:
    class Broken(Actor):
        migrations = ("CREATE TABLE t (id INTEGER PRIMARY KEY)",)
        works = False

        def __init__(self) -> None:
            if not self.works:
                raise Sorry("not today")

        def ping(self) -> str:
            return "pong"

    class Early(Actor):
        def __init__(self) -> None:
            self.sql("SELECT 1")

        def ping(self) -> str:
            return "pong"

    async with open_test_runtime(Broken, Early, ChatRoom) as runtime:
        for actor, text in ((Broken, "Sorry: not today"), (Early, "not in a room")):
            with pytest.raises(RoomUnfit, match=text) as caught:
                await runtime.room(actor, "a").ping()
            assert caught.value.ran == "no"
        assert await runtime.room(ChatRoom, "a").post("hello") == 1
        Broken.works = True
        await trio.sleep(1.2)  # it is not tried again before
        assert await runtime.room(Broken, "a").ping() == "pong"


async def test_callers_refused_together_get_errors_of_their_own(autojump_clock) -> None:
    class Broken(Actor):
        migrations = ("CREATE TABLE",)

        def ping(self) -> None: ...

    async with one_room(Broken) as room:
        errors = await together(*[room.ping for _ in range(50)])
        assert len({id(error) for error in errors}) == 50
        assert max(len(traceback.extract_tb(error.__traceback__)) for error in errors) < 10
        assert all(error.room == "Broken/general" and isinstance(error.__cause__, apsw.SQLError) for error in errors)


class Voiding(ChatRoom):
    migrations = (*ChatRoom.migrations, "CREATE TABLE strict (id INTEGER PRIMARY KEY CHECK (id > 0))")

    def void(self) -> None:
        try:
            self.sql("INSERT OR ROLLBACK INTO strict VALUES (-1)")
        except apsw.ConstraintError:
            raise Mute from None


class Unbuilt(ChatRoom):
    def __init__(self) -> None:
        raise Mute


class Unstarted(ChatRoom):
    def on_start(self) -> None:
        raise Mute


def mute(sql: Any) -> None:
    raise Mute


class Unmigrated(ChatRoom):
    migrations = (*ChatRoom.migrations, Migration(mute, name="mute"))


@pytest.mark.parametrize("actor", [Unbuilt, Unstarted, Unmigrated])
async def test_an_error_without_text_costs_its_room_alone(actor, autojump_clock):
    async with open_test_runtime(actor, Voiding) as runtime:
        with pytest.raises(RoomUnfit, match=r"Mute \(its text raised"):
            await runtime.room(actor, "a").post("hello")
        room = runtime.room(Voiding, "a")
        await together(room.void, lambda: room.post("hello"))
        assert await room.bodies() in ([], ["hello"])
