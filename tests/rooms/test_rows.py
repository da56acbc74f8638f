"""Rows: read at once, dicts in all but name."""

import pytest

from actors.statements.sql import Row, Rows
from durable_rooms import ManyRows, NoRow
from durable_rooms.testing import bare
from tests.rooms.chat import ChatRoom


def rows(*tuples: tuple, names: tuple[str, ...] = ("id", "body")) -> Rows:
    return Rows(names, list(tuples), 0)


def test_a_row_is_a_dict_with_attributes_and_places() -> None:
    row = rows((1, "a")).one()
    assert row == {"id": 1, "body": "a"}
    assert (row.id, row["body"], row[0], row[-1]) == (1, "a", 1, "a")
    assert list(row) == ["id", "body"]
    assert {**row} == {"id": 1, "body": "a"}
    assert row.get("nope") is None
    with pytest.raises(AttributeError, match="no column 'nope'; it has id, body"):
        _ = row.nope
    with pytest.raises(KeyError):
        _ = row["nope"]
    with pytest.raises(IndexError):
        _ = row[2]


def test_one_first_scalar_and_scalars() -> None:
    two = rows((1, "a"), (2, "b"))
    assert two.first() == {"id": 1, "body": "a"}
    assert two.scalars() == [1, 2]
    assert rows((1, "a")).scalar() == 1
    assert rows().first() is None
    assert rows().scalars() == []


@pytest.mark.parametrize("take", [Rows.one, Rows.scalar])
def test_one_row_asked_for_and_not_there_is_an_error(take) -> None:
    with pytest.raises(NoRow, match="none") as none:
        take(rows())
    with pytest.raises(ManyRows, match="returned 3"):
        take(rows((1, "a"), (2, "b"), (3, "c")))
    assert isinstance(none.value, LookupError)


def test_rows_are_a_sequence() -> None:
    two = rows((1, "a"), (2, "b"))
    assert len(two) == 2
    assert bool(two)
    assert not rows()
    assert two[-1].body == "b"
    assert two[:1] == [{"id": 1, "body": "a"}]
    assert [row.id for row in two] == [1, 2]
    assert [row.id for row in reversed(two)] == [2, 1]
    assert {"id": 1, "body": "a"} in two
    assert two == [{"id": 1, "body": "a"}, {"id": 2, "body": "b"}]
    assert two == rows((1, "a"), (2, "b"))
    assert two != rows((1, "a"))
    assert "Rows([{'id': 1" in repr(two)
    with pytest.raises(TypeError):
        hash(two)


def test_a_row_that_is_changed_changes_no_other() -> None:
    two = rows((1, "a"))
    two[0]["id"] = 99
    assert two[0].id == 1


def test_changes_counts_the_rows_written_and_returning_gives_them() -> None:
    class Changing(ChatRoom):
        def numbers(self) -> list[int]:
            insert = self.sql("INSERT INTO messages (body) VALUES ('a'), ('b'), ('c')")
            select = self.sql("SELECT * FROM messages")
            update = self.sql("UPDATE messages SET body = body || '!' WHERE id > 1 RETURNING id, body")
            nothing = self.sql("DELETE FROM messages WHERE id > 100")
            assert update == [{"id": 2, "body": "b!"}, {"id": 3, "body": "c!"}]
            assert type(update[0]) is Row
            return [insert.changes, select.changes, update.changes, nothing.changes]

    assert bare(Changing).numbers() == [3, 0, 2, 0]


def test_rows_stay_valid_after_later_statements() -> None:
    class Reading(ChatRoom):
        def read_and_delete(self) -> int:
            self.post("a")
            self.post("b")
            read = self.sql("SELECT * FROM messages")
            self.sql("DELETE FROM messages")
            return len([row.body for row in read])

    assert bare(Reading).read_and_delete() == 2
