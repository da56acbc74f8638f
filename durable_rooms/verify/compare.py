"""Compare two ordered streams of rows, one row in memory at a time. Pure: knows nothing of files.

Two values are equal when SQLite stores them equally: 1, 1.0 and '1' are three values, NULL equals NULL, text and blobs
are compared byte by byte. That is stricter than Python's `==`, for which 1 == 1.0.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

SQLValue = None | int | float | str | bytes
Row = tuple[SQLValue, ...]


class Pair(NamedTuple):
    """One key where the two sides do not hold the same row; None: no such row on that side."""

    key: Row
    left: Row | None
    right: Row | None


def same(left: Row, right: Row) -> bool:
    return left == right and all(type(a) is type(b) for a, b in zip(left, right, strict=True))


def order(row: Row) -> tuple[tuple[int, int | float | bytes], ...]:
    """SQLite's order of a key: NULL, then numbers by value, then text and blobs by their bytes.

    Text is ordered by its UTF-8, where Python would compare code points (lone surrogates stand for undecodable bytes).
    """
    return tuple(map(rank, row))


def rank(value: SQLValue) -> tuple[int, int | float | bytes]:
    if value is None:
        return 0, 0
    if isinstance(value, str):
        return 2, value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return 3, value
    return 1, value


def unequal(left: Iterable[Row], right: Iterable[Row], key_of: Callable[[Row], Row], seen: Callable[[], None]) -> Iterator[Pair]:
    """Every key at which the streams differ. Both must come in `order` of their keys; `seen` is called for each row of `left`."""
    lefts, rights = iter(left), iter(right)
    a, b = next(lefts, None), next(rights, None)
    while a is not None or b is not None:
        if a is not None and b is not None and same(a, b):  # nearly always, and the only path that must be fast
            seen()
            a, b = next(lefts, None), next(rights, None)
            continue
        key_a = key_of(a) if a is not None else None
        key_b = key_of(b) if b is not None else None
        step = sides(key_a, key_b)
        key = key_a if step <= 0 else key_b
        assert key is not None
        yield Pair(key, a if step <= 0 else None, b if step >= 0 else None)
        if step <= 0:
            seen()
            a = next(lefts, None)
        if step >= 0:
            b = next(rights, None)


def sides(left: Row | None, right: Row | None) -> int:
    """Which side has the smaller key: -1 left, 1 right, 0 both the same. A side that has ended is the greater one."""
    if left is None or right is None:
        return 1 if left is None else -1
    a, b = order(left), order(right)
    return (a > b) - (a < b)
