"""Measures: 10 minutes (--quick: 1) of mixed load, and what grows after the first minute (the first third): posts, reads, edits,
deletions, new rooms; rooms that leave for lack of places (100) and of calls (5 s); the replicator on; another process that
reads a room's file and holds a read transaction on the replica now and then; half-way the replica's file is deleted.

Growth is what a robust line through the samples surely rises over the measured time: its slope less 2.6 standard errors, times
that time. A rise that could be noise is none. What has a bound may fill up to it: page caches of replica (16 MB) and catalog
(2 MB), remembered positions (300 bytes a room): so RSS may grow by 24 MiB. The rest may not grow by more than one room's share.
WALs have a bound by design (128 KiB of a closed room, `wal_bytes_max` and a turn of an open one) and are held against that.

At the end every room is compared with the replica, row by row, by `verify`.

Ceilings: none.

Not measured: days, disks that fail, restarts (the crash tests do that).
"""

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter

import trio

from actors.storage.tidying import WAL_LEFT_BYTES_MAX, WALS_LEFT_MAX
from benchmarks.harness import Bench
from benchmarks.process import REPOSITORY, open_files, resident_bytes
from benchmarks.records import Record, Target
from benchmarks.soak_room import People, SoakRoom
from benchmarks.trends import trend
from durable_rooms import Limits, Runtime, SQLiteReplica, open_runtime
from durable_rooms.verify import verify

NAME = "soak"
PLACES, IDLE_SECONDS = 100, 5.0
WAL_BYTES_MAX = 256 * 1024  # instead of 4 MiB, so that checkpoints are a part of the load and WALs reach their bound early
READERS = 10  # foreign readers in the whole time
MIB = 2**20

GROWTH_MAX = {  # over the measured time, and why so much
    "rss_mib": 24.0,  # caches with bounds of their own fill up
    "open_files": 5.0,  # one room's
    "tasks": 4.0,  # one room's
    "files_per_room": 0.1,  # an open room has three files, a closed one has one
    "outbox_entries": 100.0,  # a fifth of a second of load, on its way
}

UNITS = {"rss_mib": "MiB", "wal_mib": "MiB", "files_per_room": "files", "open_files": "files", "outbox_entries": "entries"}


@dataclass(frozen=True, slots=True)
class Sample:
    seconds: float
    rss_mib: float
    open_files: int
    tasks: int
    files_per_room: float
    outbox_entries: int
    wal_mib: float
    wal_bound_mib: float
    lag_ms: float
    calls_per_second: float


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    bench.progress.case(NAME, f"{size.soak_seconds:g} s")
    resident_bytes()  # unfit where the system does not tell
    open_files()
    place = bench.place("rooms")
    samples: list[Sample] = []
    limits = Limits(open_rooms_max=PLACES, idle_seconds_max=IDLE_SECONDS, wal_bytes_max=WAL_BYTES_MAX)
    async with open_runtime(place, [SoakRoom], replicas=[SQLiteReplica()], limits=limits) as runtime:
        people = People(runtime)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(people.use)
            nursery.start_soon(_trouble, place, size.soak_seconds)
            await _watch(bench, runtime, people, place, samples)
            nursery.cancel_scope.cancel()
        await runtime.replicated(timeout=120.0)
        resyncs = dict(runtime.status().replicas[0].resyncs)
    bench.progress.step("comparing rooms and replica")
    report = await trio.to_thread.run_sync(verify, place)
    measured = [sample for sample in samples if sample.seconds >= size.soak_warm_seconds]
    told = f"{people.calls:,} calls, {report.rooms:,} rooms, {report.rows:,} rows; resyncs {resyncs}"
    return [
        *(_growth(name, bound, measured) for name, bound in GROWTH_MAX.items()),
        _wals(samples),
        Record(
            benchmark=NAME,
            case="rows unequal, and rooms behind, in the replica",
            value=float(report.differing + len(report.behind)),
            unit="rows",
            target=Target(0, 0),
            lower_is_better=True,
            note=told,
        ),
        Record(
            benchmark=NAME,
            case="calls a second",
            value=people.calls / samples[-1].seconds,
            unit="calls/s",
            series={field.name: [float(getattr(sample, field.name)) for sample in samples] for field in fields(Sample)},
        ),
    ]


