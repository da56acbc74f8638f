"""Cells and records of SQLite's pages, every length and place checked before it is used.

https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 2.3. Text is UTF-8, no page has reserved bytes: rooms are made so.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from durable_rooms.recovery.pages import Image

SQLValue = None | int | float | str | bytes

LEAF_TABLE, INTERIOR_TABLE, LEAF_INDEX, INTERIOR_INDEX = 0x0D, 0x05, 0x0A, 0x02
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FIXED: dict[int, SQLValue] = {0: None, 8: 0, 9: 1}


class Broken(Exception):
    """These bytes are no cell, or no record."""


@dataclass(frozen=True, slots=True)
class Cell:
    child: int  # of an interior page
    rowid: int  # of a table
    payload: bytes


def varint(page: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, as it is written, and the place behind it."""
    value = 0
    for place in range(at, at + 8):
        if place >= len(page):
            raise Broken
        byte = page[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    if at + 8 >= len(page):
        raise Broken
    value = value << 8 | page[at + 8]
    return (value - (1 << 64) if value >= 1 << 63 else value), at + 9


def kind_of(page: bytes, number: int) -> int:
    return page[100 if number == 1 else 0]


def cell_places(page: bytes, number: int) -> list[int]:
    """Where the cells of a page begin, in their order; impossible ones are left to `cell`."""
    head = 100 if number == 1 else 0
    begin = head + (8 if page[head] in (LEAF_TABLE, LEAF_INDEX) else 12)
    (count,) = struct.unpack_from(">H", page, head + 3)
    count = min(count, (len(page) - begin) // 2)
    return list(struct.unpack_from(f">{count}H", page, begin))


def right_child(page: bytes, number: int) -> int:
    return struct.unpack_from(">I", page, (100 if number == 1 else 0) + 8)[0]


def cell(image: Image, page: bytes, kind: int, at: int, used: Callable[[int], None]) -> Cell:
    """One cell; `used` is told each overflow page.

    Raises:
      Broken: it reaches beyond its page, or its overflow pages end too early.
    """
    child = rowid = 0
    if at < 8 or at >= len(page) - 1:
        raise Broken
    if kind in (INTERIOR_TABLE, INTERIOR_INDEX):
        if at + 4 > len(page):
            raise Broken
        (child,) = struct.unpack_from(">I", page, at)
        at += 4
    if kind == INTERIOR_TABLE:
        rowid, _ = varint(page, at)
        return Cell(child, rowid, b"")
    size, at = varint(page, at)
    if kind == LEAF_TABLE:
        rowid, at = varint(page, at)
    return Cell(child, rowid, _payload(image, page, kind, size, at, used))


def _payload(image: Image, page: bytes, kind: int, size: int, at: int, used: Callable[[int], None]) -> bytes:
    usable = len(page)
    most = usable - 35 if kind == LEAF_TABLE else (usable - 12) * 64 // 255 - 23
    if not 0 < size <= image.count * usable:
        raise Broken
    if size <= most:
        if at + size > usable:
            raise Broken
        return page[at : at + size]
    least = (usable - 12) * 32 // 255 - 23
    here = least + (size - least) % (usable - 4)
    here = here if here <= most else least
    if at + here + 4 > usable:
        raise Broken
    parts, left = [page[at : at + here]], size - here
    (number,) = struct.unpack_from(">I", page, at + here)
    seen: set[int] = set()
    while left > 0:
        more = image.page(number)
        if more is None or number in seen:
            raise Broken
        seen.add(number)
        used(number)
        parts.append(more[4 : 4 + min(left, usable - 4)])
        left -= usable - 4
        (number,) = struct.unpack_from(">I", more)
    return b"".join(parts)


def values(payload: bytes) -> tuple[list[SQLValue], bool]:
    """The values of a record, and whether every text in it is UTF-8; what is not becomes U+FFFD.

    Raises:
      Broken: its header does not describe exactly these bytes.
    """
    head, at = varint(payload, 0)
    if not at <= head <= len(payload):
        raise Broken
    found: list[SQLValue] = []
    clean, body = True, head
    while at < head:
        serial, at = varint(payload, at)
        value, body = _value(payload, serial, body)
        if isinstance(value, str) and "\ufffd" in value:
            clean = clean and _is_utf8(payload, serial, body)
        found.append(value)
    if at != head or body != len(payload):
        raise Broken
    return found, clean


def _value(payload: bytes, serial: int, at: int) -> tuple[SQLValue, int]:
    if serial in _FIXED:
        return _FIXED[serial], at
    if serial in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[serial]
        value: SQLValue = int.from_bytes(payload[at:end], "big", signed=True)
    elif serial == 7:
        end = at + 8
        value = struct.unpack(">d", payload[at:end].rjust(8, b"\0"))[0]
        if value != value:
            raise Broken  # SQLite stores no NaN
    elif serial >= 12:
        end = at + (serial - 12) // 2
        value = payload[at:end].decode("utf-8", "replace") if serial & 1 else payload[at:end]
    else:
        raise Broken
    if end > len(payload):
        raise Broken
    return value, end


def _is_utf8(payload: bytes, serial: int, end: int) -> bool:
    try:
        payload[end - (serial - 12) // 2 : end].decode()
    except UnicodeDecodeError:
        return False
    return True
