"""What a damaged room file still says: its schema, its history, and the rows of its tables."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.follower import EpochStart, Position
from actors.names import RoomName
from actors.storage.rehome import wal_of
from durable_rooms.recovery.blueprint import Blueprint, Shape, Thing
from durable_rooms.recovery.pages import Image, read_image
from durable_rooms.recovery.records import SQLValue
from durable_rooms.recovery.trees import Record, Tree, free_pages, loose_leaves, read_tree

EPOCH_MAX, SEQ_MAX = 1 << 31, 1 << 53  # beyond that it is not a number of ours but damage

Row = tuple[int, tuple[Any, ...]]
"""A row's rowid, and its values in the order of Shape.columns."""


@dataclass(slots=True)
class Rows:
    """One table's, with what could not be read of it."""

    rows: list[Row] = field(default_factory=list[Row])
    loose: list[Row] = field(default_factory=list[Row])  # on pages that nothing points to any more
    losses: list[str] = field(default_factory=list[str])
    gaps: list[tuple[float, float]] = field(
        default_factory=list[tuple[float, float]]
    )  # rowids: behind the first, up to the second

    @property
    def whole(self) -> bool:
        return not self.losses

    def may_hide(self, rowid: int | None) -> bool:
        """Whether a row that was not found may have been there; its rowid, where that is known."""
        if rowid is None:
            return not self.whole
        return any(low < rowid <= high for low, high in self.gaps)


@dataclass(slots=True)
class History:
    """The outbox and the timeline.

    Attributes:
      captured: the tables by the numbers that the outbox gives them.
      whole: nothing of the timeline and these numbers is missing.
      known_after: every entry of the outbox behind this seq was read.
    """

    outbox: list[tuple[int, Any, Any]]
    timeline: tuple[EpochStart, ...]
    captured: dict[int, str]
    whole: bool
    known_after: float

    @property
    def position(self) -> Position:
        return Position(max((start.epoch for start in self.timeline), default=0), max((row[0] for row in self.outbox), default=0))


class Salvage:
    """A room's file in quarantine. Reads; never writes, and never lets SQLite open it."""

    def __init__(self, path: Path, name: RoomName) -> None:
        self.path = path
        self.image: Image = read_image(path, wal_of(path))
        self._name = name
        self._trees: dict[tuple[int, bool], Tree] = {}
        schema = self._tree(1)
        things = [_thing(record.values) for record in schema.records]
        self._roots = {thing.name: thing.root for thing in things if thing is not None and thing.type == "table"}
        self.names_its_room = self._names_its_room()
        self.history = self._history()
        self.blueprint = Blueprint(
            source="the damaged file",
            things=tuple(thing for thing in things if thing is not None),
            migrations=self.migrations(),
            local=self._local(things) if self.history.whole else None,
            whole=schema.whole and None not in things and self._internal("_migrations").whole,
        )

    def follow(self, roots: dict[str, int]) -> bool:
        """Take the places of the tables from a room of the same schema; False if this file does not look like that one."""
        self._roots = roots
        self.names_its_room = self._names_its_room()
        self.history = self._history()
        return self.names_its_room

    def migrations(self) -> tuple[tuple[Any, ...], ...]:
        """The rows of `_migrations`."""
        return tuple(row for row in self._internal("_migrations").rows if len(row) == 4)

    def has(self, name: str) -> bool:
        """Whether its own schema names this table; that of another room would have it elsewhere."""
        return any(
            (thing.type, thing.name, thing.root) == ("table", name, self._roots.get(name)) for thing in self.blueprint.things
        )

    def rows(self, shape: Shape) -> Rows:
        """The rows of one table."""
        found = Rows()
        root = self._roots.get(shape.name)
        if root is None:
            found.losses.append("its place in the file is not known")
            found.gaps.append((-math.inf, math.inf))
            return found
        tree = self._tree(root, index=shape.without_rowid)
        seen: set[int] = set()
        odd = 0
        for record in tree.records:
            row = _row(shape, record)
            if row is None or _breaks_not_null(shape, row) or (record.rowid in seen and not shape.without_rowid):
                odd += 1
                continue
            seen.add(record.rowid)
            found.rows.append(row)
        found.losses += _losses(tree, odd)
        found.gaps = [(-math.inf if low is None else low, math.inf if high is None else high) for _, low, high in tree.lost]
        if tree.broken or odd:
            found.gaps.append((-math.inf, math.inf))
        return found

    def adopt(self, damaged: dict[str, tuple[Shape, Rows]]) -> None:
        """Give the leaves that no tree leads to any more to the one damaged table that they fit, if it is one."""
        free = free_pages(self.image)
        reached = set[int](free or ())
        for tree in self._trees.values():
            reached |= tree.pages
        for leaf in loose_leaves(self.image, reached):
            fitting = [name for name, (shape, _) in damaged.items() if all(_fits(shape, record) for record in leaf.records)]
            if len(fitting) == 1:
                shape, rows = damaged[fitting[0]]
                rows.loose += [row for record in leaf.records if (row := _row(shape, record)) is not None]

    # -- its parts ------------------------------------------------------------------------------------------------------
    def _tree(self, root: int, *, index: bool = False) -> Tree:
        if (root, index) not in self._trees:
            self._trees[root, index] = read_tree(self.image, root, index=index)
        return self._trees[root, index]

    def read_all(self, roots: Iterable[int]) -> None:
        """Walk indexes, too: what belongs to them is not loose."""
        for root in roots:
            if (root, False) not in self._trees and (root, True) not in self._trees:
                self._tree(root, index=True)

    def _internal(self, name: str) -> "_Internal":
        root = self._roots.get(name)
        if root is None:
            return _Internal([], whole=False, known_after=math.inf)
        tree = self._tree(root)
        known_after = (
            math.inf if tree.broken else max((math.inf if up_to is None else up_to for _, _, up_to in tree.lost), default=0)
        )
        rows = [(record.rowid, *record.values[1:]) for record in tree.records]
        return _Internal(rows, whole=tree.whole, known_after=known_after)

    def _names_its_room(self) -> bool:
        return (1, *self._name) in [row[:3] for row in self._internal("_room").rows]

    def _history(self) -> History:
        outbox, timeline, captured = self._internal("_outbox"), self._internal("_timeline"), self._internal("_tables")
        entries = [row for row in outbox.rows if len(row) == 3 and 0 < row[0] < SEQ_MAX]
        starts = [EpochStart(row[0], row[1]) for row in timeline.rows if len(row) == 2 and isinstance(row[1], int)]
        starts = sorted(start for start in starts if 0 < start.epoch < EPOCH_MAX)
        tables = {row[0]: row[1] for row in captured.rows if len(row) == 3 and row[2] == 1 and isinstance(row[1], str)}
        sane = len(entries) == len(outbox.rows) and len(starts) == len(timeline.rows) and len(tables) == len(captured.rows)
        whole = sane and timeline.whole and captured.whole and bool(entries) and bool(starts)
        return History(entries, tuple(starts), tables, whole, outbox.known_after)

    def _local(self, things: list[Thing | None]) -> frozenset[str]:
        tables = {thing.name for thing in things if thing is not None and thing.type == "table"}
        return frozenset(tables - set(self.history.captured.values()))


