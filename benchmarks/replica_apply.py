"""Measures: rows per second that enter the replica in batches of 1,000 rows, of 100 rooms and of one: rows, watermarks and the
batch's number in one transaction, with every check of a room's position, onto a replica that grows.

Ceiling: apsw alone: `executemany` of the same UPSERT with ready-made rows, one transaction a batch, into the same table with
the same indexes in WAL mode at synchronous=NORMAL with the same page cache; no watermarks. Both begin with an empty WAL and
checkpoint it at about 4 MiB, on the spot.

Not measured: collecting the rows from rooms, the hop to the worker thread, other work of the process (see replication_cost).
"""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import apsw

from actors.follower import Changes, EpochStart, Position, Schema, TableChanges
from actors.names import RoomName
from actors.system.disk import Disk
from actors.tables.schema import read_schema
from benchmarks import workload
from benchmarks.harness import Bench, beside
from benchmarks.records import REPLICA_APPLY, Record
from replication.batch import Drain, apply
from replication.file import ReplicaFile
from replication.standing import Mark

NAME = "replica_apply"
ACTOR = "ChatRoom"
ROOMS = 100
NOW = 1_750_000_000.0


async def run(bench: Bench) -> list[Record]:
    rooms = min(ROOMS, bench.size.batch_rows)
    return [await _case(bench, rooms), await _case(bench, 1)]


async def _case(bench: Bench, rooms: int) -> Record:
    size = bench.size
    case = f"{size.batch_rows:,} rows of {rooms:,} room{'s' if rooms > 1 else ''} a batch"
    bench.progress.case(NAME, case)
    place = bench.place(f"{rooms}-rooms")
    file = ReplicaFile(Disk(), place / "replica.db")
    file.open()
    batches = Batches(rooms, size.batch_rows)
    apply(file, batches.next(), NOW)  # makes the tables
    upsert = file.tables.placements(ACTOR, batches.schema)["messages"].upsert
    bare = _same_tables(file, place / "bare.db")
    bare_batches = Batches(rooms, size.batch_rows)
    rows_a_turn = size.batches * size.batch_rows

    async def figure() -> float:
        ready = [batches.next() for _ in range(size.batches)]
        file.connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
        begin = perf_counter()
        for drains in ready:
            applied = apply(file, drains, NOW)
            assert applied.rows == size.batch_rows
        return rows_a_turn / (perf_counter() - begin)

    async def ceiling() -> float:
        ready = [_rows(bare_batches.next()) for _ in range(size.batches)]
        bare.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
        begin = perf_counter()
        for rows in ready:
            bare.execute("BEGIN IMMEDIATE").fetchall()
            bare.executemany(upsert, rows).fetchall()
            bare.execute("COMMIT").fetchall()
        return rows_a_turn / (perf_counter() - begin)

    try:
        measured = await beside(bench, figure, ceiling)
    finally:
        file.close()
        bare.close()
    return Record(benchmark=NAME, case=case, unit="rows/s", value=measured.value, ceiling=measured.ceiling, target=REPLICA_APPLY)


class Durable:
    """A commit that is durable already."""

    async def durable(self) -> None:
        pass


class Batches:
    """Batches as the collector makes them: every room has as many new rows, in each batch."""

    def __init__(self, rooms: int, rows: int) -> None:
        memory = apsw.Connection(":memory:")
        for statement in (workload.TABLE, workload.INDEX):
            memory.execute(statement).fetchall()
        self.schema: Schema = read_schema(memory, frozenset()).replicated
        memory.close()
        self._names = [RoomName(ACTOR, f"room-{number}") for number in range(rooms)]
        self._rows_a_room = rows // rooms
        self._seq = 0

    def next(self) -> list[Drain]:
        """The next batch. Its rooms continue where the last one left them."""
        after = Mark(Position(1, self._seq), self.schema.digest, True) if self._seq else None
        first = self._seq + 1
        self._seq += self._rows_a_room
        return [Drain(self._changes(name, first), after) for name in self._names]

    def _changes(self, name: RoomName, first: int) -> Changes:
        upserts: list[tuple[Any, ...]] = list(workload.rows(self._rows_a_room, first))
        return Changes(
            room=name,
            position=Position(1, self._seq),
            timeline=(EpochStart(1, 0),),
            first_seq=first,
            schema=self.schema,
            tables=[TableChanges(self.schema.tables[0], upserts)],
            entries=len(upserts),
            bytes=150 * len(upserts),
            commit=Durable(),
        )


def _rows(drains: list[Drain]) -> list[tuple[Any, ...]]:
    return [
        (key, *row) for key, drain in enumerate(drains, start=1) for changes in drain.changes.tables for row in changes.upserts
    ]


def _same_tables(replica: ReplicaFile, path: Path) -> apsw.Connection:
    """A database with the replica's tables and indexes, and nothing that keeps them."""
    bare = apsw.Connection(str(path))
    bare.pragma("journal_mode", "wal")
    bare.pragma("synchronous", "NORMAL")
    bare.pragma("cache_size", replica.connection.pragma("cache_size"))
    for statement in _declarations(replica):
        bare.execute(statement).fetchall()
    return bare


def _declarations(replica: ReplicaFile) -> Iterator[str]:
    query = "SELECT sql FROM sqlite_schema WHERE tbl_name LIKE '\\_ChatRoom%' ESCAPE '\\' AND sql IS NOT NULL ORDER BY type DESC"
    for (statement,) in replica.run(query):
        yield statement
