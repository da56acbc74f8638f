"""The index of a room is exact whatever is written, and is there exactly when the class declares it."""

from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_rooms import Actor, Room, RoomUnfit, StatementRefused
from durable_rooms.testing import bare, open_test_runtime
from tests.fulltext.reading import found
from tests.rooms.chat import other_program, path_of

MESSAGES = "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT)"


class Sorry(Exception):
    pass


class Any_(Actor):
    """Runs what it is told."""

    def run(self, *statements: str, fail: bool = False) -> None:
        for statement in statements:
            with suppress(apsw.ConstraintError):  # a handler may go on; the statement left nothing
                self.sql(statement)
        if fail:
            raise Sorry

    def find(self, words: str, table: str = "messages") -> list[Any]:
        return [row[0] for row in self.sql.match(table, words, limit=1_000)]

    def write_and_find(self, words: str, *statements: str) -> list[Any]:
        self.run(*statements)
        return self.find(words)

    def schema(self) -> list[Any]:
        return self.sql("SELECT name FROM sqlite_schema WHERE name GLOB '_full*' ORDER BY name").scalars()

    def rows(self, table: str = "messages") -> list[Any]:
        return [tuple(row.values()) for row in self.sql(f"SELECT * FROM {table}")]


def actor(*migrations: str, **fulltext: Any) -> type[Any_]:
    return type("Chat", (Any_,), {"migrations": migrations, "fulltext": fulltext})


# -- exact ------------------------------------------------------------------------------------------------------------
class Busy(Any_):
    """Rows of one statement that meet, triggers that write to the row that was just written, cascades, several kinds of keys."""

    migrations: ClassVar = [
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES messages ON DELETE CASCADE ON UPDATE CASCADE,"
        " slot INTEGER UNIQUE, body TEXT COLLATE NOCASE, title)",
        "CREATE TRIGGER shout AFTER INSERT ON messages WHEN new.slot % 3 = 0 BEGIN"
        " UPDATE messages SET body = body || ' loud' WHERE id = new.id; END;"
        "CREATE TRIGGER echo AFTER UPDATE OF body ON messages WHEN new.slot % 4 = 0 AND new.title IS NULL BEGIN"
        " UPDATE messages SET title = 'echo' WHERE id = new.id; END",
        "CREATE TABLE names (name TEXT NOT NULL COLLATE NOCASE, n INTEGER NOT NULL, body, PRIMARY KEY (n, name))",
    ]
    fulltext: ClassVar = {"messages": ["body", "title"], "names": ["body"]}


