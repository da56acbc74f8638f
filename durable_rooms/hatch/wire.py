"""Requests and replies: one msgpack value each way, its length in four bytes before it. Before both, the server greets: a client
sends nothing to one that does not answer.

greeting b"durable-rooms 1\\n"
request  [1, "Class/id", method, [args…], {named}]   or   [1, "recopy", "Class/id"]   or   [1, "delete", "Class/id"]
         or   [1, "load", "Class/id", path, replace]
reply    [1, "value", value, seq]   or   [1, "error", type, message, ran]
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgpack
import trio

from actors.actor import Actor
from actors.errors import BadArguments, ReplicationLate, RoomsError
from actors.names import RoomName
from actors.runtime import Runtime
from actors.statements.codec import no_extension
from replication import Replicator, replicators_of

VERSION = 1
GREETING = b"durable-rooms %d\n" % VERSION
HEAD = struct.Struct(">I")
HEAD_ROOM = 8_192  # bytes of a request beside its arguments: room, method, names
REPLY_BYTES_MAX = 1 << 30  # that a client takes; the runtime's own result_bytes_max is far below

_msgpack: Any = msgpack  # its stubs leave types open
_pack = cast(Callable[..., bytes], _msgpack.packb)
_unpack = cast(Callable[..., Any], _msgpack.unpackb)


class Garbled(ValueError):
    """What came over the socket is no message of ours."""


@dataclass(frozen=True, slots=True)
class Request:
    room: RoomName
    method: str
    args: list[Any]
    named: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recopy:
    """Copy a room whole into the replica: it is not there as it is."""

    room: RoomName


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a room; the value of the reply: whether there was one."""

    room: RoomName


@dataclass(frozen=True, slots=True)
class Load:
    """Make a room from the file at this path, which is absolute."""

    room: RoomName
    path: str
    replace: bool


Asked = Request | Recopy | Delete | Load


@dataclass(frozen=True, slots=True)
class Reply:
    """`error` is "" for a call that returned; else the exception's type, with its message, and whether it ran."""

    value: Any = None
    seq: int = 0
    error: str = ""
    message: str = ""
    ran: str = ""


async def ask(runtime: Runtime, request: Asked) -> Reply:
    """Do what is asked; every exception becomes a reply."""
    if isinstance(request, Request):
        return await _call(runtime, request)
    if isinstance(request, Delete | Load):
        return await _rule(runtime, request)
    try:
        replicators = replicators_of(runtime.follower)
        if not replicators:
            raise BadArguments("this process has no replica. Nothing ran.")
        if request.room.actor not in runtime.classes or runtime.catalog.get(request.room) is None:
            raise BadArguments(f"there is no room {request.room} here. Nothing ran.")
        await _recopied(replicators, request.room)
    except RoomsError as error:
        return Reply(error=type(error).__name__, message=str(error), ran=error.ran)
    return Reply()


async def _rule(runtime: Runtime, request: Delete | Load) -> Reply:
    """What is done to a room; every exception becomes a reply."""
    try:
        room = runtime.room(_class(runtime, request.room), request.room.id)
        if isinstance(request, Delete):
            return Reply(await runtime.delete(room))
        await runtime.load(room, request.path, replace=request.replace)
    except Exception as error:
        return Reply(error=type(error).__name__, message=_words(error), ran=error.ran if isinstance(error, RoomsError) else "no")
    return Reply()


def _class(runtime: Runtime, name: RoomName) -> type[Actor]:
    """Raises BadArguments."""
    actor = runtime.classes.get(name.actor)
    if actor is None:
        raise BadArguments(f"there is no class {name.actor} here; there are: {', '.join(runtime.classes)}. Nothing ran.")
    return actor


async def _recopied(replicators: Sequence[Replicator], room: RoomName) -> None:
    """Into each replica at once: one that is away holds up no other. Raises ReplicationLate."""
    late: list[str] = []

    async def into(replicator: Replicator) -> None:
        try:
            await replicator.recopy(room, "repair")
        except ReplicationLate as error:
            late.append(str(error))

    async with trio.open_nursery() as nursery:
        for replicator in replicators:
            nursery.start_soon(into, replicator)
    if late:
        raise ReplicationLate("; ".join(sorted(late)))


async def _call(runtime: Runtime, request: Request) -> Reply:
    """Call the room; every exception becomes a reply."""
    try:
        actor = _class(runtime, request.room)
        room = runtime.room(actor, request.room.id)
        _, handlers = runtime.address(actor, request.room.id)
        done = await room.ask(handlers.get(request.method).function, *request.args, **request.named)
    except Exception as error:
        ran = error.ran if isinstance(error, RoomsError) else "rolled back"
        return Reply(error=type(error).__name__, message=_words(error), ran=ran)
    return Reply(done.value, done.seq)


def _words(error: Exception) -> str:
    try:
        return str(error)
    except Exception as another:  # whatever a class of the user's does there
        return f"(what it says cannot be had: its text raised {type(another).__name__})"


def request_bytes(request: Asked) -> bytes:
    if isinstance(request, Recopy):
        return _framed([VERSION, "recopy", str(request.room)])
    if isinstance(request, Delete):
        return _framed([VERSION, "delete", str(request.room)])
    if isinstance(request, Load):
        return _framed([VERSION, "load", str(request.room), request.path, request.replace])
    return _framed([VERSION, str(request.room), request.method, request.args, request.named])


def reply_bytes(reply: Reply) -> bytes:
    if reply.error:
        return _framed([VERSION, "error", reply.error, reply.message.encode(errors="replace").decode(), reply.ran])
    return _framed([VERSION, "value", reply.value, reply.seq])


def request_of(content: bytes) -> Asked:
    """Raises Garbled."""
    message = _message(content)
    match message:
        case [1, str() as room, str() as method, list(), dict()] if "/" in room:
            actor, _, id = room.partition("/")
            args, named = cast(tuple[list[Any], dict[Any, Any]], tuple(message[3:]))
            if not all(isinstance(name, str) for name in named):
                raise Garbled("an argument's name is not text")
            return Request(RoomName(actor, id), method, args, named)
        case [1, "recopy" | "delete" as what, str() as room] if "/" in room:
            actor, _, id = room.partition("/")
            return {"recopy": Recopy, "delete": Delete}[what](RoomName(actor, id))
        case [1, "load", str() as room, str() as path, bool() as replace] if "/" in room:
            actor, _, id = room.partition("/")
            return Load(RoomName(actor, id), path, replace)
        case _:
            raise Garbled("this is no request; is the other side of another version?")


def reply_of(content: bytes) -> Reply:
    """Raises Garbled."""
    match _message(content):
        case [1, "value", value, int() as seq]:
            return Reply(value, seq)
        case [1, "error", str() as error, str() as message, str() as ran]:
            return Reply(error=error, message=message, ran=ran)
        case _:
            raise Garbled("this is no reply; is the other side of another version?")


def length_of(head: bytes, most: int, limit: str) -> int:
    """Raises Garbled that names the limit."""
    (length,) = HEAD.unpack(head)
    if length > most:
        raise Garbled(f"a message of {length:,} bytes; {limit} allows {most:,}")
    return length


def _framed(message: list[Any]) -> bytes:
    content = _pack(message, datetime=True)
    return HEAD.pack(len(content)) + content


def _message(content: bytes) -> Any:
    try:
        return _unpack(content, timestamp=3, strict_map_key=False, ext_hook=no_extension)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # a list as a key, a time beyond all years
        raise Garbled(f"this is not msgpack: {error}") from error
