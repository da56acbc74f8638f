"""`durable-rooms call`: one call from a shell, through the running process, or by opening the directory."""

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from actors import Actor, DataDirInUse, DiskFailed, DiskUnfit, RoomIdInvalid
from actors.statements.codec import by_value
from durable_rooms.cli.recover import parsed
from durable_rooms.hatch.client import Lost, call_running
from durable_rooms.hatch.direct import call_directory
from durable_rooms.hatch.wire import Reply, Request
from durable_rooms.inspect.place import require
from durable_rooms.inspect.status import replica_path
from durable_rooms.migrate import ActorsUnfit, catalogued, named, state
from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.words import shown

RETURNED, FAILED, WRONG = 0, 1, 2
RECURSION = 10_000  # frames; values nest 1,000 deep (actors/statements/codec.py), and as much as crosses is printed, too
USAGE = frozenset({"UnknownMethod", "BadArguments", "RoomIdInvalid"})  # errors of whoever typed the command


def call_command(
    data: Path, room: str, method: str, values: list[str], given: str | None, actors: list[str], *, as_json: bool
) -> int:
    """Returns the exit code."""
    sys.setrecursionlimit(RECURSION)
    try:
        require(data)
        args, by_name = by_value(([value_of(text) for text in values], names_of(given)))[0]
        request = Request(parsed(room), method, args, by_name)
        reply = call_running(data, request)
        through = "process"
        if reply is None:
            through = "directory"
            with redirect_stdout(sys.stderr):  # a handler may print
                reply = call_directory(data, class_of(data, request, actors), request, replica=replica_of(data))
    except (NotADataDirectory, RoomIdInvalid, ActorsUnfit, ValueError) as error:
        return failed(str(error), WRONG, room, as_json=as_json)
    except DataDirInUse as error:
        return failed(
            f"{error} It does not listen for calls: it has just started, is stopping, or is of another version",
            FAILED,
            room,
            as_json=as_json,
        )
    except Lost as error:
        return failed(str(error), FAILED, room, ran=error.ran, as_json=as_json)
    except (DiskUnfit, DiskFailed, OSError) as error:
        return failed(str(error), FAILED, room, as_json=as_json)
    return told(request, reply, through, as_json=as_json)


def value_of(text: str) -> Any:
    """Raises ValueError that says how to write text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{text!r} is not JSON ({error}); text wants its quotes: '{json.dumps(text)}'") from error


def names_of(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    values = value_of(given)
    if not isinstance(values, dict):
        raise ValueError(f'--named wants a JSON object, {{"limit": 10}}, not {given}')
    return cast(dict[str, Any], values)


def class_of(data: Path, request: Request, actors: list[str]) -> type[Actor]:
    """Raises ActorsUnfit."""
    name = request.room.actor
    classes = named(actors) if actors else catalogued(state(data).modules)
    if name in classes.known:
        return classes.known[name]
    why = classes.problems.get(name, f"no class {name} was ever run on {data}, as far as its catalog says")
    raise ActorsUnfit(f"{name} cannot be had: {why}. No process runs on {data}; name the class with --actors MODULE:Class.")


def replica_of(data: Path) -> Path | None:
    replica = replica_path(data)
    return replica if replica.is_file() else None


def told(request: Request, reply: Reply, through: str, *, as_json: bool) -> int:
    if reply.error:
        code = WRONG if reply.error in USAGE else FAILED
        return failed(reply.message, code, str(request.room), ran=reply.ran, kind=reply.error, as_json=as_json)
    value = plain(reply.value)
    if as_json:
        about = {"room": str(request.room), "method": request.method, "through": through, "seq": reply.seq}
        print(json.dumps(about | {"value": value, "error": None}))
    else:
        print(json.dumps(value, indent=2))
    return RETURNED


def failed(why: str, code: int, room: str, *, ran: str = "no", kind: str | None = None, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"room": room, "value": None, "error": {"type": kind, "message": why, "ran": ran}}))
    head = f"{kind}: " if kind is not None else ""
    print(f"durable-rooms call: {head}{shown(why)} [ran: {ran}]", file=sys.stderr)
    return code


def plain(value: Any) -> Any:
    """As JSON has it: bytes as hexadecimal digits, times as ISO 8601, keys as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(one) for one in cast(list[Any], value)]
    if isinstance(value, Mapping):
        return {
            key.hex() if isinstance(key, bytes) else str(key): plain(one) for key, one in cast(Mapping[Any, Any], value).items()
        }
    return value
