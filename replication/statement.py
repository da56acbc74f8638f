"""Running statements: one per call, read to the end. `execute("a; b")` is lazy and would stop at the first row."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import apsw

from actors import SQLValue


def run(connection: apsw.Connection, statement: str, values: Sequence[SQLValue] = ()) -> list[tuple[Any, ...]]:
    untyped: Any = connection  # apsw's own annotations name a type that only Python 3.12 has
    return untyped.execute(statement, values).fetchall()


def run_many(connection: apsw.Connection, statement: str, rows: Iterable[Sequence[SQLValue]]) -> None:
    untyped: Any = connection
    untyped.executemany(statement, rows).fetchall()


def run_bulk(connection: apsw.Connection, statement: str, bulk: Mapping[int, str], rows: Iterable[Sequence[SQLValue]]) -> None:
    """As `run_many`, so many rows at once as `bulk` has statements for, the largest first."""
    for size, several in bulk.items():
        rows = iter(rows)
        while len(together := [*islice(rows, size)]) == size:
            run(connection, several, [*chain.from_iterable(together)])
        rows = together
    run_many(connection, statement, rows)


def scalar(connection: apsw.Connection, statement: str) -> Any:
    return run(connection, statement)[0][0]


def literal(value: SQLValue) -> str:
    """A value as SQL text, where a parameter cannot stand: in DDL."""
    untyped: Any = apsw
    return untyped.format_sql_value(value)
