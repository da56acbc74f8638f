"""Where the chat of the questions across rooms comes from: IRC logs, each a room, or a made-up chat; as events, by room."""

import re
from argparse import ArgumentTypeError
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from durable_rooms.demo.chat import Chat
from durable_rooms.demo.irc import LogUnfit, find, parse
from durable_rooms.demo.line import Line


class Event(NamedTuple):
    """What one person did in one room. `body`: the text, or the new nick."""

    kind: Literal["message", "join", "part", "nick"]
    nick: str
    body: str
    at: float


Logs = dict[str, Callable[[], Iterator[Event]]]
"""By the id of a room, what happened in it."""

DAY = datetime(2024, 5, 1, tzinfo=UTC).timestamp()  # a line of a log tells the time of day alone: all logs begin on this day
HALF_A_DAY = 12 * 3600
CLOCK = re.compile(r"\[(\d\d):(\d\d)")


def logs(folder: str) -> Logs:
    """Raises ArgumentTypeError: the folder holds none, with the reason."""
    try:
        return {id: partial(happened, path) for id, path in find([Path(folder)]).items()}
    except LogUnfit as error:
        raise ArgumentTypeError(str(error)) from error


def happened(log: Path) -> Iterator[Event]:
    now = DAY
    with log.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for text in lines:
            if clock := CLOCK.match(text):
                told = DAY + 3600 * int(clock[1]) + 60 * int(clock[2])
                while told < now:  # past midnight; past noon on a clock of twelve hours
                    told += HALF_A_DAY
                now = told
            yield from events(parse(text.rstrip("\r\n")), now)


def made_up(rooms: int = 60, people: int = 400, lines: int = 30_000, seconds_apart: float = 5.0) -> Logs:
    """Seeded: always the same."""
    chat, found = Chat(rooms, people, seconds=1.0), defaultdict[str, list[Event]](list)
    for number in range(lines):
        id, line = chat.take(0)
        found[id] += events(line, DAY + number * seconds_apart)
    return {id: partial(iter, found[id]) for id in sorted(found)}


def events(line: Line | None, at: float) -> Iterator[Event]:
    match line:
        case Line("message" | "join" | "part" | "nick" as kind, nick, body):
            yield Event(kind, nick, body, at)
        case Line("action", nick, body):
            yield Event("message", nick, f"/me {body}", at)
        case _:
            return  # a notice; somebody got a mode
