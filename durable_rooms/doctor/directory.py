"""An existing data directory, read from outside."""

import os
from collections.abc import Iterator
from pathlib import Path

from durable_rooms.doctor.finding import Finding, notice, ok, problem
from durable_rooms.doctor.place import PROBE_PREFIX
from durable_rooms.inspect import NotADataDirectory, Selection, rooms
from durable_rooms.inspect.place import running
from durable_rooms.verify.files import Unreadable, held_still, reading
from durable_rooms.verify.words import counted, shown
from replication.file import APPLICATION_ID, FORMAT

NAMED_MAX = 3
DAMAGE_ROWS_MAX = 3


def directory(data: Path) -> Iterator[Finding]:
    pid = running(data)
    yield owner(data, pid)
    if not (data / "catalog.db").is_file():
        yield problem(
            "catalog",
            "missing",
            "It knows every room; it can be made again.",
            "Start the runtime: it does so from the room files.",
        )
        return
    yield check("catalog", data / "catalog.db", "It knows every room and what a start after a crash must look at.")
    try:
        yield from its_rooms(data)
    except NotADataDirectory as error:
        yield problem("rooms", "not listed", str(error), "See the catalog above.")
    yield from replica(data / "replica.db")
    yield from leftovers(data, pid)


def owner(data: Path, pid: int | None) -> Finding:
    if pid is not None:
        return ok("process", f"pid {pid} runs here", "One process owns a data directory; a second one is refused.")
    if (data / "clean-stop").exists():
        return ok("process", "none; the last one stopped cleanly", "The next start has nothing to recover.")
    return notice(
        "process",
        "none; the last one was killed or crashed",
        "The next start recovers by itself, and nothing acknowledged is lost.",
        "Start it again.",
    )


def check(name: str, path: Path, meaning: str) -> Finding:
    """SQLite's own check of a file's structure."""

    def damage() -> list[str]:
        with reading(path) as connection:
            return [row[0] for row in connection.execute(f"PRAGMA quick_check({DAMAGE_ROWS_MAX})")]

    try:
        found = held_still(damage)
    except Unreadable as error:
        found = [str(error)]
    if found == ["ok"]:
        return ok(name, "sound", meaning)
    remedy = "Stop the runtime, move the file away, start it: the file is made again from the rooms."
    return problem(name, f"damaged: {shown('; '.join(found))}", meaning, remedy)


def its_rooms(data: Path) -> Iterator[Finding]:
    """One pass over the catalog beside one over the folders; 10 µs a room."""
    files = {f"{folder.name}/{name}" for folder in folders(data) for name in os.listdir(folder) if name.endswith(".db")}
    count = 0
    sick: list[str] = []
    missing: list[str] = []
    for room in rooms(data, Selection()):
        count += 1
        if room.sick is not None:
            sick.append(f"{room.actor}/{room.id}")
        elif room.proven and room.file not in files and not (data / "rooms" / room.file).exists():
            missing.append(f"{room.actor}/{room.id}")
    yield ok("rooms", f"{count:,}", "In the catalog.")
    if sick:
        yield problem(
            "sick rooms",
            named(sick),
            "Their files were found damaged and are kept in quarantine; their calls are refused.",
            "`durable-rooms recover` brings them back.",
        )
    if missing:
        yield problem(
            "lost files",
            named(missing),
            "The catalog knows them, but their files are gone.",
            "Put the files back from a backup, or `durable-rooms recover` from the replica.",
        )


def replica(path: Path) -> Iterator[Finding]:
    meaning = "Made again from the rooms if it is lost."
    if not path.is_file():
        return

    def stamp() -> tuple[int, int]:
        with reading(path) as connection:
            (application,), (format,) = (
                connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
            )
            return application, format

    try:
        application, format = held_still(stamp)
    except Unreadable as error:
        yield notice("replica", f"not readable: {shown(str(error))}", meaning, "The next start puts it aside and makes it anew.")
        return
    if application != APPLICATION_ID:
        yield problem("replica", "another program's database", meaning, "Move it away, or give the replica another path.")
    elif format != FORMAT:
        yield problem(
            "replica", f"format {format}, this version has {FORMAT}", meaning, "Remove replica.db* while no runtime runs."
        )
    else:
        yield ok("replica", f"readable, format {format}", meaning)


def leftovers(data: Path, pid: int | None) -> Iterator[Finding]:
    quarantine = having(data / "quarantine", ".db")
    if quarantine:
        yield notice(
            "quarantine",
            counted(len(quarantine), "file"),
            "Damaged room files, byte for byte, each with a note of what it is.",
            "Keep them until the rooms are recovered.",
        )
    litter = having(data / "litter", ".db")
    if litter:
        yield notice(
            "litter",
            counted(len(litter), "file"),
            "Births that a crash cut short; nobody was told of anything in them.",
            "They may be removed.",
        )
    replicas = [name for name in os.listdir(data) if ".damaged-" in name or ".foreign-" in name]
    if replicas:
        yield notice(
            "old replicas", counted(len(replicas), "file"), "Put aside when they were made anew.", "They may be removed."
        )
    if pid is None:  # beside a process they may be in use
        copies = [
            name
            for folder in (data, *folders(data))
            for name in having(folder, ".rehome", "catalog.db.rebuilt", ".json.new", ".loading")
        ]
        copies += [name for name in os.listdir(data) if name.startswith(PROBE_PREFIX)]
        if copies:
            yield notice(
                "copies", counted(len(copies), "file"), "Half-made, by a process that was killed.", "They may be removed."
            )


def folders(data: Path) -> list[Path]:
    place = data / "rooms"
    return [folder for folder in place.iterdir() if folder.is_dir()] if place.is_dir() else []


def having(folder: Path, *ends: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(ends)] if folder.is_dir() else []


def named(names: list[str]) -> str:
    first = ", ".join(map(shown, names[:NAMED_MAX]))
    return f"{len(names):,}: {first}" + (", …" if len(names) > NAMED_MAX else "")
