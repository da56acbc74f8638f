"""`durable-rooms browse` shows the replica as it is now, to this machine alone, and can change nothing and leave nothing."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.browse.browsing import MORNING, VIEW, Pages, browsing, post, serving
from tests.cli.running import command, service
from tests.demo.hand_made import files


def three_messages(folder: Path) -> Path:
    """In two rooms, at rest. The path has what an address must quote."""
    path = folder / "a b?c%20#d"
    with serving(path) as runtime:
        post(runtime, "general", "first", MORNING)
        post(runtime, "birds", "third", MORNING + 86_400)
        post(runtime, "general", "second <b>", MORNING + 60)
    return path


@pytest.fixture(scope="module")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_messages(tmp_path_factory.mktemp("shown"))


@pytest.fixture
def data(shared_data: Path, tmp_path: Path) -> Path:
    """A copy, for a test that changes it."""
    return Path(shutil.copytree(shared_data, tmp_path / shared_data.name))


@pytest.fixture(scope="module")
def pages(shared_data: Path) -> Iterator[Pages]:
    """One process for all tests that only ask."""
    with browsing(shared_data) as pages:
        yield pages


def test_a_row_is_shown_with_its_room_and_its_time_the_newest_first(pages: Pages):
    status, page = pages.get(VIEW)
    assert pages.bodies() == ["third", "second <b>", "first"]
    assert status == 200
    assert "Table messages of all rooms of class ChatRoom" in page
    assert "second &lt;b&gt;" in page
    assert "2024-05-01 08:00:00.000" in page


def test_rows_are_counted_by_room_and_internal_tables_are_hidden(pages: Pages):
    facets = pages.json(VIEW)["facet_results"]["room_id"]["results"]
    assert [(facet["value"], facet["count"]) for facet in facets] == [("general", 2), ("birds", 1)]
    for listing in (pages.get("/")[1], pages.get("/replica")[1], pages.get("/replica?_show_hidden=1")[1]):
        assert "ChatRoom_messages" in listing
        for name in ("_ChatRoom_messages", "_schemas", "_house", "_memory"):
            assert name not in listing
    assert pages.get("/replica/_ChatRoom_messages")[0] == 403


def test_every_ready_question_has_an_answer(pages: Pages):
    names = [query["name"] for query in pages.json("/replica")["queries"]]
    answers = {name: pages.json(f"/replica/{name}", _shape="arrays", room_id="general")["rows"] for name in names}
    assert [row[:2] for row in answers["rooms"]] == [["ChatRoom", "general"], ["ChatRoom", "birds"]]
    assert answers["ChatRoom_messages-by-room"] == [["general", 2, "2024-05-01 08:01:00"], ["birds", 1, "2024-05-02 08:00:00"]]
    assert [row[3] for row in answers["ChatRoom_messages-of-a-room"]] == ["second <b>", "first"]
    assert answers["ChatRoom_messages-by-day"] == [["2024-05-02", 1], ["2024-05-01", 2]]
    assert len(answers) == 4


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO _rooms (actor, id, epoch, seq, schema, settled, at) VALUES ('X', 'x', 1, 1, '', 1, 0)",
        "WITH new AS (SELECT 1) INSERT INTO _applied SELECT 2, 2, 2 FROM new",
        "DELETE FROM _ChatRoom_messages",
        "CREATE TABLE mine (a)",
        "PRAGMA user_version = 9",
        "PRAGMA journal_mode = DELETE",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "SELECT 1; DELETE FROM _rooms",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
    ],
)
def test_no_statement_changes_anything(pages: Pages, shared_data: Path, statement: str):
    before = files(shared_data)
    status, said = pages.sql(statement)
    assert status == 400, said
    assert said["error"]
    assert files(shared_data) == before


def test_the_file_is_closed_to_writing_whatever_datasette_lets_through(data: Path):
    pytest.importorskip("datasette", reason="needs the extra `browse`: pip install 'durable-rooms[browse]'")
    probe = """
