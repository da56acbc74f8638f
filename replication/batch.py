"""A batch: the drains of many rooms, applied to the replica in one transaction. Runs in a worker thread.

Exactly once: a room's rows and its watermark are written together, and only onto the very mark after which the rows were
collected, as the file has it at that moment. Applying twice equals once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import apsw

from actors import Changes, SQLValue
from replication.file import ReplicaFile
from replication.replica import REPLICA_ERRORS, ReplicaDamaged
from replication.shape import Placement
from replication.standing import Mark
from replication.statement import run_bulk

Row = tuple[SQLValue, ...]


class Drain(NamedTuple):
    """What one room changed, and the mark it was collected after. Never split over two transactions (rule 27)."""

    changes: Changes
    after: Mark | None


class Outcome(NamedTuple):
    """What became of a drain.

    `result`: "applied"; "moved" (the replica stands elsewhere than it was collected after: collect again from `mark`);
    "schema" (the room's tables changed in a way its outbox does not tell, `detail`: resync it).
    """

    result: Literal["applied", "moved", "schema"]
    mark: Mark | None
    detail: str = ""


class Applied(NamedTuple):
    batch: int
    rows: int
    outcomes: list[Outcome]


class RowsRefused(Exception):
    """The replica cannot take some row of the drains; nothing of them was applied."""


@dataclass(slots=True)
class Writes:
    """Rows of all rooms by statement, so that each statement runs once over all of them."""

    deletes: dict[str, list[tuple[Row, list[Row]]]]
    upserts: dict[str, list[tuple[Row, list[Row]]]]
    marks: list[tuple[int, Mark]]
    bulk: dict[str, dict[int, str]]  # of the upserts that several rows may share
    rows: int = 0

    def add(self, key: int, drain: Drain, placements: dict[str, Placement], mark: Mark) -> None:
        head = (key,)
        for changes in drain.changes.tables:
            place = placements[changes.table.name]
            if changes.deletes:
                self.deletes.setdefault(place.delete, []).append((head, changes.deletes))
            if changes.upserts:
                self.upserts.setdefault(place.upsert, []).append((head, changes.upserts))
                self.bulk[place.upsert] = place.bulk
            self.rows += len(changes.deletes) + len(changes.upserts)
        self.marks.append((key, mark))


def apply(file: ReplicaFile, drains: Sequence[Drain], now: float) -> Applied:
    """Apply drains whose commits are durable, in one transaction.

    Raises:
      RowsRefused: a row or a table that the replica cannot take. With one drain it names the culprit.
      apsw.Error, ReplicaGone, ReplicaDamaged: the replica is in trouble; nothing was applied, or the commit's fate is unknown.
    """
    try:
        with file.transaction():
            writes = Writes({}, {}, [], {})
            outcomes = [_prepare(file, drain, writes) for drain in drains]
            if not writes.marks:
                return Applied(0, 0, outcomes)
            # Deletes first: a key that changed its case only is a delete of the old and an upsert of the new spelling.
            for statements in (writes.deletes, writes.upserts):
                for statement, parts in statements.items():
                    # One by one, as they are bound: a second list of all rows costs more than the generator.
                    left = (head + row for head, rows in parts for row in rows)
                    run_bulk(file.connection, statement, writes.bulk.get(statement, {}), left)
            file.put_marks(writes.marks, now)
            return Applied(file.next_batch(now), writes.rows, outcomes)
    except REPLICA_ERRORS:
        raise
    except Exception as error:
        raise refused(file, error) from error


def _prepare(file: ReplicaFile, drain: Drain, writes: Writes) -> Outcome:
    """Check a drain against the replica as it is now, and queue its rows if it fits (rule 32)."""
    changes, after = drain
    name, schema = changes.room, changes.schema
    found = file.room(name)
    if (found[1] if found else None) != after:
        return Outcome("moved", found[1] if found else None)
    if after is not None and after.schema != schema.digest:
        detail = file.tables.obstacle(name.actor, after.schema, schema) if after.settled else "it changed during a resync"
        if detail is not None:
            return Outcome("schema", after, detail)
    placements = file.tables.placements(name.actor, schema)
    key = found[0] if found else file.intern(name)
    mark = Mark(changes.position, schema.digest, True)
    writes.add(key, drain, placements, mark)
    return Outcome("applied", mark)


def refused(file: ReplicaFile, error: Exception) -> Exception:
    """What an error of a statement means: rows that do not fit, or a replica whose tables somebody removed."""
    if isinstance(error, apsw.SQLError) and not file.tables.intact():
        return ReplicaDamaged(f"tables of the replica are missing: {error}")
    return RowsRefused(f"{type(error).__name__}: {error}")
