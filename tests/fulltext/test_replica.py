"""A search of the replica tells what the room tells, of that room alone; a search of many rooms tells all of them."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import apsw
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.statements.fulltext import NotIndexed
from durable_rooms import Actor, Rows, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from replication import searching
from replication.fulltext import carry, indexed
from replication.searching import across, match_room, match_rooms, of_room

MESSAGES = "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT)"


class Any_(Actor):
    """Runs what it is told."""

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.sql(statement)

    def find(self, words: str, limit: int = 50) -> Rows:
        return self.sql.match("messages", words, limit=limit)


def actor(*migrations: str, **fulltext: Any) -> type[Any_]:
    return type("Chat", (Any_,), {"migrations": migrations, "fulltext": fulltext})


CHAT = actor(MESSAGES, messages=["body"])


@contextmanager
def replica(path: Path) -> Generator[apsw.Connection]:
    connection = apsw.Connection(str(path / "replica.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        yield connection
    finally:
        connection.close()


def in_replica(path: Path, id: str, words: str, limit: int = 50) -> Any:
    with replica(path) as connection:
        ((key, digest),) = connection.execute("SELECT key, schema FROM _rooms WHERE actor = 'Chat' AND id = ?", (id,)).fetchall()
        tables = of_room(connection, "Chat", digest)
        if "messages" not in tables:
            return None
        return match_room(connection, tables["messages"], key, words, limit).dicts()


def over_all(path: Path, words: str, rooms: str | None = None, limit: int = 50) -> list[tuple[Any, ...]]:
    with replica(path) as connection:
        view = across(connection, ["Chat"])["Chat_messages"]
        return [tuple(row.values()) for row in match_rooms(connection, view, rooms, words, limit)]


class Both:
    """A runtime of one class with a replica, asked in both places."""

    def __init__(self, runtime: Any, chat: type[Any_], path: Path) -> None:
        self.runtime, self.chat, self.path = runtime, chat, path

    async def run(self, id: str, *statements: str) -> None:
        await self.runtime.room(self.chat, id).run(*statements)

    async def find(self, id: str, words: str, limit: int = 50) -> list[Any]:
        here = await self.runtime.room(self.chat, id).find(words, limit)
        await self.runtime.replicated()
        assert in_replica(self.path, id, words, limit) == here
        return [row["id"] for row in here]


@asynccontextmanager
async def both(path: Path, chat: type[Any_] = CHAT) -> AsyncGenerator[Both]:
    async with open_test_runtime(chat, path=path, replicas=[SQLiteReplica()]) as runtime:
        yield Both(runtime, chat, path)


async def test_a_room_and_its_replica_tell_the_same_whatever_happens_to_rows(tmp_path: Path, autojump_clock) -> None:
    async with both(tmp_path) as chat:
        await chat.run("a", "INSERT INTO messages VALUES (1, 'one two'), (2, 'two'), (3, 'one')")
        await chat.run("b", "INSERT INTO messages VALUES (1, 'one of b')")
        assert (await chat.find("a", "one"), await chat.find("b", "one")) == ([3, 1], [1])
        await chat.run(
            "a", "UPDATE messages SET body = 'three' WHERE id = 3", "INSERT OR REPLACE INTO messages VALUES (2, 'one')"
        )
        assert (await chat.find("a", "one"), await chat.find("a", "three")) == ([2, 1], [3])
        await chat.run("a", "DELETE FROM messages WHERE id = 1", "UPDATE messages SET id = 7 WHERE id = 2")
        assert (await chat.find("a", "one"), await chat.find("a", "two")) == ([7], [])
        assert await chat.find("a", "o*", 1) == [7]


async def test_a_search_of_the_replica_sees_no_row_of_another_room_even_of_one_whose_key_is_a_word(
    tmp_path: Path, autojump_clock
) -> None:
    async with both(tmp_path) as chat:
        for number in range(1, 13):
            await chat.run(f"r{number}", f"INSERT INTO messages VALUES ({number}, 'one 1 2 11 _room {number}')")
        for number in range(1, 13):
            for words in ("one", "1 2", "11", '_room : "1"', "room", str(number)):
                assert await chat.find(f"r{number}", words) == [number]


async def test_a_replica_that_is_made_anew_is_searched_as_before(tmp_path: Path, autojump_clock) -> None:
    async with both(tmp_path) as chat:
        await chat.run("a", "INSERT INTO messages VALUES (2, 'one'), (1, 'one two')")
        await chat.find("a", "one")
    for name in ("replica.db", "replica.db-wal", "replica.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    async with both(tmp_path) as chat:
        await chat.run("a", "INSERT INTO messages VALUES (3, 'two')")
        assert (await chat.find("a", "one"), await chat.find("a", "two")) == ([2, 1], [3, 1])


async def test_an_index_that_is_declared_later_holds_the_rows_that_were_there(tmp_path: Path, autojump_clock) -> None:
    async with both(tmp_path, actor(MESSAGES)) as chat:
        for id in "ab":
            await chat.run(id, "INSERT INTO messages VALUES (1, 'one')")
        await chat.runtime.replicated()
    with replica(tmp_path) as connection:
        assert indexed(connection, "_Chat_messages") is None
    async with both(tmp_path) as chat:
        assert await chat.find("a", "one") == [1]
        assert in_replica(tmp_path, "b", "one") is None  # not opened since: its room is asked
        assert over_all(tmp_path, "one") == [("a", 1, "one"), ("b", 1, "one")]
        assert await chat.find("b", "one") == [1]


async def test_a_room_is_searched_in_the_columns_that_it_searches_itself(tmp_path: Path, autojump_clock) -> None:
    table = "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT, title TEXT)"
    for columns, ids in ((["body"], [1]), (["title"], [2]), (["body", "title"], [2, 1]), (["body"], [1])):
        async with both(tmp_path, actor(table, messages=columns)) as chat:
            await chat.run("a", "INSERT OR REPLACE INTO messages VALUES (1, 'one', 'two'), (2, 'two', 'one')")
            assert await chat.find("a", "one") == ids


async def test_rooms_of_several_versions_are_searched_each_by_its_own(tmp_path: Path, autojump_clock) -> None:
    async with both(tmp_path) as chat:
        await chat.run("old", "INSERT INTO messages VALUES (1, 'one')")
        await chat.find("old", "one")
    step = (
        "ALTER TABLE messages RENAME TO former; CREATE TABLE messages (id TEXT NOT NULL PRIMARY KEY, body TEXT, stars INTEGER);"
        "INSERT INTO messages SELECT id, body, 0 FROM former; DROP TABLE former"
    )
    async with both(tmp_path, actor(MESSAGES, step, messages=["body"])) as chat:
        await chat.run("new", "INSERT INTO messages VALUES ('x', 'one', 5)")
        assert await chat.find("new", "one") == ["x"]
        assert over_all(tmp_path, "one") == [("new", "x", "one", 5), ("old", 1, "one", None)]
        assert await chat.find("old", "one") == ["1"]
        assert over_all(tmp_path, "one") == [("new", "x", "one", 5), ("old", "1", "one", 0)]


async def test_many_rooms_are_searched_at_once_newest_first_and_only_those_asked_for(tmp_path: Path, autojump_clock) -> None:
    async with both(tmp_path) as chat:
        for id, keys in (("a", (1, 4)), ("b", (2, 4)), ("c", (3, 5))):
            for key in keys:
                await chat.run(id, f"INSERT INTO messages VALUES ({key}, 'one')")
        await chat.runtime.replicated()
    told = [(id, key, "one") for id, key in (("c", 5), ("a", 4), ("b", 4), ("c", 3), ("b", 2), ("a", 1))]
    assert over_all(tmp_path, "one") == told
    assert over_all(tmp_path, "one", limit=2) == told[:2]
    assert over_all(tmp_path, "one", "(SELECT key, id FROM main._rooms WHERE id <> 'a')") == [
        row for row in told if row[0] != "a"
    ]
    assert over_all(tmp_path, "") == over_all(tmp_path, "two") == []


async def test_what_cannot_be_searched_in_the_replica_is_asked_of_the_room(tmp_path: Path, autojump_clock) -> None:
    table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); CREATE TABLE notes_data (id INTEGER PRIMARY KEY, body TEXT)"
    chat_class = type(
        "Chat", (Any_,), {"migrations": [MESSAGES, table], "fulltext": {"messages": ["body"], "notes_data": ["body"]}}
    )
    async with both(tmp_path, chat_class) as chat:
        await chat.run("a", "INSERT INTO notes_data VALUES (1, 'one')")
        await chat.runtime.replicated()
    with apsw.Connection(str(tmp_path / "replica.db")) as connection:
        carry(connection, "_Chat_notes", ["_room", "id", "body"], ["body"])  # whose index would have a table of that name
        assert indexed(connection, "_Chat_notes") is None
        digest = connection.execute("SELECT schema FROM _rooms").fetchall()[0][0]
        table_of = of_room(connection, "Chat", digest)["notes_data"]
        with pytest.raises(NotIndexed):
            match_room(connection, table_of._replace(columns=("id",)), 1, "one", 50)
    connection.close()


async def test_a_replica_whose_index_was_removed_is_made_anew(tmp_path: Path, autojump_clock) -> None:
    async with both(tmp_path) as chat:
        await chat.run("a", "INSERT INTO messages VALUES (1, 'one')")
        await chat.runtime.replicated()
    connection = apsw.Connection(str(tmp_path / "replica.db"))
    connection.execute("DROP TABLE _fulltext_Chat_messages").fetchall()
    connection.close()
    async with both(tmp_path) as chat:
        await chat.run("a", "INSERT INTO messages VALUES (2, 'one')")
        assert await chat.find("a", "one") == [2, 1]


async def test_many_matches_and_few_are_told_alike(tmp_path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with both(tmp_path) as chat:
        rows = ", ".join(f"({key}, '{'one' if key % 3 else 'two'} {key % 7}')" for key in range(200))
        await chat.run("a", f"INSERT INTO messages VALUES {rows}")
        await chat.run("b", f"INSERT INTO messages VALUES {rows}")
        await chat.run("a", "DELETE FROM messages WHERE id = 190", "INSERT INTO messages VALUES (190, 'one 1')")
        for words in ("one", "one 3", "two", "t* 5"):
            few = await chat.find("a", words)
            with monkeypatch.context() as patch:
                patch.setattr(searching, "SORTED_MAX", 1)
                assert await chat.find("a", words) == few


class Keyed(Any_):
    migrations: ClassVar = [
        "CREATE TABLE messages (id TEXT NOT NULL COLLATE NOCASE, n INTEGER NOT NULL, slot UNIQUE, body, PRIMARY KEY (n, id))"
    ]
    fulltext: ClassVar = {"messages": ["body", "id"]}


Keyed.__name__ = "Chat"
value = st.sampled_from(["NULL", "1", "1.0", "'one'", "'One two'", "'ten two'", "'a'", "''"])
number = st.integers(1, 4)
key = st.sampled_from("aAbB")
write = st.one_of(
    st.builds("INSERT OR REPLACE INTO messages VALUES ('{}', {}, {}, {})".format, key, number, number, value),
    st.builds("INSERT OR REPLACE INTO messages VALUES ('{}', {}, NULL, {})".format, key, number, value),
    st.builds("UPDATE OR REPLACE messages SET id = '{}', n = {} WHERE n = {}".format, key, number, number),
    st.builds("UPDATE messages SET body = {} WHERE n <= {}".format, value, number),
    st.builds("DELETE FROM messages WHERE id = '{}' OR slot = {}".format, key, number),
)
writes = st.lists(write, min_size=1, max_size=4)
step = st.one_of(st.tuples(st.sampled_from("pq"), writes), st.sampled_from([("wait", []), ("gone", [])]))


@settings(max_examples=25, deadline=None)
@given(st.lists(step, min_size=1, max_size=10))
def test_a_replica_is_searched_as_its_rooms_are_whatever_was_written(steps: list[tuple[str, list[str]]]) -> None:
    async def live() -> None:
        with TemporaryDirectory() as path:
            async with both(Path(path), Keyed) as chat:
                for what, statements in steps:
                    if what == "wait":
                        await chat.runtime.replicated()
                    elif what == "gone":
                        (Path(path) / "replica.db").unlink(missing_ok=True)
                    else:
                        await chat.run(what, *statements)
                for id in "pq":
                    await chat.run(id, "INSERT INTO messages VALUES ('z', 9, NULL, 'one')")  # a lost file is missed at a write
                    for words in ("one", "two ten", "1", "0", "a", "b", "t*", "o* tw*"):
                        await chat.find(id, words)

    trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))
