"""`durable-rooms verify`: how closely, how many, and putting right; and `durable-rooms replicas`."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from durable_rooms import SQLiteReplica
from durable_rooms.sync import open_runtime
from durable_rooms.verify import verify
from tests.cli.running import command, service
from tests.demo.hand_made import HandMade, change
from tests.rooms.chat import ChatRoom

VALUES = ("CREATE TABLE messages (id INTEGER PRIMARY KEY, value)",)


def spoil(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "replica.db", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Three rooms with two posts each, after a clean stop."""
    path = tmp_path / "data"
    with open_runtime(path, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        for id in ("a", "b", "c"):
            for body in ("hello", "again"):
                runtime.room(ChatRoom, id).post(body)
        runtime.replicated()
    return path


@pytest.mark.parametrize(
    ("statement", "positions", "counts", "content"),
    [
        ("UPDATE _ChatRoom_messages SET body = 'forged' WHERE _room = 2", 0, 0, 1),
        ("DELETE FROM _ChatRoom_messages WHERE _room = 2", 0, 1, 1),
        ("UPDATE _rooms SET seq = seq + 5 WHERE key = 2", 1, 1, 1),
    ],
)
def test_each_level_sees_what_it_looks_at(data: Path, statement: str, positions: int, counts: int, content: int):
    spoil(data, statement)
    for level, code in (("positions", positions), ("counts", counts), ("content", content)):
        told = json.loads(command("verify", data, "--level", level, "--json", code=code).stdout)
        assert (told["level"], told["equal"], len(told["differing_rooms"])) == (level, not code, code)


def test_a_replica_at_rest_is_opened_once_for_all_rooms(data: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    really = sqlite3.connect

    def connect(file: str, **options: object) -> sqlite3.Connection:
        opened.append(file.split("?")[0].rsplit("/", 1)[-1])
        return really(file, **options)  # pyright: ignore

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert verify(data).equal
    assert opened.count("replica.db") == 1
    assert len(opened) == 2 + 3, "the catalog, the replica, and each room"


def test_a_replica_that_is_changed_meanwhile_is_opened_anew(data: Path):
    def meddle(room: object, _file: object) -> None:
        if not seen:
            spoil(data, "DELETE FROM _ChatRoom_messages WHERE _room = 3")
        seen.append(str(room))

    seen: list[str] = []
    report = verify(data, examine=meddle)
    assert (len(seen), report.differing) == (4, 2), "the first room was compared once more, and the third has lost its rows"


def test_a_replica_that_is_taken_into_use_meanwhile_is_read_through_its_wal(data: Path):
    def begin(_room: object, _file: object) -> None:
        if not users:
            users.append(sqlite3.connect(data / "replica.db", isolation_level=None))
            users[0].execute("UPDATE _ChatRoom_messages SET body = 'forged' WHERE _room = 3")

    users: list[sqlite3.Connection] = []
    try:
        assert verify(data, examine=begin).differing == 2
    finally:
        users[0].close()


def test_counts_of_rooms_that_are_behind_are_not_compared(tmp_path: Path):
    made = HandMade(tmp_path / "data", VALUES)
    path = made.room("den", [(1, "x")])
    change(path, "INSERT INTO messages VALUES (2, 'y')")
    change(path, "INSERT INTO _outbox VALUES (2, 1, 2)")
    report = verify(made.path, level="counts")
    assert (report.differing, report.behind) == (0, {"ChatRoom/den": 1})


def test_a_sample_says_what_share_it_looked_at_and_can_be_repeated(tmp_path: Path):
    made = HandMade(tmp_path / "data", VALUES)
    for number in range(40):
        made.room(f"{number}", [(1, "x")])
    said = command("verify", made.path, "--sample", 10, "--seed", 3).stdout
    assert "10 of 40 rooms (25.0%, --seed 3)" in said
    with made.replica() as db:
        db.execute("UPDATE base_messages SET value = 'y' WHERE _room % 2")
    first, second, other = (verify(made.path, sample=10, seed=seed).unequal for seed in (3, 3, 4))
    assert first == second != other
    assert verify(made.path, sample=10, seed=3).rooms == 10
    assert len(verify(made.path, sample=1_000).unequal) == 20


def test_what_differs_at_rest_is_repaired_and_nothing_else_is_touched(data: Path):
    spoil(data, "DELETE FROM _ChatRoom_messages WHERE _room = 2", "UPDATE _ChatRoom_messages SET body = 'forged' WHERE _room = 3")
    files = {path: path.read_bytes() for path in (data / "rooms").rglob("*") if path.is_file()}
    told = json.loads(command("verify", data, "--repair", "--json").stdout)
    assert told["repair"]["copied"] == told["differing_rooms"]
    assert len(told["differing_rooms"]) == 2
    assert told["repair"]["equal"]
    assert verify(data).equal
    assert {path: path.read_bytes() for path in (data / "rooms").rglob("*") if path.is_file()} == files
    assert (data / "clean-stop").exists()
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.replicated()
        assert runtime.status().replicas[0].resyncs == {}


def test_it_says_so_in_words(data: Path):
    spoil(data, "DELETE FROM _ChatRoom_messages WHERE _room = 2")
    said = command("verify", data, code=1).stdout
    assert "NOT EQUAL" in said
    assert "verify --repair" in said
    said = command("verify", data, "--repair").stdout
    assert "REPAIRED  1 room copied again" in said
    assert command("verify", data).stdout.startswith("EQUAL  3 rooms with 6 rows")


def test_rooms_that_only_the_replica_knows_are_told_and_stay(data: Path):
    spoil(
        data,
        "INSERT INTO _rooms (key, actor, id, epoch, seq, schema, settled, at) VALUES (9, 'ChatRoom', 'ghost', 1, 1, '', 1, 0)",
        "INSERT INTO _ChatRoom_messages (_room, id, body) VALUES (9, 1, 'boo')",
    )
    told = json.loads(command("verify", data, "--repair", "--json", code=1).stdout)
    assert told["strangers"] == ["ChatRoom/ghost"]
    assert told["repair"] is None
    assert json.loads(command("verify", data, "--json", code=1).stdout)["strangers"] == ["ChatRoom/ghost"]


def test_a_room_that_the_replica_is_ahead_of_is_left_to_the_next_start(data: Path):
    spoil(data, "UPDATE _rooms SET seq = seq + 5 WHERE key = 2", "DELETE FROM _ChatRoom_messages WHERE _room = 3")
    told = json.loads(command("verify", data, "--repair", "--json", code=1).stdout)
    ((room, why),) = told["repair"]["failed"].items()
    assert "the next start copies it" in why
    assert len(told["repair"]["copied"]) == 1
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.replicated()
        assert runtime.status().replicas[0].resyncs == {"rewound": 1}
    assert verify(data).equal, room


def test_after_a_kill_a_start_comes_first(data: Path):
    (data / "clean-stop").unlink()
    spoil(data, "DELETE FROM _ChatRoom_messages WHERE _room = 2")
    said = command("verify", data, "--repair", code=1).stdout
    assert "was killed" in said
    assert "start it" in said


def test_a_running_process_copies_what_differs_itself(tmp_path: Path):
    data = tmp_path / "data"
    with service(data):
        spoil(data, "DELETE FROM _Service_entries WHERE _room = 1 AND rowid % 2")
        told = json.loads(command("verify", data, "--repair", "--json", code=None).stdout)
        assert told["repair"]["copied"], told
        assert told["repair"]["failed"] == {}
        assert told["repair"]["equal"] or told["behind"], told
        assert len(told["repair"]["copied"]) == 1
        for _ in range(60):  # a process says of itself what was so up to a second ago
            said = json.loads(command("replicas", data, "--json").stdout)
            if "repair" in said[0]["said"]["resyncs"]:
                break
        assert said[0]["state"] == "LIVE"
        assert said[0]["said"]["resyncs"]["repair"] == 1
        words = command("replicas", data).stdout
        assert words.startswith("LIVE ")
        assert "repair 1" in words


def test_wrong_use_is_told(tmp_path: Path):
    command("verify", tmp_path, "--repair", code=2)
    command("verify", tmp_path, "--level", "none", code=2)
    command("replicas", tmp_path, code=2)


def test_a_replica_at_rest_is_told_by_its_file(data: Path):
    (one,) = json.loads(command("replicas", data, "--json").stdout)
    assert (one["state"], one["file"]["rooms"], one["file"]["behind"], one["said"]) == ("AT REST", 3, 0, None)
    spoil(data, "UPDATE _rooms SET seq = seq - 1 WHERE key = 2")
    said = command("replicas", data).stdout
    assert said.startswith("AT REST")
    assert "1 room behind by 1 change" in said


def test_a_directory_without_a_replica_says_so(tmp_path: Path):
    with open_runtime(tmp_path / "data", [ChatRoom]) as runtime:
        runtime.room(ChatRoom, "a").post("hello")
    assert "no replica" in command("replicas", tmp_path / "data").stdout


def test_a_replica_that_cannot_be_read_needs_a_person(data: Path):
    (data / "replica.db").write_bytes(b"my diary\n" * 1000)
    said = command("replicas", data, code=1).stdout
    assert said.startswith("UNREADABLE")
    assert "ATTENTION" in said
