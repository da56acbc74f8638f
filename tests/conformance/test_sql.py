"""`self.sql`: what comes back, and what may not be said."""

from typing import Any

import pytest

from durable_rooms import DeadlineExceeded, ManyRows, NoRow, StatementRefused, TooLarge
from durable_rooms.testing import bare
from tests.conformance.stand import Notes, on_still_disk
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import one_room, other_program, path_of


class Rows(Notes):
    def twice(self) -> list[list[Any]]:
        """Half of a statement's rows, then the same statement again, then the rest."""
        query = "SELECT body FROM messages ORDER BY id"
        first = iter(self.sql(query))
        begun = [next(first).body]
        second = self.sql(query).scalars()
        return [begun + [row.body for row in first], second]

    def snapshot(self) -> list[str]:
        rows = self.sql("SELECT body FROM messages ORDER BY id")
        self.sql("DELETE FROM messages")
        return rows.scalars()

    def only(self, query: str) -> Any:
        return dict(self.sql(query).one())

    def changes(self, query: str) -> list[int]:
        rows = self.sql(query)
        return [len(rows), rows.changes]

    def pass_over(self, query: str) -> str:
        try:
            self.sql(query)
        except StatementRefused:
            return self.bodies()[0]
        return "it ran"


@statement(36)
@behaviour(26)
def test_the_same_statement_may_be_read_twice_at_once_and_its_rows_are_a_snapshot() -> None:
    """Given rows of which one was read, when the same statement runs again, then both give everything; when the table is
    emptied meanwhile, then the rows are still there."""
    room = bare(Rows)
    for body in "abc":
        room.post(body)
    assert room.twice() == [["a", "b", "c"], ["a", "b", "c"]]
    assert room.snapshot() == ["a", "b", "c"]
    assert room.bodies() == []


@statement(37)
def test_one_row_is_one_row() -> None:
    """Given no row or two, when one is asked for, then the error says which."""
    room = bare(Rows)
    with pytest.raises(NoRow, match="none"):
        room.only("SELECT * FROM messages")
    assert room.only("SELECT 1 AS one") == {"one": 1}
    with pytest.raises(ManyRows, match="2"):
        room.only("SELECT 1 AS one UNION ALL SELECT 2")


@statement(38)
@behaviour(26)
def test_two_columns_of_one_name_are_refused() -> None:
    """Given a join whose tables share a column's name, when all columns are asked for, then it is refused, with what to
    do; named apart, both are there."""
    room = bare(Rows)
    room.post("a")
    room.run("INSERT INTO replies (message) VALUES (1)")
    with pytest.raises(StatementRefused, match="name them with AS"):
        room.run("SELECT * FROM messages JOIN replies ON message = messages.id")
    query = "SELECT messages.id AS id, replies.id AS reply FROM messages JOIN replies ON message = messages.id"
    assert room.run(query) == [{"id": 1, "reply": 1}]


@behaviour(26)
def test_rows_say_how_many_were_read_and_how_many_changed() -> None:
    """Given statements that read, write and do both, when they have run, then the numbers of rows and of changes are
    exact."""
    room = bare(Rows)
    assert room.changes("INSERT INTO messages (body) VALUES ('a'), ('b'), ('c') RETURNING id") == [3, 3]
    assert room.changes("UPDATE messages SET body = body || '!' WHERE id > 1") == [0, 2]
    assert room.changes("SELECT * FROM messages") == [3, 0]


@statement(39)
@behaviour(25)
@pytest.mark.parametrize(
    "query",
    [
        "CREATE TABLE _kv (id INTEGER PRIMARY KEY)",
        "CREATE TABLE _KV (id INTEGER PRIMARY KEY)",
        'CREATE TABLE "_Any" (id INTEGER PRIMARY KEY)',
        "ALTER TABLE messages RENAME TO _messages",
        "CREATE INDEX _mine ON messages (body)",
        "CREATE VIEW _mine AS SELECT 1 AS one",
        "SELECT * FROM _outbox",
        "DELETE FROM _ROOM",
    ],
)
def test_names_that_begin_with_an_underscore_are_the_runtimes(query) -> None:
    """Given a statement that makes, renames to, reads or empties a table of the runtime, when a handler runs it, then it
    is refused, and the schema is as before."""
    room = bare(Rows)
    before = room.run("SELECT name FROM sqlite_schema ORDER BY name")
    with pytest.raises(StatementRefused, match=r"begins? with _"):
        room.run(query)
    assert room.run("SELECT name FROM sqlite_schema ORDER BY name") == before


@behaviour(25)
@pytest.mark.parametrize(
    "query",
    ["BEGIN", "COMMIT", "SAVEPOINT s", "ATTACH 'x' AS x", "VACUUM", "CREATE TEMP TABLE t (x)", "PRAGMA journal_mode = DELETE",
     "PRAGMA user_version", "SELECT load_extension('x')"],
)  # fmt: skip
def test_what_would_end_the_transaction_leave_the_file_or_change_its_settings_is_refused(query) -> None:
    """Given such a statement, when a handler runs it and passes over the refusal, then nothing of it has happened."""
    room = bare(Rows)
    room.post("a")
    assert room.pass_over(query) == "a"


@statement(40)
@behaviour(25)
def test_compound_selects_are_bounded_by_their_text() -> None:
    """Given a SELECT of 6 terms, when it runs, then it works; given one whose text is over 100,000 bytes, then it is
    refused."""
    room = bare(Rows)
    assert len(room.run(" UNION ALL ".join(["SELECT 1 AS one"] * 6))) == 6
    with pytest.raises(TooLarge, match="100,000 bytes"):
        room.run(" UNION ALL ".join(["SELECT 1 AS one"] * 6_000))


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "


@behaviour(16, 25)
@pytest.mark.parametrize(
    ("query", "memory"),
    [("SELECT count(*) AS n FROM n", ["kept", "still"]), ("INSERT INTO messages (body) SELECT i FROM n", ["still"])],
    ids=["read", "write"],
)
async def test_a_statement_without_end_is_interrupted_and_its_call_rolled_back(query, memory, tmp_path, autojump_clock) -> None:
    """Given a statement that would read, or write, for ever, when it has run for statement_seconds_max, then it is
    interrupted, nothing of its call is left, and the room goes on; if it wrote, then with a fresh memory, since SQLite has
    rolled back its whole turn."""

    class Slow(Rows):
        def post_and_count(self) -> None:
            self.post("gone")
            self.sql(ENDLESS + query)

    ticks = iter(range(10**9))
    async with on_still_disk(tmp_path, Slow, stopwatch=lambda: float(next(ticks))) as (runtime, _, _):
        room = runtime.room(Slow, "a")
        await room.post("kept")
        await room.remember("kept")
        with pytest.raises(DeadlineExceeded) as caught:
            await room.post_and_count()
        assert caught.value.ran == "rolled back"
        assert await room.bodies() == ["kept"]
        assert await room.remember("still") == memory


@statement(41)
@behaviour(25)
async def test_foreign_keys_hold_and_no_handler_can_switch_them_off(autojump_clock) -> None:
    """Given PRAGMA foreign_keys = OFF, when a handler runs it, then it is refused, and a dangling key still fails its
    call; what is in the file holds in any other program."""
    async with one_room(Rows) as room:
        with pytest.raises(StatementRefused, match="PRAGMA"):
            await room.run("PRAGMA foreign_keys = OFF")
        with pytest.raises(Exception, match="FOREIGN KEY"):
            await room.reply_to(7)
        assert await room.post("a") == 1
        await room.reply_to(1)
        with other_program(path_of(room._office, room)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
