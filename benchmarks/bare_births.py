"""The ceiling's side, new rooms: a copied template, WAL, one insert; one syncfs for as many files as there are callers."""

from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, time

import apsw

from actors.system.disk import Disk
from benchmarks import bare_sqlite, workload
from benchmarks.machine import Unfit
from benchmarks.rooms_on_disk import sync

TEMPLATE = "template.db"
FOLDERS = 256


def make_template(place: Path) -> bytes:
    """A database with the workload's table, in WAL mode, at rest."""
    connection = bare_sqlite.connect(place / TEMPLATE, "NORMAL")
    connection.close()
    return (place / TEMPLATE).read_bytes()


def births_per_second(place: Path, template: bytes, count: int, group: int) -> float:
    """New files a second, each durable with its first row; in one level of 256 folders, made before the clock starts."""
    if not Disk.has_syncfs:
        raise Unfit("needs syncfs (Linux): its ceiling makes many files durable at once")
    for number in range(FOLDERS):
        (place / f"{number:02x}").mkdir()
    sync(place)
    lines = islice(cycle(workload.posts()), count)
    connections: list[apsw.Connection] = []
    begin = perf_counter()
    for number, (author, body) in enumerate(lines, start=1):
        path = place / f"{number % FOLDERS:02x}" / f"{number}.db"
        path.write_bytes(template)
        connection = apsw.Connection(str(path))
        connection.pragma("synchronous", "OFF")
        connection.execute(workload.INSERT, (author, body, time())).fetchall()
        connections.append(connection)
        if number % group == 0 or number == count:
            sync(place)
    seconds = perf_counter() - begin
    bare_sqlite.close(connections)
    return count / seconds