FIRST = (
    "INSERT INTO messages (id, parent, slot, body, title) VALUES (1, NULL, 1, 'one', 1), (2, 1, NULL, 'ten two', 1.0),"
    " (3, 2, 3, 'One two', NULL), (4, NULL, 4, 'one', x'6f6e65'), (5, 4, 5, NULL, 'two'), (6, NULL, NULL, 'tenfold', '1')",
    "INSERT INTO names (name, n, body) VALUES ('a', 1, 'one'), ('b', 1, 1), ('a', 2, 'ten two'), ('A', 3, 1.0)",
)
value = st.sampled_from(["NULL", "1", "1.0", "x'6f6e65'", "'one'", "'One two'", "'ten two'", "''"])
number = st.integers(1, 8)
parent = st.sampled_from(["NULL", "1", "2"])
name = st.sampled_from("aAb")
verb = st.sampled_from(["INSERT", "INSERT OR REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL"])
conflict = st.sampled_from(["", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT"])


def made(text: str, *parts: Any) -> st.SearchStrategy[str]:
    return st.builds(text.format, *parts)


statement = st.one_of(
    made("{} INTO messages VALUES ({}, {}, {}, {}, {})", verb, number, parent, number, value, value),
    made(
        "INSERT INTO messages (id, slot, body) VALUES ({0}, {1}, {2}), ({1}, {0}, {2}) ON CONFLICT (id) DO UPDATE SET"
        " body = excluded.body || ' again', slot = NULL",
        *(number, number, value),
    ),
    made("UPDATE {} messages SET id = id + {} WHERE id > {}", conflict, number, number),
    made("UPDATE {} messages SET body = {}, slot = {} WHERE id % 2 = {}", conflict, value, number, st.integers(0, 1)),
    made("UPDATE messages SET title = {} WHERE id < {}", value, number),
    made("DELETE FROM messages WHERE id <= {} OR slot = {}", st.integers(0, 2), number),
    made("{} INTO names (name, n, body) VALUES ('{}', {}, {})", verb, name, st.integers(1, 3), value),
    made("UPDATE {} names SET name = '{}', n = {} WHERE n = {}", conflict, name, number, st.integers(1, 3)),
    made("UPDATE names SET body = {} WHERE n = {}", value, st.integers(1, 3)),
    st.just("REINDEX"),
    st.just(
        "CREATE TRIGGER IF NOT EXISTS late AFTER UPDATE ON names WHEN new.body = 'one' BEGIN"
        " UPDATE names SET body = 'later' WHERE n = new.n AND name = new.name; END"
    ),
)
call = st.tuples(st.lists(statement, min_size=1, max_size=5), st.sampled_from([False, False, False, True]))


@settings(max_examples=150, deadline=None)
@given(st.lists(call, min_size=1, max_size=8))
def test_a_search_equals_brute_force_after_whatever_was_written(calls: list[tuple[list[str], bool]]) -> None:
    room = bare(Busy)
    room.run(*FIRST)
    for statements, fail in calls:
        with suppress(Sorry, apsw.SQLError):  # rolled back
            room.run(*statements, fail=fail)
        messages, names = room.rows(), room.rows("names")
        messages = [tuple("one" if cell == b"one" else cell for cell in row) for row in messages]
        names = [tuple("one" if cell == b"one" else cell for cell in row) for row in names]
        for words in ("one", "two ten", "loud", "again", "echo", "1", "0", "later", "tw*"):
            assert room.find(words) == [row[0] for row in found(messages, [3, 4], words, [0], 1_000)]
            by_name = found([(*row, row[0].lower()) for row in names], [2], words, [1, -1], 1_000)
            assert room.find(words, "names") == [row[0] for row in by_name]


def test_a_number_that_is_written_otherwise_is_another_word() -> None:
    room = bare(actor("CREATE TABLE messages (id INTEGER PRIMARY KEY, body)", messages=["body"]))
    room.run("INSERT INTO messages VALUES (1, 1)", "UPDATE messages SET body = 1.0")
    assert room.find("0") == [1]


def test_a_row_that_got_another_key_is_found_by_it() -> None:
    room = bare(actor(MESSAGES, messages=["body"]))
    room.run("INSERT INTO messages VALUES (1, 'one'), (2, 'one')", "UPDATE messages SET id = 9 WHERE id = 1")
    assert room.find("one") == [9, 2]


def test_a_trigger_that_came_later_does_not_run_before_the_index_is_kept() -> None:
    room = bare(actor(MESSAGES, messages=["body"]))
    room.run("CREATE TRIGGER more AFTER INSERT ON messages BEGIN UPDATE messages SET body = 'more' WHERE id = new.id; END")
    room.run("INSERT INTO messages VALUES (1, 'one')")
    assert (room.find("one"), room.find("more")) == ([], [1])


def test_a_call_finds_what_it_wrote_itself_and_a_call_that_failed_leaves_no_word() -> None:
    room = bare(actor(MESSAGES, messages=["body"]))
    with pytest.raises(Sorry):
        room.run("INSERT INTO messages (body) VALUES ('gone')", fail=True)
    assert room.find("gone") == []
    assert room.write_and_find("kept", "INSERT INTO messages (body) VALUES ('kept')") == [1]


async def test_another_program_keeps_the_index_as_well(tmp_path: Path, autojump_clock) -> None:
    chat = actor(MESSAGES, messages=["body"])
    async with open_test_runtime(chat, path=tmp_path) as runtime:
        room: Room[Any] = runtime.room(chat, "a")
        await room.run("INSERT INTO messages (body) VALUES ('one')")
        with other_program(path_of(runtime, room)) as connection:
            connection.execute("UPDATE messages SET body = 'two'").fetchall()
        assert await room.find("one") == []
        assert await room.find("two") == [1]


# -- there when declared ------------------------------------------------------------------------------------------------
async def visit(path: Path, chat: type[Any_], method: str, *args: Any) -> Any:
    async with open_test_runtime(chat, path=path) as runtime:
        return await getattr(runtime.room(chat, "a"), method)(*args)


async def test_rooms_that_exist_get_their_index_when_it_is_declared_and_lose_it_when_it_is_taken_away(
    tmp_path: Path, autojump_clock
) -> None:
    await visit(tmp_path, actor(MESSAGES), "run", "INSERT INTO messages (body) VALUES ('one')")
    assert await visit(tmp_path, actor(MESSAGES, messages=["body"]), "find", "one") == [1]
    assert await visit(tmp_path, actor(MESSAGES), "schema") == []
    with pytest.raises(StatementRefused, match="fulltext"):
        await visit(tmp_path, actor(MESSAGES), "find", "one")


async def test_other_columns_make_another_index(tmp_path: Path, autojump_clock) -> None:
    table = "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT, title TEXT)"
    write = "INSERT INTO messages (body, title) VALUES ('one', 'two')"
    await visit(tmp_path, actor(table, messages=["body"]), "run", write)
    assert await visit(tmp_path, actor(table, messages=["title"]), "find", "one") == []
    assert await visit(tmp_path, actor(table, messages=["body", "title"]), "find", "one two") == [1]


STEPS = {
    "a column more": "ALTER TABLE messages ADD COLUMN stars INTEGER NOT NULL DEFAULT 0",
    "a table rebuilt": "ALTER TABLE messages RENAME TO old; CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL);"
    "INSERT INTO messages SELECT id, body FROM old; DROP TABLE old",
    "a table dropped and made": "CREATE TABLE kept AS SELECT * FROM messages; DROP TABLE messages;"
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO messages SELECT * FROM kept; DROP TABLE kept",
    "a trigger": "CREATE TRIGGER more AFTER INSERT ON messages BEGIN UPDATE messages SET body = 'more' WHERE id = new.id; END",
    "every text": "UPDATE messages SET body = body || ' more'",
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_an_index_is_exact_after_a_migration(step: str, tmp_path: Path, autojump_clock) -> None:
    write = "INSERT INTO messages (body) VALUES ('one'), ('two')"
    await visit(tmp_path, actor(MESSAGES, messages=["body"]), "run", write)
    newer = actor(MESSAGES, step, messages=["body"])
    await visit(tmp_path, newer, "run", "INSERT INTO messages (body) VALUES ('three')", "DELETE FROM messages WHERE id = 1")
    rows = await visit(tmp_path, newer, "rows")
    for words in ("one", "two", "three", "more"):
        assert await visit(tmp_path, newer, "find", words) == [row[0] for row in found(rows, [1], words, [0])]


async def test_a_column_that_is_searched_can_be_renamed_or_dropped_with_its_declaration(tmp_path: Path, autojump_clock) -> None:
    table = "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT, title TEXT)"
    await visit(tmp_path, actor(table, messages=["body", "title"]), "run", "INSERT INTO messages VALUES (1, 'one', 'two')")
    renamed = actor(table, "ALTER TABLE messages RENAME body TO text; ALTER TABLE messages DROP COLUMN title", messages=["text"])
    assert await visit(tmp_path, renamed, "find", "one") == [1]
    assert await visit(tmp_path, renamed, "find", "two") == []


async def test_an_index_that_another_program_broke_is_made_anew(tmp_path: Path, autojump_clock) -> None:
    chat = actor(MESSAGES, messages=["body"])
    async with open_test_runtime(chat, path=tmp_path) as runtime:
        room: Room[Any] = runtime.room(chat, "a")
        await room.run("INSERT INTO messages (body) VALUES ('one')")
        path = path_of(runtime, room)
    with other_program(path) as connection:
        connection.execute("DROP TRIGGER _fulltext_messages_insert").fetchall()
        connection.execute("INSERT INTO messages (body) VALUES ('one more')").fetchall()
    assert await visit(tmp_path, chat, "find", "one") == [2, 1]


async def test_opening_a_room_whose_index_fits_writes_nothing(tmp_path: Path, autojump_clock) -> None:
    chat = actor(MESSAGES, messages=["body"])
    await visit(tmp_path, chat, "run", "INSERT INTO messages (body) VALUES ('one')")
    async with open_test_runtime(chat, path=tmp_path) as runtime:
        before = runtime.status().commits
        await runtime.room(chat, "a").find("one")
        assert runtime.status().commits == before


async def test_a_handler_may_make_and_drop_tables_beside_a_searched_one_but_not_that_one() -> None:
    room = bare(actor(MESSAGES, messages=["body"]))
    room.run("INSERT INTO messages (body) VALUES ('one')", "CREATE TABLE more (id INTEGER PRIMARY KEY)", "DROP TABLE more")
    with pytest.raises(StatementRefused, match="no such table"):
        room.run("DROP TABLE messages")
    assert room.find("one") == [1]


def test_a_room_finds_in_a_local_table_and_by_a_key_of_text() -> None:
    table = "CREATE TABLE drafts (body TEXT); CREATE TABLE messages (id TEXT NOT NULL PRIMARY KEY, body TEXT)"
    chat = type("Chat", (Any_,), {
        "migrations": [table], "local_tables": frozenset({"drafts"}), "fulltext": {"drafts": ["body"], "messages": ["body"]},
    })  # fmt: skip
    room = bare(chat)
    room.run("INSERT INTO drafts VALUES ('one first'), ('one second')")
    room.run("INSERT INTO messages VALUES ('b', 'one'), ('c', 'one'), ('a', 'one')")
    assert room.find("one", "drafts") == ["one second", "one first"]
    assert room.find("one") == ["c", "b", "a"]


def test_columns_and_tables_of_any_name_can_be_searched() -> None:
    table = """CREATE TABLE "it's ""a"" [table]" (rowid TEXT NOT NULL PRIMARY KEY, "se""lect" TEXT, "a'b, c" TEXT)"""
    name = """it's "a" [table]"""
    room = bare(type("Chat", (Any_,), {"migrations": [table], "fulltext": {name: ['se"lect', "a'b, c"]}}))
    quoted = name.replace('"', '""')
    room.run(f"""INSERT INTO "{quoted}" VALUES ('x', 'one', 'two'), ('y', 'two', 'three')""")
    room.run(f"""UPDATE "{quoted}" SET rowid = 'z' WHERE rowid = 'x'""")
    assert room.find("two", name) == ["z", "y"]
    assert room.find("three", name) == ["y"]


# -- refused ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("table", "fulltext", "why"),
    [
        (MESSAGES, {"message": ["body"]}, "no such table"),
        (MESSAGES, {"Messages": ["body"]}, "no such table"),
        (MESSAGES, {"_outbox": ["pk"]}, "no such table"),
        (MESSAGES, {"messages": ["text"]}, "no column text"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT) WITHOUT ROWID", {"t": ["body"]}, "WITHOUT ROWID"),
        ("CREATE TABLE t (rowid TEXT NOT NULL PRIMARY KEY, oid, _rowid_)", {"t": ["oid"]}, "names of the rowid"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, rank TEXT)", {"t": ["rank"]}, "FTS5 refuses it"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t", {"v": ["id"]}, "no such table"),
    ],
)
async def test_a_declaration_that_does_not_fit_the_tables_is_told_when_a_room_is_opened(
    table: str, fulltext: Any, why: str, autojump_clock
) -> None:
    chat = actor(table, **fulltext)
    async with open_test_runtime(chat) as runtime:
        for _ in range(2):
            with pytest.raises(RoomUnfit, match=why) as caught:
                await runtime.room(chat, "a").rows()
            assert caught.value.room == "Chat/a"


FORMS = ["messages", ["messages"], {"messages": "body"}, {"messages": []}, {"messages": [1]}, {1: ["a"]}, {"messages": None}]


@pytest.mark.parametrize("fulltext", [*FORMS, {"messages": ["a", "a"]}])
def test_a_declaration_of_another_form_is_refused_with_the_class(fulltext: Any) -> None:
    with pytest.raises(TypeError, match="Chat: fulltext"):
        type("Chat", (Actor,), {"fulltext": fulltext})


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM _fulltext_messages",
        'SELECT * FROM "_fulltext_messages"',
        "SELECT * FROM [_FullText_messages_idx]",
        "SELECT * FROM `_fulltext_messages_data`",
        "SELECT * FROM '_fulltext_messages_data'",
        "SELECT * FROM main._fulltext_messages_config",
        "INSERT INTO _fulltext_messages (_fulltext_messages) VALUES ('delete-all')",
        "DELETE FROM _fulltext_messages_data",
        "DROP TABLE _fulltext_messages",
        "DROP TRIGGER _fulltext_messages_insert; ",
        "ALTER TABLE _fulltext_messages RENAME TO mine",
        "CREATE VIEW mine AS SELECT * FROM _fulltext_messages",
        "CREATE VIRTUAL TABLE _fulltext_mine USING fts5 (a)",
        "CREATE TRIGGER mine AFTER INSERT ON messages BEGIN DELETE FROM _fulltext_messages; END",
    ],
)
def test_a_handler_cannot_touch_an_index(query: str) -> None:
    room = bare(actor(MESSAGES, messages=["body"]))
    room.run("INSERT INTO messages (body) VALUES ('one')")
    with pytest.raises(StatementRefused, match="runtime's own"):
        room.run(query)
    assert room.find("one") == [1]


def test_a_text_or_a_column_that_only_resembles_an_index_is_the_handlers() -> None:
    room = bare(actor(MESSAGES, messages=["body"]))
    room.run("INSERT INTO messages (body) VALUES ('my_fulltext_note')", "SELECT body AS my_fulltext_note FROM messages")
    assert room.find("fulltext") == [1]
