"""A backlog: the long outbox of one room, applied from the room's file by SQLite itself, in one transaction of the replica.

What `Source.collect` hands over passes through Python, row by row: 200,000 entries are 70 MB there, and a stall of the loop when
they are built and freed. Here they never leave SQLite: rows whose keys are in the outbox are deleted and those that are still
there are copied (270,000 entries/s instead of 185,000, and under full load 190,000 instead of 65,000). Everything comes from one
snapshot of the room; as after a resync, the mark stays unsettled until a collect has found the schema unchanged.
"""

from typing import Any, NamedTuple

from actors import EpochStart, Position, RoomCopy, Source, Table
from replication.file import ReplicaFile
from replication.jobs import Jobs
from replication.resync import Unfit, from_file
from replication.shape import ROOM, listed, quoted
from replication.standing import Mark, judge


class Advanced(NamedTuple):
    """Where the replica stands now, the number of the batch, and how many rows it wrote."""

    mark: Mark
    batch: int
    rows: int


async def apply_backlog(jobs: Jobs, file: ReplicaFile, source: Source, after: Mark, now: float) -> Advanced:
    """Bring the replica from `after` to the room's present.

    Raises:
      Unfit: the replica stands elsewhere, or the outbox does not lead from there to the present.
      Else as `resync`.
    """
    done: list[Advanced] = []

    def write(file: ReplicaFile, copy: RoomCopy, position: Position, now: float) -> Mark:
        done.append(_advance(file, copy, position, after, now))
        return done[0].mark

    await from_file(jobs, file, source, write, now)
    return done[0]


def _advance(file: ReplicaFile, copy: RoomCopy, position: Position, after: Mark, now: float) -> Advanced:
    found = file.room(copy.room)
    if found is None or found[1] != after:
        raise Unfit(None, found[1] if found else None)
    ((first,),) = file.run("SELECT min(seq) FROM room._outbox")
    timeline = [EpochStart(*row) for row in file.run("SELECT epoch, start_seq FROM room._timeline ORDER BY epoch")]
    if (reason := judge(after, position, timeline, first)) is not None:
        raise Unfit(reason, after)
    if after.schema != copy.schema.digest and file.tables.obstacle(copy.room.actor, after.schema, copy.schema) is not None:
        raise Unfit("schema", after)
    placements = file.tables.placements(copy.room.actor, copy.schema)
    numbers: dict[Any, Any] = {name: number for number, name in file.run("SELECT id, name FROM room._tables")}
    before = file.connection.total_changes()
    for table in copy.schema.tables:
        if table.name not in numbers:  # it was dropped after the look at the schema; the next collect resyncs
            raise Unfit("schema", after)
        delete, insert = statements(table, placements[table.name].base)
        values = (found[0], after.position.seq, numbers[table.name])
        file.run(delete, values)
        file.run(insert, values)
    rows = file.connection.total_changes() - before
    mark = Mark(position, copy.schema.digest, settled=False)
    file.put_marks([(found[0], mark)], now)
    return Advanced(mark, file.next_batch(now), rows)


def statements(table: Table, base: str) -> tuple[str, str]:
    """Delete the rows that the outbox names, and copy those of them that are there. Values: room key, seq, number of the table.

    IN compares with the collation of its left side: `a` that became `A` under NOCASE is one row on both sides.
    """
    if len(table.key) == 1:
        keys, logged = quoted(table.key[0]), "pk"
    else:
        keys = f"({listed(table.key)})"
        logged = ", ".join(f"json_extract(pk, '$[{place}]')" for place in range(len(table.key)))
    touched = f"{keys} IN (SELECT {logged} FROM room._outbox WHERE seq > ?2 AND tbl = ?3)"  # noqa: S608 (quoted)
    names = [column.name for column in table.columns]
    return (
        f"DELETE FROM {quoted(base)} WHERE {quoted(ROOM)} = ?1 AND {touched}",  # noqa: S608 (quoted)
        f"INSERT INTO {quoted(base)} ({listed([ROOM, *names])})"  # noqa: S608 (quoted)
        f" SELECT ?1, {listed(names)} FROM room.{quoted(table.name)} WHERE {touched}",
    )
