"""`durable-rooms migrate`: a sweep brings every room to the newest version and loses none; a rehearsal changes nothing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import Actor, Disk, Doors, InlineThreads, RoomName
from actors.names import room_file
from durable_rooms import SQLiteReplica
from durable_rooms.inspect import Selection, rooms
from durable_rooms.migrate import ActorsUnfit, Sweep, named, sweep
from durable_rooms.testing import open_test_runtime
from tests.cli.running import PROGRAM, ROOT, catalog, service
from tests.cli.running import room as entry
from tests.demo.hand_made import HandMade, files

MANY, SLOW = 200, 0.02  # rooms; seconds of a slow migration, of which one runs at a time

STEPS = [
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL)",
    "CREATE INDEX by_author ON messages (author)",
]
APP = f"""
import os, threading, time
from durable_rooms import Actor, Migration

one_at_a_time = threading.Lock()
print("imported")  # must not get among the answers on stdout

def stars(sql):
    sql("ALTER TABLE messages ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")
    sql("UPDATE messages SET stars = 5 WHERE author = 'ann'")
    with one_at_a_time:
        time.sleep(float(os.environ.get("SLOW", 0)))
    if os.environ.get("BAD") and sql("SELECT count(*) FROM messages WHERE author = 'eve'").scalar():
        raise ValueError("eve was here")

class ChatRoom(Actor):
    migrations = [*{STEPS!r}, Migration(stars, name="stars")][: int(os.environ.get("VERSION", 3))]

class Lobby(ChatRoom):
    pass
"""


def post(self: Actor, author: str, body: str) -> int:
    return self.sql("INSERT INTO messages (author, body) VALUES (?, ?) RETURNING id", author, body).scalar()


def released(version: int, name: str = "ChatRoom", module: str = "chatapp") -> type[Actor]:
    """The class as an earlier release of the program had it."""
    return type(name, (Actor,), {"migrations": STEPS[:version], "post": post, "__module__": module})


async def fill(
    data: Path, ids: dict[str, int], *, replica: SQLiteReplica | None, actor: str = "ChatRoom", **options: Any
) -> None:
    """Rooms by id, each of the version that is given, with two messages; eve wrote in rooms whose id begins with bad."""
    replicas = [replica] if replica is not None else []
    for version in sorted(set(ids.values())):
        release = released(version, actor, **options)
        async with open_test_runtime(release, path=data, replicas=replicas) as runtime:
            for id in (id for id, wanted in ids.items() if wanted == version):
                for number in range(2):
                    author = "eve" if id.startswith("bad") and number == 1 else "ann"
                    await runtime.room(release, id).post(author, f"{number} in {id}")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory that the command is started in, with the program in it."""
    (tmp_path / "chatapp.py").write_text(APP)
    return tmp_path


@pytest.fixture
async def data(place: Path, autojump_clock: object) -> Path:
    """40 rooms of version 1, 20 of version 2, and their replica."""
    ids = {f"room-{n:02}": 1 for n in range(40)} | {f"room-{n:02}": 2 for n in range(40, 60)}
    await fill(place / "data", ids, replica=SQLiteReplica())
    return place / "data"


@pytest.fixture
async def many(place: Path, autojump_clock: object) -> Path:
    """200 rooms: three times as many as a sweep has in hand, so that one that is met under way is not nearly done."""
    await fill(place / "data", {f"room-{n:03}": 1 for n in range(MANY)}, replica=SQLiteReplica())
    return place / "data"


def environment(**more: object) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "240", "PYTHONPATH": str(ROOT), **{name: str(value) for name, value in more.items()}}


def run(place: Path, *arguments: object, code: int = 0, **more: object) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, cwd=place, env=environment(**more), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def asked(place: Path, *arguments: object, code: int = 0, **more: object) -> dict[str, Any]:
    (line,) = run(place, "migrate", *arguments, "--json", code=code, **more).stdout.splitlines()
    return json.loads(line)


