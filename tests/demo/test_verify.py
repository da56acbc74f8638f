"""`verify` compares by content, names what differs, and leaves no trace in the directory."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from durable_rooms.verify import Difference, NotADataDirectory, verify
from durable_rooms.verify.compare import order
from durable_rooms.verify.words import literal, told
from tests.demo.hand_made import HandMade, change, files, opened

NOTES = ("CREATE TABLE notes (key TEXT NOT NULL, part INTEGER NOT NULL, value, PRIMARY KEY (key, part))",)
VALUES = ("CREATE TABLE messages (id INTEGER PRIMARY KEY, value)",)


@pytest.fixture
def made(tmp_path: Path) -> HandMade:
    return HandMade(tmp_path / "data", VALUES)


def only(made: HandMade, **options: Any) -> Difference:
    report = verify(made.path, **options)
    assert report.differing == 1
    assert not report.equal
    return report.differences[0]


def test_equal_rooms_are_equal_whatever_the_values(made: HandMade):
    values = [None, 0, -1, 2**63 - 1, 1.0, -0.5, 1e308, "", "text", "nul\0", "é\u2028🙂", b"", b"\0\xff"]
    made.room("one", list(enumerate(values)))
    made.room("two", [(1, "other")])
    made.room("empty")
    report = verify(made.path)
    assert report.equal
    assert (report.rooms, report.rows) == (3, len(values) + 1)


@pytest.mark.parametrize(
    ("here", "there"),
    [(1, 1.0), (1, "1"), ("1", b"1"), (None, ""), (None, 0), ("a", "A"), ("e\u0301", "é"), (2**53 + 1, 2.0**53)],
)
def test_values_that_only_look_equal_are_different(made: HandMade, here: Any, there: Any):
    made.room("den", [(7, here)])
    with made.replica() as db:
        db.execute("UPDATE base_messages SET value = ?", (there,))
    difference = only(made)
    assert (difference.room, difference.table, difference.key) == ("ChatRoom/den", "messages", {"id": 7})
    assert difference.in_room == {"id": 7, "value": here}
    assert difference.in_replica == {"id": 7, "value": there}
    assert type(difference.in_replica["value"]) is type(there)


def test_a_row_that_one_side_lacks_is_named(made: HandMade):
    path = made.room("den", [(n, "x") for n in range(10)])
    change(path, "DELETE FROM messages WHERE id = 3")
    with made.replica() as db:
        db.execute("DELETE FROM base_messages WHERE id = 9")
    first, last = verify(made.path).differences
    assert (first.key, first.in_room, first.in_replica) == ({"id": 3}, None, {"id": 3, "value": "x"})
    assert (last.key, last.in_room, last.in_replica) == ({"id": 9}, {"id": 9, "value": "x"}, None)
    assert "only the replica has this row: id = 3, value = 'x'" in told(first)


def test_the_first_differences_are_named_and_all_are_counted(made: HandMade):
    path = made.room("den", [(n, "x") for n in range(100)])
    change(path, "UPDATE messages SET value = 'y'")
    report = verify(made.path)
    assert report.differing == 100
    assert [difference.key for difference in report.differences] == [{"id": 0}, {"id": 1}, {"id": 2}]


def test_a_key_of_several_columns_is_compared_in_order(tmp_path: Path):
    made = HandMade(tmp_path / "data", NOTES)
    path = made.room("den", [("b", 2, 1), ("a", 10, 2), ("a", 9, 3), ("B", 1, 4), ("é", 1, 5), ("z", 1, 6)], table="notes")
    assert verify(made.path).equal
    change(path, "UPDATE notes SET value = 0 WHERE key = 'é'")
    assert only(made).key == {"key": "é", "part": 1}


def test_text_that_is_not_utf8_is_compared_as_it_is(made: HandMade):
    path = made.room("den", [(1, "x")])
    change(path, "UPDATE messages SET value = CAST(x'ff41' AS TEXT)")
    with made.replica() as db:
        db.execute("UPDATE base_messages SET value = CAST(x'ff41' AS TEXT)")
    assert verify(made.path).equal


def test_keys_come_in_the_order_of_sqlite():
    keys = [None, -1, 0.5, 1, 2**60, "", "A", "a", "\uffff", "🙂", b"", b"\0", b"a"]
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (k)")
        db.executemany("INSERT INTO t VALUES (?)", [(key,) for key in reversed(keys)])
        ordered = [row[0] for row in db.execute("SELECT k FROM t ORDER BY k COLLATE BINARY")]
    assert ordered == sorted(keys, key=lambda key: order((key,))) == keys


def test_a_room_that_the_replica_does_not_know_is_missing_and_behind(made: HandMade):
    made.room("den", [(1, "x")])
    with made.replica() as db:
        db.execute("DELETE FROM base_messages")
        db.execute("DELETE FROM _rooms")
    report = verify(made.path)
    assert (report.missing, report.behind, report.differing) == (["ChatRoom/den"], {"ChatRoom/den": 1}, 0)
    assert not report.healthy


def test_rows_of_a_room_that_does_not_exist_are_named(made: HandMade):
    made.room("den", [(1, "x")])
    made.room("ghost", [(1, "x"), (2, "y")])
    with made.catalog() as db:
        db.execute("DELETE FROM rooms WHERE id = 'ghost'")
    difference = only(made)
    assert (difference.room, difference.note) == ("ChatRoom/ghost", "the replica has 2 rows of a room that does not exist")


def test_a_room_file_that_is_missing_is_named_unless_the_room_was_never_born(made: HandMade):
    made.room("den", [(1, "x")]).unlink()
    made.room("unborn", proven=0).unlink()
    difference = only(made)
    assert difference.room == "ChatRoom/den"
    assert "No such file" in difference.note


def test_a_damaged_room_file_is_named(made: HandMade):
    made.room("den", [(1, "x")]).write_bytes(b"this is no database" * 100)
    assert "cannot be compared" in only(made).note


def test_a_column_or_a_table_that_the_replica_lacks_is_named(made: HandMade):
    path = made.room("den", [(1, "x")])
    change(path, "ALTER TABLE messages ADD COLUMN mood TEXT")
    change(path, "CREATE TABLE tags (tag TEXT NOT NULL PRIMARY KEY)")
    change(path, "INSERT INTO _tables VALUES (9, 'tags', 1)")
    notes = [difference.note for difference in verify(made.path).differences]
    assert notes == ["the replica does not have the columns mood", "the replica does not have this table"]


def test_tables_that_are_local_are_not_compared(made: HandMade):
    path = made.room("den", [(1, "x")])
    change(path, "UPDATE _tables SET replicated = 0")
    change(path, "UPDATE messages SET value = 'mine'")
    with made.replica() as db:
        db.execute("DELETE FROM base_messages")
    assert verify(made.path).equal


# -- a room that is ahead of the replica ---------------------------------------------------------------------------
def ahead(made: HandMade) -> Path:
    """A room with two changes that the replica does not have: a new row 3 and a changed row 1."""
    path = made.room("den", [(1, "x"), (2, "x")])
    change(path, "INSERT INTO messages VALUES (3, 'new')")
    change(path, "UPDATE messages SET value = 'changed' WHERE id = 1")
    change(path, "INSERT INTO _outbox VALUES (3, 1, 3), (4, 1, 1)")
    return path


def test_a_room_that_is_ahead_is_behind_by_that_many_changes_and_not_different(made: HandMade):
    ahead(made)
    report = verify(made.path)
    assert report.behind == {"ChatRoom/den": 2}
    assert report.differing == 0
    assert not report.equal
    assert not report.healthy  # nobody runs here who would bring them over


def test_behind_a_running_process_is_healthy(made: HandMade):
    ahead(made)
    (made.path / "lock").write_text(f"{os.getppid()}\n")
    report = verify(made.path, patience=0.0)
    assert (report.running, report.healthy, report.equal) == (os.getppid(), True, False)


def test_what_was_delivered_is_compared_even_in_a_room_that_is_ahead(made: HandMade):
    path = ahead(made)
    change(path, "UPDATE messages SET value = 'spoiled' WHERE id = 2")
    assert only(made).key == {"id": 2}


def test_a_process_gets_a_moment_to_bring_the_replica_up_to_date(made: HandMade, monkeypatch: pytest.MonkeyPatch):
    ahead(made)
    (made.path / "lock").write_text(f"{os.getppid()}\n")

    def catch_up(seconds: float) -> None:
        with made.replica() as db:
            db.execute("UPDATE _rooms SET seq = 4")
            db.execute("UPDATE base_messages SET value = 'changed' WHERE id = 1")
            db.execute("INSERT OR REPLACE INTO base_messages VALUES (1, 3, 'new')")

    monkeypatch.setattr("durable_rooms.verify.walk.time.sleep", catch_up)
    report = verify(made.path)
    assert report.equal


# -- what is told ---------------------------------------------------------------------------------------------------
def test_values_are_told_as_sql_and_can_do_nothing_to_a_terminal():
    values = [None, 1, 1.0, "1", "it's", "a\x1b[2J\u202e", b"\0\xff", "x" * 100, b"x" * 100, float("inf"), "\udcff"]
    assert [literal(value) for value in values] == [
        *("NULL", "1", "1.0", "'1'", "'it''s'", "'a\\x1b[2J\\u202e'", "x'00ff'"),
        *(f"'{'x' * 60}…' (100 characters)", f"x'{'78' * 30}…' (100 bytes)", "9e999", "'\\udcff'"),
    ]


def test_a_room_id_can_do_nothing_to_a_terminal():
    assert told(Difference("ChatRoom/\x1b[2J", note="gone")) == "ChatRoom/\\x1b[2J: gone"


# -- read-only ------------------------------------------------------------------------------------------------------
def test_a_directory_at_rest_is_left_as_it_was_byte_for_byte(made: HandMade):
    made.room("den", [(1, "x")])
    before = files(made.path)
    verify(made.path)
    assert files(made.path) == before


def test_beside_a_writer_the_newest_rows_are_seen_and_nothing_blocks(made: HandMade):
    path = made.room("den", [(1, "x")])
    with opened(path) as room, made.replica() as replica:
        for db, table in ((room, "messages"), (replica, "base_messages")):
            db.execute(f"UPDATE {table} SET value = 'y'")
            db.commit()
        room.execute("UPDATE messages SET value = 'not committed'")
        report = verify(made.path)
        assert report.equal
        room.rollback()


def test_the_process_that_runs_the_runtime_is_refused(made: HandMade):
    made.room("den", [(1, "x")])
    (made.path / "lock").write_text(f"{os.getpid()}\n")
    with pytest.raises(RuntimeError, match="beside it"):
        verify(made.path)


def test_after_a_clean_stop_nobody_runs_whatever_the_lock_file_says(made: HandMade):
    (made.path / "lock").write_text(f"{os.getppid()}\n")
    assert verify(made.path).running == os.getppid()
    (made.path / "clean-stop").write_text("stopped cleanly\n")
    assert verify(made.path).running is None


@pytest.mark.parametrize(
    ("missing", "why"), [("", "not a directory"), ("catalog.db", "no catalog.db"), ("replica.db", "no replica")]
)
def test_what_is_no_data_directory_is_refused(made: HandMade, missing: str, why: str):
    if missing:
        (made.path / missing).unlink()
    with pytest.raises(NotADataDirectory, match=why):
        verify(made.path if missing else made.path / "nowhere")


def test_a_replica_elsewhere_can_be_named(made: HandMade, tmp_path: Path):
    made.room("den", [(1, "x")])
    (made.path / "replica.db").rename(tmp_path / "copy.db")
    assert verify(made.path, tmp_path / "copy.db").equal
