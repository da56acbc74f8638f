"""`durable-rooms dump`: a copy of one room, beside a process that may be at work on it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import apsw

from actors import DataDir, RoomIdInvalid, RoomName, RoomUnfit
from durable_rooms.cli.recover import parsed
from durable_rooms.dumping import Dumped, dump_beside
from durable_rooms.inspect.place import require
from durable_rooms.inspect.words import size
from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.files import Unreadable
from durable_rooms.verify.words import counted, shown

DUMPED, FAILED, WRONG = 0, 1, 2


def dump_command(data: Path, room: str, file: Path, *, as_json: bool) -> int:
    """Returns the exit code."""
    try:
        require(data)
        name = parsed(room)
        done = dump_beside(source_of(data, name), name, file)
    except (NotADataDirectory, RoomIdInvalid, ValueError, FileExistsError, NotADirectoryError) as error:
        return failed(error, WRONG)
    except (Unreadable, RoomUnfit, OSError, apsw.Error) as error:
        return failed(error, FAILED)
    print(json.dumps(asdict(done), default=str) if as_json else told(done))
    return DUMPED


def source_of(data: Path, name: RoomName) -> Path:
    path = DataDir.at(data).room(name)
    if not path.exists():
        raise Unreadable(
            f"{name} has no file: it was never called, or its file lies in quarantine (`durable-rooms rooms {data} --sick` tells)"
        )
    return path


def failed(error: Exception, code: int) -> int:
    print(f"durable-rooms dump: {shown(str(error))}. No file was made.", file=sys.stderr)
    return code


def told(done: Dumped) -> str:
    rows = counted(sum(done.rows.values()), "row")
    tables = counted(len(done.rows), "table")
    return f"{shown(done.room)} at seq {done.seq:,} of epoch {done.epoch}: {rows} in {tables}, {size(done.bytes)}, in {done.path}"
