"""`durable-rooms status`: one look at a data directory and the process on it, or a look every second."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live as Screen
from rich.table import Table
from rich.text import Text

from durable_rooms.cli.rooms import states
from durable_rooms.inspect import Ground, Live, NotADataDirectory, Overview, ground, overview
from durable_rooms.inspect.live import mapping
from durable_rooms.inspect.replica import ReplicaState
from durable_rooms.inspect.words import milliseconds, size, span
from durable_rooms.status_file import plain
from durable_rooms.verify.words import counted, shown

WELL, ATTENTION, WRONG = 0, 1, 2

LOOK_SECONDS = 1.0
GROUND_SECONDS = 5.0  # reading the catalog of 100,000 rooms takes 0.4 s
GROUND_SHARE = 20  # and it takes at most a twentieth of a processor


def status_command(data: Path, replica: Path | None, *, watch: bool, as_json: bool) -> int:
    """Returns the exit code."""
    try:
        if watch:
            watched(data, replica, as_json=as_json)
        found = overview(data, ground(data, replica))
    except NotADataDirectory as error:
        print(f"durable-rooms status: {error}", file=sys.stderr)
        return WRONG
    if as_json:
        print(json.dumps(plain(found)))
    else:
        Console(highlight=False).print(drawn(found))
    return ATTENTION if found.attention else WELL


def watched(data: Path, replica: Path | None, *, as_json: bool) -> None:
    """Until Ctrl-C: a picture on a terminal, a line a second elsewhere."""
    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        for found in looks(data, replica):
            print(json.dumps(plain(found)) if as_json else on_one_line(found), flush=True)
        return
    with Screen(console=console, auto_refresh=False, screen=False) as screen:
        for found in looks(data, replica):
            screen.update(drawn(found), refresh=True)


def looks(data: Path, replica: Path | None) -> Iterator[Overview]:
    below: Ground | None = None
    due = 0.0
    while True:
        began = time.monotonic()
        if below is None or began >= due:
            below = ground(data, replica)
            taken = time.monotonic() - began
            due = began + max(GROUND_SECONDS, taken * GROUND_SHARE)
        yield overview(data, below)
        time.sleep(LOOK_SECONDS)


# -- a picture ------------------------------------------------------------------------------------------------------
def drawn(found: Overview) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    style = {"RUNNING": "bold green", "STOPPED": "bold", "DIED": "bold red", "NEW": "bold"}[state(found)]
    table.add_row(Text(state(found), style), Text(process(found)))
    rows: list[tuple[str, str]] = [("rooms", rooms(found.ground))]
    if found.live is not None:
        rows += list(figures(found.live))
    rows += [("replica", replica(found)), *others(found.live), ("WALs", wals(found.ground)), ("disk", disk(found))]
    for name, words in rows:
        table.add_row(Text(name, "dim"), Text(words))
    for words in found.attention:
        table.add_row(Text("ATTENTION", "bold red"), Text(shown(words)))
    return table


def on_one_line(found: Overview) -> str:
    parts = [time.strftime("%H:%M:%S"), state(found).lower()]
    if (live := found.live) is not None:
        parts += [f"{number(live.figures, 'rooms_open'):,} open", rates(live)]
        if (copy := live.replica) is not None:
            parts.append(f"replica {shown(str(copy.get('state')))} {lag(copy)}")
    parts += [f"{sum(one.rooms for one in found.ground.classes):,} rooms", f"{size(found.free_bytes)} free"]
    if found.attention:
        parts.append(f"ATTENTION: {shown(found.attention[0])}")
    return ", ".join(parts)


def state(found: Overview) -> str:
    if found.running is not None:
        return "RUNNING"
    return {"clean": "STOPPED", "unclean": "DIED", "never started": "NEW", None: ""}[found.last_stop]


def process(found: Overview) -> str:
    place = shown(str(found.data))
    if found.running is not None:
        since = f" for {span(time.time() - found.since)}" if found.since is not None else ""
        silent = "" if found.live is not None else ", which tells nothing about itself"
        return f"pid {found.running}{since} on {place}{silent}"
    if found.last_words is not None and found.last_stop == "unclean":
        return f"{place}; last heard of pid {found.last_words.pid} {span(found.last_words.age_seconds)} ago"
    words = {"clean": "stopped cleanly", "unclean": "killed or crashed", "never started": "no process was ever here", None: ""}
    return f"{place}; {words[found.last_stop]}"


# -- its lines ------------------------------------------------------------------------------------------------------
def rooms(ground: Ground) -> str:
    some = ground.classes
    whole = f"{counted(sum(one.rooms for one in some), 'room')} in {len(some):,} class{'es' * (len(some) != 1)}"
    return ", ".join([whole, *states(some)])


def figures(live: Live) -> Iterator[tuple[str, str]]:
    said = live.figures
    open_most = number(live.limits, "open_rooms_max")
    parts = [f"{number(said, 'rooms_open'):,} open" + (f" of {open_most:,} at most" if open_most else ""), rates(live)]
    if waiting := number(said, "calls_waiting"):
        parts.append(f"{counted(waiting, 'call')} waiting, {number(said, 'calls_waiting_most'):,} in one room")
    if live.late:
        parts.append(f"as of {span(live.age_seconds)} ago")
    yield "now", ", ".join(parts)
    trouble = [f"{counted(number(said, 'rooms_broken'), 'room')} broken by syncs"] if said.get("rooms_broken") else []
    if said.get("full"):
        trouble.append("the disk is FULL")
    if stalls := number(said, "stalls"):
        trouble.append(f"the loop stood still {counted(stalls, 'time')}{last_stall(said.get('last_stall'))}")
    if trouble:
        yield "trouble", ", ".join(trouble)


def last_stall(stall: object) -> str:
    if not isinstance(stall, dict):
        return ""
    where = "/".join(str(stall[name]) for name in ("room", "method") if stall.get(name))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    seconds = stall.get("seconds")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return f", last {milliseconds(seconds)} in {shown(where)}" if isinstance(seconds, int | float) else ""


def rates(live: Live) -> str:
    return f"{live.commits_per_second:,.0f} commits/s in {live.rounds_per_second:,.0f} rounds/s"


def replica(found: Overview) -> str:
    there, said = found.ground.replica, found.live.replica if found.live is not None else None
    parts = list(said_of(said)) if said is not None else []
    parts += at_rest(there, sum(one.active for one in found.ground.classes), running=said is not None)
    return ", ".join(parts)


def said_of(said: Mapping[str, Any]) -> Iterator[str]:
    yield from (shown(str(said.get("state"))), f"batch {number(said, 'last_batch'):,}", lag(said))
    if error := said.get("last_error"):
        yield f"last error: {shown(str(error))}"
    if resyncs := mapping(said.get("resyncs")):
        counts = ", ".join(f"{shown(str(reason))} {count}" for reason, count in resyncs.items())
        yield f"rooms copied whole: {counts}"


def others(live: Live | None) -> Iterator[tuple[str, str]]:
    """The replicas beside the first."""
    for said in live.replicas[1:] if live is not None else ():
        yield "replica", f"{shown(str(said.get('name')))}: {', '.join(said_of(said))}"


def at_rest(there: ReplicaState | None, active: int, *, running: bool) -> Iterator[str]:
    if there is None:
        if not running:
            yield "none"
    elif there.unreadable is not None:
        yield f"not readable: {shown(there.unreadable)}"
    elif not running:
        yield f"batch {there.batch:,}, {counted(there.rooms, 'room')}, {size(there.bytes)}"
        if there.behind:
            yield f"{counted(there.behind, 'room')} behind"
        elif not active:
            yield "not behind"
        if active:
            yield f"{counted(active, 'active room')} to be compared at the next start"


def lag(said: Mapping[str, Any]) -> str:
    tails = "lag p50 {}, p99 {}".format(
        *(milliseconds(float(said.get(name) or 0)) for name in ("lag_p50_seconds", "lag_p99_seconds"))
    )
    behind = number(said, "lag_rooms")
    if not behind:
        return f"up to date, {tails}"
    oldest = milliseconds(float(said.get("lag_seconds") or 0))
    return (
        f"{counted(behind, 'room')} behind by {counted(number(said, 'lag_entries'), 'change')}, the oldest {oldest} old, {tails}"
    )


def wals(ground: Ground) -> str:
    parts = [f"rooms {size(ground.room_wal_bytes)} in {ground.room_wals:,}", f"catalog {size(ground.catalog_wal_bytes)}"]
    if ground.replica is not None:
        parts.append(f"replica {size(ground.replica.wal_bytes)}")
    return ", ".join(parts)


def disk(found: Overview) -> str:
    limits: Mapping[str, Any] = found.live.limits if found.live is not None else {}
    floor = next((value for name, value in limits.items() if name.startswith("free_bytes")), None)
    below = f", writes are refused below {size(floor)}" if isinstance(floor, int) else ""
    return f"{size(found.free_bytes)} free of {size(found.disk_bytes)}{below}"


def number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return int(value) if isinstance(value, int | float) else 0
