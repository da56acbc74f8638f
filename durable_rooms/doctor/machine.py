"""Python, the libraries, the limits of the process and the clock."""

import os
import platform
import resource
import sqlite3
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import cast

import apsw
import msgpack

from actors import Limits
from actors.directory.house import DESCRIPTORS_KEPT, DESCRIPTORS_PER_ROOM
from durable_rooms.doctor.finding import Finding, notice, ok, problem

SYNCFS_TELLS = (5, 8)  # the Linux from which syncfs reports errors of writing
WAL_RESET_FIXED = (3, 51, 3)
WAL_RESET_BACKPORTS: dict[tuple[int, ...], int] = {(3, 44): 6, (3, 50): 7}
NEEDED = ("ATTACH", "AUTHORIZATION", "FOREIGN_KEY", "PROGRESS_CALLBACK", "TRIGGER", "WAL")  # of SQLite, compiled in
ROOMS_FEW = 100  # open at once; fewer spend their time opening and closing
CLOCK_SECONDS_MAX = 0.000_1
YEAR_2024 = 1_704_067_200


def machine(limits: Limits) -> Iterator[Finding]:
    yield python()
    yield system()
    yield sqlite(tuple(map(int, apsw.sqlite_lib_version().split("."))), apsw.compile_options)
    yield ok("trio", version("trio"), "The event loop.")
    yield packer(str(cast(object, msgpack.Packer.__module__)))
    yield descriptors(*resource.getrlimit(resource.RLIMIT_NOFILE), limits.open_rooms_max)
    yield clock()


def python() -> Finding:
    value = f"{platform.python_implementation()} {platform.python_version()}, {sys.maxsize.bit_length() + 1} bits"
    return ok("python", value, "What runs the rooms; 3.11 or later is needed.")


def system() -> Finding:
    value = f"{platform.system()} {platform.release()}, {os.cpu_count()} processors"
    meaning = "Many rooms share one sync, where the system has syncfs and it reports errors."
    if sys.platform != "linux":
        return notice(
            "system", value, "Without syncfs each room is synced by itself.", "Expect fewer posts a second with many rooms."
        )
    try:
        release = tuple(map(int, platform.release().split(".")[:2]))
    except ValueError:
        return ok("system", value, meaning)
    if release < SYNCFS_TELLS:
        return problem("system", value, "Before Linux 5.8 syncfs hides errors of writing.", "Use Linux 5.8 or later.")
    return ok("system", value, meaning)


def sqlite(release: tuple[int, ...], options: tuple[str, ...]) -> Finding:
    value = (
        f"{'.'.join(map(str, release))} of apsw {apsw.apsw_version()}; Python's own, which only reads: {sqlite3.sqlite_version}"
    )
    missing = [name for name in NEEDED if f"OMIT_{name}" in options]
    if missing or "THREADSAFE=0" in options:
        what = ", ".join(missing) or "threads"
        return problem("sqlite", value, f"It was built without {what}.", "Install apsw from its wheel: pip install apsw.")
    fixed_at = WAL_RESET_BACKPORTS.get(release[:2])
    if release < WAL_RESET_FIXED and (fixed_at is None or release[2] < fixed_at):
        return problem(
            "sqlite",
            value,
            "Before 3.51.3 a commit beside two checkpoints may damage a database (SQLite's WAL-reset bug).",
            "pip install --upgrade apsw",
        )
    return ok("sqlite", value, "What keeps the rooms; built with all they need.")


def packer(module: str) -> Finding:
    value = version("msgpack")
    if "fallback" in module:
        return notice(
            "msgpack",
            f"{value}, in Python",
            "Calls are packed 20 times slower than by its C code.",
            "Install msgpack from its wheel.",
        )
    return ok("msgpack", f"{value}, in C", "How arguments and results cross into a room.")


def descriptors(soft: int, hard: int, rooms: int) -> Finding:
    """The runtime raises the soft limit itself, to the hard one at most."""
    needed = rooms * DESCRIPTORS_PER_ROOM + DESCRIPTORS_KEPT
    value = f"{words(soft)}, may be raised to {words(hard)}"
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return ok("open files", value, f"{rooms:,} open rooms need {needed:,}; the runtime raises the limit to that.")
    places = max(1, (hard - DESCRIPTORS_KEPT) // DESCRIPTORS_PER_ROOM)
    meaning = f"{rooms:,} open rooms need {needed:,}; so only {places:,} are open at once."
    remedy = f"Raise the hard limit to {needed:,} (`ulimit -Hn`, LimitNOFILE= of systemd, --ulimit of docker)."
    return (problem if places < ROOMS_FEW else notice)("open files", value, meaning, remedy)


def words(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"


def clock() -> Finding:
    step = time.get_clock_info("monotonic").resolution
    value = f"steps of {step * 1e9:,.0f} ns; {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}"
    if time.time() < YEAR_2024:
        return notice(
            "clock", value, "The wall clock is not set; self.now() of the rooms comes from it.", "Set it (chrony, ntpd)."
        )
    if step > CLOCK_SECONDS_MAX:
        return notice("clock", value, "Deadlines and the figures below are as coarse as that.")
    return ok("clock", value, "Deadlines come from the one, self.now() of the rooms from the other; order from neither.")
