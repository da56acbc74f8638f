"""`bare`: one room in memory, synchronously, under the same rules as in a runtime."""

import apsw
import pytest

from durable_rooms import Actor, BadArguments, CallFailed, RoomIdInvalid, StatementRefused, TooLarge, TurnVoid
from durable_rooms.testing import TEST_TIME, bare
from tests.rooms.chat import ChatRoom, Sorry


class Tried(ChatRoom):
    def __init__(self) -> None:
        self.memory: list[str] = []

    def about(self) -> list[object]:
        return [self.id, self.now(), self.random.random(), self.new_id()]

    def remember(self, what: list[str]) -> list[str]:
        self.memory = what
        return self.memory

    def bad_result(self) -> set[int]:
        self.post("no")
        return {1}

    async def later(self) -> None: ...

    def roll_back(self) -> None:
        self.sql("INSERT OR ROLLBACK INTO messages (id, body) VALUES (1, 'again')")

    def pass_over(self) -> None:
        try:
            self.roll_back()
        except apsw.ConstraintError:
            self.post("stray")


def test_handlers_run_as_in_a_runtime() -> None:
    room = bare(Tried)
    assert [room.post("a"), room.post("b")] == [1, 2]
    with pytest.raises(Sorry) as caught:
        room.post_and_raise("c")
    assert "Tried/test" in caught.value.__notes__[0]
    assert room.bodies() == ["a", "b"]


def test_values_cross_by_value() -> None:
    room = bare(Tried)
    mine = ["a"]
    theirs = room.remember(mine)
    mine.append("b")
    theirs.append("c")
    assert room.memory == ["a"]
    with pytest.raises(CallFailed, match="set"):
        room.bad_result()
    assert room.bodies() == []


def test_arguments_are_checked() -> None:
    with pytest.raises(BadArguments):
        bare(Tried).post()
    with pytest.raises(TooLarge, match="call_bytes_max"):
        bare(Tried).post("x" * 2_000_000)


def test_sql_looks_into_the_database_from_outside() -> None:
    room = bare(Tried)
    room.post("a")
    assert room.sql("SELECT body FROM messages").scalar() == "a"
    room.sql("INSERT INTO messages (body) VALUES (?)", "b")
    assert room.bodies() == ["a", "b"]
    with pytest.raises(StatementRefused):
        room.sql("COMMIT")
    with pytest.raises(apsw.ConstraintError):
        room.sql("INSERT INTO messages (body) VALUES ('b')")
    assert room.bodies() == ["a", "b"]


def test_time_and_chance_are_the_tests() -> None:
    assert bare(Tried, "here").about() == bare(Tried, "here").about()
    assert bare(Tried, "here").about()[:2] == ["here", TEST_TIME]
    assert bare(Tried, seed=1).about() != bare(Tried, seed=2).about()
    assert bare(Tried, now=lambda: 5.0).about()[1] == 5.0


def test_async_handlers_need_a_runtime() -> None:
    with pytest.raises(TypeError, match="open_test_runtime"):
        bare(Tried).later()


def test_a_rollback_by_sqlite_leaves_the_room_usable() -> None:
    room = bare(Tried)
    room.post("a")
    with pytest.raises(apsw.ConstraintError):
        room.roll_back()
    with pytest.raises(TurnVoid):
        room.pass_over()
    assert room.bodies() == ["a"]
    assert room.post("b") == 2


def test_a_bad_id_is_refused() -> None:
    with pytest.raises(RoomIdInvalid):
        bare(Actor, "")


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError):
        bare(Tried).nope()
