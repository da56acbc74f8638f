"""What the system says of this process: resident memory, open files. And a child process that measures for us."""

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from benchmarks.machine import Unfit

REPOSITORY = Path(__file__).resolve().parent.parent
_libc = ctypes.CDLL(None)


def resident_bytes() -> int:
    """RSS as it is now (its peak, which getrusage tells, says nothing of what was given back).

    Raises:
      Unfit: the system does not tell.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError as error:
        raise Unfit("needs /proc/self/statm (Linux) to see resident memory") from error
    return pages * os.sysconf("SC_PAGE_SIZE")


def settled_bytes() -> int:
    """RSS after everything that is free was given back."""
    for _ in range(2):  # the second finds what the finalizers of the first let go
        gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
    return resident_bytes()


def open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as error:
        raise Unfit("needs /proc/self/fd (Linux) to count open files") from error


async def in_child(
    module: str, *arguments: object, told: Callable[[dict[str, Any]], None] | None = None, ends_with: int = 0
) -> list[dict[str, Any]]:
    """Run `python -m module arguments…`; returns the JSON objects that it printed, one a line.

    `ends_with`: its exit code; a child that kills itself is a way to measure.

    Raises:
      RuntimeError: it ended otherwise, or said nothing: half of a measurement is none.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    lines: list[dict[str, Any]] = []
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(_start, command)
        buffer = b""
        assert process.stdout is not None
        async for chunk in process.stdout:
            *whole, buffer = (buffer + chunk).split(b"\n")
            for line in whole:
                lines.append(json.loads(line))
                if told is not None:
                    told(lines[-1])
    if not lines or process.returncode != ends_with:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} after {len(lines)} lines")
    return lines


async def _start(command: list[str], task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(command, stdout=subprocess.PIPE, check=False, cwd=REPOSITORY, task_status=task_status)


def say(**values: Any) -> None:
    """A child's line to its parent."""
    print(json.dumps(values), flush=True)
