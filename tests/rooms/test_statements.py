"""`self.sql`: which statements a handler may run, and how values reach them."""

import re
from typing import Any

import apsw
import pytest

from durable_rooms import Actor, StatementRefused
from durable_rooms.testing import bare
from tests.rooms.chat import one_room


class Any_(Actor):
    migrations = (
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes (text) VALUES ('a'), ('b');"
        "CREATE VIEW texts AS SELECT text FROM notes",
    )

    def run(self, query: Any, *values: Any, **named: Any) -> Any:
        return self.sql(query, *values, **named)

    def many(self, query: str, rows: Any) -> int:
        return self.sql.many(query, rows)

    def first_run_then(self, query: str) -> None:
        """The same text as one of the runtime's own, which its cache of statements may hold."""
        self.sql("SELECT 1")
        self.sql(query)

    def delete_and(self, query: str) -> None:
        self.sql("DELETE FROM notes")
        self.sql(query)


REFUSED = {
    "BEGIN": "BEGIN",
    "BEGIN IMMEDIATE": "BEGIN",
    "COMMIT": "COMMIT",
    "END": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "SAVEPOINT call": "SAVEPOINT",
    "RELEASE call": "RELEASE",
    "ROLLBACK TO call": "SAVEPOINT",
    "ATTACH 'other.db' AS other": "ATTACH",
    "DETACH main": "DETACH",
    "PRAGMA user_version": "PRAGMA",
    "PRAGMA journal_mode = delete": "PRAGMA",
    "SELECT * FROM pragma_table_info('notes')": "PRAGMA",
    "SELECT * FROM _outbox": "_outbox",
    "DELETE FROM _migrations": "_migrations",
    "UPDATE _room SET id = 'x'": "_room",
    "INSERT INTO _timeline VALUES (9, 9)": "_timeline",
    "DROP TABLE _tables": "_tables",
    "ALTER TABLE _outbox ADD COLUMN x": "_outbox",
    "CREATE TABLE _mine (id INTEGER PRIMARY KEY)": "_mine",
    "CREATE INDEX _mine ON notes (text)": "_mine",
    "CREATE VIEW _mine AS SELECT 1": "_mine",
    "CREATE TRIGGER _mine AFTER INSERT ON notes BEGIN SELECT 1; END": "_mine",
    "CREATE TRIGGER mine AFTER INSERT ON notes BEGIN DELETE FROM _outbox; END; ": None,
    "CREATE TEMP TABLE t (x)": "temporary",
    "CREATE TEMP VIEW v AS SELECT 1": "temporary",
    "CREATE TEMP TRIGGER t AFTER INSERT ON notes BEGIN SELECT 1; END": "temporary",
    "SELECT load_extension('x')": "extension",
    "VACUUM": "VACUUM",
    "VACUUM INTO 'copy.db'": "VACUUM",
    "/* why */ vacuum": "VACUUM",
    "SELECT 1; SELECT 2": "several",
    "DELETE FROM notes; COMMIT": "several",
}


@pytest.mark.parametrize("query", [query for query, why in REFUSED.items() if why])
def test_f42_a_refused_statement_is_quoted_with_the_reason_and_leaves_no_trace(query: str) -> None:
    room = bare(Any_)
    for handler in (room.run, room.delete_and, room.first_run_then, room.run):
        with pytest.raises(StatementRefused, match=REFUSED[query]) as caught:
            handler(query)
        assert query in str(caught.value)
        assert caught.value.room == "Any_/test"
    assert room.run("SELECT count(*) AS n FROM notes") == [{"n": 2}]


@pytest.mark.parametrize(
    "query",
    ["ATTACH 'other.db' AS other", "PRAGMA synchronous = off", "VACUUM INTO 'copy.db'", "SELECT load_extension('x')", "BEGIN"],
)
async def test_f42_in_a_runtime_nothing_of_it_runs_and_the_room_goes_on(query: str, autojump_clock) -> None:
    async with one_room(Any_) as room:
        for handler in (room.run, room.delete_and):
            with pytest.raises(StatementRefused, match=re.escape(query)) as caught:
                await handler(query)
            assert (caught.value.ran, caught.value.room) == ("rolled back", "Any_/general")
        assert await room.run("SELECT count(*) AS n FROM notes") == [{"n": 2}]


