"""A data directory with very many rooms, made fast: the runtime makes the first one, the others are copies of its file with
their own id inside, their own name outside, their row in the catalog and, on demand, theirs in the replica.

Each copy is what a born, posted-to and cleanly closed room leaves behind. Of the 100,000 times 36 KiB nothing is shared.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import trio

from actors.directory.catalog import Catalog, add
from actors.names import DataDir, RoomName
from actors.system.disk import Disk
from benchmarks import workload
from benchmarks.chat_room import ChatRoom
from durable_rooms import SQLiteReplica, open_runtime

ACTOR = "ChatRoom"
REPLICA_ROOM = """INSERT INTO _rooms (key, actor, id, epoch, seq, schema, settled, at)
    SELECT ?, actor, ?, epoch, seq, schema, settled, at FROM _rooms WHERE key = 1"""
REPLICA_ROWS = """INSERT INTO _ChatRoom_messages (_room, id, author, body, sent_at)
    SELECT ?, id, author, body, sent_at FROM _ChatRoom_messages WHERE _room = 1"""
TOLD_EVERY = 500  # rooms


def room_id(number: int) -> str:
    """All ids are of one length, so that the bytes of the first file can be patched."""
    return f"room-{number:07}"


async def make_rooms(path: Path, count: int, told: Callable[[float], None], *, replicated: bool, posts: int = 1) -> None:
    """A directory as after a clean stop, with `count` rooms of `posts` messages each; all of it durable."""
    replicas = [SQLiteReplica()] if replicated else []
    async with open_runtime(path, [ChatRoom], replicas=replicas) as runtime:
        room = runtime.room(ChatRoom, room_id(0))
        for line in workload.posts()[:posts]:
            await room.call(ChatRoom.post, line.author, line.body)
    await trio.to_thread.run_sync(_multiply, DataDir.at(path), count, told, replicated)


def _multiply(directory: DataDir, count: int, told: Callable[[float], None], replicated: bool) -> None:
    disk = Disk()
    _write_catalog(disk, directory, count)
    if replicated:
        _write_replica(directory.path / "replica.db", count)
    template = directory.room(RoomName(ACTOR, room_id(0))).read_bytes()
    before, found, after = template.partition(room_id(0).encode())
    assert found
    assert room_id(0).encode() not in after, "the id stands once in a room's file: in its table _room"
    for number in range(1, count):
        directory.room(RoomName(ACTOR, room_id(number))).write_bytes(before + room_id(number).encode() + after)
        if number % TOLD_EVERY == 0:
            told(number / count)
    sync(directory.path)


def _write_catalog(disk: Disk, directory: DataDir, count: int) -> None:
    catalog = Catalog.open(disk, directory.catalog)
    try:
        first = catalog.get(RoomName(ACTOR, room_id(0)))
        assert first is not None
        assert first.proven
        with catalog.writing() as connection:
            add(connection, (replace(first, name=RoomName(ACTOR, room_id(number))) for number in range(1, count)))
        catalog.checkpoint()
    finally:
        catalog.close()


def _write_replica(path: Path, count: int) -> None:
    connection = apsw.Connection(str(path))
    with connection:
        connection.executemany(REPLICA_ROOM, ((number + 1, room_id(number)) for number in range(1, count))).fetchall()
        connection.executemany(REPLICA_ROWS, ((number + 1,) for number in range(1, count))).fetchall()
    connection.close()


def sync(path: Path) -> None:
    """Make durable what is dirty, so that no later sync of somebody else's measurement has to."""
    disk = Disk()
    if not disk.has_syncfs:
        return
    fd = disk.open_directory(path)
    try:
        disk.sync_file_system(fd)
    finally:
        disk.close(fd)
