"""`durable-rooms recover`: bring a sick room back, and say from what and what is missing."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from actors import DataDirInUse, DiskUnfit, RoomIdInvalid, RoomName
from actors.names import room_name
from durable_rooms.recovery import NotRecovered, Recovery, Source, recover
from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.words import counted, shown

RECOVERED, LOSSES, WRONG = 0, 1, 2


def recover_command(data: Path, room: str, source: Source | None, replica: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    try:
        report = recover(data, parsed(room), source=source, replica=replica)
    except (NotADataDirectory, RoomIdInvalid, ValueError) as error:
        print(f"durable-rooms recover: {shown(str(error))}", file=sys.stderr)
        return WRONG
    except (NotRecovered, DataDirInUse, DiskUnfit, OSError) as error:
        if as_json:
            print(json.dumps({"room": room, "recovered": False, "why": str(error)}))
        print(f"durable-rooms recover: {shown(room)} was not recovered: {shown(str(error))}", file=sys.stderr)
        return LOSSES
    if as_json:
        told = asdict(report) | {"recovered": not report.sound, "complete": report.complete, "rows": report.rows}
        print(json.dumps(told, default=str))
    else:
        show(report)
    return RECOVERED if report.complete else LOSSES


def parsed(room: str) -> RoomName:
    """Raises ValueError, RoomIdInvalid."""
    actor, slash, id = room.partition("/")
    if not (actor and slash and id):
        raise ValueError(f"{room!r} names no room; a room is named by its class and its id: ChatRoom/general")
    return room_name(actor, id)


def show(report: Recovery) -> None:
    room = shown(report.room)
    if report.sound:
        print(f"{room} is sound ({report.path}); nothing was done.")
        return
    sources = " and the ".join({"file": "damaged file", "replica": "replica"}[source] for source in report.sources)
    print(f"{room} is recovered from the {sources}: {counted(report.rows, 'row')}. Its schema is that of {shown(report.schema)}.")
    for table in report.tables:
        parts = [f"{table.from_file:,} from the file", f"{table.from_replica:,} from the replica"]
        if table.put_right:
            parts.append(f"{table.put_right:,} of these damaged in the file")
        if table.left_out:
            parts.append(f"{table.left_out:,} deleted ones left out")
        print(f"  {shown(table.name)}: {', '.join(parts)}")
    missing = [*report.missing, *(f"{table.name}: {text}" for table in report.tables for text in table.missing)]
    for head, texts in (("Damage that was found", report.damage), ("Missing, or perhaps missing", missing)):
        if texts:
            print(f"{head}:")
            for text in texts:
                print(f"  {shown(text)}")
    if not missing:
        print("Nothing is missing, as far as can be known.")
    if report.file is not None:
        print(f"The damaged file is kept: {report.file}")
    print("The room begins a new epoch; the replica copies it whole after the next start.")
