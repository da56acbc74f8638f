"""What README says is so: its program runs, its limits are the limits."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import durable_rooms
from durable_rooms import Limits, RoomsError

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def shown(word: str) -> str:
    """The first program with this word in it."""
    return next(program for program in PROGRAMS if word in program)


def run(program: str, folder: Path) -> str:
    script = folder / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_program_runs_and_finds_its_message_again(tmp_path: Path) -> None:
    assert "'body': 'hello'" in run(PROGRAMS[0], tmp_path)
    assert run(PROGRAMS[0], tmp_path).count("'body': 'hello'") == 2, "a second run finds what the first one wrote"
    assert (tmp_path / "data" / "replica.db").exists()


def test_the_first_program_is_short() -> None:
    lines = [line for line in PROGRAMS[0].splitlines() if line.strip()]
    assert len(lines) <= 16
    assert README.index("```python") < 600, "the program is on the first screen"


def test_the_tests_that_it_shows_pass(tmp_path: Path) -> None:
    room = PROGRAMS[0].split("async def main")[0]
    (tmp_path / "test_shown.py").write_text(room + shown("bare"))
    command = [sys.executable, "-m", "pytest", "-q", "-o", "trio_mode=true", "-p", "no:cacheprovider", "test_shown.py"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_service_that_it_shows_ends_well_when_it_is_told(tmp_path: Path) -> None:
    room = PROGRAMS[0].split("async def main")[0]
    serve = """
import logging, os, signal
from durable_rooms import Limits
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

async def serve_chat(runtime):
    await runtime.room(ChatRoom, "general").post("ann", "hello")
    os.kill(os.getpid(), signal.SIGTERM)
    await trio.sleep_forever()
"""
    said = run(f"import sys\n{room}{serve}{shown('until_terminated')}\ntrio.run(main)\n", tmp_path)
    assert "0 calls refused, 0 of unknown outcome; not in the replica yet: nothing" in said


def test_the_scenario_that_it_shows_passes(tmp_path: Path) -> None:
    (scenario,) = (program for program in PROGRAMS if "(Scenario)" in program)
    (tmp_path / "my_chat.py").write_text(PROGRAMS[0].split("async def main")[0])
    (tmp_path / "my_scenarios.py").write_text(scenario)
    command = [sys.executable, "-m", "durable_rooms", "simulate", "my_scenarios:Posts", "--seeds", "2"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOTHING LOST" in done.stdout


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_is_listed_with_its_default(name: str) -> None:
    value = getattr(Limits(), name)
    assert re.search(rf"\| `{name}` \| {value:,} \|", README), f"{name} = {value:,} is missing from README"


def test_the_errors_that_it_names_exist() -> None:
    tree = README.split("## Errors")[1].split("## Limits")[0]
    names = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", tree))
    for name in names & {n for n in names if hasattr(durable_rooms, n)}:
        assert issubclass(getattr(durable_rooms, name), RoomsError)
    assert names <= set(dir(durable_rooms)), names - set(dir(durable_rooms))
