"""The replica as a user describes it, and what can be wrong with its file."""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import apsw

from actors.reads.read import IN_ROOM
from replication.limits import WINDOW_SECONDS


@dataclass(frozen=True, slots=True, init=False)
class SQLiteReplica:
    """One shared read replica in a SQLite file: every replicated table of every room, with `room_id` in front.

    Args:
      path: the file; by default `replica.db` in the data directory. It is made when missing.
      window: seconds from a room's first change to the cut of a batch: less is fresher, more is cheaper.
      name: what status, log lines and replies call it. Each of several has its own.
      weight: its share of the reads that several replicas could answer alike; 0: only what no other can answer.
    """

    path: Path | None
    window: float
    name: str
    weight: float

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        window: float = WINDOW_SECONDS,
        name: str = "replica",
        weight: float = 1.0,
    ) -> None:
        if not 0.0 <= window <= 60.0:
            raise ValueError(f"SQLiteReplica: window is in seconds, from 0 to 60, not {window!r}")
        if not (math.isfinite(weight) and weight >= 0.0):
            raise ValueError(f"SQLiteReplica: weight is a share of the reads, from 0, not {weight!r}")
        if name in ("", IN_ROOM):
            raise ValueError(f"SQLiteReplica: replies name it where it answered, and {name!r} is no name for that")
        object.__setattr__(self, "path", None if path is None else Path(path))
        object.__setattr__(self, "window", float(window))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "weight", float(weight))


class ReplicaRefused(Exception):
    """The file at the path is not a replica of ours; it was left as it is."""


class ReplicaGone(Exception):
    """The file must be opened again: the path no longer names the one we have open, or nothing is open."""


class ReplicaDamaged(Exception):
    """The file is ours and cannot be read any more."""


class ReplicaHangs(Exception):
    """A job on the file shows no sign of life; nobody waits for what comes of it."""


class ReplicaForeign(Exception):
    """The file is a replica, but of other rooms than ours."""


# What says nothing about a room's rows: the replica is closed, opened again and read again (rule 24).
REPLICA_ERRORS = (
    apsw.AuthError,
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.ConnectionClosedError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.InternalError,
    apsw.InterruptError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    MemoryError,
    OSError,
    ReplicaDamaged,
    ReplicaForeign,
    ReplicaGone,
    ReplicaHangs,
    ReplicaRefused,
)
