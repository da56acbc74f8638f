"""Joining what the damaged file and the replica hold of one table.

The file is the room, and says of itself, in its outbox, what changed after the replica's position. So where file and replica
are of one history, a row that was not touched since is the same in both: a difference is damage, and the replica has the row as
it was. Where that cannot be known, the file's rows stand, and the replica fills what the file cannot tell.
"""

import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from actors.follower import Table
from durable_rooms.recovery.blueprint import Shape
from durable_rooms.recovery.copied import Copied
from durable_rooms.recovery.report import TableReport
from durable_rooms.recovery.salvage import History, Row, Rows
from durable_rooms.verify.compare import same
from replication.standing import in_history

Key = tuple[Hashable, ...]


@dataclass(slots=True)
class Standing:
    """How file and replica stand to each other.

    Attributes:
      known: one history, and all that the file changed after the replica's position is in `touched` (keys, by table).
      ahead: the replica holds later changes than the file.
    """

    known: bool = False
    ahead: bool = False
    touched: dict[str, set[Key]] = field(default_factory=dict[str, set[Key]])


def standing(history: History, copied: Copied) -> Standing:
    at, here = copied.position, history.position
    one_history = at.epoch == here.epoch or (at.epoch < here.epoch and in_history(at, history.timeline))
    reaches_back = min((seq for seq, _, _ in history.outbox), default=0) <= at.seq + 1
    reaches_back = reaches_back or at.seq >= here.seq
    if not (history.whole and copied.settled and one_history and reaches_back and history.known_after <= at.seq):
        return Standing()
    found = Standing(known=True, ahead=at.epoch == here.epoch and at.seq > here.seq)
    for seq, table, key in history.outbox:
        name = history.captured.get(table)
        if seq > at.seq and name is not None:
            values = json.loads(key) if isinstance(key, str) and _is_composite(copied, name) else [key]
            found.touched.setdefault(name, set()).add(tuple(values))
    return found


def _is_composite(copied: Copied, name: str) -> bool:
    return any(table.name == name and len(table.key) > 1 for table in copied.schema.tables)


def merged(
    shape: Shape, found: Rows, table: Table | None, copied: Copied | None, stand: Standing
) -> tuple[list[Row], TableReport]:
    """The rows of one table, and where they came from. `table`: as the replica knows it, None if it does not."""
    report = TableReport(shape.name)
    if table is None or copied is None:
        report.from_file = len(found.rows) + len(found.loose)
        report.missing = list(found.losses)
        if found.loose:
            report.missing.append(f"{_rows(len(found.loose))} of abandoned pages were taken in, and may have been deleted before")
        return [*found.rows, *found.loose], report
    theirs = _by_key(shape, table, copied.rows[table.name])
    touched = stand.touched.get(shape.name, set())
    ours: dict[Key, Row] = {}
    for row in found.rows:
        ours.setdefault(key_of(shape, row), row)
    for row in found.loose:
        key = key_of(shape, row)
        ours.setdefault(key, row)
    rows, doubtful = _join(shape, ours, theirs, touched, stand, found, report)
    _judge(shape, report, found, stand, touched, rows, doubtful)
    return list(rows.values()), report


def _join(
    shape: Shape,
    ours: dict[Key, Row],
    theirs: dict[Key, Row],
    touched: set[Key],
    stand: Standing,
    found: Rows,
    report: TableReport,
) -> tuple[dict[Key, Row], int]:
    rows: dict[Key, Row] = {}
    for key, row in ours.items():
        other = theirs.get(key)
        settled = stand.known and key not in touched
        if settled and other is None:
            report.left_out += 1  # deleted after the file's end, or a key that is damaged
        elif settled and other is not None and not _same(shape, row, other):
            rows[key] = other
            report.from_replica += 1
            report.put_right += 1
        else:
            rows[key] = row
            report.from_file += 1
    doubtful = 0
    for key, row in theirs.items():
        if key in ours:
            continue
        if key in touched and not found.may_hide(row[0] if shape.alias is not None else None):
            continue  # deleted since
        if stand.known or not found.whole:
            doubtful += key in touched
            rows[key] = row
            report.from_replica += 1
    return rows, doubtful


def _judge(
    shape: Shape, report: TableReport, found: Rows, stand: Standing, touched: set[Key], rows: dict[Key, Row], doubtful: int
) -> None:
    """What is missing. Nothing, where the replica has everything that the file cannot tell."""
    if found.whole:
        return
    if not stand.known:
        report.missing += [*found.losses, "how far the replica had followed the room is not known: it may lack the last changes"]
        return
    if doubtful:
        report.missing.append(f"{_rows(doubtful)} are as the replica has them, and were changed or deleted after that")
    gone = sum(found.may_hide(_rowid(shape, key)) for key in touched - rows.keys())
    if gone:
        report.missing.append(f"{_rows(gone)} were written or deleted after the replica's position and cannot be read")


def _by_key(shape: Shape, table: Table, rows: list[tuple[Any, ...]]) -> dict[Key, Row]:
    """The replica's rows in the order of this shape."""
    at = {column.name.lower(): place for place, column in enumerate(table.columns)}
    places = [at.get(column.lower()) for column in shape.columns]
    found: dict[Key, Row] = {}
    for values in rows:
        made = tuple(default if place is None else values[place] for place, default in zip(places, shape.defaults, strict=True))
        row: Row = (made[shape.alias] if shape.alias is not None else 0, made)
        found[key_of(shape, row)] = row
    return found


def key_of(shape: Shape, row: Row) -> Key:
    return tuple(row[1][place] for place in shape.key)


def _same(shape: Shape, row: Row, other: Row) -> bool:
    """A whole REAL is kept as an integer in a record."""
    pairs = zip(shape.types, row[1], other[1], strict=True)
    ours = [float(a) if isinstance(a, int) and isinstance(b, float) else a for _, a, b in pairs]
    return same(tuple(ours), other[1])


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _rowid(shape: Shape, key: Key) -> int | None:
    return key[0] if shape.alias is not None and isinstance(key[0], int) else None
