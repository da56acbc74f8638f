"""A call without a process: open the directory, call, close it in order."""

from pathlib import Path

import trio

import actors
from actors import Actor, Doors, Limits
from durable_rooms.caretaker import Caretaker
from durable_rooms.hatch.wire import Reply, Request, ask
from durable_rooms.migrate.sweep import KeepAll
from replication import Replicator, SQLiteReplica

ROOMS_MAX = 16  # one is called; it may wait for a place that the replicator's visits take


def call_directory(data: Path, actor: type[Actor], request: Request, *, replica: Path | None) -> Reply:
    """Call a room of this class; the replica, if one is given, has it when this returns. Blocks.

    Raises:
      DataDirInUse: a process runs on it. DiskUnfit, DiskFailed.
    """
    return trio.run(_call, data, actor, request, replica)


async def _call(data: Path, actor: type[Actor], request: Request, replica: Path | None) -> Reply:
    follower = Replicator(SQLiteReplica(replica)) if replica is not None else KeepAll()
    limits = Limits(open_rooms_max=ROOMS_MAX)
    async with actors.open_house(Caretaker, data, [actor], follower, limits, Doors()) as runtime:
        return await ask(runtime, request)
