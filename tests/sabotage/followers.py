"""Variants of the outbox and the replica."""

from dataclasses import replace

from actors import Position
from replication import batch, collector, replicator
from replication.batch import Drain
from replication.collector import Collector
from replication.file import ReplicaFile
from replication.statement import run, run_bulk
from tests.sabotage import scenes
from tests.sabotage.variants import Setter, Variant


def batch_does_not_wait(put: Setter) -> None:
    async def durable(self, dirty, drain):
        return True

    put(Collector, "_durable", durable)


def drain_cut_in_two(put: Setter) -> None:
    """Each table of a room in a transaction of its own; the mark of all but the last says one entry less."""
    apply = batch.apply

    def apart(file, drains, now):
        for changes, after in drains:
            less = Position(changes.position.epoch, changes.position.seq - 1)
            if len(changes.tables) > 1 and after is not None and after.schema == changes.schema.digest:
                apply(file, [Drain(replace(changes, position=less, tables=changes.tables[:1]), after)], now)
        return apply(file, drains, now)

    put(replicator, "apply", apart)


def no_gap_check(put: Setter) -> None:
    judge = collector.judge
    put(collector, "judge", lambda mark, position, timeline, first: judge(mark, position, timeline, first if mark is None else 1))


def cursor_before_apply(put: Setter) -> None:
    later, put_marks = [], ReplicaFile.put_marks

    def marks_first(self, marks, now):
        put_marks(self, marks, now)
        for statement in ("COMMIT", "BEGIN IMMEDIATE") if later else ():
            run(self.connection, statement)
        while later:
            run_bulk(*later.pop(0))

    put(batch, "run_bulk", lambda connection, statement, bulk, rows: later.append((connection, statement, bulk, list(rows))))
    put(ReplicaFile, "put_marks", marks_first)


VARIANTS = (
    Variant("batch does not wait for the round of its commit", 26, batch_does_not_wait),
    Variant("drain cut in two transactions", 27, drain_cut_in_two, scenes.replica_between_two_transactions),
    Variant("no gap check", 28, no_gap_check, scenes.replica_behind_the_outbox),
    Variant("cursor before apply", 27, cursor_before_apply),
)
