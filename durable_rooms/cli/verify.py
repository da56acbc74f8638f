"""`durable-rooms verify`: compare, tell."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.text import Text

from durable_rooms.verify import Difference, NotADataDirectory, Report, verify
from durable_rooms.verify.compare import SQLValue
from durable_rooms.verify.words import counted, shown, told

EQUAL, DIFFERENT, WRONG = 0, 1, 2
BEHIND_NAMED_MAX = 5


def verify_command(data: Path, replica: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    console = Console(stderr=as_json, highlight=False)
    try:
        report = watched(data, replica, console)
    except NotADataDirectory as error:
        print(f"durable-rooms verify: {error}", file=sys.stderr)
        return WRONG
    if as_json:
        print(json.dumps(as_object(report)))
    else:
        show(console, report)
    return EQUAL if report.healthy else DIFFERENT


def watched(data: Path, replica: Path | None, console: Console) -> Report:
    if not console.is_terminal:
        return verify(data, replica)
    with console.status("reading the catalog") as status:

        def progress(report: Report, rooms: int) -> None:
            status.update(f"{report.rooms:,} of {counted(rooms, 'room')}, {counted(report.rows, 'row')}")

        return verify(data, replica, progress=progress)


def show(console: Console, report: Report) -> None:
    compared = f"{counted(report.rooms, 'room')} with {counted(report.rows, 'row')} compared with the replica"
    if report.differing:
        console.print(Text.assemble(("NOT EQUAL  ", "bold red"), f"{compared}: {counted(report.differing, 'difference')}."))
        for difference in report.differences:
            console.print(Text(indent(told(difference), "  ")), soft_wrap=True)
        if (more := report.differing - len(report.differences)) > 0:
            console.print(f"  … and {more:,} more")
        console.print(
            "The rooms are the truth. To have the replica made anew from them: stop the runtime, remove replica.db*, start it."
        )
    elif report.behind:
        console.print(Text.assemble(("BEHIND  ", "bold yellow"), f"{compared}: everything that was delivered is equal."))
    else:
        console.print(Text.assemble(("EQUAL  ", "bold green"), f"{compared}."))
    if report.behind:
        show_behind(console, report)


def show_behind(console: Console, report: Report) -> None:
    ranked = sorted(report.behind.items(), key=lambda item: -item[1])
    for room, changes in ranked[:BEHIND_NAMED_MAX]:
        new = " and not in the replica yet" if room in report.missing else ""
        console.print(Text(f"  {shown(room)} is behind by {counted(changes, 'change')}{new}"), soft_wrap=True)
    if len(ranked) > BEHIND_NAMED_MAX:
        console.print(f"  … and {counted(len(ranked) - BEHIND_NAMED_MAX, 'more room')}")
    if report.running is not None:
        console.print(
            Text(f"A runtime is at work here (pid {report.running}) and brings them over; this is no difference in content.")
        )
    else:
        console.print(
            Text("No runtime is at work here: the changes are in the rooms, and the next one that starts brings them over.")
        )


def as_object(report: Report) -> dict[str, Any]:
    return {
        "data": str(report.data),
        "running_pid": report.running,
        "equal": report.equal,
        "rooms": report.rooms,
        "rows": report.rows,
        "behind": report.behind,
        "missing": report.missing,
        "differing": report.differing,
        "differences": [difference_object(difference) for difference in report.differences],
    }


def difference_object(difference: Difference) -> dict[str, Any]:
    return {
        "room": difference.room,
        "table": difference.table,
        "key": row_object(difference.key),
        "in_room": row_object(difference.in_room),
        "in_replica": row_object(difference.in_replica),
        "note": difference.note,
    }


def row_object(row: Mapping[str, SQLValue] | None) -> dict[str, Any] | None:
    """JSON has no blobs: they become {"blob": hex}."""
    return (
        None
        if row is None
        else {name: {"blob": value.hex()} if isinstance(value, bytes) else value for name, value in row.items()}
    )
