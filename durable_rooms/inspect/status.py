"""A data directory and the process on it, at one moment, and what of it needs a person."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from durable_rooms.inspect.catalog import Sums, sums
from durable_rooms.inspect.live import LATE_SECONDS, Live, live
from durable_rooms.inspect.place import require, running
from durable_rooms.inspect.replica import ReplicaState, replica_state, size_of
from durable_rooms.inspect.words import span
from durable_rooms.verify.files import Unreadable, wal_of

LastStop = Literal["clean", "unclean", "never started"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the files say. Costs 1 µs a room.

    Attributes:
      room_wals: rooms that have changes in a WAL, which is normal for open ones. room_wal_bytes: all of these.
      replica: None where there is no file.
    """

    classes: list[Sums]
    catalog_wal_bytes: int
    room_wals: int
    room_wal_bytes: int
    replica: ReplicaState | None

    @property
    def sick(self) -> int:
        return sum(one.sick for one in self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that is known.

    Attributes:
      running: pid of the process that runs here. since: when it took the directory (Unix seconds).
      last_stop: None while a process runs.
      live: what the running process says of itself. last_words: what one that is gone said last.
      free_bytes, disk_bytes: of the file system, for this user.
      attention: what needs a person, in words; empty when all is well.
    """

    data: Path
    running: int | None
    since: float | None
    last_stop: LastStop | None
    live: Live | None
    last_words: Live | None
    free_bytes: int
    disk_bytes: int
    ground: Ground
    attention: list[str]


def ground(data: Path, replica: Path | None = None) -> Ground:
    """Read the files.

    Args:
      replica: its file, if it is not where the process says it is, or `replica.db` in the directory.

    Raises:
      NotADataDirectory: there is no catalog here, or it cannot be read.
    """
    catalog = require(data)
    count, size = room_wals(data / "rooms")
    return Ground(
        classes=sums(data),
        catalog_wal_bytes=size_of(wal_of(catalog)),
        room_wals=count,
        room_wal_bytes=size,
        replica=replica_there(data, replica or replica_path(data)),
    )


def overview(data: Path, ground: Ground) -> Overview:
    """What changes from second to second, on that ground."""
    pid = running(data)
    said = live(data)
    ours = said is not None and said.pid == pid
    disk = shutil.disk_usage(data)
    found = Overview(
        data=data,
        running=pid,
        since=taken_at(data) if pid is not None else None,
        last_stop=None if pid is not None else last_stop(data),
        live=said if ours else None,
        last_words=None if ours else said,
        free_bytes=disk.free,
        disk_bytes=disk.total,
        ground=ground,
        attention=[],
    )
    found.attention.extend(attention(found))
    return found


# -- from the files -------------------------------------------------------------------------------------------------
def room_wals(rooms: Path) -> tuple[int, int]:
    """How many rooms have a WAL with something in it, and how much in all."""
    sizes: list[int] = []
    for folder in os.scandir(rooms) if rooms.is_dir() else ():
        if folder.is_dir():
            sizes += [size_of(Path(file)) for file in os.scandir(folder) if file.name.endswith("-wal")]
    return sum(size > 0 for size in sizes), sum(sizes)


def replica_path(data: Path) -> Path:
    """Where the last process said that it has its replica; else the usual place."""
    said = live(data)
    path = said.replica.get("path") if said is not None and said.replica is not None else None
    return Path(path) if isinstance(path, str) else data / "replica.db"


def replica_there(data: Path, path: Path) -> ReplicaState | None:
    if not path.is_file():
        return None
    try:
        return replica_state(data, path)
    except Unreadable as error:
        return ReplicaState(path=path, unreadable=str(error))


def taken_at(data: Path) -> float | None:
    try:
        return (data / "lock").stat().st_mtime  # written once, by the process that owns it
    except OSError:
        return None


def last_stop(data: Path) -> LastStop:
    if (data / "clean-stop").exists():
        return "clean"
    return "unclean" if (data / "lock").exists() else "never started"


# -- what needs a person --------------------------------------------------------------------------------------------
def attention(found: Overview) -> list[str]:
    """Each a sentence that says what to do."""
    said: list[str] = []
    if found.last_stop == "unclean":
        why = found.last_words.failure if found.last_words is not None else None
        end = f"stopped itself ({why})" if why is not None else "was killed or crashed"
        said.append(f"The last process here {end}, and none runs. Start it again; nothing acknowledged is lost.")
    if found.running is not None and found.live is None and (found.since or 0) < time.time() - LATE_SECONDS:
        said.append(
            f"Process {found.running} holds the directory but writes no status here: it is still starting, it cannot "
            "(its log says why), or the number is another process's by now."
        )
    if found.live is not None:
        said += trouble(found.live)
    if sick := found.ground.sick:
        said.append(
            f"{sick:,} room{' is' if sick == 1 else 's are'} sick: `durable-rooms rooms {found.data} --sick` says why, "
            "`durable-rooms recover` brings them back."
        )
    if found.ground.replica is not None and found.ground.replica.unreadable is not None and found.running is None:
        said.append(
            f"The replica cannot be read: {found.ground.replica.unreadable}. The next start makes it anew or says why not."
        )
    return said


def trouble(live: Live) -> list[str]:
    """Of the running process, by its own words."""
    said: list[str] = []
    if live.late:
        said.append(
            f"Process {live.pid} last wrote its status {span(live.age_seconds)} ago instead of every few seconds: it stands "
            f"still (its stack tells: `py-spy dump -p {live.pid}`), or it cannot write."
        )
    if live.figures.get("full"):
        said.append("The disk is full: writes are refused until there is space. Reads and deletes work; no restart is needed.")
    if broken := int(live.number("rooms_broken")):
        said.append(
            f"Syncs have failed in {broken:,} room{'s' * (broken != 1)} since the start. Look at the disk (`dmesg`, SMART)."
        )
    for replica in live.replicas:
        which = f"The replica {replica['name']}" if len(live.replicas) > 1 and "name" in replica else "The replica"
        if replica.get("state") in ("retrying", "refused", "hanging"):
            said.append(f"{which} is not reached ({replica['state']}): {replica.get('last_error')}. Rooms are not concerned.")
        if parked := replica.get("parked"):
            said.append(f"{which} refuses rows of {len(parked):,} room{'s' * (len(parked) != 1)}, for instance {first(parked)}.")
    return said


def first(parked: object) -> str:
    return "{}: {}".format(*next(iter(parked.items()))) if isinstance(parked, dict) and parked else "?"  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
