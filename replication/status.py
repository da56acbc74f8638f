"""What a replica says about itself: a snapshot for `runtime.status()`, and the tally it is made from."""

import logging
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from actors import RoomName
from replication.limits import LAG_SAMPLES, MIB, WAL_BYTES_TRUNCATED

logger = logging.getLogger("durable_rooms.replication")

State = Literal["starting", "live", "retrying", "hanging", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """A replica at one moment. A rising `lag_seconds` is the one figure to put an alarm on.

    Attributes:
      state: "starting" (not opened yet), "live", "retrying" (in trouble, see last_error), "hanging" (its file
        does not answer: a file system went away; goes on when it comes back), "refused" (the file is not a
        replica, or another runtime writes it).
      lag_seconds: age of the oldest change that is not in the replica; 0.0 when everything is.
      lag_rooms: rooms with changes that are not in the replica, and after a start those that may have some.
      lag_entries: outbox entries that are not in the replica, as far as rooms reported them.
      lag_p50_seconds: from a room's commit to the replica's, over the last 1,024 rooms-in-batch. lag_p99_seconds likewise.
      batches: replica transactions of this process, without resyncs.
      rows: rows written or deleted by batches.
      retries: times the replica was closed and opened again after a failure.
      resyncs: rooms copied whole, by reason: among them "audit" (the auditor found that it differs) and "repair" (asked for).
      audited: rooms that the auditor has looked at.
      parked: rooms whose rows the replica cannot take, with the reason; tried again every 60 s.
      last_error: the last failure of the replica or of reading a room; stays after recovery.
      last_batch: number of the newest batch in the replica; grows for the life of the file.
      wal_bytes: size of the replica's WAL. Far over 4 MiB: a reader has had a transaction open for long and pins it.
    """

    name: str
    path: Path
    state: State
    lag_seconds: float
    lag_entries: int
    lag_rooms: int
    lag_p50_seconds: float
    lag_p99_seconds: float
    batches: int
    rows: int
    retries: int
    resyncs: Mapping[str, int]
    audited: int
    parked: Mapping[RoomName, str]
    last_error: str | None
    last_batch: int
    wal_bytes: int


def _lag_samples() -> deque[float]:
    return deque(maxlen=LAG_SAMPLES)


@dataclass(slots=True)
class Tally:
    """The counters behind the status; the replicator's task is the only writer. Changes of state go to the log."""

    name: str
    state: State = "starting"
    batches: int = 0
    rows: int = 0
    retries: int = 0
    audited: int = 0
    last_batch: int = 0
    last_error: str | None = None
    resyncs: Counter[str] = field(default_factory=Counter[str])
    parked: dict[RoomName, str] = field(default_factory=dict[RoomName, str])
    lags: deque[float] = field(default_factory=_lag_samples)
    wal_pinned: bool = False  # and said so in the log

    def turn(self, state: State) -> None:
        if state == self.state:
            return
        before, self.state = self.state, state
        if state == "live":
            logger.info("replica %s: live (was %s), batch %d", self.name, before, self.last_batch)
        else:
            logger.warning("replica %s: %s (was %s): %s", self.name, state, before, self.last_error)

    def error(self, text: str) -> None:
        if text != self.last_error:
            self.last_error = text
            logger.debug("replica %s: %s", self.name, text)

    def park(self, room: RoomName, reason: str) -> None:
        if self.parked.get(room) != reason:
            logger.error("replica %s: %s is parked, its rows are refused: %s", self.name, room, reason)
        self.parked[room] = reason
        self.error(f"{room}: {reason}")

    def resynced(self, room: RoomName, reason: str) -> None:
        self.resyncs[reason] += 1
        self.parked.pop(room, None)

    def removed(self, room: RoomName, batch: int | None) -> None:
        """A deleted room; None: the replica had nothing of it."""
        self.parked.pop(room, None)
        if batch is not None:
            self.batches += 1
            self.last_batch = batch

    def wal(self, size: int) -> None:
        """Say it once while a reader keeps the WAL from beginning anew."""
        if size > WAL_BYTES_TRUNCATED and not self.wal_pinned:
            logger.warning(
                "replica %s: its WAL has %d MiB: a reader has kept a transaction open for long. End it, or the WAL grows on",
                self.name,
                size // MIB,
            )
        self.wal_pinned = size > WAL_BYTES_TRUNCATED

    def percentile(self, share: float) -> float:
        """The lag that `share` of the samples do not exceed; 0.0 without samples."""
        if not self.lags:
            return 0.0
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
