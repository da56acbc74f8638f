"""The doors: the only ways out of the process for everything that is not deterministic.

The clock is trio's (`trio.current_time`, `trio.sleep`). The others are here, as one value that a runtime is built with, so
that a simulator can replace each of them and the same actor classes run unchanged. Nothing else in `actors` or
`replication` may import `time`, `random`, `secrets`, `threading` or open a file (`tests/test_house.py` holds this).
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Protocol, TypeVar

import trio

from actors.system.disk import Disk
from actors.system.libc import libc
from actors.system.threads import Lookout, NoLookout, ThreadLookout, Threads, WorkerThreads

T = TypeVar("T")


class WallClock(Protocol):
    def __call__(self) -> float:
        """Unix seconds. May jump; order never depends on it."""
        ...


def seeded_random() -> Random:
    return Random(SystemRandom().getrandbits(128))


def give_memory_back() -> None:
    """What is free goes back to the system, where the C library can (glibc). Blocks for 4 to 10 ms."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def stopwatch_of(threads: Threads) -> Callable[[], float]:
    return time.perf_counter if isinstance(threads, WorkerThreads) else trio.current_time


def lookout_of(threads: Threads) -> Lookout:
    return ThreadLookout() if isinstance(threads, WorkerThreads) else NoLookout()


@dataclass(slots=True)
class Doors:
    """The real world by default. Where the threads are not real, nobody looks at the loop, its time is trio's, and secrets are
    drawn from `random`."""

    disk: Disk = field(default_factory=Disk)
    threads: Threads = field(default_factory=WorkerThreads)
    wall_clock: Callable[[], float] = time.time
    random: Random = field(default_factory=seeded_random)
    give_memory_back: Callable[[], None] = give_memory_back
    secret: Callable[[int], bytes] = field(default=None)  # pyright: ignore[reportAssignmentType] - set below
    stopwatch: Callable[[], float] = field(default=None)  # pyright: ignore[reportAssignmentType] - set below
    lookout: Lookout = field(default=None)  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        # What nobody may guess; `random` may be guessed from what it gave.
        self.secret = self.secret or (secrets.token_bytes if isinstance(self.threads, WorkerThreads) else self.random.randbytes)
        self.stopwatch = self.stopwatch or stopwatch_of(self.threads)
        self.lookout = self.lookout or lookout_of(self.threads)
