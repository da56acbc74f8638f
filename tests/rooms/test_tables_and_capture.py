"""Tables that come, change and go: every change of a replicated table is in the outbox, from the same turn on."""

from typing import Any

import pytest

from durable_rooms import Actor, StatementRefused
from durable_rooms.testing import bare, open_test_runtime
from tests.rooms.chat import Sorry, other_program, path_of


class Tables(Actor):
    local_tables = frozenset({"drafts"})

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.sql(statement)

    def run_and_raise(self, *statements: str) -> None:
        self.run(*statements)
        raise Sorry


class Outbox:
    """What a room has logged, as (table, key)."""

    def __init__(self, room: Any) -> None:
        self.connection = room._transaction.connection

    def read(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def keys(self, table: str) -> list[Any]:
        query = "SELECT pk FROM _outbox JOIN _tables ON _tables.id = tbl WHERE name = '{}' ORDER BY seq"
        return [key for (key,) in self.read(query.format(table))]

    def seq(self) -> int:
        return self.read("SELECT max(seq) FROM _outbox")[0][0]


@pytest.fixture
def room() -> Any:
    return bare(Tables)


@pytest.fixture
def outbox(room: Any) -> Outbox:
    return Outbox(room)


NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"


def test_a_table_made_by_a_handler_is_captured_from_that_call_on(room: Any, outbox: Outbox) -> None:
    room.run(NOTES, "INSERT INTO notes VALUES (1, 'same call')")
    room.run(
        "INSERT INTO notes VALUES (2, 'next call')", "UPDATE notes SET text = 'x' WHERE id = 1", "DELETE FROM notes WHERE id = 2"
    )
    assert outbox.keys("notes") == [1, 2, 1, 2]


def test_a_table_whose_call_raised_is_not_there_and_can_be_made_again(room: Any, outbox: Outbox) -> None:
    for _ in range(2):
        with pytest.raises(Sorry):
            room.run_and_raise(NOTES, "INSERT INTO notes VALUES (1, 'no')")
    assert outbox.keys("notes") == []
    room.run(NOTES, "INSERT INTO notes VALUES (7, 'yes')")  # the very text that was undone before
    room.run("INSERT INTO notes VALUES (8, 'yes')")
    assert outbox.keys("notes") == [7, 8]


def test_an_added_column_keeps_the_capture(room: Any, outbox: Outbox) -> None:
    room.run(NOTES, "ALTER TABLE notes ADD COLUMN stars INTEGER", "INSERT INTO notes VALUES (1, 'a', 5)")
    room.run("ALTER TABLE notes RENAME COLUMN text TO body")
    room.run("UPDATE notes SET body = 'b'")
    assert outbox.keys("notes")[-1] == 1
    assert outbox.keys("notes").count(1) >= 2


def test_a_renamed_table_is_captured_under_its_new_name(room: Any, outbox: Outbox) -> None:
    room.run(NOTES, "INSERT INTO notes VALUES (1, 'a')")
    before = outbox.seq()
    room.run("ALTER TABLE notes RENAME TO papers", "INSERT INTO papers VALUES (2, 'b')")
    room.run("INSERT INTO papers VALUES (3, 'c')")
    assert set(outbox.keys("papers")) >= {3}
    assert outbox.seq() > before
    assert outbox.read("SELECT min(seq) FROM _outbox")[0][0] > before + 1  # a hole: followers take the whole room again


def test_a_dropped_and_remade_table_is_captured_anew(room: Any, outbox: Outbox) -> None:
    room.run(NOTES, "INSERT INTO notes VALUES (1, 'a')")
    room.run("DROP TABLE notes", NOTES, "INSERT INTO notes VALUES (2, 'b')")
    room.run("INSERT INTO notes VALUES (3, 'c')")
    assert outbox.keys("notes")[-1] == 3
    room.run("DROP TABLE notes")
    assert outbox.keys("notes") == []
    assert outbox.read("SELECT name FROM sqlite_schema WHERE type = 'trigger'") == []


def test_a_capture_trigger_dropped_by_hand_is_put_back(room: Any, outbox: Outbox) -> None:
    room.run(NOTES)
    (trigger, *_) = outbox.read("SELECT name FROM sqlite_schema WHERE name LIKE '%_insert'")[0]
    before = outbox.seq()
    room.run(f"DROP TRIGGER {trigger}", "INSERT INTO notes VALUES (1, 'unseen')")
    assert outbox.read("SELECT min(seq) FROM _outbox")[0][0] > before + 1
    room.run("INSERT INTO notes VALUES (2, 'seen')")
    assert outbox.keys("notes")[-1] == 2


def test_a_changed_key_logs_both_the_old_and_the_new(room: Any, outbox: Outbox) -> None:
    room.run(NOTES, "INSERT INTO notes VALUES (1, 'a')", "UPDATE notes SET id = 5")
    room.run("UPDATE notes SET id = 6")
    assert set(outbox.keys("notes")) == {5, 6}


def test_replace_upsert_and_or_ignore_are_captured(room: Any, outbox: Outbox) -> None:
    room.run("CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    room.run("INSERT INTO names VALUES (1, 'ann')", "INSERT INTO names VALUES (2, 'bob')")
    before = len(outbox.keys("names"))
    room.run("REPLACE INTO names VALUES (3, 'ann')")  # deletes row 1
    assert set(outbox.keys("names")[before:]) == {1, 3}
    before = len(outbox.keys("names"))
    room.run(
        "INSERT INTO names VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET name = 'carl'",
        "INSERT OR IGNORE INTO names VALUES (9, 'dora')",
    )
    assert outbox.keys("names")[before:] == [2, 9]


def test_rows_deleted_by_a_cascade_are_captured(room: Any, outbox: Outbox) -> None:
    room.run(
        NOTES,
        "CREATE TABLE stars (id INTEGER PRIMARY KEY, note INTEGER REFERENCES notes ON DELETE CASCADE)",
        "INSERT INTO notes VALUES (1, 'a')",
        "INSERT INTO stars VALUES (10, 1), (11, 1)",
    )
    room.run("DELETE FROM notes")
    assert sorted(outbox.keys("stars")) == [10, 10, 11, 11]


def test_composite_keys_are_logged_as_a_list(room: Any, outbox: Outbox) -> None:
    room.run("CREATE TABLE seats (row TEXT NOT NULL, n INTEGER NOT NULL, who TEXT, PRIMARY KEY (row, n)) WITHOUT ROWID")
    room.run("""INSERT INTO seats VALUES ('a"b', 1, 'ann')""", "UPDATE seats SET n = 9223372036854775807")
    assert sorted(outbox.keys("seats")) == ['["a\\"b",1]', '["a\\"b",1]', '["a\\"b",9223372036854775807]']


def test_a_local_table_needs_no_key_and_is_not_captured(room: Any, outbox: Outbox) -> None:
    room.run("CREATE TABLE drafts (text)", "INSERT INTO drafts VALUES ('x')")
    before = outbox.seq()
    room.run("INSERT INTO drafts VALUES ('y')")
    assert outbox.keys("drafts") == []
    assert outbox.seq() == before + 1  # but the turn moves the room's seq


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("CREATE TABLE t (x)", "no primary key"),
        ("CREATE TABLE t AS SELECT 1 AS x", "no primary key"),
        ("CREATE TABLE t (a TEXT PRIMARY KEY)", "allows NULL in a"),
        ("CREATE TABLE t (a TEXT NOT NULL, b INT, PRIMARY KEY (a, b))", "allows NULL in b"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, room_id TEXT)", "room_id is the replica's own name"),
        ("ALTER TABLE notes RENAME TO _notes", "begin with _"),
        ("ALTER TABLE notes ADD COLUMN _room TEXT", "_room is the replica's own name"),
    ],
)
def test_a_table_that_cannot_be_replicated_is_refused_with_its_call(statement: str, why: str, room: Any, outbox: Outbox) -> None:
    room.run(NOTES)
    with pytest.raises(StatementRefused, match=why) as caught:
        room.run("INSERT INTO notes VALUES (1, 'gone, too')", statement)
    assert caught.value.ran == "rolled back"
    assert room.sql("SELECT * FROM notes") == []
    assert outbox.read("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'") == [("notes",)]
    room.run("INSERT INTO notes VALUES (2, 'goes on')")
    assert outbox.keys("notes") == [2]