import sqlite3, sys
from pathlib import Path
from datasette.app import Datasette
from durable_rooms.browse.database import ReadOnly, ReplicaDatabase
replica = ReplicaDatabase(Datasette([]), Path(sys.argv[1]))
for statement in ("DELETE FROM _rooms", "CREATE TEMP TABLE mine (a)", "ATTACH ':memory:' AS other", "PRAGMA user_version = 9"):
    try:
        replica.read(lambda connection: connection.execute(statement).fetchall())
    except sqlite3.Error as error:
        print(statement, "->", error)
print(replica.read(lambda connection: connection.execute("PRAGMA user_version").fetchone()[0]))
try:
    replica.connect(write=True)
except ReadOnly as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", probe, str(data / "replica.db")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == [
        "DELETE FROM _rooms -> attempt to write a readonly database",
        "CREATE TEMP TABLE mine (a) -> attempt to write a readonly database",
        "ATTACH ':memory:' AS other -> too many attached databases - max 0",
        "PRAGMA user_version = 9 -> attempt to write a readonly database",
        "1",
        "The replica is written by its runtime alone.",
    ], done.stderr


def test_posts_made_meanwhile_appear_and_classes_that_are_new_are_described(tmp_path: Path):
    with serving(tmp_path) as runtime, browsing(tmp_path) as pages:
        assert pages.json("/replica")["views"] == []
        for number in range(3):
            post(runtime, "general", f"news {number}", MORNING + number)
            assert pages.bodies() == [f"news {n}" for n in reversed(range(number + 1))]
        assert "Table messages of all rooms of class ChatRoom" in pages.get(VIEW)[1]


def test_it_lives_through_the_start_and_the_stop_of_a_runtime(data: Path):
    with browsing(data) as pages:
        assert len(pages.bodies()) == 3
        with serving(data) as runtime:
            post(runtime, "general", "fourth", MORNING + 2 * 86_400)
            assert pages.bodies()[0] == "fourth"
        assert pages.bodies()[0] == "fourth"
    assert not (data / "replica.db-wal").exists(), "a clean stop leaves one file"


def test_a_browser_that_has_read_pins_no_wal(tmp_path: Path):
    with serving(tmp_path) as runtime, browsing(tmp_path) as pages:
        for number in range(20):
            post(runtime, "general", f"news {number}", MORNING + number)
            pages.get(VIEW)
            pages.get("/replica")
        pages.sql("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, ChatRoom_messages")
        pages.sql("SELECT * FROM ChatRoom_messages, no_such_table")
        connection = apsw.Connection(str(tmp_path / "replica.db"))  # apsw: this is the runtime's own process
        connection.set_busy_timeout(5_000)  # for the replicator, which may just be at work
        connection.execute("SELECT 1 FROM _rooms").fetchall()  # SQLite finds the WAL at the first read
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)  # BusyError if any reader is on the WAL
        connection.close()
        assert (tmp_path / "replica.db-wal").stat().st_size == 0


def test_a_replica_that_is_made_anew_is_read_from_then_on(data: Path):
    with browsing(data) as pages:
        assert len(pages.bodies()) == 3
        for file in data.glob("replica.db*"):
            file.unlink()
        status, said = pages.get(VIEW)
        assert status == 503
        assert "cannot be read just now" in said
        with serving(data) as runtime:
            post(runtime, "general", "after", MORNING + 7 * 86_400)
            assert pages.bodies() == ["after", "third", "second <b>", "first"]


def test_it_shows_what_a_killed_process_left(tmp_path: Path):
    with service(tmp_path / "data"):
        pass
    assert (tmp_path / "data" / "replica.db-wal").exists()
    with browsing(tmp_path / "data") as pages:
        views = [view["name"] for view in pages.json("/replica")["views"]]
        assert sum(pages.json(f"/replica/{view}")["filtered_table_rows_count"] for view in views) > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_its_end_leaves_no_process_and_no_file(data: Path, number: int, code: int):
    before = files(data)
    with browsing(data) as pages:
        pages.get(VIEW)
        pages.sql("SELECT count(*) FROM ChatRoom_messages ORDER BY 1")
        assert pages.end(number) == code
        if number == signal.SIGKILL:  # nobody waited for the child; its end of the pipe tells it
            with pytest.raises((ConnectionError, urllib.error.URLError)):
                while True:
                    pages.get("/-/versions.json")
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            pages.get("/")
    assert files(data) == before


