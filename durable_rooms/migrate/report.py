"""What a sweep or a rehearsal did. No logic beyond counting."""

import signal
from dataclasses import dataclass, field
from typing import Literal

FAILURES_KEPT_MAX = 1_000  # with their reasons, 300 bytes each; all are counted

Phase = Literal["opening", "rooms", "replica", "closing"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A room that could not be brought to the newest version; it is as it was before."""

    room: str
    error: str  # the kind: MigrationFailed, RoomUnfit, …
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaLeft:
    """How far the replica is at the end, by positions, when everything is closed.

    Attributes:
      behind: rooms whose last changes it lacks; they wait in the rooms for the next start.
      unreadable: why that is not known. last_error: of the replicator.
    """

    behind: int
    unreadable: str | None
    last_error: str | None

    @property
    def up_to_date(self) -> bool:
        return not self.behind and self.unreadable is None


@dataclass(slots=True, kw_only=True)
class Sweep:
    """A sweep, under way or done.

    Attributes:
      todo: rooms that were behind, or of a version that only their file tells, when it began.
      done: rooms that it brought to the newest version, or found there.
      failures: the first of those that failed. failed: how many did.
      replica: None if no replica was brought along.
      replica_rows: that were brought over, so far.
      interrupted: by which signal. stopped: why it could not go on.
    """

    todo: int
    phase: Phase = "opening"
    done: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list[Failure])
    seconds: float = 0.0
    replica: ReplicaLeft | None = None
    replica_rows: int = 0
    interrupted: signal.Signals | None = None
    stopped: str | None = None

    @property
    def rooms_per_second(self) -> float:
        return (self.done + self.failed) / self.seconds if self.seconds else 0.0

    def fail(self, room: str, error: Exception) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT_MAX:
            self.failures.append(Failure(room, type(error).__name__, str(error)))


@dataclass(slots=True)
class Tried:
    """Rooms of one class and version whose copies were migrated.

    Attributes:
      newest: to which version they were brought. rooms: how many such rooms there are.
      seconds: of each copy that went well, alone.
    """

    actor: str
    version: int
    newest: int
    rooms: int
    seconds: list[float] = field(default_factory=list[float])
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list[Failure])

    @property
    def behind(self) -> bool:
        """Or of a version that only the files tell."""
        return self.version < self.newest

    @property
    def typical(self) -> float | None:
        """The median."""
        ordered = sorted(self.seconds)
        return ordered[(len(ordered) - 1) // 2] if ordered else None


@dataclass(slots=True)
class Rehearsal:
    """A dry run. `estimate`: seconds of the whole sweep, about; None where nothing went well."""

    tried: list[Tried] = field(default_factory=list[Tried])
    bytes: int = 0
    seconds: float = 0.0
    estimate: float | None = None
    interrupted: signal.Signals | None = None

    @property
    def failures(self) -> list[Failure]:
        return [failure for one in self.tried for failure in one.failures]

    @property
    def copies(self) -> int:
        return sum(len(one.seconds) + len(one.failures) for one in self.tried)
