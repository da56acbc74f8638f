"""The command line as a person starts it, and data directories for it to look at."""

import os
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from actors import Disk, RoomName
from actors.directory.catalog import Catalog, Entry, add
from actors.follower import Position

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "durable_rooms"]


def command(*arguments: object, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; None: any exit code (of a doctor whose temporary directory is in memory).

    So wide that no sentence is broken where a long path of the test happens to end.
    """
    env = {**os.environ, "COLUMNS": "240", **environment}
    done = subprocess.run([*PROGRAM, *map(str, arguments)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert code in (done.returncode, None), done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def service(data: Path) -> Generator[subprocess.Popen[str]]:
    """A process that serves rooms and posts all the time."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.crash.service", str(data), "plain"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            while process.stdout.readline().strip() != "serving":
                assert process.poll() is None
            for _ in range(200):  # acknowledged posts
                process.stdout.readline()
            reader = Thread(target=process.stdout.read)  # a full pipe would stop its loop
            reader.start()
            try:
                yield process
            finally:
                process.kill()
                reader.join()
        finally:
            process.kill()


def room(id: str, actor: str = "ChatRoom", *, version: int = 2, sick: str | None = None, active: bool = False) -> Entry:
    name, at = RoomName(actor, id), 1_700_000_000.0
    return Entry(name, active, True, Position(1, 7), version=version, created=at, last_active=at + 60, bytes=20_480, sick=sick)


def catalog(data: Path, entries: Iterable[Entry], *, version: int = 2) -> Path:
    """A data directory with nothing but the runtime's own catalog in it, after a clean stop."""
    (data / "rooms").mkdir(parents=True)
    catalog = Catalog.open(Disk(), data / "catalog.db")
    with catalog.writing() as connection:
        add(connection, entries)
    catalog.note_classes([("ChatRoom", "chat", version)])
    catalog.close()
    (data / "lock").write_text("1\n")
    (data / "clean-stop").write_text("stopped cleanly\n")
    return data
