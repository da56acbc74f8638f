"""The ceiling's side, the disk: how long one sync takes after 4 KiB were appended to a file."""

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from actors.system.disk import Disk

BLOCK = b"\1" * 4096


def sync_latencies(place: Path, samples: int) -> dict[str, list[float]]:
    """Seconds of each sync, by name of the system call; syncfs only where the system has it."""
    disk = Disk()
    file, directory = disk.open(place / "synced", create=True), disk.open_directory(place)
    try:
        latencies = {"fdatasync": _seconds(lambda: disk.sync_data(file), file, samples)}
        if disk.has_syncfs:
            latencies["syncfs"] = _seconds(lambda: disk.sync_file_system(directory), file, samples)
    finally:
        disk.close(file)
        disk.close(directory)
    return latencies


def _seconds(sync: Callable[[], None], file: int, samples: int) -> list[float]:
    seconds: list[float] = []
    for _ in range(samples):
        os.write(file, BLOCK)
        begin = perf_counter()
        sync()
        seconds.append(perf_counter() - begin)
    return seconds
