"""What ran where: machine, versions, file system and sync latency of the data directory; and the limit of descriptors."""

import os
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import apsw

from benchmarks.bare_disk import sync_latencies
from benchmarks.harness import percentile
from benchmarks.sizes import Size

HEADER_SYNCS = 40
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


class Unfit(Exception):
    """This machine, as it is set up, cannot run a benchmark; the message says what to change."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns it. Every open room holds about four."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard or soft == resource.RLIM_INFINITY:
        return soft
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def need_descriptors(count: int) -> None:
    """Raises Unfit where so many files cannot be open at once."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < count:
        raise Unfit(
            f"needs {count:,} open files and the hard limit of this process is {limit:,}; raise it (ulimit -Hn) and run again"
        )


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`; "unknown" where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    found, longest = "unknown", -1
    place = f"{path.resolve()}/"
    for line in lines:
        left, _, right = line.partition(" - ")
        mounted = left.split()[4].encode().decode("unicode_escape")
        if place.startswith(mounted.rstrip("/") + "/") and len(mounted) >= longest:
            found, longest = right.split()[0], len(mounted)
    return found


def describe(place: Path, size: Size) -> dict[str, Any]:
    """The header of a report, in order."""
    syncs = {
        name: f"p50 {percentile(seconds, 50) * 1e3:.2f} ms, p99 {percentile(seconds, 99) * 1e3:.2f} ms"
        for name, seconds in sync_latencies(place, min(HEADER_SYNCS, size.sync_samples)).items()
    }
    return {
        "machine": f"{_cpu()}, {_cores()} cores, {_memory()}, {platform.system()} {platform.release()}",
        "versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                f"SQLite {apsw.sqlite_lib_version()}",
                *(f"{name} {_version(name)}" for name in ("apsw", "trio", "msgpack", "durable-rooms")),
            ]
        ),
        "data on": file_system(place),
        "sync latency": "; ".join(f"{name} {text}" for name, text in syncs.items()),
        "settings": (
            f"{size.name}: median of {size.repeats} turns, {size.seconds:g} s a figure, {size.ceiling_seconds:g} s a ceiling; "
            "replica window 50 ms; rooms in WAL, made durable in rounds"
        ),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (ValueError, OSError):
        return "memory unknown"
