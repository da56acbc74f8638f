"""What there is to read in a replica: its views, in which order their rows came, and which column is a time."""

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from durable_rooms.verify.files import columns, has, quoted

SAMPLE_ROWS = 20  # the newest ones: a column that is called like a time is looked at before it is believed

TIME_NAME = re.compile(r"(?:.*_)?(?:at|on|ts|time|timestamp|date|created|updated)", re.IGNORECASE)
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")
UNIX_SECONDS = (1e8, 1e10)  # 1973 to 2286; numbers outside are counts, durations or something else
UNIX_MILLISECONDS = (1e11, 1e13)  # the same years


@dataclass(frozen=True, slots=True)
class Time:
    """A column that says when a row was made. `modifier` and `divisor` are how SQLite's date functions read it."""

    column: str
    unit: str
    divisor: int = 1
    modifier: str | None = None

    def day(self) -> str:
        return self._of("date", quoted(self.column))

    def latest(self) -> str:
        """Of the rows of a group; `max` first, because it is quicker than a date of each row."""
        return self._of("datetime", f"max({quoted(self.column)})")

    def _of(self, function: str, value: str) -> str:
        divided = f"{value} / {self.divisor}.0" if self.divisor > 1 else value
        return f"{function}({divided}, '{self.modifier}')" if self.modifier else f"{function}({divided})"


@dataclass(frozen=True, slots=True)
class View:
    """One table of all rooms of one class.

    Attributes:
      columns: behind `room_id`.
      newest: the column by which newer rows come later, if any is known.
      rows_max: there are so many rows or fewer; known without counting.
    """

    name: str
    actor: str
    table: str
    columns: tuple[str, ...]
    newest: str | None
    time: Time | None
    rows_max: int


@dataclass(frozen=True, slots=True)
class Contents:
    """A replica at one moment. `internal`: the tables that are the replicator's own."""

    views: tuple[View, ...]
    internal: tuple[str, ...]


def contents(connection: sqlite3.Connection) -> Contents:
    """Of an open replica; also of one in its first moment, which has nothing yet."""
    tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    internal = tuple(name for name in tables if name.startswith("_"))
    if not has(connection, "_tables"):
        return Contents((), internal)
    variants: dict[str, list[tuple[str, str, str, str]]] = {}
    for base, actor, table, view, content in connection.execute(
        "SELECT base, actor, tbl, view, content FROM _tables ORDER BY rowid"
    ):
        variants.setdefault(view, []).append((base, actor, table, content))
    return Contents(tuple(view_of(connection, name, some) for name, some in sorted(variants.items())), internal)


def view_of(connection: sqlite3.Connection, name: str, variants: Sequence[tuple[str, str, str, str]]) -> View:
    base, actor, table, content = variants[-1]  # the newest version of the table
    names = tuple(column for column, _ in columns(connection, name))[1:]
    time = time_of(connection, base, [column for column, _ in columns(connection, base)][1:])
    return View(
        name=name,
        actor=actor,
        table=table,
        columns=names,
        newest=time.column if time is not None else number_of(content),
        time=time,
        rows_max=sum(rows_max(connection, variant) for variant, *_ in variants),
    )


def number_of(content: str) -> str | None:
    """The column that numbers the rows of a room, if its key is one: INTEGER PRIMARY KEY."""
    key, described, _ = json.loads(content)
    types: dict[str, str] = {column[0].casefold(): column[1].casefold() for column, _default in described}
    return str(key[0]) if len(key) == 1 and types.get(key[0].casefold()) == "integer" else None


def rows_max(connection: sqlite3.Connection, base: str) -> int:
    (last,) = connection.execute(f"SELECT max(rowid) FROM {quoted(base)}").fetchone()  # noqa: S608 - quoted
    return int(last or 0)


def time_of(connection: sqlite3.Connection, base: str, names: Sequence[str]) -> Time | None:
    """The first column that is called like a time and holds one in the rows that came last."""
    for name in names:
        if TIME_NAME.fullmatch(name):
            query = f"SELECT {quoted(name)} FROM {quoted(base)} ORDER BY rowid DESC LIMIT {SAMPLE_ROWS}"  # noqa: S608 - quoted
            values = [value for (value,) in connection.execute(query) if value is not None]
            found = {time_by(name, value) for value in values}
            if len(found) == 1 and (time := found.pop()) is not None:
                return time
    return None


def as_time(column: str, value: Any) -> str | None:
    """A number in a column that is called like a time, as people write it (UTC); None if it is none."""
    time = time_by(column, value) if TIME_NAME.fullmatch(column) else None
    if time is None or time.modifier is None:
        return None
    return datetime.fromtimestamp(value / time.divisor, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def time_by(name: str, value: Any) -> Time | None:
    match value:
        case int() | float() if UNIX_SECONDS[0] <= value < UNIX_SECONDS[1]:
            return Time(name, "Unix seconds, UTC", modifier="unixepoch")
        case int() | float() if UNIX_MILLISECONDS[0] <= value < UNIX_MILLISECONDS[1]:
            return Time(name, "Unix milliseconds, UTC", divisor=1_000, modifier="unixepoch")
        case str() if ISO_TIME.fullmatch(value):
            return Time(name, "a date and time as text")
        case _:
            return None
