"""`python -m benchmarks.soak_reader DATA SECONDS`: another program that reads a busy room and holds the replica, for `soak`."""

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

READY_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.01


def wait_for_rooms(replica: Path) -> None:
    """A deleted replica is being made again: until it is there, with rooms in it. Makes nothing."""
    end = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            with closing(sqlite3.connect(f"file:{replica}?mode=ro", uri=True)) as connection:
                if connection.execute("SELECT count(*) FROM _rooms").fetchone()[0]:
                    return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
        time.sleep(LOOK_SECONDS)


def main(data: str, seconds: str) -> None:
    wait_for_rooms(Path(data, "replica.db"))
    biggest = max(Path(data, "rooms").glob("*/*.db"), key=lambda path: path.stat().st_size)
    with (
        closing(sqlite3.connect(biggest, isolation_level=None)) as room,
        closing(sqlite3.connect(Path(data, "replica.db"), isolation_level=None)) as replica,
    ):
        for connection in (room, replica):
            connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")
        room.execute("SELECT count(*) FROM messages").fetchone()
        replica.execute("SELECT count(*) FROM _rooms").fetchone()
        time.sleep(float(seconds))  # both WALs are pinned as long


if __name__ == "__main__":
    main(*sys.argv[1:])
