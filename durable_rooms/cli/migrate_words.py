"""The words of `durable-rooms migrate`."""

from collections.abc import Iterator

from rich.text import Text

from durable_rooms.inspect.words import milliseconds, size, span
from durable_rooms.migrate import Classes, ClassState, Rehearsal, ReplicaLeft, State, Sweep, Tried
from durable_rooms.migrate.report import FAILURES_KEPT_MAX
from durable_rooms.verify.words import counted, shown

FAILURES_SHOWN_MAX = 10


# -- the state ----------------------------------------------------------------------------------------------------------
def lines_of_class(one: ClassState, *, by_code: bool) -> Iterator[str]:
    if one.newest is None:
        newest = "how many migrations it has is not known"
    else:
        newest = f"its newest version is {one.newest}" + ("" if by_code else " as of the last start")
    yield f"{shown(one.actor)}: {counted(one.rooms, 'room')}; {newest}"
    width = max((len(f"{count:,}") for count in one.versions.values()), default=1)
    for version, count in sorted(one.versions.items()):
        if one.not_known and version == 0:
            continue
        yield f"  version {version:<3} {count:>{width},}  {standing(version, one.newest)}".rstrip()
    if one.not_known:
        yield f"  not known   {one.not_known:>{width},}  (never closed yet, or listed by an older catalog; the files tell)"
    if sick := sum(one.sick.values()):
        yield f"  sick        {sick:>{width},}  (left out; `durable-rooms recover` brings them back)"


def standing(version: int, newest: int | None) -> str:
    if newest is None or version == newest:
        return ""
    return "behind" if version < newest else "written by a newer version of the class"


def outlook(found: State, *, by_code: bool) -> Iterator[str]:
    """What is to be done."""
    if not found.classes:
        yield "No rooms yet."
        return
    yield ""
    behind, not_known = (sum(getattr(one, name) for one in found.classes) for name in ("behind", "not_known"))
    place = shown(str(found.data))
    if behind or not_known:
        parts = [f"{amount:,} behind" for amount in [behind] if amount]
        parts += [f"{amount:,} of a version not known" for amount in [not_known] if amount]
        yield f"{' and '.join(parts)}. A room migrates at its next call; all at once: durable-rooms migrate {place} --sweep"
        yield f"Try it on copies of a few first, which changes nothing: durable-rooms migrate {place} --dry-run"
    elif all(one.newest is not None for one in found.classes):
        yield "No room is behind."
    if newer := sum(one.newer for one in found.classes):
        yield f"{counted(newer, 'room')} written by a newer version of the class; older code is refused. Run the newer one."
    if found.running is not None:
        yield f"Process {found.running} runs here; of rooms in its memory this tells how they last left it. Stop it for a sweep."
    if not by_code:
        yield "The newest versions are those that the last process had. Those of your code: --actors MODULE, or MODULE:Class."
    if found.unreadable:
        yield f"{counted(found.unreadable, 'file')} could not be read: `durable-rooms rooms {place} --sick` tells."


# -- a sweep ------------------------------------------------------------------------------------------------------------
def swept(work: Sweep, found: State, classes: Classes) -> Iterator[Text]:
    """`found`: the state afterwards."""
    if not found.classes:
        yield Text("No rooms yet.")
        return
    pace = f" in {milliseconds(work.seconds)} ({work.rooms_per_second:,.0f}/s)" if work.done + work.failed else ""
    done = f"{counted(work.done, 'room')} brought to the newest version{pace}"
    well = sum(one.left for one in found.classes if one.actor in classes.known) == 0 and not classes.problems
    if work.interrupted is not None:
        yield Text.assemble(
            ("INTERRUPTED  ", "bold yellow"), f"{done}, of {work.todo:,}. The same command goes on with the rest."
        )
    elif work.stopped is not None:
        yield Text.assemble(("STOPPED  ", "bold red"), f"{done}, of {work.todo:,}. {shown(work.stopped)}")
    elif not well:
        failed = f", {work.failed:,} failed" if work.failed else ""
        yield Text.assemble(("NOT ALL  ", "bold red"), f"{done}{failed}.")
    elif work.done:
        yield Text.assemble(("MIGRATED  ", "bold green"), f"{done}.")
    else:
        yield Text.assemble(("NOTHING TO DO  ", "bold green"), "Every room is at its newest version.")
    yield from left_alone(found, classes)
    if work.replica is not None:
        yield Text(replica(work.replica))
    elif work.done:
        yield Text("There is no replica here; one that is elsewhere (--replica FILE) catches up at the next start.")


