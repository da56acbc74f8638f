"""What a replica holds is recognised: views, times, order; and what Datasette is told of it is SQL that runs."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from durable_rooms import Actor, SQLiteReplica
from durable_rooms.browse.views import Contents, View, as_time, contents
from durable_rooms.browse.words import DATABASE, SORTED_ROWS_MAX, metadata
from durable_rooms.sync import open_runtime


@contextmanager
def replica(data: Path, table: str, rows: Sequence[Sequence[object]] = (), *steps: str) -> Generator[sqlite3.Connection]:
    """Of one class with one table, `things`, whose rows a room has; opened after the runtime has ended."""

    class Shelf(Actor):
        migrations = [f"CREATE TABLE things ({table})", *steps]

        def put(self, row: list[object]) -> None:
            self.sql(f"INSERT INTO things VALUES ({', '.join('?' * len(row))})", *row)

    with open_runtime(data, [Shelf], replicas=[SQLiteReplica()]) as runtime:
        for row in rows:
            runtime.room(Shelf, "one").put(list(row))
    with closing(sqlite3.connect(f"file:{data}/replica.db?mode=ro", uri=True)) as connection:
        yield connection


def only(connection: sqlite3.Connection) -> View:
    (view,) = contents(connection).views
    return view


@pytest.mark.parametrize(
    ("name", "value", "day"),
    [
        ("sent_at", 1_714_550_400.5, "2024-05-01"),
        ("ts", 1_714_550_400, "2024-05-01"),
        ("created", 1_714_550_400_123, "2024-05-01"),
        ("made_on", "2024-05-01", "2024-05-01"),
        ("made_at", "2024-05-01T08:00:00Z", "2024-05-01"),
        ("Timestamp", 1_714_550_400, "2024-05-01"),
    ],
)
def test_a_time_is_known_by_its_name_and_its_values(tmp_path: Path, name: str, value: object, day: str):
    with replica(tmp_path, f'id INTEGER PRIMARY KEY, "{name}"', [(1, value), (2, value)]) as connection:
        view = only(connection)
        assert view.time is not None
        assert (view.time.column, view.newest) == (name, name)
        queries = metadata("", Contents((view,), ()))["databases"][DATABASE]["queries"]
        assert connection.execute(queries["Shelf_things-by-day"]["sql"]).fetchall() == [(day, 2)]
        ((room, count, latest),) = connection.execute(queries["Shelf_things-by-room"]["sql"])
        assert (room, count, latest[:10]) == ("one", 2, day)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sent_at", 17),
        ("sent_at", "yesterday"),
        ("sent_at", None),
        ("size", 1_714_550_400),
        ("format", "2024-05-01"),
        ("at", b"2024-05-01"),
    ],
)
def test_what_only_looks_like_a_time_is_none_and_rows_go_by_their_number(tmp_path: Path, name: str, value: object):
    with replica(tmp_path, f'id INTEGER PRIMARY KEY, "{name}"', [(1, value)]) as connection:
        view = only(connection)
    assert view.time is None
    assert view.newest == "id"


def test_a_column_that_is_a_time_in_some_rows_only_is_none(tmp_path: Path):
    with replica(tmp_path, "id INTEGER PRIMARY KEY, at", [(1, 1_714_550_400), (2, "2024-05-01")]) as connection:
        assert only(connection).time is None


def test_rows_without_time_and_number_have_no_order(tmp_path: Path):
    with replica(tmp_path, "name TEXT NOT NULL PRIMARY KEY, size_bytes INTEGER", [("a", 1)]) as connection:
        view = only(connection)
        found = metadata("", contents(connection))["databases"][DATABASE]
    assert view.newest is None
    assert "sort_desc" not in found["tables"]["Shelf_things"]
    assert found["tables"]["Shelf_things"]["columns"]["size_bytes"] == "bytes"
    assert "Shelf_things-by-day" not in found["queries"]


def test_names_of_columns_may_be_anything(tmp_path: Path):
    table = 'id INTEGER PRIMARY KEY, "day" TEXT, "rows" TEXT, "it\'s ""so""_at" REAL, "latest" TEXT'
    with replica(tmp_path, table, [(1, "d", "r", 1_714_550_400, "l"), (2, "d", "r", 1_714_636_800, "l")]) as connection:
        queries = metadata("", contents(connection))["databases"][DATABASE]["queries"]
        answers = {name: connection.execute(query["sql"], {"room_id": "one"}).fetchall() for name, query in queries.items()}
    assert answers["Shelf_things-by-day"] == [("2024-05-02", 1), ("2024-05-01", 1)]
    assert [row[1] for row in answers["Shelf_things-of-a-room"]] == [2, 1]


def test_a_view_too_large_to_sort_is_shown_as_it_came_and_says_so(tmp_path: Path):
    with replica(tmp_path, "id INTEGER PRIMARY KEY", [(1,), (2,)]) as connection:
        view = only(connection)
    assert view.rows_max == 2
    for rows, ordered in ((SORTED_ROWS_MAX, True), (SORTED_ROWS_MAX + 1, False)):
        large = replace(view, rows_max=rows)
        said = metadata("", Contents((large,), ()))["databases"][DATABASE]["tables"][view.name]
        assert ("sort_desc" in said) is ordered
        assert ("The newest rows come first" in said["description"]) is ordered
        assert ("the oldest first" in said["description"]) is not ordered


def test_two_versions_of_a_table_are_one_view(tmp_path: Path):
    with replica(tmp_path, "id INTEGER PRIMARY KEY, at REAL", [(1, 1_714_550_400)]):
        pass
    steps = ("DROP TABLE things", "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, at REAL, more)")
    with replica(tmp_path, "id INTEGER PRIMARY KEY, at REAL", [("x", 1_714_636_800, 1)], *steps) as connection:
        view = only(connection)
        assert view.columns == ("id", "at", "more")
        assert view.time is not None
        assert connection.execute("SELECT count(*) FROM _tables").fetchone() == (2,)


def test_a_replica_in_its_first_moment_has_nothing():
    with closing(sqlite3.connect(":memory:")) as connection:
        assert contents(connection) == Contents((), ())


def test_the_replicators_tables_are_told_from_views(tmp_path: Path):
    with replica(tmp_path, "id INTEGER PRIMARY KEY", [(1,)]) as connection:
        found = contents(connection)
        tables = metadata("", found)["databases"][DATABASE]["tables"]
    assert {"_rooms", "_tables", "_Shelf_things"} <= set(found.internal)
    assert all(tables[name]["hidden"] for name in found.internal)
    assert "hidden" not in tables["Shelf_things"]


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("sent_at", 1_714_550_400.25, "2024-05-01 08:00:00.250"),
        ("sent_at", 1_714_550_400_250, "2024-05-01 08:00:00.250"),
        ("sent_at", "2024-05-01", None),
        ("sent_at", 5, None),
        ("sent_at", None, None),
        ("sent_at", float("nan"), None),
        ("count", 1_714_550_400, None),
    ],
)
def test_only_times_are_shown_as_times(column: str, value: object, shown: str | None):
    assert as_time(column, value) == shown