def _growth(name: str, bound: float, samples: Sequence[Sample]) -> Record:
    xs = [sample.seconds for sample in samples]
    ys = [float(getattr(sample, name)) for sample in samples]
    line = trend(xs, ys)
    span = xs[-1] - xs[0]
    return Record(
        benchmark=NAME,
        case=f"growth of {name} in {span:.0f} s",
        value=line.surely * span,
        unit=UNITS.get(name, name),
        target=Target(bound, bound),
        lower_is_better=True,
        note=f"from {ys[0]:,.2f} to {ys[-1]:,.2f}, at most {max(ys):,.2f}; the line rises by {line.slope * span:,.2f}",
    )


def _wals(samples: Sequence[Sample]) -> Record:
    highest = max(samples, key=lambda sample: sample.wal_mib / sample.wal_bound_mib)
    return Record(
        benchmark=NAME,
        case="WALs, at most, of their bound",
        value=highest.wal_mib / highest.wal_bound_mib,
        unit="× bound",
        target=Target(1.0, 1.0),
        lower_is_better=True,
        note=f"{highest.wal_mib:.1f} of {highest.wal_bound_mib:.1f} MiB after {highest.seconds:.0f} s",
    )


async def _watch(bench: Bench, runtime: Runtime, people: People, place: Path, samples: list[Sample]) -> None:
    begin = before = perf_counter()
    calls = 0
    for number in range(1, math.ceil(bench.size.soak_seconds / bench.size.soak_sample_seconds) + 1):
        await trio.sleep(max(0.0, begin + number * bench.size.soak_sample_seconds - perf_counter()))
        now = perf_counter()
        files, wal_bytes = await trio.to_thread.run_sync(_on_disk, place / "rooms")
        replica = runtime.status().replicas[0]
        rooms = runtime.catalog.count()
        sample = Sample(
            seconds=now - begin,
            rss_mib=resident_bytes() / MIB,
            open_files=open_files(),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            files_per_room=files / max(1, rooms),
            outbox_entries=replica.lag_entries,
            wal_mib=wal_bytes / MIB,
            wal_bound_mib=(min(rooms, WALS_LEFT_MAX) * WAL_LEFT_BYTES_MAX + PLACES * 2 * WAL_BYTES_MAX) / MIB,
            lag_ms=replica.lag_seconds * 1e3,
            calls_per_second=(people.calls - calls) / (now - before),
        )
        before, calls = now, people.calls
        samples.append(sample)
        bench.progress.share(_words(sample), sample.seconds / bench.size.soak_seconds)


def _words(sample: Sample) -> str:
    return (
        f"{sample.calls_per_second:,.0f} calls/s, RSS {sample.rss_mib:.0f} MiB, {sample.open_files} open files, "
        f"{sample.tasks} tasks, WALs {sample.wal_mib:.1f} MiB, lag {sample.lag_ms:.0f} ms"
    )


def _on_disk(rooms: Path) -> tuple[int, int]:
    """Files below `rooms/`, and the bytes of the WALs among them. In a thread."""
    files = wal_bytes = 0
    for folder in os.scandir(rooms):
        for entry in os.scandir(folder):
            files += 1
            if entry.name.endswith("-wal"):
                try:
                    wal_bytes += entry.stat().st_size
                except FileNotFoundError:
                    continue  # its room has just left memory
    return files, wal_bytes


async def _trouble(place: Path, seconds: float) -> None:
    """Foreign readers at even intervals, and half-way the replica is deleted."""
    for number in range(1, READERS):
        await trio.sleep(seconds / READERS)
        if number == READERS // 2:
            (place / "replica.db").unlink()
            continue
        command = [sys.executable, "-m", "benchmarks.soak_reader", str(place), str(seconds / READERS / 4)]
        await trio.run_process(command, cwd=REPOSITORY, check=True)
