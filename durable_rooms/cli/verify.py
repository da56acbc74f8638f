"""`durable-rooms verify`: compare, tell, and have what differs copied again."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.text import Text

from actors import DataDirInUse, DiskUnfit, RoomName
from durable_rooms.hatch.client import Lost
from durable_rooms.repairing import NotAtRest, Repair, repair
from durable_rooms.verify import Difference, Level, NotADataDirectory, Report, RoomEntry, verify
from durable_rooms.verify.compare import SQLValue
from durable_rooms.verify.words import counted, shown, told

EQUAL, DIFFERENT, WRONG = 0, 1, 2
BEHIND_NAMED_MAX = 5
FAILED_NAMED_MAX = 5
OF_LEVEL: Mapping[Level, str] = {
    "positions": " compared with the replica by position",
    "counts": " with {} compared with the replica by their number",
    "content": " with {} compared with the replica",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What to compare."""

    data: Path
    replica: Path | None
    level: Level
    sample: int | None
    seed: int


def verify_command(look: Look, *, repairing: bool, as_json: bool) -> int:
    """Returns the exit code."""
    console = Console(stderr=as_json, highlight=False)
    try:
        report = watched(look, console)
        done = repaired(look, report) if repairing and report.unequal else None
        after = None if done is None else looked_again(look, report) if done.copied else report
    except NotADataDirectory as error:
        print(f"durable-rooms verify: {error}", file=sys.stderr)
        return WRONG
    if as_json:
        print(
            json.dumps(
                as_object(report, look) | {"repair": None if done is None or after is None else repair_object(done, after)}
            )
        )
    else:
        show(console, report, look, hint=not repairing)
        if done is not None and after is not None:
            show_repair(console, done, after)
    healthy = after.healthy and not report.strangers if after is not None else report.healthy
    return EQUAL if healthy else DIFFERENT


def repaired(look: Look, report: Report) -> Repair:
    """Whatever goes wrong is told; the replica is no worse than before."""

    def names(rooms: list[RoomEntry]) -> list[RoomName]:
        return [RoomName(room.actor, room.id) for room in rooms]

    try:
        return repair(look.data, look.replica or look.data / "replica.db", names(report.unequal), names(report.ahead))
    except (DataDirInUse, DiskUnfit, Lost, NotAtRest, OSError) as error:
        return Repair(failed={str(room): str(error) for room in report.unequal})


def looked_again(look: Look, before: Report) -> Report:
    """At the rooms that differed."""
    return verify(look.data, look.replica, level=look.level, only=before.unequal)


def watched(look: Look, console: Console) -> Report:
    data, replica = look.data, look.replica
    if not console.is_terminal:
        return verify(data, replica, level=look.level, sample=look.sample, seed=look.seed)
    with console.status("reading the catalog") as status:

        def progress(report: Report, rooms: int) -> None:
            status.update(f"{report.rooms:,} of {counted(rooms, 'room')}, {counted(report.rows, 'row')}")

        return verify(data, replica, level=look.level, sample=look.sample, seed=look.seed, progress=progress)


def show(console: Console, report: Report, look: Look, *, hint: bool) -> None:
    compared = f"{rooms_of(report, look)}{OF_LEVEL[report.level].format(counted(report.rows, 'row'))}"
    if report.differing:
        console.print(Text.assemble(("NOT EQUAL  ", "bold red"), f"{compared}: {counted(report.differing, 'difference')}."))
        for difference in report.differences:
            console.print(Text(indent(told(difference), "  ")), soft_wrap=True)
        if (more := report.differing - len(report.differences)) > 0:
            console.print(f"  … and {more:,} more")
        if hint:
            console.print(
                "The rooms are the truth. `durable-rooms verify --repair` has those that differ copied again; to have the "
                "replica made anew from all of them: stop the runtime, remove replica.db*, start it."
            )
        if report.strangers:
            only = ", ".join(map(shown, report.strangers[:3]))
            console.print(
                Text(f"Rooms that only the replica knows stay there (those that were deleted go at the next start): {only}"),
                soft_wrap=True,
            )
    elif report.behind:
        console.print(Text.assemble(("BEHIND  ", "bold yellow"), f"{compared}: everything that was delivered is equal."))
    else:
        console.print(Text.assemble(("EQUAL  ", "bold green"), f"{compared}."))
    if report.behind:
        show_behind(console, report)


def rooms_of(report: Report, look: Look) -> str:
    if look.sample is None or report.rooms >= report.rooms_in_all:
        return counted(report.rooms, "room")
    share = report.rooms / report.rooms_in_all
    return f"{report.rooms:,} of {counted(report.rooms_in_all, 'room')} ({share:.1%}, --seed {look.seed})"


def show_repair(console: Console, done: Repair, after: Report) -> None:
    copied = counted(len(done.copied), "room")
    if after.healthy:
        console.print(Text.assemble(("REPAIRED  ", "bold green"), f"{copied} copied again from their files, and equal now."))
        return
    console.print(
        Text.assemble(("NOT REPAIRED  ", "bold red"), f"{copied} copied again; {len(after.unequal):,} still not equal.")
    )
    for room, why in list(done.failed.items())[:FAILED_NAMED_MAX]:
        console.print(Text(f"  {shown(room)}: {shown(why)}"), soft_wrap=True)
    if (more := len(done.failed) - FAILED_NAMED_MAX) > 0:
        console.print(f"  … and {counted(more, 'more room')}")


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


def as_object(report: Report, look: Look) -> dict[str, Any]:
    return {
        "data": str(report.data),
        "level": report.level,
        "rooms_in_all": report.rooms_in_all,
        "sample": look.sample,
        "seed": look.seed,
        "running_pid": report.running,
        "equal": report.equal,
        "rooms": report.rooms,
        "rows": report.rows,
        "behind": report.behind,
        "missing": report.missing,
        "differing": report.differing,
        "differing_rooms": [str(room) for room in report.unequal],
        "strangers": report.strangers,
        "differences": [difference_object(difference) for difference in report.differences],
    }


def repair_object(done: Repair, after: Report) -> dict[str, Any]:
    return asdict(done) | {"equal": after.equal, "differing_rooms": [str(room) for room in after.unequal]}


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
