"""`bare` runs a @read as a read: what would be refused in a runtime is refused there, too."""

import pytest

from durable_rooms import StatementRefused
from durable_rooms.testing import TEST_TIME, bare
from tests.reading.chat import ChatRoom


def test_a_read_sees_the_room():
    room = bare(ChatRoom)
    room.post("ann", "hello")
    assert room.bodies() == ["hello"]
    assert bare(ChatRoom, "general", now=lambda: TEST_TIME).whoami() == ["general", True]


@pytest.mark.parametrize("method", ["looks_into_memory", "keeps", "draws", "names", "excludes", "calls_a_command"])
def test_a_read_has_no_memory_no_chance_and_writes_nothing(method):
    room = bare(ChatRoom)
    with pytest.raises((AttributeError, StatementRefused)):
        getattr(room, method)()
    assert room.bodies() == []
    assert room.post("ann", "commands go on") == 1


@pytest.mark.parametrize("query", ["DELETE FROM messages", "SELECT rowid FROM messages", "SELECT * FROM _outbox"])
def test_what_is_not_a_pure_question_is_refused(query):
    room = bare(ChatRoom)
    room.post("ann", "hello")
    with pytest.raises(StatementRefused):
        room.rows(query)
    assert room.bodies() == ["hello"]


def test_an_error_of_the_read_arrives_as_it_is_and_arguments_are_its_own():
    room, items = bare(ChatRoom), [1, 2, 3]
    with pytest.raises(LookupError, match="nothing here"):
        room.raises()
    assert room.eats(items) == 3
    assert items == [1, 2, 3]
