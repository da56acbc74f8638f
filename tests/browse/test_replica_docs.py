"""docs/replica.md is true: its lists and its examples, held against a replica that the program on the page has made."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from durable_rooms.browse.words import SORTED_ROWS_MAX
from replication.file import APPLICATION_ID, FORMAT
from tests.cli.running import ROOT

PAGE = (ROOT / "docs" / "replica.md").read_text()
(PROGRAM,) = (program for program in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "open_runtime" in program)
EXAMPLES: list[tuple[str, str]] = re.findall(r"```sql\n(.*?)```\n(?:```\n(.*?)```)?", PAGE, re.DOTALL)
LISTS: list[tuple[str, str]] = re.findall(r"\| `(_\w+)` \| [^\n]*\n\|---\|---\|\n((?:\| `\w+` \|[^\n]*\n)+)", PAGE)
COLUMNS = {table: re.findall(r"\| `(\w+)` \|", lines) for table, lines in LISTS}
INTERNAL = {(table, column) for table, lines in LISTS for column in re.findall(r"\| `(\w+)` \| internal \|", lines)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, env=environment, check=True, timeout=60)
    return folder / "data"


@pytest.fixture
def replica(data: Path) -> Iterator[sqlite3.Connection]:
    """Opened as the page says."""
    with closing(sqlite3.connect(f"file:{data}/replica.db?mode=ro", uri=True)) as connection:
        yield connection


def names(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def test_the_page_lists_tables_and_has_examples():
    assert list(COLUMNS) == ["_rooms", "_applied", "_tables"]
    assert len(EXAMPLES) == 6
    assert sorted(INTERNAL) == [("_rooms", "schema"), ("_rooms", "settled"), ("_tables", "base"), ("_tables", "content")]


@pytest.mark.parametrize("table", COLUMNS)
def test_the_tables_that_it_names_have_these_columns(replica: sqlite3.Connection, table: str):
    assert names(replica, table) == COLUMNS[table]


def test_a_view_is_called_by_class_and_table_and_has_the_room_in_front(replica: sqlite3.Connection):
    assert names(replica, "ChatRoom_messages") == ["room_id", "id", "author", "body", "sent_at"]
    assert names(replica, "Directory_channels") == ["room_id", "id", "title"]


def test_everything_else_in_the_file_begins_with_an_underscore(replica: sqlite3.Connection):
    views = {view for (view,) in replica.execute("SELECT view FROM _tables")}
    there = {name for (name,) in replica.execute("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")}
    assert views <= there
    assert [name for name in there - views if not name.startswith("_")] == []


def test_stamp_and_format_are_what_it_says(replica: sqlite3.Connection):
    said = re.search(r"`PRAGMA application_id` is (\d+) \(`(0x\w+)`.*`PRAGMA user_version` is its format: (\d+)", PAGE)
    assert said is not None
    stamp, in_hex, version = said.groups()
    assert (int(stamp), int(in_hex, 16), int(version)) == (APPLICATION_ID, APPLICATION_ID, FORMAT)
    assert replica.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert replica.execute("PRAGMA user_version").fetchone() == (FORMAT,)


@pytest.mark.parametrize(("query", "answer"), EXAMPLES, ids=[query.split("\n")[0][:40] for query, _ in EXAMPLES])
def test_each_example_gives_what_it_shows(replica: sqlite3.Connection, query: str, answer: str):
    found = ["|".join(map(str, row)) for row in replica.execute(query)]
    assert found
    if answer:
        assert found == answer.splitlines()


def test_a_question_about_one_room_uses_the_index_of_the_migrations(replica: sqlite3.Connection):
    query = "SELECT body FROM ChatRoom_messages WHERE room_id = 'general' AND sent_at > 0"
    plan = " ".join(row[3] for row in replica.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "_ChatRoom_by_time" in plan
    assert "SCAN" not in plan


def test_a_backup_is_whole_and_so_is_the_one_file_after_a_clean_stop(data: Path, replica: sqlite3.Connection, tmp_path: Path):
    count = "SELECT count(*) FROM ChatRoom_messages"
    with closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
        replica.backup(backup)
        assert backup.execute(count).fetchone() == (5,)
    (tmp_path / "file.db").write_bytes((data / "replica.db").read_bytes())
    with closing(sqlite3.connect(tmp_path / "file.db")) as copy:
        assert copy.execute(count).fetchone() == (5,)


def test_what_opens_it_read_only_cannot_write(replica: sqlite3.Connection):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        replica.execute("DELETE FROM _rooms")


def test_the_bounds_of_browse_are_what_it_says():
    pytest.importorskip("datasette", reason="needs the extra `browse`: pip install 'durable-rooms[browse]'")
    from durable_rooms.browse.server import QUERY_MS_MAX, ROWS_MAX

    assert f"A query ends after {QUERY_MS_MAX // 1_000} s, a page has at most {ROWS_MAX:,} rows" in PAGE
    assert f"Views of more than {SORTED_ROWS_MAX:,} rows" in PAGE