def replica(left: ReplicaLeft) -> str:
    if left.up_to_date:
        return "The replica is up to date."
    error = f" Last error: {shown(left.last_error)}." if left.last_error else ""
    if left.unreadable is not None:
        return f"How far the replica is cannot be told: {shown(left.unreadable)}.{error}"
    return f"The replica lacks changes of {counted(left.behind, 'room')}. The next start brings them over.{error}"


def left_alone(found: State, classes: Classes) -> Iterator[Text]:
    for one in found.classes:
        name, rooms = shown(one.actor), counted(one.rooms, "room")
        if problem := classes.problems.get(one.actor):
            yield Text(
                f"{name}: {rooms} left alone, for the class cannot be had: {shown(problem)}. Name it: --actors MODULE:{name}"
            )
            continue
        if one.actor not in classes.known:
            yield Text(f"{name}: {rooms} left alone, for --actors does not name the class.")
            continue
        if one.newer:
            yield Text(
                f"{name}: {counted(one.newer, 'room')} left alone, written by a newer version of the class than this one, which "
                f"has {counted(one.newest or 0, 'migration')}. Run the newer program."
            )
        if sick := sum(one.sick.values()):
            yield Text(f"{name}: {counted(sick, 'sick room')} left out; `durable-rooms recover` first.")
    for actor in sorted(classes.known.keys() - {one.actor for one in found.classes}):
        yield Text(f"{shown(actor)}: no rooms of this class here.")


# -- a rehearsal --------------------------------------------------------------------------------------------------------
def rehearsed(work: Rehearsal, found: State, classes: Classes) -> Iterator[Text]:
    if not found.classes:
        yield Text("No rooms yet.")
        return
    for one in work.tried:
        yield Text(tried(one))
    behind = sum(one.rooms for one in work.tried if one.behind)
    amount = f"{counted(work.copies, 'copy').replace('copys', 'copies')} of {size(work.bytes)} in {milliseconds(work.seconds)}"
    if work.interrupted is not None:
        yield Text.assemble(("INTERRUPTED  ", "bold yellow"), f"{amount}.")
    elif work.failures:
        yield Text.assemble(("FAILED  ", "bold red"), f"{amount}: {counted(len(work.failures), 'room')} failed.")
    else:
        yield Text.assemble(("GOOD  ", "bold green"), f"{amount}, and no room failed.")
    if behind and work.estimate is not None:
        about = span(max(1.0, work.estimate))
        yield Text(f"A sweep of the {counted(behind, 'room')} would take about {about}, if the others are like these.")
    elif not behind:
        yield Text("No room is behind.")
    yield from left_alone(found, classes)
    yield Text(f"Nothing was written in {shown(str(found.data))}.")


def tried(one: Tried) -> str:
    where = f"version {one.version}" if one.version or one.newest == 0 else "a version not known"
    step = f"from {where} to {one.newest}" if one.behind else f"at {where}, the newest"
    times = ", ".join(milliseconds(seconds) for seconds in one.seconds)
    failed = f"; {len(one.failures)} FAILED" if one.failures else ""
    return f"{shown(one.actor)} {step}: {counted(one.rooms, 'room')}; tried {times or 'none well'}{failed}"


# -- failures -----------------------------------------------------------------------------------------------------------
def failures(work: Sweep | Rehearsal) -> Iterator[Text]:
    count = work.failed if isinstance(work, Sweep) else len(work.failures)
    for failure in work.failures[:FAILURES_SHOWN_MAX]:
        where = "" if failure.room in failure.reason else f"{failure.room}: "
        yield Text(f"  {shown(where + failure.reason)}")
    if (more := count - FAILURES_SHOWN_MAX) > 0:
        most = f" up to {FAILURES_KEPT_MAX:,} of them" if count > FAILURES_KEPT_MAX else " them"
        yield Text(f"  … and {more:,} more; --json lists{most}.")
