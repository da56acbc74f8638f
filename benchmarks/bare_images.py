"""`python -m benchmarks.bare_images SECONDS`: the ceiling's side of `simulation`, in a process of its own.

What SQLite alone needs for what a cut has left: three databases with a WAL each (as a catalog, a room and a replica) are written
to the place that the simulator uses, opened, which recovers them, checked, read, checkpointed, closed, opened and read once more
from outside, and removed.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from time import perf_counter

import apsw

from benchmarks import bare_sqlite, workload
from benchmarks.process import say
from durable_rooms.simulation.simulation import temporary_directory

FILES = ("catalog.db", "room.db", "replica.db")
ROWS = 40  # in each, as after a life of the benchmark's clients


def image_of(place: Path) -> dict[str, bytes]:
    """The files as they lie while nobody has checkpointed them."""
    image: dict[str, bytes] = {}
    for name in FILES:
        connection = bare_sqlite.connect(place / name, "OFF")
        bare_sqlite.insert_round_robin([connection], 0.0, at_least=ROWS)
        image |= {each: (place / each).read_bytes() for each in (name, f"{name}-wal")}
        connection.close()
    return image


def open_once(place: Path, image: dict[str, bytes]) -> None:
    for name, content in image.items():
        (place / name).write_bytes(content)
    for name in FILES:
        connection = apsw.Connection(str(place / name))
        found = connection.execute("PRAGMA quick_check").fetchall() + connection.execute(workload.HISTORY, (ROWS,)).fetchall()
        connection.close()  # with its checkpoint
        with closing(sqlite3.connect(place / name)) as outside:
            assert len(found) == 1 + len(outside.execute(workload.HISTORY, (ROWS,)).fetchall()) == 1 + ROWS
        (place / name).unlink()


def main(seconds: str) -> None:
    with temporary_directory() as directory:
        image = image_of(Path(directory))
        opened, began = 0, perf_counter()
        while (now := perf_counter()) - began < float(seconds):
            open_once(Path(directory), image)
            opened += 1
    say(per_second=opened / (now - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