def test_a_query_without_end_is_ended_and_a_long_answer_is_cut(pages: Pages):
    endless = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT "
    status, said = pages.sql(endless + "max(i) FROM n")
    assert status == 400
    assert "SQL query took too long" in said["error"]
    status, said = pages.sql(endless + "i FROM n LIMIT 5000")
    assert (status, len(said["rows"]), said["truncated"]) == (200, 1_000, True)
    status, said = pages.sql("SELECT length(zeroblob(500000000))")
    assert "too big" in said["error"]


def test_hundreds_of_wrong_questions_do_not_stop_it(pages: Pages):
    for number in range(200):  # an error's traceback has some kilobytes, a pipe has 64
        assert pages.sql(f"SELECT nothing_{number}")[0] == 400
    assert pages.bodies()


@pytest.mark.parametrize("path", ["/replica.db", f"{VIEW}.csv?_stream=1"])
def test_nothing_is_downloaded_whole(pages: Pages, path: str):
    assert pages.get(path)[0] in (400, 403)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80", ""])
def test_a_request_that_calls_it_by_another_name_gets_nothing(pages: Pages, host: str):
    status, said = pages.get(VIEW, Host=host)
    assert status in (400, 403)
    assert "third" not in said


def test_the_end_of_a_tunnel_may_have_another_port(pages: Pages):
    assert pages.get(VIEW, Host="localhost:9000")[0] == 200


def test_it_takes_the_port_that_it_is_given_or_says_that_it_cannot(data: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 cannot be had" in command("browse", data, "--port", port, code=2).stderr
    with browsing(data, "--port", port) as pages:
        assert pages.url == f"http://127.0.0.1:{port}/"
        assert pages.bodies()


def test_the_browser_of_this_machine_is_opened_on_request(data: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "opened")
    (tmp_path / "browser.py").write_text(f"import sys\nopen({str(tmp_path / 'opened')!r}, 'w').write(sys.argv[1])\n")
    with browsing(data, "--open", BROWSER=f"{sys.executable} {tmp_path / 'browser.py'} %s") as pages:
        assert (tmp_path / "opened").read_text() == pages.url


def test_a_replica_elsewhere_is_named(data: Path, tmp_path: Path):
    elsewhere = (data / "replica.db").rename(tmp_path / "elsewhere.db")
    with browsing(data, "--replica", elsewhere) as pages:
        assert len(pages.bodies()) == 3


def test_without_a_replica_it_says_how_to_come_by_one(data: Path):
    (data / "replica.db").unlink()
    said = command("browse", data, code=2).stderr
    assert "replicas=[SQLiteReplica()]" in said
    assert "--replica FILE" in said


def test_what_is_not_a_replica_is_refused(data: Path, tmp_path: Path):
    assert "not a replica" in command("browse", data, "--replica", data / "catalog.db", code=2).stderr
    (tmp_path / "text.db").write_text("no database" * 1_000)
    assert "cannot be read" in command("browse", data, "--replica", tmp_path / "text.db", code=2).stderr
    assert "no catalog.db" in command("browse", tmp_path, code=2).stderr


def test_without_datasette_it_says_what_to_install(data: Path, tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['datasette'] = None\n")
    said = command("browse", data, code=2, PYTHONPATH=str(tmp_path)).stderr
    assert "pip install 'durable-rooms[browse]'" in said


def test_a_browser_that_dies_is_told(data: Path):
    with browsing(data) as pages:
        (child,) = children(pages.process.pid)
        os.kill(child, signal.SIGKILL)
        assert pages.process.wait(timeout=30) == 1
        assert pages.process.stderr is not None
        assert "was ended by SIGKILL" in pages.process.stderr.read()


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in found.splitlines()]
    return [child for child, parent in pairs if parent == pid]
