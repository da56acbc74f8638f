"""How the questions across rooms begin and end: DATA is opened, the chat loaded into it at the first run; answers are printed."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import islice
from random import Random

from irc_events import Event, Logs, logs, made_up
from irc_rooms import ChatRoom, Directory

from durable_rooms import Limits, SQLiteReplica
from durable_rooms.sync import Runtime, open_runtime

YOU = "@you"  # reads along in all rooms but each twelfth, in each up to some message; no nick of IRC begins like that
CLOSED_EVERY = 12
EVENTS_PER_CALL = 200  # one transaction and one sync; some 10 ms of the loop
ROOMS_AT_ONCE = 16  # those that wait at the same moment share one sync
QUESTION_SECONDS_MAX = 2.0  # a question to all rooms may take longer than the 0.25 s of a handler's statement
PLAIN_SECONDS = 2.0  # between two lines of progress where there is no terminal


def question(words: str) -> ArgumentParser:
    parser = ArgumentParser(description=words)
    parser.add_argument("data", nargs="?", default="irc-data", metavar="DATA", help="directory of the rooms (%(default)s)")
    parser.add_argument("--log", type=logs, metavar="FOLDER", help="IRC logs to load, each a room; without: a made-up chat")
    return parser


@contextmanager
def open_rooms(arguments: Namespace) -> Generator[Runtime]:
    limits = Limits(statement_seconds_max=QUESTION_SECONDS_MAX)
    with open_runtime(arguments.data, [ChatRoom, Directory], replicas=[SQLiteReplica()], limits=limits) as runtime:
        there = set(runtime.room(Directory, "main").call(Directory.ids))
        load(runtime, arguments.log or ({} if there else made_up()), there)
        yield runtime


def load(runtime: Runtime, rooms: Logs, there: set[str]) -> None:
    """Those that are not there yet. May be cut short at any moment: the directory learns of them at the end."""
    closed = set(islice(rooms, CLOSED_EVERY - 1, None, CLOSED_EVERY))
    missing = [id for id in rooms if id not in there]
    if not missing:
        return

    def load_one(id: str) -> int:
        return load_room(runtime, id, rooms[id](), you=id not in closed)

    began = time.perf_counter()
    with ThreadPoolExecutor(ROOMS_AT_ONCE) as pool:
        events = sum(watched(pool.map(load_one, missing), len(missing)))
    runtime.room(Directory, "main").call(Directory.add, {id: id.removesuffix(".log") for id in missing})
    runtime.replicated(timeout=60)
    print(f"loaded {events:,} events of {len(missing)} rooms in {time.perf_counter() - began:.1f} s", file=sys.stderr)


def load_room(runtime: Runtime, id: str, log: Iterator[Event], *, you: bool) -> int:
    """Returns how many events the log has."""
    room = runtime.room(ChatRoom, id)
    if you:
        room.call(ChatRoom.join, YOU)
    count = room.call(ChatRoom.replayed)
    rest, newest = islice(log, count, None), [0]
    while events := list(islice(rest, EVENTS_PER_CALL)):
        newest.append(room.call(ChatRoom.replay, events))
        count += len(events)
    if you:
        room.call(ChatRoom.mark_read, YOU, Random(id).choice(newest))
    return count


def watched(counts: Iterable[int], rooms: int) -> Iterator[int]:
    """Tells how far it is: a bar on a terminal, if rich is installed; otherwise a line now and then."""
    if sys.stderr.isatty() and find_spec("rich"):
        from rich.console import Console
        from rich.progress import track

        yield from track(counts, "loading", rooms, console=Console(stderr=True), transient=True)
        return
    told = time.monotonic()
    for number, count in enumerate(counts, 1):
        yield count
        if time.monotonic() - told > PLAIN_SECONDS:
            told = time.monotonic()
            print(f"loading: {number} of {rooms} rooms", file=sys.stderr)


def clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%d %b %H:%M}"


def cut(text: str, width: int) -> str:
    """For one line of a terminal, which must not obey what somebody wrote into a room."""
    shown = "".join(sign if sign.isprintable() else "·" for sign in text[:width])
    return shown if len(text) <= width else f"{shown[:-1]}…"
