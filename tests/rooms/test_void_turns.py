"""A turn that SQLite itself rolls back: void for every call in it, and the room goes on."""

import apsw
import pytest
import trio

from durable_rooms import OutcomeUnknown, TurnVoid
from tests.rooms.chat import ChatRoom, one_after_another, one_room, outcome, together


class Rollbacks(ChatRoom):
    """Handlers that make SQLite roll the whole turn back."""

    migrations = (
        *ChatRoom.migrations,
        "CREATE TABLE strict (id INTEGER PRIMARY KEY);"
        "CREATE TRIGGER no AFTER INSERT ON strict WHEN new.id < 0 BEGIN SELECT RAISE(ROLLBACK, 'negative'); END",
    )

    def __init__(self) -> None:
        self.remembered: list[str] = []

    def remember(self, body: str) -> list[str]:
        self.post(body)
        self.remembered.append(body)
        return self.remembered

    def insert_or_rollback(self, body: str) -> None:
        self.sql("INSERT OR ROLLBACK INTO messages (body) VALUES (?)", body)

    def trigger_rollback(self) -> None:
        self.sql("INSERT INTO strict (id) VALUES (-1)")

    def pass_over(self, body: str) -> str:
        try:
            self.insert_or_rollback(body)
        except apsw.ConstraintError:
            return "all is well"
        return "inserted"

    def pass_over_and_go_on(self, body: str) -> None:
        self.pass_over(body)
        self.post("stray")

    async def wait_for_ever(self) -> None:
        self.post("waits")
        await trio.sleep_forever()

    async def roll_back_in_the_second_slice(self, body: str) -> None:
        self.post("first slice")
        await trio.sleep(1)
        self.insert_or_rollback(body)


@pytest.mark.parametrize("method", ["insert_or_rollback", "trigger_rollback", "pass_over"])
async def test_a_rollback_by_sqlite_voids_its_turn_and_the_room_goes_on(method: str, autojump_clock) -> None:
    async with one_room(Rollbacks) as room:
        await room.post("old")
        assert await room.remember("one") == ["one"]
        with pytest.raises((apsw.ConstraintError, TurnVoid)):
            await getattr(room, method)(*() if method == "trigger_rollback" else ("old",))
        assert await room.bodies() == ["old", "one"]
        assert await room.remember("two") == ["two"]  # the actor began anew with its file


async def test_the_neighbour_before_a_rollback_is_told_that_nothing_ran(autojump_clock) -> None:
    async with one_room(Rollbacks) as room:
        await room.post("old")
        void = 0
        for n in range(20):  # trio shuffles tasks: in some of these turns the neighbour comes first
            neighbour, guilty = await together(lambda n=n: room.post(f"new {n}"), lambda: room.insert_or_rollback("old"))
            assert type(guilty) is apsw.ConstraintError
            if isinstance(neighbour, Exception):
                assert (type(neighbour), neighbour.ran, neighbour.retryable) == (TurnVoid, "no", True)
                void += 1
            assert (f"new {n}" in await room.bodies()) == (not isinstance(neighbour, Exception))
        assert 0 < void < 20


async def test_a_handler_that_passes_over_a_rollback_writes_nothing_outside_its_turn(autojump_clock) -> None:
    async with one_room(Rollbacks) as room:
        await room.post("old")
        with pytest.raises(TurnVoid):
            await room.pass_over_and_go_on("old")
        with pytest.raises(TurnVoid):
            await room.pass_over("old")
        assert await room.bodies() == ["old"]


async def test_a_rollback_in_a_slice_takes_that_slice_and_leaves_the_earlier_one(autojump_clock) -> None:
    async with one_room(Rollbacks) as room:
        await room.post("old")
        with pytest.raises(apsw.ConstraintError):
            await room.roll_back_in_the_second_slice("old")
        assert await room.bodies() == ["old", "first slice"]


async def test_a_void_turn_does_not_wait_for_an_async_handler_that_waits_for_a_call(autojump_clock) -> None:
    async with one_room(Rollbacks) as room, trio.open_nursery() as nursery:
        found: list[object] = []

        async def keep() -> None:
            found.append(await outcome(room.wait_for_ever))

        await one_after_another(nursery, keep)
        with pytest.raises(apsw.ConstraintError):
            await room.insert_or_rollback("waits")
        with trio.fail_after(1):
            assert await room.bodies() == ["waits"]
        (cut,) = found
        assert type(cut) is OutcomeUnknown
        assert "cut short" in str(cut)
