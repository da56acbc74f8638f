"""The demo for real: a server process with a runtime, SIGKILL, and the check of what is on the disk."""

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from durable_rooms.verify import verify
from tests.demo.test_cli import ROOT, command

KEYS = [
    *("rooms", "posted", "acked", "unknown", "found", "lost", "duplicated", "replica_equal", "posts_per_second"),
    *("p50_ms", "p99_ms", "lag_p50_ms", "lag_p99_ms", "skipped_lines", "kills"),
]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its own directory."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def assert_promises_kept(figures: dict[str, float]) -> None:
    assert list(figures) == KEYS
    assert figures["kills"] == 1
    assert figures["lost"] == figures["duplicated"] == 0
    assert figures["replica_equal"] is True
    assert figures["acked"] + figures["unknown"] == figures["posted"]
    assert 0 <= figures["found"] <= figures["unknown"]


def test_nothing_acknowledged_is_lost_when_the_server_of_a_chat_is_killed(tmp_path: Path):
    data = tmp_path / "data"
    done = command("demo", "--rooms", 7, "--users", 20, "--seconds", 1, "--data", data, "--json")
    figures = json.loads(done.stdout)
    assert_promises_kept(figures)
    assert figures["rooms"] == 7
    assert figures["posts_per_second"] > 0
    assert "this shows a process crash, not a power cut" in done.stderr
    assert verify(data).equal


def test_logs_arrive_in_their_order_and_a_newcomer_reads_a_verdict(tmp_path: Path):
    for name in "abc":
        lines = [f"[18:51] <ann> {n}\n" for n in range(200)] + ["=== ann is now known as bob\n", "noise\n"]
        (tmp_path / f"{name}.log").write_text("=== ann [host]  has joined #den\n" + "".join(lines))
    said = command("demo", "--log", tmp_path / "a.log", "--log", tmp_path, "--data", tmp_path / "data").stdout
    assert "PASSED" in said
    assert "this shows a process crash, not a power cut" in said
    assert f" verify {tmp_path / 'data'}" in said
    replica = sqlite3.connect(f"file:{tmp_path / 'data' / 'replica.db'}?mode=ro", uri=True)
    try:
        for room in ("a.log", "a.log (2)", "b.log", "c.log"):
            bodies = [int(body) for (body,) in replica.execute(
                "SELECT body FROM ChatRoom_messages WHERE room_id = ? AND kind = 'message' ORDER BY id", (room,)
            )]  # fmt: skip
            assert bodies == sorted(bodies)
            assert len(bodies) >= 199  # one call at most was in flight at the kill
    finally:
        replica.close()


def test_a_directory_of_its_own_is_removed_after_a_pass(temporary: Path):
    command("demo", "--rooms", 2, "--users", 2, "--seconds", 0.3)
    assert list(temporary.iterdir()) == []


def test_ctrl_c_stops_the_server_and_leaves_nothing_behind(temporary: Path):
    demo = subprocess.Popen(
        [sys.executable, "-m", "durable_rooms", "demo", "--rooms", "2", "--users", "2", "--seconds", "60"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    watchdog = threading.Timer(60, demo.kill)
    watchdog.start()
    while "acknowledged" not in demo.stdout.readline():
        assert demo.poll() is None
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate()
    watchdog.cancel()
    assert (demo.returncode, errors) == (130, "\nInterrupted.\n")
    assert list(temporary.iterdir()) == []


def test_a_server_that_dies_by_itself_is_told_with_its_last_words(tmp_path: Path):
    data = tmp_path / "data"
    (tmp_path / "sitecustomize.py").write_text("import sys; 'durable_rooms.demo.server' in sys.orig_argv and sys.exit('no way')")
    program = f"import os; os.environ['PYTHONPATH'] = {str(tmp_path)!r}; from durable_rooms.cli import main; main()"
    said = command("demo", "--data", data, code=1, program=("-c", program)).stdout
    assert "ended with exit code 1, which nobody asked it to" in said
    assert "no way" in said
    assert str(data) in said
