"""The front door: a runtime of rooms with its replica."""

import logging
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import actors
from actors import Actor, Doors, Limits, NoFollower, Room, RoomName
from actors.room import closed
from durable_rooms.doorway import Doorway
from durable_rooms.dumping import Dumped, dump_open, unknown
from durable_rooms.hatch.server import Hatch
from durable_rooms.signals import Termination
from durable_rooms.status_file import StatusFile
from replication import ReplicaStatus, Replicator, SQLiteReplica

logger = logging.getLogger("durable_rooms")


@dataclass(frozen=True, slots=True)
class Status(actors.RuntimeStatus):
    """Counters of a runtime and of its replicas, at one moment."""

    replicas: tuple[ReplicaStatus, ...]


class Runtime(actors.Runtime):
    """Rooms of one data directory, and their replica."""

    termination: Termination | None = None  # of this runtime, once somebody waits for it

    async def until_terminated(self) -> signal.Signals:
        """Wait for SIGTERM or SIGINT (Ctrl-C), and return it: let the body of `open_runtime` end then, and the runtime drains.

        From this call to the end of `open_runtime` both signals are the runtime's: Ctrl-C raises no KeyboardInterrupt. Another
        one after the first, while the service stops, ends the process at once with exit code 128 + its number, even if a handler
        blocks the loop. Before this call SIGTERM kills, as ever. Nothing acknowledged is lost either way.

        Raises:
          RuntimeError: outside the main thread.
        """
        if self.termination is None:
            self.termination = Termination()
        return await self.termination.first()

    @property
    def _replicators(self) -> tuple[Replicator, ...]:
        return (self.follower,) if isinstance(self.follower, Replicator) else ()

    async def replicated(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the deadline is part of the error's text
        """Wait until everything acknowledged so far is in the replica (for tests and scripts). Returns at once without replicas.

        Raises:
          ReplicationLate: not within `timeout` seconds; the message says how far behind and why.
        """
        for replicator in self._replicators:
            await replicator.replicated(timeout)

    async def dump(self, room: Room[Any], path: str | PathLike[str]) -> Dumped:
        """Copy a room, as it is at one moment, into a new SQLite file, while it works; the file is durable when this returns.

        Raises:
          FileExistsError: there is a file of this name; nothing is overwritten.
          RoomUnfit, RuntimeClosed: the room cannot be opened, was never called, or its copy does not pass SQLite's check.
          OutcomeUnknown, OSError, apsw.Error: no file was made.
        """
        name = RoomName(room.actor.__name__, room.id)
        if not self._admitting:
            raise closed(name)
        if self.catalog.get(name) is None:
            raise unknown(name)
        return await dump_open(self, name, Path(path))

    def status(self) -> Status:
        status = super().status()
        return Status(
            **{field.name: getattr(status, field.name) for field in fields(status)},
            replicas=tuple(replicator.status() for replicator in self._replicators),
        )

    def keep_status(self) -> None:
        """Write the status file from now to the stop."""
        self._nursery.start_soon(StatusFile(self).run)

    def open_hatch(self) -> None:
        """Take calls of other processes of this user from now to the stop."""
        self._nursery.start_soon(Hatch(self).run)


def open_runtime(
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica] = (),
    limits: Limits | None = None,
) -> AbstractAsyncContextManager[Runtime]:
    """Open a data directory (trio; for asyncio and plain code there are `durable_rooms.asyncio.open_runtime` and
    `durable_rooms.sync.open_runtime`, with the same arguments); it is made if it is missing.

    Args:
      path: the directory, on a local disk. One process owns it at a time.
      actors: the classes whose rooms may be called; a class's name identifies its rooms on disk.
      replicas: none, or one `SQLiteReplica()`.
    Raises:
      DataDirInUse: another process owns the directory; names its pid.
      DiskUnfit: the directory cannot hold rooms; says why.
      DiskFailed: the disk failed while the body ran; the runtime stopped and the body was cancelled.
      ValueError: two classes of one name, or more than one replica.
    An exception raised in the body leaves it as it is, never inside an ExceptionGroup.
    At the end it takes no more calls, lets those under way finish, brings the replica up to date (both within
    `drain_seconds_max`), closes every room, and logs in one line what was left. See `Runtime.until_terminated` for services.
    """
    return Doorway(_open(path, actors, replicas, limits))


@asynccontextmanager
async def _open(
    path: str | PathLike[str], actors: Sequence[type[Actor]], replicas: Sequence[SQLiteReplica], limits: Limits | None
) -> AsyncGenerator[Runtime]:
    async with open_with_doors(path, actors, replicas=replicas, limits=limits, doors=Doors()) as runtime:
        runtime.keep_status()
        runtime.open_hatch()
        yield runtime


@asynccontextmanager
async def open_with_doors(
    path: str | PathLike[str],
    actor_classes: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica],
    limits: Limits | None,
    doors: Doors,
) -> AsyncGenerator[Runtime]:
    """`open_runtime` with other doors out of the process: tests put their own clock, disk, chance and threads here."""
    if len(replicas) > 1:
        raise ValueError(f"one replica at most; {len(replicas)} were given")
    follower = Replicator(replicas[0]) if replicas else NoFollower()
    runtime: Runtime | None = None
    try:
        async with actors.open_house(Runtime, path, actor_classes, follower, limits or Limits(), doors) as runtime:
            yield runtime
    finally:
        if runtime is not None:
            if runtime.termination is not None:
                runtime.termination.give_back()
            _report(runtime)


def _report(runtime: Runtime) -> None:
    """One line on what the stop has left. None after a failure, which has an exception of its own."""
    left = runtime.left
    if left is None:
        return
    behind = [replica for replica in runtime.status().replicas if replica.lag_rooms]
    logger.log(
        logging.WARNING if left.refused or left.unknown or behind else logging.INFO,
        "stopped in %.2f s: %d calls refused, %d of unknown outcome; not in the replica yet: %s",
        left.seconds,
        left.refused,
        left.unknown,
        ", ".join(f"{one.lag_rooms} rooms with {one.lag_entries} changes (after the next start)" for one in behind) or "nothing",
    )
