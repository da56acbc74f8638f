"""The command line: what it refuses, how it ends, and what a program reads from it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.hand_made import HandMade, change

ROOT = Path(__file__).parents[2]
BLOCKED = "import sys; sys.modules['{0}'] = None; from durable_rooms.cli import main; main()"


def command(
    *arguments: object, code: int = 0, program: tuple[str, ...] = ("-m", "durable_rooms")
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def made(tmp_path: Path) -> HandMade:
    return HandMade(tmp_path / "data", ["CREATE TABLE messages (id INTEGER PRIMARY KEY, value)"])


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_extra_it_says_what_to_install(package: str):
    done = command("demo", code=2, program=("-c", BLOCKED.format(package)))
    assert done.stderr.count("\n") == 1
    assert "pip install 'durable-rooms[demo]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--rooms", 0], "--rooms"),
        (["--seconds", "soon"], "--seconds"),
        (["--log", ROOT, "--rooms", 3], "the logs decide"),
        (["--log", ROOT / "nowhere.log"], "nowhere.log does not exist"),
        (["--data", ROOT], "is not empty"),
        (["--data", ROOT / "LICENSE"], "is a file"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_the_demo_refuses_what_it_cannot_use_with_exit_code_2(arguments: list[object], why: str):
    assert why in command("demo", *arguments, code=2).stderr


def test_verify_says_equal_and_ends_with_0(made: HandMade):
    made.room("den", [(1, "x"), (2, None)])
    assert command("verify", made.path).stdout.startswith("EQUAL  1 room with 2 rows compared with the replica")


def test_verify_names_the_first_differing_row_and_ends_with_1(made: HandMade):
    change(made.room("den", [(1, 1), (2, 2)]), "UPDATE messages SET value = 2.0 WHERE id = 2")
    lines = [line.strip() for line in command("verify", made.path, code=1).stdout.splitlines()]
    assert lines[0].startswith("NOT EQUAL")
    assert lines[1:4] == ["ChatRoom/den, table messages, id = 2", "the room has    value = 2.0", "the replica has value = 2"]


def test_verify_prints_one_json_object(made: HandMade):
    change(made.room("den", [(1, b"\0")]), "UPDATE messages SET value = NULL")
    found = json.loads(command("verify", made.path, "--json", code=1).stdout)
    assert (found["rooms"], found["equal"], found["differing"]) == (1, False, 1)
    assert found["differences"] == [
        {
            "room": "ChatRoom/den",
            "table": "messages",
            "key": {"id": 1},
            "in_room": {"id": 1, "value": None},
            "in_replica": {"id": 1, "value": {"blob": "00"}},
            "note": "",
        }
    ]


def test_verify_refuses_what_is_no_data_directory_with_exit_code_2(tmp_path: Path):
    assert "has no catalog.db" in command("verify", tmp_path, code=2).stderr


def test_verify_says_who_brings_over_what_the_replica_lacks(made: HandMade):
    change(made.room("den", [(1, "x")]), "INSERT INTO _outbox VALUES (2, 0, NULL)")
    said = command("verify", made.path, code=1).stdout
    assert "ChatRoom/den is behind by 1 change\n" in said
    assert "No runtime is at work here" in said
