"""How long the runtime's own syncs take: that decides how fast a single caller is, and it tells a sync that does nothing."""

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors import Disk
from actors.system.mount import Mount
from durable_rooms.doctor.finding import Finding, notice, ok, problem
from durable_rooms.inspect.words import milliseconds

MEASURE_SECONDS = 1.0  # each
SAMPLES_MIN, SAMPLES_MAX = 3, 2_000
POST_BYTES = 4_120  # a page and its header in a WAL: what a short message commits
FAST_SECONDS = 0.000_02  # no disk and no network answers in less; memory and a sync that does nothing do
SLOW_SECONDS = 0.010


@dataclass(frozen=True, slots=True)
class Latency:
    p50: float
    p99: float
    samples: int

    def __str__(self) -> str:
        return f"p50 {milliseconds(self.p50)}, p99 {milliseconds(self.p99)} ({self.samples:,} times)"


def syncs(disk: Disk, probe: Path, mount: Mount | None, seconds: float = MEASURE_SECONDS) -> Iterator[Finding]:
    """Measured in `probe`, a directory of ours."""
    with appending(disk, probe) as (fd, append):
        try:
            yield of_file(measured(append, lambda: disk.sync_data(fd), seconds), mount)
            if disk.has_syncfs:
                yield of_many("syncfs", measured(append, lambda: disk.sync_file_system(fd), seconds), "one sync for many rooms")
            yield of_many(
                "directory sync", measured(birth(disk, probe), lambda: disk.sync_directory(probe), seconds), "of a new room"
            )
        except OSError as error:
            yield problem("sync", f"fails: {error}", "Nothing can be made durable here.", "Look at the disk (`dmesg`, SMART).")


def of_file(latency: Latency, mount: Mount | None) -> Finding:
    """The sync of one room's WAL."""
    name, value = "sync", str(latency)
    if latency.p50 < FAST_SECONDS:
        if mount is not None and mount.memory:
            return notice(name, value, f"{mount.type} is memory; there is nothing to sync.")
        return problem(
            name,
            value,
            'No disk is that fast: it probably says "synced" without doing it, and a power cut would lose acknowledged posts.',
            "Look for eatmydata, sync=disabled, an emulated disk, a cache without a battery. With a battery all is well.",
        )
    if latency.p50 > SLOW_SECONDS:
        return notice(
            name, value, f"Slow: about {1 / latency.p50:,.0f} posts/s for one caller; many share a sync.", "Use an SSD."
        )
    return ok(name, value, f"About {1 / latency.p50:,.0f} posts/s for one caller at most; callers that wait together share one.")


def of_many(name: str, latency: Latency, what: str) -> Finding:
    if latency.p50 > SLOW_SECONDS:
        return notice(
            name, str(latency), f"Slow for {what}; other programs that write to this disk are waited for, too.", "Use an SSD."
        )
    return ok(name, str(latency), f"{what[0].upper()}{what[1:]}.")


def measured(prepare: Callable[[], None], sync: Callable[[], None], seconds: float) -> Latency:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < SAMPLES_MIN or (time.perf_counter() < end and len(taken) < SAMPLES_MAX):
        prepare()
        began = time.perf_counter()
        sync()
        taken.append(time.perf_counter() - began)
    taken.sort()
    return Latency(taken[len(taken) // 2], taken[min(len(taken) - 1, int(len(taken) * 0.99))], len(taken))


@contextmanager
def appending(disk: Disk, probe: Path) -> Generator[tuple[int, Callable[[], None]]]:
    """A file, and how to let it grow as a room's WAL does."""
    fd = disk.open(probe / "grows", create=True)
    page = os.urandom(POST_BYTES)

    def append() -> None:
        os.pwrite(fd, page, disk.size(fd))

    try:
        yield fd, append
    finally:
        disk.close(fd)


def birth(disk: Disk, probe: Path) -> Callable[[], None]:
    numbers = iter(range(1_000_000))
    return lambda: disk.close(disk.open(probe / f"born-{next(numbers)}", create=True))