@contextmanager
def sweeping(data: Path, **more: object) -> Generator[subprocess.Popen[str]]:
    """A sweep, at a moment when it has done some rooms and not all."""
    command = [*PROGRAM, "migrate", str(data), "--sweep"]
    with subprocess.Popen(command, cwd=data.parent, env=environment(**more), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "migrating" in line:
                    break
            assert process.poll() is None, "it was too fast to be met under way"
            yield process
        finally:
            process.kill()


def versions(data: Path) -> dict[int, int]:
    """Rooms by the number of migrations that their files say they have run."""
    found: dict[int, int] = {}
    for row in rooms(data, Selection()):
        with closing(sqlite3.connect(f"file:{data / 'rooms' / row.file}?mode=ro", uri=True)) as file:
            ((version,),) = file.execute("SELECT count(*) FROM _migrations").fetchall()
        found[version] = found.get(version, 0) + 1
    return found


def dump(data: Path, id: str) -> list[str]:
    with closing(sqlite3.connect(f"file:{data / 'rooms' / room_file(RoomName('ChatRoom', id))}?mode=ro", uri=True)) as file:
        return list(file.iterdump())


def replicated(data: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{data / 'replica.db'}?mode=ro", uri=True)) as copy:
        return copy.execute(query).fetchall()


# -- the state ----------------------------------------------------------------------------------------------------------
async def test_the_state_counts_rooms_by_version_and_says_what_to_do(place: Path, data: Path) -> None:
    before = files(data)
    said = run(place, "migrate", data).stdout
    assert (
        "ChatRoom: 60 rooms; its newest version is 2 as of the last start\n  version 1   40  behind\n  version 2   20\n" in said
    )
    assert f"40 behind. A room migrates at its next call; all at once: durable-rooms migrate {data} --sweep" in said
    by_code = run(place, "migrate", data, "--actors", "chatapp").stdout
    assert "its newest version is 3\n  version 1   40  behind\n  version 2   20  behind\n" in by_code
    found = asked(place, data, "--actors", "chatapp:ChatRoom")
    assert found["classes"][0] | {"left": 60} == {
        "actor": "ChatRoom", "module": "chatapp", "newest": 3, "rooms": 60, "at_newest": 0, "behind": 60, "not_known": 0,
        "newer": 0, "left": 60, "sick": 0, "versions": {"1": 40, "2": 20}, "included": True, "problem": None,
    }  # fmt: skip
    assert files(data) == before


def test_the_state_knows_sick_rooms_unknown_versions_and_older_catalogs(tmp_path: Path) -> None:
    some = [entry("a", version=1), entry("b", version=0), entry("c", sick="x"), entry("d", version=3)]
    found = asked(tmp_path, catalog(tmp_path / "data", some))["classes"][0]
    counts = ("rooms", "at_newest", "behind", "not_known", "newer", "sick", "left")
    assert [found[name] for name in counts] == [4, 0, 1, 1, 1, 1, 3]
    made = HandMade(tmp_path / "old")  # a catalog of format 1
    made.room("den", [(1, "u", "k", "a", "b", 0.0)])
    assert "not known   1" in run(tmp_path, "migrate", made.path).stdout


def test_the_state_and_a_rehearsal_work_beside_a_running_process_and_a_sweep_names_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    named = ("--actors", "tests.crash.service:Service")
    with service(data) as process:
        assert f"Process {process.pid} runs here" in run(tmp_path, "migrate", data).stdout
        assert "no room failed" in run(ROOT, "migrate", data, "--dry-run", *named).stdout
        refused = asked(ROOT, data, "--sweep", *named, code=1)["refused"]
        assert f"in use by the process with pid {process.pid}" in refused
        assert "migrate at their next call" in refused
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "the rehearsal's directory is gone"


@pytest.mark.parametrize(
    ("actors", "why"),
    [
        ("nowhere", "No module named 'nowhere'"),
        ("chatapp:Nobody", "has no Nobody"),
        ("chatapp:stars", "is not an actor class"),
        ("json", "defines no actor class"),
        ("leaves", "SystemExit: 3"),
        ("twice", "two classes ChatRoom"),
        ("", "cannot be imported"),
    ],
)
def test_classes_that_cannot_be_had_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch, actors: str, why: str) -> None:
    (place / "leaves.py").write_text("raise SystemExit(3)")
    (place / "twice.py").write_text("from durable_rooms import Actor\nclass ChatRoom(Actor): pass")
    monkeypatch.syspath_prepend(place)
    with pytest.raises(ActorsUnfit, match=why):
        named(["chatapp", actors])
    for module in ("chatapp", "twice"):
        sys.modules.pop(module, None)


def test_bad_usage_ends_with_exit_code_2(place: Path) -> None:
    data = catalog(place / "data", [entry("a")])
    said = run(place, "migrate", data, "--sweep", "--actors", "chatapp:Nobody", code=2)
    assert said.stderr.endswith("durable-rooms migrate: --actors chatapp:Nobody: the module chatapp has no Nobody.\n")


def test_what_is_no_data_directory_is_refused_with_exit_code_2(tmp_path: Path) -> None:
    assert "is not there" in run(tmp_path, "migrate", tmp_path / "nowhere", "--sweep", code=2).stderr
    assert "no such file" in run(tmp_path, "migrate", tmp_path, "--sweep", "--replica", "nowhere.db", code=2).stderr


# -- the sweep ----------------------------------------------------------------------------------------------------------
async def test_a_sweep_migrates_every_room_and_the_replica_is_equal(place: Path, data: Path) -> None:
    done = asked(place, data, "--sweep")
    assert (done["todo"], done["done"], done["failed"], done["left"]) == (60, 60, 0, 0)
    assert done["replica"] == {"behind": 0, "unreadable": None, "last_error": None}
    assert done["rooms_per_second"] > 0
    assert versions(data) == {3: 60}
    assert "EQUAL" in run(place, "verify", data).stdout
    assert replicated(data, "SELECT count(*), sum(stars) FROM ChatRoom_messages") == [(120, 600)]
    before = files(data)
    assert "NOTHING TO DO" in run(place, "migrate", data, "--sweep").stdout
    assert files(data) == before


async def test_a_sweep_that_was_killed_goes_on_with_the_rest(place: Path, many: Path) -> None:
    with sweeping(many, SLOW=SLOW) as process:
        process.kill()
    some = versions(many).get(3, 0)
    assert 0 < some < MANY, "it was killed in the middle"
    assert asked(place, many, "--sweep")["left"] == 0
    assert versions(many) == {3: MANY}
    assert "EQUAL" in run(place, "verify", many).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_sweep_in_order_with_rooms_of_both_versions_in_one_replica(
    place: Path, many: Path, number: signal.Signals
) -> None:
    with sweeping(many, SLOW=SLOW) as process:
        now = replicated(many, "SELECT count(DISTINCT room_id), count(*) FROM ChatRoom_messages")
        process.send_signal(number)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(20) == 128 + number
    assert now == [(MANY, 2 * MANY)], "during the sweep the replica serves every room"
    assert "INTERRUPTED" in said
    assert (many / "clean-stop").exists()
    done = versions(many)[3]
    assert 0 < done < MANY
    assert "EQUAL" in run(place, "verify", many).stdout, "rooms of two versions are in one replica"
    stars = dict(replicated(many, "SELECT room_id, sum(ifnull(stars, 0)) FROM ChatRoom_messages GROUP BY room_id"))
    assert sorted(stars.values()) == [0] * (MANY - done) + [10] * done
    assert asked(place, many, "--sweep")["done"] == MANY - done
    assert "EQUAL" in run(place, "verify", many).stdout


async def test_a_migration_that_fails_leaves_its_rooms_as_they_were_and_the_others_go_on(place: Path, data: Path) -> None:
    await fill(data, {"bad-1": 1, "bad-2": 2}, replica=SQLiteReplica())
    before = dump(data, "bad-1"), dump(data, "bad-2")
    done = asked(place, data, "--sweep", BAD=1, code=1)
    assert (done["todo"], done["done"], done["failed"], done["left"]) == (62, 60, 2, 2)
    assert [(one["room"], one["error"]) for one in done["failures"]] == [
        ("ChatRoom/bad-1", "MigrationFailed"),
        ("ChatRoom/bad-2", "MigrationFailed"),
    ]
    assert all("(stars) raised ValueError: eve was here" in one["reason"] for one in done["failures"])
    assert (dump(data, "bad-1"), dump(data, "bad-2")) == before
    assert versions(data) == {1: 1, 2: 1, 3: 60}
    assert "EQUAL" in run(place, "verify", data).stdout
    said = run(place, "migrate", data, "--sweep", BAD=1, code=1).stdout
    assert "NOT ALL  0 rooms" in said
    assert "2 failed" in said
    assert run(place, "migrate", data, "--sweep").stdout.startswith("MIGRATED  2 rooms")


async def test_rooms_of_a_newer_version_are_told_and_left_alone(place: Path, data: Path) -> None:
    run(place, "migrate", data, "--sweep")
    before = files(data)
    said = run(place, "migrate", data, "--sweep", code=1, VERSION=2).stdout
    assert "60 rooms left alone, written by a newer version of the class" in said
    assert files(data) == before


async def test_sick_rooms_are_left_out_and_told(place: Path, data: Path) -> None:
    (data / "rooms" / room_file(RoomName("ChatRoom", "room-07"))).write_bytes(b"")
    done = asked(place, data, "--sweep", code=1)
    assert (done["done"], done["failed"], done["failures"][0]["error"]) == (59, 1, "RoomQuarantined")
    again = asked(place, data, "--sweep", code=1)
    assert (again["todo"], again["failed"], again["left"], again["classes"][0]["sick"]) == (0, 0, 1, 1)
    assert "1 sick room left out" in run(place, "migrate", data, "--sweep", code=1).stdout


@pytest.mark.parametrize(
    ("module", "why"),
    [("__main__", "main module"), ("gone", "No module named 'gone'"), ("json", "the module json has no ChatRoom")],
)
async def test_rooms_of_classes_that_cannot_be_had_are_left_alone(place: Path, module: str, why: str, autojump_clock) -> None:
    data = place / "data"
    await fill(data, {"a": 1, "b": 1}, replica=None, module=module)
    await fill(data, {"c": 1}, replica=None, actor="Lobby")
    for option in ("--dry-run", "--sweep"):
        said = run(place, "migrate", data, option, code=1).stdout.replace("\n", " ")
        assert "ChatRoom: 2 rooms left alone, for the class cannot be had" in said
        assert why in said
        assert "--actors MODULE:ChatRoom" in said
    assert versions(data) == {1: 2, 3: 1}
    only = run(place, "migrate", data, "--sweep", "--actors", "chatapp:Lobby").stdout
    assert "ChatRoom: 2 rooms left alone, for --actors does not name the class." in only
    run(place, "migrate", data, "--sweep", "--actors", "chatapp")
    assert versions(data) == {3: 3}


async def test_a_sweep_without_the_replica_leaves_it_what_it_needs(tmp_path: Path, autojump_clock) -> None:
    data, elsewhere = tmp_path / "data", SQLiteReplica(tmp_path / "elsewhere.db")
    await fill(data, {f"room-{n}": 1 for n in range(5)}, replica=elsewhere)
    release, report = released(2), Sweep(todo=5)
    await sweep(data, {"ChatRoom": release}, {"ChatRoom": 2}, report, replica=None, progress=lambda report: None)
    assert (report.done, report.replica) == (5, None)
    async with open_test_runtime(release, path=data, replicas=[elsewhere]) as runtime:
        await runtime.replicated()
        assert runtime.status().replicas[0].resyncs == {}, "no room had to be copied whole"
    assert "EQUAL" in run(tmp_path, "verify", data, "--replica", tmp_path / "elsewhere.db").stdout


async def test_a_full_disk_stops_a_sweep_and_every_room_stays_as_it_was(tmp_path: Path, autojump_clock) -> None:
    class FullDisk(Disk):
        def free_bytes(self, path: Path) -> int:
            return 0

    data, doors = tmp_path / "data", Doors(disk=FullDisk(), threads=InlineThreads())
    await fill(data, {f"room-{n}": 1 for n in range(5)}, replica=None)
    report = Sweep(todo=5)
    await sweep(data, {"ChatRoom": released(2)}, {"ChatRoom": 2}, report, replica=None, progress=lambda report: None, doors=doors)
    assert (report.done, report.failed) == (0, 0)
    assert "no room is born or migrated" in (report.stopped or "")
    assert versions(data) == {1: 5}


async def test_a_replica_that_cannot_be_brought_along_is_told(place: Path, data: Path) -> None:
    for path in data.glob("replica.db*"):
        path.unlink()
    with closing(sqlite3.connect(data / "replica.db")) as other:
        other.execute("CREATE TABLE of_another_program (x)")
    done = asked(place, data, "--sweep", code=1)
    assert (done["done"], done["left"], done["replica"]["behind"]) == (60, 0, 60)
    assert "is a database of another program" in done["replica"]["last_error"]
    assert "The replica lacks changes of 60 rooms" in run(place, "migrate", data, "--sweep", code=1).stdout


async def test_a_woken_room_has_migrated_durably_and_leaves_memory_again(tmp_path: Path, autojump_clock) -> None:
    await fill(tmp_path, {"one": 1}, replica=None)
    release = released(2)
    async with open_test_runtime(release, path=tmp_path) as runtime:
        rounds = runtime.status().rounds
        await runtime.wake(RoomName("ChatRoom", "one"))
        assert runtime.status().rounds > rounds
        await trio.sleep(1)  # of virtual time; idle_seconds_max is 60
        assert runtime.status().rooms_open == 0
        description = runtime.describe(runtime.room(release, "one"))
        assert description is not None
        assert description.version == 2


def test_a_directory_that_the_first_version_left_at_a_kill_is_swept(tmp_path: Path) -> None:
    """A catalog that knows no versions, active rooms, unfinished births, a replica that is behind."""
    with tarfile.open(ROOT / "tests" / "upgrade" / "killed.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    done = asked(ROOT, tmp_path, "--sweep", "--actors", "tests.upgrade.write")
    assert (done["done"], done["left"], done["replica"]["behind"]) == (done["todo"], 0, 0)
    assert {one["actor"]: one["at_newest"] == one["rooms"] > 0 for one in done["classes"]} == {"Channel": True, "Notes": True}
    assert "EQUAL" in run(ROOT, "verify", tmp_path).stdout


# -- the rehearsal ------------------------------------------------------------------------------------------------------
async def test_a_rehearsal_finds_what_fails_and_writes_nothing(place: Path, data: Path) -> None:
    await fill(data, {"bad": 1}, replica=SQLiteReplica())  # the most recent one
    before, beside = files(data), {path.name for path in place.iterdir()}
    found = asked(place, data, "--dry-run", BAD=1, code=1)
    assert [failure["room"] for tried in found["tried"] for failure in tried["failures"]] == ["ChatRoom/bad"]
    assert sum(len(tried["seconds"]) for tried in found["tried"]) == 5
    assert {(tried["version"], tried["rooms"]) for tried in found["tried"]} == {(1, 41), (2, 20)}
    assert found["estimate"] > 0
    good = run(place, "migrate", data, "--dry-run").stdout
    assert "GOOD  6 copies" in good
    assert "A sweep of the 61 rooms would take about" in good
    assert files(data) == before
    assert {path.name for path in place.iterdir()} - {"__pycache__"} == beside


async def test_a_rehearsal_after_a_kill_reads_what_the_wals_hold_and_writes_nothing(place: Path, many: Path) -> None:
    with sweeping(many, SLOW=SLOW) as process:
        process.kill()
    before = durable_files(many)
    assert asked(place, many, "--dry-run")["left"] == 0
    assert durable_files(many) == before


def durable_files(data: Path) -> dict[str, bytes]:
    """Without -shm, which is no content: the memory that every reader of a WAL shares with the others, made again from it."""
    return {name: content for name, content in files(data).items() if not name.endswith("-shm")}