@dataclass(frozen=True, slots=True)
class _Internal:
    """Rows of a table of ours, whose first column is its rowid."""

    rows: list[tuple[Any, ...]]
    whole: bool
    known_after: float


def _thing(values: list[SQLValue]) -> Thing | None:
    if len(values) != 5:
        return None
    type, name, table, root, sql = values
    if not (isinstance(type, str) and isinstance(name, str) and isinstance(table, str) and isinstance(root, int)):
        return None
    return Thing(type, name, table, root, sql) if sql is None or isinstance(sql, str) else None


def _row(shape: Shape, record: Record) -> Row | None:
    """None if the record has more values than the table has columns."""
    if len(record.values) > len(shape.stored):
        return None
    row = list(shape.defaults)
    for place, value in zip(shape.stored, record.values, strict=False):
        if place is not None:
            row[place] = value
    if shape.alias is not None:
        row[shape.alias] = record.rowid
    return record.rowid, tuple(row)


def _breaks_not_null(shape: Shape, row: Row) -> bool:
    """Zeros over a page read as rows of NULL."""
    return any(value is None and not_null for value, not_null in zip(row[1], shape.not_null, strict=True))


def _fits(shape: Shape, record: Record) -> bool:
    """Whether a record may be a row of this table: its number of values, NULL where it may be, and roughly their types."""
    if shape.without_rowid or len(record.values) != len(shape.stored):
        return False
    return all(
        _may_be(shape, place, value) for place, value in zip(shape.stored, record.values, strict=True) if place is not None
    )


def _may_be(shape: Shape, place: int, value: SQLValue) -> bool:
    if place == shape.alias:
        return value is None
    if value is None:
        return not shape.not_null[place]
    type = shape.types[place]
    if "INT" in type:
        return isinstance(value, int)
    if any(word in type for word in ("CHAR", "CLOB", "TEXT")):
        return isinstance(value, str | bytes)
    if any(word in type for word in ("REAL", "FLOA", "DOUB")):
        return isinstance(value, int | float)
    return True


def _losses(tree: Tree, odd: int) -> list[str]:
    losses = [f"page {number:,} cannot be read{_between(low, high)}" for number, low, high in tree.lost]
    broken = tree.broken + odd
    if broken:
        losses.append(f"{broken:,} row{'s' * (broken != 1)} cannot be read")
    if tree.garbled:
        losses.append(f"{tree.garbled:,} row{'s' * (tree.garbled != 1)} with characters that are lost")
    return losses


def _between(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" (rows behind rowid {low})"
    return f" (rows up to rowid {high})" if low is None else f" (rows behind rowid {low}, up to {high})"
