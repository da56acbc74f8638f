"""`durable-rooms browse` as a person starts it, and data for it to show."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from durable_rooms import Actor, SQLiteReplica
from durable_rooms.sync import Runtime, open_runtime
from tests.cli.running import PROGRAM, ROOT

MORNING = 1_714_550_400  # 2024-05-01 08:00 UTC
VIEW = "/replica/ChatRoom_messages"


class ChatRoom(Actor):
    migrations = [
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL, sent_at REAL NOT NULL)"
    ]

    def post(self, author: str, body: str, sent_at: float) -> None:
        self.sql("INSERT INTO messages (author, body, sent_at) VALUES (?, ?, ?)", author, body, sent_at)


@contextmanager
def serving(data: Path) -> Generator[Runtime]:
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        yield runtime


def post(runtime: Runtime, room: str, body: str, sent_at: float = MORNING) -> None:
    """The replica has it when this returns."""
    runtime.room(ChatRoom, room).post("ann", body, sent_at)
    runtime.replicated()


@dataclass(frozen=True, slots=True)
class Pages:
    """What a browser gets."""

    url: str
    process: subprocess.Popen[str]

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body."""
        request = urllib.request.Request(self.url + path.lstrip("/"), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def json(self, path: str, **query: str) -> Any:
        status, body = self.get(f"{path}.json?{urlencode(query)}")
        assert status == 200, body
        return json.loads(body)

    def bodies(self) -> list[str]:
        """Of all messages, in the order in which they are shown."""
        return [row["body"] for row in self.json(VIEW, _shape="array")]

    def sql(self, statement: str) -> tuple[int, dict[str, Any]]:
        status, body = self.get("/replica.json?" + urlencode({"sql": statement, "_shape": "objects"}))
        return status, json.loads(body)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def browsing(data: Path, *options: object, **environment: str) -> Generator[Pages]:
    """The command, until the block ends; then nothing of it may be left."""
    pytest.importorskip("datasette", reason="needs the extra `browse`: pip install 'durable-rooms[browse]'")
    command = [*PROGRAM, "browse", str(data), *map(str, options)]
    env = {**os.environ, **environment}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
            yield Pages(line.split()[0], process)
        finally:
            process.terminate()
            said = process.communicate(timeout=30)[1]
            assert "Traceback" not in said
