"""The simulator's disk, with what tests of one moment ask of it: where in the record something happened."""

import errno
from fnmatch import fnmatch
from pathlib import Path

from durable_rooms.simulation.disk import SimulatedDisk
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.threads import SteppedThreads
from durable_rooms.simulation.world import World


class RecordingDisk(SimulatedDisk):
    """`before` is the world that an earlier process left."""

    def __init__(self, root: Path, threads: SteppedThreads | None = None, before: World | None = None) -> None:
        super().__init__(root, threads, before.copy() if before else None)

    def reply(self, what: str) -> None:
        """A caller is told something now."""
        self.note("reply", other=what)

    def fails(
        self, kind: str, pattern: str = "*", *, code: int = errno.EIO, by: str | None = None, first: int = 1, times: float = 1
    ) -> Fault:
        """Let operations fail (see Fault), and nothing but these."""
        return self.fail(Fault(kind, pattern, code, by, first, times, lost=False))

    def repair(self) -> None:
        self.faults.clear()

    def where(self, kind: str, pattern: str = "*", *, by: str | None = None, holding: bytes = b"") -> list[int]:
        """The places of matching events."""
        return [
            place
            for place, event in enumerate(self.events)
            if event.kind == kind and fnmatch(event.path, pattern) and by in (None, event.by) and holding in event.data
        ]
