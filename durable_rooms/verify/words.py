"""Differences in words, with SQL's spelling of values, so that 1, 1.0 and '1' look different."""

import math
from collections.abc import Mapping

from durable_rooms.verify.compare import SQLValue
from durable_rooms.verify.report import Difference

VALUE_CHARACTERS_MAX = 60


def literal(value: SQLValue) -> str:
    """The value as SQL would write it, shortened, and safe to show on a terminal."""
    match value:
        case None:
            return "NULL"
        case bytes():
            half = VALUE_CHARACTERS_MAX // 2  # two digits a byte
            return f"x'{value.hex()}'" if len(value) <= half else f"x'{value[:half].hex()}…' ({len(value):,} bytes)"
        case str():
            text = shown(value[:VALUE_CHARACTERS_MAX]).replace("'", "''")
            return f"'{text}'" if len(value) <= VALUE_CHARACTERS_MAX else f"'{text}…' ({len(value):,} characters)"
        case float() if math.isinf(value):
            return "9e999" if value > 0 else "-9e999"
        case _:
            return repr(value)


def shown(name: str) -> str:
    """A room's id may be any text; on a terminal it must not be able to do anything."""
    return name if name.isprintable() else name.encode("unicode_escape", "surrogateescape").decode()


def listed(values: Mapping[str, SQLValue]) -> str:
    return ", ".join(f"{name} = {literal(value)}" for name, value in values.items())


def told(difference: Difference) -> str:
    """One difference: where it is, then what each side has, as far as they differ."""
    place = shown(difference.room) + (f", table {difference.table}" if difference.table else "")
    if difference.key is None:
        return f"{place}: {difference.note}"
    place = f"{place}, {listed(difference.key)}"
    here, there = difference.in_room, difference.in_replica
    if here is None or there is None:
        side, row = ("room", here) if here is not None else ("replica", there)
        return f"{place}\n  only the {side} has this row: {listed(row or {})}"
    differing = [name for name in here if (type(here[name]), here[name]) != (type(there[name]), there[name])]
    ours, theirs = (listed({name: row[name] for name in differing}) for row in (here, there))
    return f"{place}\n  the room has    {ours}\n  the replica has {theirs}"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
