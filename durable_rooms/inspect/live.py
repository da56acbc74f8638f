"""What the running process says of itself: the status file, read with suspicion. It may be old, half a version away, or gone."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from durable_rooms.status_file import FORMAT, HEARTBEAT_SECONDS, STATUS_FILE

STATUS_BYTES_MAX = 4 * 1024 * 1024  # it has 2 KiB; thousands of parked rooms may swell it
LATE_SECONDS = 4 * HEARTBEAT_SECONDS  # three beats missed: the process stands still, or the number is another process's by now


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The last status file of a process.

    Attributes:
      age_seconds: since it was written; a process without news writes one every 5 s.
      failure: why the runtime stopped itself, if it did.
      figures: the runtime's Status as JSON has it; fields differ by version.
      limits: the process's Limits, likewise.
    """

    pid: int
    started: float
    written: float
    age_seconds: float
    failure: str | None
    commits_per_second: float
    rounds_per_second: float
    figures: Mapping[str, Any]
    limits: Mapping[str, Any]

    @property
    def late(self) -> bool:
        return self.age_seconds > LATE_SECONDS

    @property
    def replicas(self) -> list[Mapping[str, Any]]:
        """The figures of its replicas."""
        replicas = self.figures.get("replicas")
        return [mapping(one) for one in cast(list[object], replicas)] if isinstance(replicas, list) else []

    @property
    def replica(self) -> Mapping[str, Any] | None:
        """Those of the first one."""
        return next(iter(self.replicas), None)

    def number(self, name: str) -> float:
        """One of the runtime's figures; 0 where this version of it has none."""
        return number(self.figures, name)


def live(data: Path) -> Live | None:
    """None where there is no status file that can be understood: no process, or one of another version."""
    try:
        with (data / STATUS_FILE).open("rb") as file:
            said = json.loads(file.read(STATUS_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return None
    said = mapping(said)
    return of(said) if said.get("format") == FORMAT else None


def of(said: Mapping[str, Any]) -> Live:
    written = number(said, "written")
    return Live(
        pid=int(number(said, "pid")),
        started=number(said, "started"),
        written=written,
        age_seconds=max(0.0, time.time() - written),
        failure=failure if isinstance(failure := said.get("failure"), str) else None,
        commits_per_second=number(said, "commits_per_second"),
        rounds_per_second=number(said, "rounds_per_second"),
        figures=mapping(said.get("status")),
        limits=mapping(said.get("limits")),
    )


def number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    return value if isinstance(value, int | float) else 0


def mapping(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}