def test_f42_a_trigger_cannot_reach_the_runtimes_tables_either() -> None:
    room = bare(Any_)
    room.run("CREATE TRIGGER mine AFTER INSERT ON notes BEGIN DELETE FROM _outbox; END")
    with pytest.raises(StatementRefused, match="_outbox"):
        room.run("INSERT INTO notes (text) VALUES ('c')")
    assert room.run("SELECT count(*) AS n FROM notes") == [{"n": 2}]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS x;",
        "SELECT 1 AS x ; -- done; really",
        "/* one; */ SELECT ';' AS x",
        "WITH _recent AS (SELECT 1 AS x) SELECT x FROM _recent",
        "SELECT [text] AS \"a;b\" FROM notes WHERE text = 'a;'",
        "ANALYZE",
        "",
        "EXPLAIN SELECT * FROM notes WHERE id = 1",
    ],
)
def test_one_statement_is_one_however_it_is_written(query: str) -> None:
    room = bare(Any_)
    if query.startswith("EXPLAIN"):
        assert room.run(query)
    else:
        room.run(query)


def test_values_go_one_by_one_or_by_name_and_never_both() -> None:
    room = bare(Any_)
    assert room.run("SELECT ? AS a, ? AS b", 1, "x'; DROP TABLE notes; --") == [{"a": 1, "b": "x'; DROP TABLE notes; --"}]
    assert room.run("SELECT :a AS a, :b AS b", a=None, b=b"\0") == [{"a": None, "b": b"\0"}]
    with pytest.raises(StatementRefused, match="not both"):
        room.run("SELECT ? AS a", 1, b=2)


@pytest.mark.parametrize(
    ("query", "values", "named"), [("SELECT ? AS a", (), {}), ("SELECT ? AS a", (1, 2), {}), ("SELECT :a AS a", (), {"b": 1})]
)
def test_the_wrong_number_of_values_is_an_error(query: str, values: tuple, named: dict) -> None:
    with pytest.raises((apsw.BindingsError, KeyError)):
        bare(Any_).run(query, *values, **named)


@pytest.mark.parametrize(("value", "error"), [([1], TypeError), ({"a": 1}, TypeError), (1 << 63, OverflowError)])
def test_a_value_that_sqlite_cannot_hold_is_an_error(value: Any, error: type[Exception]) -> None:
    room = bare(Any_)
    with pytest.raises(error):
        room.run("INSERT INTO notes (text) VALUES (?)", value)
    assert room.run("SELECT count(*) AS n FROM notes") == [{"n": 2}]


def test_a_statement_is_text() -> None:
    with pytest.raises(StatementRefused, match="text, not int"):
        bare(Any_).run(5)


def test_a_misspelt_column_is_an_error_and_no_text() -> None:
    with pytest.raises(apsw.SQLError, match="no such column"):
        bare(Any_).run('SELECT * FROM notes WHERE text = "tpyo"')


def test_two_columns_of_one_name_are_refused_as_one_would_hide_the_other() -> None:
    with pytest.raises(StatementRefused, match=r"same name \(x, x\); name them with AS: SELECT"):
        bare(Any_).run("SELECT text AS x, id AS x FROM notes")


def test_many_runs_a_statement_for_each_row_and_counts() -> None:
    room = bare(Any_)
    assert room.many("INSERT INTO notes (text) VALUES (?)", [["c"], ["d"], ["e"]]) == 3
    assert room.many("UPDATE notes SET text = ? WHERE id > ?", [["x", 3], ["y", 100]]) == 2
    assert room.many("INSERT INTO notes (text) VALUES (?)", []) == 0
    with pytest.raises(StatementRefused, match="COMMIT"):
        room.many("COMMIT", [[]])


def test_many_is_all_or_nothing_with_its_call() -> None:
    room = bare(Any_)
    with pytest.raises(apsw.ConstraintError):
        room.many("INSERT INTO notes (id, text) VALUES (?, 'x')", [[10], [11], [10]])
    assert room.run("SELECT count(*) AS n FROM notes") == [{"n": 2}]
