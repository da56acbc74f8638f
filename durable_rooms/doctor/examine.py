"""Everything, in the order in which a person would ask: the machine, the place, what syncs cost there, what is there already."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from actors import Disk, Limits
from actors.system.mount import mount_of
from durable_rooms.doctor.directory import directory
from durable_rooms.doctor.finding import Finding, notice, problem
from durable_rooms.doctor.machine import machine
from durable_rooms.doctor.place import PROBE_PREFIX, abilities, kind, space
from durable_rooms.doctor.syncs import MEASURE_SECONDS, syncs


def examine(
    data: Path | None, *, limits: Limits | None = None, disk: Disk | None = None, seconds: float = MEASURE_SECONDS
) -> Iterator[Finding]:
    """Findings as they come; takes about three times `seconds`.

    Args:
      data: a data directory, or where one shall be. Without it the machine alone, and the place for temporary files.
    """
    yield from machine(limits or Limits())
    here = Path(tempfile.gettempdir()) if data is None else nearest(data)
    if data is None:
        yield notice("place", str(here), "No directory was given, so this one is looked at.", "durable-rooms doctor DATA")
    elif here != data:
        yield notice("place", str(here), f"{data} is not there yet; this is where it would be made.")
    yield from of_place(here, disk or Disk(), seconds, wanted=data is not None)
    if data is not None and here == data and ((data / "catalog.db").exists() or (data / "rooms").is_dir()):
        yield from directory(data)


def nearest(path: Path) -> Path:
    """The path itself, or the lowest directory above it that is there."""
    path = path.absolute()
    return path if path.exists() else nearest(path.parent)


def of_place(here: Path, disk: Disk, seconds: float, *, wanted: bool) -> Iterator[Finding]:
    mount = mount_of(here)
    yield from kind(mount, wanted=wanted)
    yield from space(here)
    try:
        probe = Path(tempfile.mkdtemp(prefix=PROBE_PREFIX, dir=here))
    except OSError as error:
        yield problem(
            "writing", f"refused: {error.strerror}", "A runtime writes here.", "Let this user write, or choose another place."
        )
        return
    try:
        yield from abilities(disk, probe)
        yield from syncs(disk, probe, mount, seconds)
    finally:
        shutil.rmtree(probe)
