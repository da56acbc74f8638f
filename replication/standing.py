"""Where the replica stands in a room's history, and whether changes can be applied from there. Pure; rules 28, 31 and 32.

A replica at `(e, q)` holds the room as it was at `q` in epoch `e`. Changes collected after `q` lead from there to the
room's present only if the room's history still contains that moment and the outbox still reaches back to it.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from actors import EpochStart, Position

Reason = Literal["initial", "gap", "new epoch", "rewound", "older copy", "schema", "audit", "repair"]


class Moment(NamedTuple):
    """Of a replica's file; ordered. `generation`: of the file, a later one is greater. `batch`: the newest one in it."""

    generation: str
    batch: int


class Mark(NamedTuple):
    """A room's row in the replica.

    `settled` is False after a resync until a collect has found the schema unchanged: a room goes on while its file is
    copied, so a statement may have changed its tables between the look at the schema and the look at the rows.
    """

    position: Position
    schema: str
    settled: bool


def judge(mark: Mark | None, position: Position, timeline: Sequence[EpochStart], first_seq: int | None) -> Reason | None:
    """Why the room must be resynced, or None if its changes after the mark can be applied.

    Args:
      mark: where the replica stands; None if it does not know the room.
      position: where the room stands.
      timeline: the epochs of the room that are still known.
      first_seq: the lowest entry in the outbox, None if it is empty.
    """
    if mark is None:
        reaches_back = position.seq == 0 or first_seq == 1
        return None if reaches_back else "initial"
    epoch, seq = mark.position
    if epoch > position.epoch:
        return "older copy"
    if epoch == position.epoch and seq > position.seq:
        return "rewound"
    if epoch < position.epoch and not in_history(mark.position, timeline):
        return "new epoch"
    if seq < position.seq and (first_seq is None or first_seq > seq + 1):
        return "gap"
    return None


def in_history(old: Position, timeline: Sequence[EpochStart]) -> bool:
    """Rule 31: `(e, q)` is a prefix of the room's history if `q <= start_seq` of the first epoch after `e`.

    A timeline keeps its last epochs only. If the kept ones begin later than `e + 1`, the first epoch after `e` may have been
    dropped, so nothing is known.
    """
    later = [start for start in timeline if start.epoch > old.epoch]
    if not later:
        return False
    known = old.epoch + 1 >= min(start.epoch for start in timeline)
    return known and old.seq <= min(later).start_seq
