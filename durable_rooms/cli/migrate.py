"""`durable-rooms migrate`: how far the rooms are, a rehearsal on copies, and the sweep; in words, lines and exit codes."""

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from actors import DataDirInUse, DiskFailed, DiskUnfit
from durable_rooms.cli.migrate_words import failures, lines_of_class, outlook, rehearsed, swept
from durable_rooms.cli.sweeping import Sweeping
from durable_rooms.inspect.status import replica_path
from durable_rooms.migrate import (
    ActorsUnfit,
    Classes,
    NoSpace,
    Rehearsal,
    State,
    Sweep,
    catalogued,
    named,
    rehearse,
    replica_left,
    state,
    sweep,
)
from durable_rooms.signals import SIGNALLED
from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.words import counted, shown

DONE, LEFT, WRONG = 0, 1, 2


class Refused(Exception):
    """The work could not be begun, or not be ended; the message says what was done."""


def migrate_command(
    data: Path, actors: list[str], replica: Path | None, *, sweeping: bool, rehearsing: bool, as_json: bool
) -> int:
    """Returns the exit code."""
    try:
        if replica is not None and not replica.is_file():
            raise ActorsUnfit(f"--replica {replica}: there is no such file")
        classes = named(actors) if actors else None
        if not (sweeping or rehearsing):
            return told_state(state(data, classes.newest if classes else None), by_code=classes is not None, as_json=as_json)
        classes = classes or catalogued(state(data).modules)
        work = done(state(data, classes.newest), classes, replica, rehearsing=rehearsing, as_json=as_json)
        return told(work, state(data, classes.newest), classes, as_json=as_json)
    except Refused as refusal:
        if as_json:
            print(json.dumps({"data": str(data), "mode": "dry-run" if rehearsing else "sweep", "refused": str(refusal)}))
        print(f"durable-rooms migrate: {shown(str(refusal))}", file=sys.stderr)
        return LEFT
    except (NotADataDirectory, ActorsUnfit) as error:
        print(f"durable-rooms migrate: {shown(str(error))}", file=sys.stderr)
        return WRONG


# -- the work -----------------------------------------------------------------------------------------------------------
def done(found: State, classes: Classes, replica: Path | None, *, rehearsing: bool, as_json: bool) -> Sweep | Rehearsal:
    console = Console(stderr=as_json, highlight=False)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # a migration may print
        return rehearsal(found, classes, console) if rehearsing else swept_through(found, classes, replica, console)


def swept_through(found: State, classes: Classes, replica: Path | None, console: Console) -> Sweep:
    report = Sweep(todo=sum(one.behind + one.not_known for one in found.classes if one.actor in classes.known))
    if not any(one.actor in classes.known for one in found.classes):
        return report
    replica = replica or replica_path(found.data)
    replica = replica if replica.is_file() else None
    if not report.todo:
        report.replica = None if replica is None else replica_left(found.data, replica)
        if found.running is not None or report.replica is None or report.replica.up_to_date:
            return report  # nobody is opened for nothing
    try:
        with Sweeping(console) as progress:
            run = partial(sweep, replica=replica, progress=progress)
            trio.run(run, found.data, classes.known, classes.newest, report)
    except DataDirInUse as error:
        beside = "Its rooms migrate at their next call. Without --sweep, and with --dry-run, this works beside it."
        raise Refused(f"{error} {beside}") from error
    except (DiskUnfit, DiskFailed) as error:
        counts = f"{counted(report.done, 'room')} of {report.todo:,} were brought to the newest version"
        raise Refused(f"{error} {counts}; each of the others is either there, too, or as it was before.") from error
    return report


def rehearsal(found: State, classes: Classes, console: Console) -> Rehearsal:
    try:
        return rehearse(found.data, classes.known, found, console.print)
    except (NoSpace, DiskUnfit, DiskFailed, OSError) as error:
        raise Refused(f"The rehearsal could not be made: {error}. Nothing was written in {found.data}.") from error


# -- what is told -------------------------------------------------------------------------------------------------------
def told_state(found: State, *, by_code: bool, as_json: bool) -> int:
    if as_json:
        print(json.dumps(as_object(found, "state", None)))
        return DONE
    for one in found.classes:
        print("\n".join(lines_of_class(one, by_code=by_code)))
    print("\n".join(outlook(found, by_code=by_code)))
    return DONE


def told(work: Sweep | Rehearsal, found: State, classes: Classes, *, as_json: bool) -> int:
    """Of a sweep or a rehearsal; returns the exit code."""
    left = remaining(work, found, classes)
    if as_json:
        mode = "sweep" if isinstance(work, Sweep) else "dry-run"
        print(json.dumps(as_object(found, mode, classes) | as_dict(work) | {"left": left}, default=str))
    else:
        console = Console(highlight=False)
        lines = swept(work, found, classes) if isinstance(work, Sweep) else rehearsed(work, found, classes)
        for line in [*lines, *failures(work)]:
            console.print(line, soft_wrap=True)
    if work.interrupted is not None:
        return SIGNALLED + work.interrupted
    behind = isinstance(work, Sweep) and work.replica is not None and not work.replica.up_to_date
    return LEFT if left or behind else DONE


def remaining(work: Sweep | Rehearsal, found: State, classes: Classes) -> int:
    """Rooms that a person should know of: not migrated by the sweep; or not to be migrated, as the rehearsal shows."""
    known = [one for one in found.classes if one.actor in classes.known]
    strange = sum(one.rooms for one in found.classes if one.actor in classes.problems)
    if isinstance(work, Sweep):
        return strange + sum(one.left for one in known)
    return strange + len(work.failures) + sum(one.newer for one in known)


def as_object(found: State, mode: str, classes: Classes | None) -> dict[str, Any]:
    return {
        "data": str(found.data),
        "mode": mode,
        "running_pid": found.running,
        "classes": [*class_objects(found, classes)],
        "unreadable_files": found.unreadable,
    }


def class_objects(found: State, classes: Classes | None) -> Iterator[dict[str, Any]]:
    for one in found.classes:
        counts = {name: getattr(one, name) for name in ("rooms", "at_newest", "behind", "not_known", "newer", "left")}
        yield {
            "actor": one.actor,
            "module": one.module,
            "newest": one.newest,
            **counts,
            "sick": sum(one.sick.values()),
            "versions": one.versions,
            "included": classes is None or one.actor in classes.known,
            "problem": None if classes is None else classes.problems.get(one.actor),
        }


def as_dict(work: Sweep | Rehearsal) -> dict[str, Any]:
    found = asdict(work)
    if isinstance(work, Sweep):
        del found["phase"], found["replica_rows"]
        found["rooms_per_second"] = work.rooms_per_second
    found["interrupted"] = work.interrupted.name if work.interrupted is not None else None
    return found
