"""F12: a WAL stays short; a reader that pins it is named, writes go on, and it shrinks when the reader has ended."""

import subprocess
import sys

import pytest

from actors import Limits
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom

KIB = 1024
LIMITS = Limits(wal_bytes_max=100 * KIB, wal_bytes_alert=400 * KIB)

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM messages").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def reader():
    """Starts another program that reads a room's file and holds its moment until its stdin closes."""
    started = []

    def start(path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "reading\n"
        return process

    yield start
    for process in started:
        process.communicate()


async def test_under_load_a_wal_stays_near_its_bound(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path, limits=LIMITS) as runtime:
        room = runtime.room(ChatRoom, "a")
        for number in range(300):
            await room.post(f"{number} " + "x" * 4 * KIB)
        (wal,) = (tmp_path / "rooms").glob("*/*.db-wal")
        assert wal.stat().st_size < 3 * LIMITS.wal_bytes_max


async def test_f12_a_reader_that_pins_a_wal_is_named_and_the_wal_shrinks_when_it_ends(tmp_path, autojump_clock, caplog, reader):
    async with open_test_runtime(ChatRoom, path=tmp_path, limits=LIMITS) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("first")
        (file,) = (tmp_path / "rooms").glob("*/*.db")
        process = reader(file)
        for number in range(300):
            await room.post(f"{number} " + "x" * 4 * KIB)
        wal = file.with_name(file.name + "-wal")
        assert wal.stat().st_size > LIMITS.wal_bytes_alert
        assert runtime.status().wals_pinned == 1
        said = [record.getMessage() for record in caplog.records if "keeps an old moment" in record.getMessage()]
        assert len(said) == 1
        assert said[0].startswith("ChatRoom/a: its WAL has ")
        if sys.platform == "linux":
            assert f"pid {process.pid} (python" in said[0]
        process.communicate()
        for number in range(60):
            await room.post(f"again {number} " + "x" * 4 * KIB)
        assert runtime.status().wals_pinned == 0
        assert wal.stat().st_size < LIMITS.wal_bytes_alert
        assert "nobody pins it any more" in caplog.text
        assert len(await room.bodies()) == 361