def test_views_indexes_triggers_and_full_text_are_the_users_own(room: Any, outbox: Outbox) -> None:
    room.run(
        NOTES,
        "CREATE INDEX by_text ON notes (text)",
        "CREATE VIEW texts AS SELECT text FROM notes",
        "CREATE VIRTUAL TABLE found USING fts5(text)",
        "CREATE TRIGGER find AFTER INSERT ON notes BEGIN INSERT INTO found (rowid, text) VALUES (new.id, new.text); END",
    )
    room.run("INSERT INTO notes VALUES (1, 'hello world')")
    room.run("CREATE VIRTUAL TABLE places USING rtree(id, x0, x1)", "INSERT INTO places VALUES (1, 0, 1)")
    assert room.sql("SELECT text FROM found WHERE found MATCH 'world'").scalars() == ["hello world"]
    assert room.sql("SELECT text FROM texts").scalars() == ["hello world"]
    assert outbox.keys("notes") == [1]


async def test_what_a_handler_made_is_there_and_captured_after_the_room_was_opened_again(tmp_path, autojump_clock) -> None:
    for n in range(3):
        async with open_test_runtime(Tables, path=tmp_path) as runtime:
            room = runtime.room(Tables, "general")
            await room.run(NOTES.replace("TABLE", "TABLE IF NOT EXISTS"), f"INSERT INTO notes VALUES ({n}, 'x')")
            with other_program(path_of(runtime, room)) as file:
                assert file.execute("SELECT pk FROM _outbox ORDER BY seq DESC LIMIT 1").fetchall() == [(n,)]
