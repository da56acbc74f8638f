"""`durable-rooms replicas`: every replica of a data directory, by the words of the process that writes it, or by its file."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from durable_rooms.cli.status import lag, number
from durable_rooms.inspect import NotADataDirectory
from durable_rooms.inspect.live import mapping
from durable_rooms.inspect.replicas import ReplicaSight, replicas
from durable_rooms.inspect.words import size, span
from durable_rooms.status_file import plain
from durable_rooms.verify.words import counted, shown

WELL, ATTENTION, WRONG = 0, 1, 2
STYLES = {"LIVE": "bold green", "AT REST": "bold", "STARTING": "bold yellow"}  # others need a person, or will soon
PARKED_NAMED_MAX = 3


def replicas_command(data: Path, replica: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    try:
        found = replicas(data, replica)
    except NotADataDirectory as error:
        print(f"durable-rooms replicas: {error}", file=sys.stderr)
        return WRONG
    if as_json:
        print(json.dumps([as_object(one) for one in found]))
    else:
        console = Console(highlight=False)
        if not found:
            console.print(Text(f"{shown(str(data))} has no replica. It gets one by open_runtime(…, replicas=[SQLiteReplica()])."))
        for one in found:
            console.print(drawn(one))
    return ATTENTION if any(one.attention for one in found) else WELL


def as_object(one: ReplicaSight) -> dict[str, Any]:
    return plain(one) | {"state": state(one), "attention": one.attention}


def drawn(one: ReplicaSight) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    said = one.said
    table.add_row(Text(state(one), STYLES.get(state(one), "bold red")), Text(shown(str(one.path))))
    rows = list(said_of(said, one.reads)) if said is not None else []
    rows += list(file_of(one))
    for name, words in rows:
        table.add_row(Text(name, "dim"), Text(words))
    for words in one.attention:
        table.add_row(Text("ATTENTION", "bold red"), Text(shown(words)))
    return table


def state(one: ReplicaSight) -> str:
    if one.said is not None:
        return str(one.said.get("state") or "?").upper()
    return (
        "UNREADABLE" if one.file is not None and one.file.unreadable is not None else "MISSING" if one.file is None else "AT REST"
    )


def said_of(said: Mapping[str, Any], reads: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Of the running process, since its start."""
    yield "lag", lag(said)
    batches, rows = number(said, "batches"), number(said, "rows")
    yield "applied", f"{counted(batches, 'batch') if batches == 1 else f'{batches:,} batches'} with {counted(rows, 'row')}"
    counts = ", ".join(f"{shown(reason)} {count:,}" for reason, count in mapping(said.get("resyncs")).items())
    yield "resyncs", counts or "none"
    yield "audited", counted(number(said, "audited"), "room")
    if reads:
        waiting = f", {counted(number(reads, 'waiting'), 'read')} waiting" if number(reads, "waiting") else ""
        reason = f" ({shown(str(reads['reason']))})" if reads.get("reason") else ""
        yield "reads", f"breaker {shown(str(reads.get('breaker')))}{reason}{waiting}"
    retries = number(said, "retries")
    error = f", last error: {shown(str(said['last_error']))}" if said.get("last_error") else ""
    yield "trouble", (f"opened again {counted(retries, 'time')}" if retries else "none") + error
    for room, why in list(mapping(said.get("parked")).items())[:PARKED_NAMED_MAX]:
        yield "parked", f"{shown(room)}: {shown(str(why))}"
    yield "WAL", size(number(said, "wal_bytes"))


def file_of(one: ReplicaSight) -> Iterator[tuple[str, str]]:
    there = one.file
    if there is None:
        return
    if there.unreadable is not None:
        yield "file", f"not readable: {shown(there.unreadable)}"
        return
    at = f", {span(one.seen_at - there.batch_at)} ago" if there.batch_at else ""
    yield "file", f"{counted(there.rooms, 'room')}, {size(there.bytes)}, batch {there.batch:,}{at}"
    if one.said is None:
        behind = (
            counted(there.behind, "room") + f" behind by {counted(there.behind_changes, 'change')}"
            if there.behind
            else "not behind"
        )
        active = f"; {counted(one.active, 'active room')} to be compared at the next start" if one.active else ""
        yield "rooms", behind + active
        yield "WAL", size(there.wal_bytes)
    if one.generation is not None:
        yield "made", f"generation {shown(one.generation)}"
