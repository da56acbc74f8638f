"""The doors: the only ways out of the process for everything that is not deterministic.

The clock is trio's (`trio.current_time`, `trio.sleep`). The others are here, as one value that a runtime is built with, so
that a simulator can replace each of them and the same actor classes run unchanged. Nothing else in `actors` or
`replication` may import `time`, `random`, `secrets`, `threading` or open a file (`tests/test_house.py` holds this).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Protocol, TypeVar

from actors.disk import Disk
from actors.threads import Threads, WorkerThreads

T = TypeVar("T")


class WallClock(Protocol):
    def __call__(self) -> float:
        """Unix seconds. May jump; order never depends on it."""
        ...


def seeded_random() -> Random:
    return Random(SystemRandom().getrandbits(128))


@dataclass(slots=True)
class Doors:
    """The real world by default."""

    disk: Disk = field(default_factory=Disk)
    threads: Threads = field(default_factory=WorkerThreads)
    wall_clock: Callable[[], float] = time.time
    random: Random = field(default_factory=seeded_random)
