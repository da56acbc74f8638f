"""`durable-rooms delete` and `durable-rooms load`: through the running process, or in the directory's files."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from actors import DataDirInUse, DiskUnfit, RoomExists, RoomIdInvalid, RoomsError, RoomUnfit
from durable_rooms.cli.recover import parsed
from durable_rooms.hatch.client import Lost, call_running
from durable_rooms.hatch.wire import Delete, Load
from durable_rooms.inspect.place import require
from durable_rooms.resting import delete_at_rest, load_at_rest
from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.words import shown

DONE, FAILED, WRONG = 0, 1, 2

LAGGING = "Its rows leave the replicas when the next process starts."


def delete_command(data: Path, room: str, *, yes: bool, as_json: bool) -> int:
    """Returns the exit code."""

    def work() -> tuple[bool, str]:
        name = parsed(room)
        require(data)
        if not yes and not typer.confirm(f"Delete {shown(str(name))}, for good, and its rows in every replica?", err=True):
            raise ValueError("nothing was deleted; --yes asks no questions")
        reply = call_running(data, Delete(name))
        if reply is None:
            return delete_at_rest(data, name), "directory"
        if reply.error:
            raise Lost(f"{reply.error}: {reply.message}", "unknown" if reply.ran == "unknown" else "no")
        return bool(reply.value), "process"

    def told(there: bool, through: str) -> str:
        if not there:
            return f"There is no room {shown(room)}; nothing was done."
        return f"{shown(room)} is deleted. {'Replicas follow.' if through == 'process' else LAGGING}"

    return _done("delete", room, work, told, as_json=as_json)


def load_command(data: Path, room: str, file: Path, *, replace: bool, as_json: bool) -> int:
    """Returns the exit code."""

    def work() -> tuple[bool, str]:
        name = parsed(room)
        require(data)
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
        reply = call_running(data, Load(name, str(file.absolute()), replace))
        if reply is None:
            load_at_rest(data, name, file, replace=replace)
            return True, "directory"
        if reply.error:
            raise Lost(f"{reply.error}: {reply.message}", "unknown" if reply.ran == "unknown" else "no")
        return True, "process"

    return _done("load", room, work, lambda _there, _through: f"{shown(room)} is loaded from {file}.", as_json=as_json)


def _done(
    command: str, room: str, work: Callable[[], tuple[bool, str]], told: Callable[[bool, str], str], *, as_json: bool
) -> int:
    try:
        done, through = work()
    except (NotADataDirectory, RoomIdInvalid, ValueError, FileNotFoundError, typer.Abort) as error:
        return _failed(command, str(error) or "not confirmed; --yes asks no questions", WRONG)
    except DataDirInUse as error:
        return _failed(command, f"{error} It does not listen: it has just started, is stopping, or is of another version", FAILED)
    except (Lost, RoomExists, RoomUnfit, RoomsError, DiskUnfit, OSError) as error:
        return _failed(command, str(error), FAILED)
    if as_json:
        print(json.dumps({"room": room, "done": done, "through": through}))
    else:
        print(told(done, through))
    return DONE


def _failed(command: str, why: str, code: int) -> int:
    print(f"durable-rooms {command}: {shown(why)}", file=sys.stderr)
    return code
