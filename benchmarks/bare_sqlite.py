"""The ceiling's side, SQLite: what apsw alone does with the same table, index and posts.

Settings other than those named by a ceiling are SQLite's defaults (so a WAL is checkpointed at 1,000 pages, on the spot).
Nothing here is captured, replicated, sent by value or, at OFF and NORMAL, durable when it returns.
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from time import perf_counter, time
from typing import Any, Literal

import apsw
import msgpack

from benchmarks import workload

Synchronous = Literal["OFF", "NORMAL", "FULL"]


def connect(path: Path, synchronous: Synchronous) -> apsw.Connection:
    """A new database with the workload's table, in WAL mode."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "OFF")  # until the table is there
    for statement in (workload.TABLE, workload.INDEX):
        connection.execute(statement).fetchall()
    connection.pragma("synchronous", synchronous)
    return connection


def connect_many(directory: Path, count: int) -> list[apsw.Connection]:
    """`count` databases at NORMAL, each with a WAL that has begun."""
    connections = [connect(directory / f"{number}.db", "NORMAL") for number in range(count)]
    insert_round_robin(connections, 0.0, at_least=2 * count)
    return connections


def insert_batches(connection: apsw.Connection, seconds: float, rows_per_transaction: int) -> float:
    """Rows per second, `rows_per_transaction` of them in each transaction."""
    execute = connection.cursor().execute
    insert = workload.INSERT
    lines = cycle(workload.posts())
    rows = 0
    begin = perf_counter()
    while (now := perf_counter()) - begin < seconds:
        execute("BEGIN IMMEDIATE").fetchall()
        for _ in range(rows_per_transaction):
            author, body = next(lines)
            execute(insert, (author, body, time())).fetchall()
        execute("COMMIT").fetchall()
        rows += rows_per_transaction
    return rows / (now - begin)


def insert_round_robin(connections: Sequence[apsw.Connection], seconds: float, *, at_least: int = 0) -> float:
    """Rows per second, one row a transaction, one file after the other."""
    cursors = cycle([connection.cursor() for connection in connections])
    insert = workload.INSERT
    lines = cycle(workload.posts())
    rows = 0
    begin = perf_counter()
    while (now := perf_counter()) - begin < seconds or rows < at_least:
        author, body = next(lines)
        next(cursors).execute(insert, (author, body, time())).fetchall()
        rows += 1
    return rows / (now - begin)


def fill(connection: apsw.Connection, rows: int) -> None:
    with connection:
        connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", workload.rows(rows)).fetchall()


def read_history(connection: apsw.Connection, seconds: float, *values: object, query: str = workload.HISTORY) -> float:
    """Histories per second: rows to dicts, packed and unpacked. `values` are the query's."""
    cursor = connection.cursor()
    pack, unpack = msgpack.Packer().pack, msgpack.unpackb
    reads = 0
    begin = perf_counter()
    while (now := perf_counter()) - begin < seconds:
        cursor.execute(query, values)
        names = [column[0] for column in cursor.get_description()]
        rows = [dict(zip(names, row)) for row in cursor.fetchall()]  # noqa: B905 - strict= would lower the ceiling
        back: list[dict[str, Any]] = unpack(pack(rows))
        assert back[0]["id"] >= back[-1]["id"]
        reads += 1
    return reads / (now - begin)


def close(connections: Sequence[apsw.Connection]) -> None:
    """Close without the checkpoint that nobody will read."""
    for connection in connections:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()
