"""The front door: a runtime of rooms with its replica."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import PathLike

import actors
from actors import Actor, Doors, Limits, NoFollower
from replication import ReplicaStatus, Replicator, SQLiteReplica


@dataclass(frozen=True, slots=True)
class Status(actors.RuntimeStatus):
    """Counters of a runtime and of its replicas, at one moment."""

    replicas: tuple[ReplicaStatus, ...]


class Runtime(actors.Runtime):
    """Rooms of one data directory, and their replica."""

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

    def status(self) -> Status:
        status = super().status()
        return Status(
            rooms_open=status.rooms_open,
            rounds=status.rounds,
            rooms_broken=status.rooms_broken,
            replicas=tuple(replicator.status() for replicator in self._replicators),
        )


@asynccontextmanager
async def open_runtime(
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica] = (),
    limits: Limits | None = None,
) -> AsyncGenerator[Runtime]:
    """Open a data directory (trio); it is made if it is missing.

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
    At the end it takes no more calls, lets those under way finish (`drain_seconds_max`), brings the replica up to date, and
    closes every room.
    """
    async with open_with_doors(path, actors, replicas=replicas, limits=limits, doors=Doors()) as runtime:
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
    async with actors.open_house(Runtime, path, actor_classes, follower, limits or Limits(), doors) as runtime:
        yield runtime
