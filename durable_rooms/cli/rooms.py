"""`durable-rooms rooms`: the catalog as lines, written as they are read."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from durable_rooms.inspect import NotADataDirectory, Selection, Sums, rooms, sums
from durable_rooms.inspect.catalog import RoomRow
from durable_rooms.inspect.words import size, span
from durable_rooms.verify.words import counted, shown

FINE, WRONG = 0, 2

STATES = {"active": "active", "unproven": "newborn", "behind": "behind in migrations", "sick": "SICK"}
WIDE = 100  # columns of a terminal from which the creation is shown, too
ID_CELLS_MIN = 12


@dataclass(frozen=True, slots=True)
class Column:
    head: str
    cells: int
    of: Callable[[RoomRow, float], str]


def rooms_command(data: Path, selection: Selection, *, as_json: bool) -> int:
    """Returns the exit code."""
    try:
        of_text(selection)
        if selection.after and selection.actor is None:
            selection = of_only_class(data, selection)
        found = rooms(data, selection)
        if as_json:
            for room in found:
                print(json.dumps(asdict(room)))
        else:
            show(data, selection, found)
    except (NotADataDirectory, SelectionUnfit) as error:
        print(f"durable-rooms rooms: {error}", file=sys.stderr)
        return WRONG
    return FINE


class SelectionUnfit(Exception):
    """It does not say which rooms."""


def of_text(selection: Selection) -> None:
    """An argument of a shell may be any bytes."""
    for text in (selection.actor or "", selection.prefix, selection.after):
        if any("\ud800" <= one <= "\udfff" for one in text):
            raise SelectionUnfit(f"{shown(text)} is not UTF-8, and every id is.")


def of_only_class(data: Path, selection: Selection) -> Selection:
    classes = [one.actor for one in sums(data)]
    if len(classes) > 1:
        raise SelectionUnfit(f"--after needs --actor, since there are several classes here: {', '.join(map(shown, classes))}.")
    return replace(selection, actor=classes[0] if classes else "")


# -- lines ----------------------------------------------------------------------------------------------------------
def show(data: Path, selection: Selection, found: Iterable[RoomRow]) -> None:
    console = Console()
    columns = columns_for(console.width)
    cells = max(ID_CELLS_MIN, console.width - sum(column.cells + 2 for column in columns))
    actor, count, last = None, 0, None
    now = time.time()
    for room in found:
        if room.actor != actor:
            if actor is not None:
                print()
            actor = room.actor
            print(shown(actor))
            print(line("ID", (column.head for column in columns), columns, cells))
        print(line(fitted(room.id, cells, console), (column.of(room, now) for column in columns), columns, cells))
        if room.sick is not None:
            print(f"    {shown(room.sick)}")
        count += 1
        last = room
    if count:
        print()
    for text in told(sums(data), selection, count, last):
        print(text)


def columns_for(width: int) -> list[Column]:
    return COLUMNS if width >= WIDE else COLUMNS[:-1]


def line(first: str, rest: Iterable[str], columns: list[Column], cells: int) -> str:
    first += " " * max(0, cells - cell_len(first))
    return "  ".join([first, *(text.rjust(column.cells) for text, column in zip(rest, columns, strict=True))])


def fitted(id: str, cells: int, console: Console) -> str:
    """An id on a terminal: harmless, and cut to its column. Elsewhere whole, for whoever searches through the lines."""
    text = shown(id)
    if not console.is_terminal or cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + "…"


def state(room: RoomRow) -> str:
    if room.sick is not None:
        return "SICK"
    if not room.proven:
        return "newborn"
    return "active" if room.active else "at rest"


def age(at: float | None, now: float) -> str:
    return "?" if at is None else f"{span(now - at)} ago"


COLUMNS = [
    Column("STATE", 8, lambda room, now: state(room)),
    Column("SEQ", 10, lambda room, now: f"{room.seq:,}"),
    Column("SCHEMA", 6, lambda room, now: "?" if room.version is None else str(room.version)),
    Column("SIZE", 9, lambda room, now: size(room.bytes)),
    Column("LAST ACTIVE", 12, lambda room, now: age(room.last_active, now)),
    Column("CREATED", 12, lambda room, now: age(room.created, now)),
]


def told(all: list[Sums], selection: Selection, count: int, last: RoomRow | None) -> Iterable[str]:
    """The totals, and how to go on."""
    if not all:
        yield "No rooms yet."
        return
    whole = sum(one.rooms for one in all)
    listed = counted(whole, "room") if count == whole else f"{counted(count, 'room')} listed of {whole:,}"
    yield ", ".join([f"{listed} in {'1 class' if len(all) == 1 else f'{len(all):,} classes'}", *states(all)])
    if len(all) > 1:
        for one in all:
            yield f"  {shown(one.actor)}: {', '.join([counted(one.rooms, 'room'), *states([one])])}"
    if last is not None and count == selection.limit:
        here = (
            shlex.join([f"--actor={last.actor}", f"--after={last.id}"])
            if last.id.isprintable()
            else "--after and its id (--json)"
        )
        yield f"There may be more: {here}"


def states(some: list[Sums]) -> Iterable[str]:
    """What is to be said of the rooms of these classes, besides how many there are."""
    if known := sum(one.bytes or 0 for one in some):
        yield size(known)
    for name, word in STATES.items():
        if amount := sum(getattr(one, name) for one in some):
            yield f"{amount:,} {word}"
