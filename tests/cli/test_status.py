"""`durable-rooms status` tells what needs a person, also of a process that is gone, and believes no file too much."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from durable_rooms.inspect import Overview, ground, live, overview
from durable_rooms.status_file import FORMAT, STATUS_FILE
from tests.cli.running import PROGRAM, ROOT, catalog, command, room, service
from tests.demo.hand_made import HandMade, files

ROW = (1, "u", "k", "a", "b", 0.0)
NOTES = ["CREATE TABLE notes (id INTEGER PRIMARY KEY, value)"]


def look(data: Path) -> Overview:
    return overview(data, ground(data))


def said_by_a_process(data: Path, *, age: float = 0.0, **status: Any) -> None:
    """As if a process (our parent, which lives) ran on the directory and had said this."""
    pid = os.getppid()
    (data / "clean-stop").unlink(missing_ok=True)
    (data / "lock").write_text(f"{pid}\n")
    words = {"format": FORMAT, "pid": pid, "started": 1.0, "written": time.time() - age, "status": status, "limits": {}}
    (data / STATUS_FILE).write_text(json.dumps(words))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return catalog(tmp_path / "data", [room("a"), room("b")])


def test_a_running_process_tells_its_figures(tmp_path: Path):
    data = tmp_path / "data"
    with service(data) as process:
        deadline = time.monotonic() + 30
        while True:
            found = json.loads(command("status", data, "--json").stdout)
            if found["live"] and found["live"]["figures"]["commits"] and found["live"]["commits_per_second"]:
                break
            assert time.monotonic() < deadline
        assert found["running"] == found["live"]["pid"] == process.pid
        assert found["live"]["figures"]["replicas"][0]["state"] == "live"
        assert found["attention"] == []
        said = command("status", data).stdout
        assert said.startswith("RUNNING")
        assert f"pid {process.pid}" in said
        assert "commits/s" in said
        process.kill()
        process.wait()
    said = command("status", data, code=1).stdout
    assert said.startswith("DIED")
    assert f"last heard of pid {process.pid}" in said
    assert "ATTENTION" in said


def test_after_a_clean_stop_all_is_well_and_nothing_is_left_of_the_status_file(tmp_path: Path):
    data = tmp_path / "data"
    with service(data) as process:
        process.terminate()
        assert process.wait() == 0
    assert not [file for file in data.iterdir() if file.name.startswith(STATUS_FILE)]
    assert command("status", data).stdout.startswith("STOPPED")
    found = look(data)
    assert (found.last_stop, found.live, found.last_words) == ("clean", None, None)
    assert found.ground.replica is not None
    assert found.ground.replica.behind == 0


def test_sick_rooms_need_a_person(tmp_path: Path):
    data = catalog(tmp_path / "data", [room("a", sick="CorruptError"), room("b")])
    said = command("status", data, code=1).stdout
    assert "1 SICK" in said
    assert "--sick" in said


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"full": True}, "disk is full"),
        ({"rooms_broken": 2}, "Syncs have failed in 2 rooms"),
        ({"replicas": [{"state": "refused", "last_error": "not a replica"}]}, "not reached (refused): not a replica"),
        ({"replicas": [{"state": "retrying", "last_error": "locked"}]}, "not reached (retrying): locked"),
        (
            {"replicas": [{"state": "live", "parked": {"ChatRoom/a": "too big"}}]},
            "refuses rows of 1 room, for instance ChatRoom/a",
        ),
    ],
)
def test_what_a_process_says_of_its_troubles_needs_a_person(data: Path, status: dict[str, Any], words: str):
    said_by_a_process(data, **status)
    (sentence,) = look(data).attention
    assert words in sentence


def test_of_several_replicas_each_has_its_line_and_the_one_in_trouble_is_named(data: Path):
    well = {"name": "near", "state": "live", "last_batch": 7}
    said_by_a_process(data, replicas=[well, {"name": "far", "state": "retrying", "last_batch": 5, "last_error": "locked"}])
    (sentence,) = look(data).attention
    assert sentence.startswith("The replica far is not reached (retrying): locked")
    said = command("status", data, code=1).stdout
    assert "live, batch 7" in said
    assert "far: retrying, batch 5" in said


def test_a_process_that_fell_silent_needs_a_person(data: Path):
    said_by_a_process(data, age=60.0)
    (sentence,) = look(data).attention
    assert "1 min ago" in sentence or "60 s ago" in sentence
    assert "stands still" in sentence


def test_a_healthy_process_needs_nobody(data: Path):
    said_by_a_process(data, rooms_open=2, replicas=[{"state": "live", "last_error": "once, long ago", "parked": {}}])
    assert look(data).attention == []


def test_fields_of_a_later_version_are_carried_along(data: Path):
    said_by_a_process(data, unheard_of={"x": 1})
    assert json.loads(command("status", data, "--json").stdout)["live"]["figures"]["unheard_of"] == {"x": 1}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 99}', b"[" * 200_000, b"\xff\xfe", b'{"format": 1, "status": 7, "pid": "x"}']
)
def test_a_status_file_that_cannot_be_understood_is_no_reason_to_fail(data: Path, content: bytes):
    (data / STATUS_FILE).write_bytes(content)
    said = live(data)
    assert said is None or (said.figures, said.replica, said.pid) == ({}, None, 0)
    assert command("status", data).stdout.startswith("STOPPED")


def test_what_a_status_file_says_does_nothing_to_a_terminal(data: Path):
    said_by_a_process(data, replicas=[{"state": "\x1b[2J", "last_error": "\x1b]0;x\x07", "resyncs": {"\x1b[A": 1}}])
    assert "\x1b" not in command("status", data).stdout


def test_the_replica_is_compared_by_positions(tmp_path: Path):
    made = HandMade(tmp_path / "data", NOTES)
    for id in ("equal", "behind", "missing", "empty"):
        made.room(id, [] if id == "empty" else [(1, "x")], table="notes")
    with made.replica() as db:
        db.execute("UPDATE _rooms SET seq = 0 WHERE id = 'behind'")
        db.execute("DELETE FROM _rooms WHERE id IN ('missing', 'empty')")
        db.execute("INSERT INTO _rooms (actor, id, epoch, seq) VALUES ('ChatRoom', 'aaa', 1, 5), ('ChatRoom', 'zzz', 1, 5)")
    found = look(made.path).ground.replica
    assert found is not None
    assert (found.rooms, found.behind) == (4, 2)


def test_a_replica_that_is_none_is_told_not_raised(tmp_path: Path):
    made = HandMade(tmp_path / "data", NOTES)
    (made.path / "replica.db").write_bytes(b"nonsense" * 1_000)
    (sentence,) = look(made.path).attention
    assert sentence.startswith("The replica cannot be read: ")


def test_it_leaves_no_trace(data: Path):
    before = files(data)
    command("status", data)
    assert files(data) == before


def test_what_is_no_data_directory_is_refused_with_exit_code_2(tmp_path: Path):
    assert "no catalog.db" in command("status", tmp_path, code=2).stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_watching_says_a_line_every_second_until_ctrl_c(data: Path, options: list[str]):
    with subprocess.Popen(
        [*PROGRAM, "status", str(data), "--watch", *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert all("2 rooms" in line or json.loads(line)["ground"]["classes"][0]["rooms"] == 2 for line in lines)
