"""Each example runs by the command that README gives, and answers over real HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from durable_rooms.verify import verify

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SERVERS = [("fastapi_chat.py", ("fastapi", "uvicorn")), ("flask_chat.py", ("flask",))]


def call(url, message=None):
    request = Request(url, None if message is None else json.dumps(message).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as reply:
        return reply.status, json.load(reply)


@contextmanager
def served(name: str, needs: tuple[str, ...], data: Path) -> Generator[str]:
    """The example on a free port, ended by SIGTERM as a supervisor does; its address."""
    for module in needs:
        pytest.importorskip(module, reason=f"examples/{name} needs the extra `examples`: pip install 'durable-rooms[examples]'")
    command = [sys.executable, f"examples/{name}", str(data), "0"]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while (found := re.search(r"unning on (http://[\d.:]+)", said)) is None:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield found.group(1)
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=60)[1]
            assert process.returncode in (0, -signal.SIGTERM), said  # uvicorn raises the signal again when all is done
            assert "Traceback" not in said
        finally:
            process.kill()


@pytest.mark.parametrize(("name", "needs"), SERVERS)
def test_posts_and_history_over_http_survive_a_restart(name, needs, tmp_path):
    with served(name, needs, tmp_path) as address:
        url = f"{address}/rooms/general/messages"
        assert call(url) == (200, [])
        assert call(url, {"author": "ann", "body": "hello"}) == (201, {"id": 1})
        assert call(url, {"author": "bob", "body": "good evening"}) == (201, {"id": 2})
    assert (tmp_path / "clean-stop").exists(), "SIGTERM drained"
    with served(name, needs, tmp_path) as address:
        status, messages = call(f"{address}/rooms/general/messages?limit=1")
        assert status == 200
        assert [(one["author"], one["body"]) for one in messages] == [("bob", "good evening")]


@pytest.mark.parametrize(("name", "needs"), SERVERS)
def test_an_error_of_the_rooms_says_whether_it_ran(name, needs, tmp_path):
    with served(name, needs, tmp_path) as address:
        with pytest.raises(HTTPError) as caught:
            call(f"{address}/rooms/{'x' * 2_000}/messages")
        with caught.value as reply:  # while the server lives: the body may come after the headers
            assert reply.code == 400
            assert json.load(reply)["ran"] == "no"


def test_the_script_runs_twice_and_finds_what_it_posted(tmp_path):
    for times in (1, 2):
        done = subprocess.run(
            [sys.executable, "examples/script.py", str(tmp_path)],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert f"{101 * times} bob message" in done.stdout
    assert verify(tmp_path).equal


def test_what_readme_shows_is_in_the_examples():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Embed it in your backend")[1].split("\n## ")[0]
    for shown, name in zip(
        re.findall(r"```python\n(.*?)```", section, re.DOTALL), ("fastapi_chat.py", "flask_chat.py"), strict=True
    ):
        there = (ROOT / "examples" / name).read_text().splitlines()
        missing = [line for line in shown.splitlines() if line not in there and line]
        assert not missing, f"examples/{name} has no {missing}"
    for command in re.findall(r"python (examples/\S+)", section):
        assert (ROOT / command).exists()
