"""Lines from IRC logs: a file is a room, its name is the room's id.

    [18:51] <ann> hello               a message
    [18:51]  * ann waves              an action
    === ann [host]  has joined #room  an event: joined, left, quit, kicked off, is now known as, mode
    anything else                     a notice: skipped and counted

Real logs hold bytes that are not UTF-8 (U+FFFD takes their place) and control characters (kept: a chat server meets them, too).
"""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from durable_rooms.demo.line import Kind, Line

SUFFIXES = (".log", ".txt")  # what counts as a log in a folder; a file named on its own may be called anything
BODY_BYTES_MAX = 256 * 1024  # longer than that is not something that a person said
ROOM_BYTES_MAX = 1024
LANES_MAX = 160  # logs that are posted at the same time; the others wait, so that not every room is in memory at once

TALK = re.compile(r"\[\d\d:\d\d(?::\d\d)?\] (?:<([^>]+)> ?| ?\* (\S+) ?)(.*)", re.DOTALL)
MODE = re.compile(r"=== mode/(\S+ \[[^\]]*\])\s+by (\S+)")
EVENTS: dict[str, Kind] = {
    " has joined #": "join",
    " has left #": "part",
    " was kicked off #": "part",
    " has quit": "part",
    " is now known as ": "nick",
    " sets mode": "mode",
}


class LogUnfit(Exception):
    """A path that holds nothing to post; the message says why."""


def parse(line: str) -> Line | None:
    """One line of a log, None if it is a notice."""
    if talk := TALK.fullmatch(line):
        speaker, doer, body = talk.groups()
        return Line("message", speaker, body) if speaker else Line("action", doer, body)
    if mode := MODE.fullmatch(line):
        return Line("mode", mode[2], mode[1])
    return parse_event(line[4:]) if line.startswith("=== ") else None


def parse_event(event: str) -> Line | None:
    for verb, kind in EVENTS.items():
        who, found, rest = event.partition(verb)
        nick = who.split(" [", 1)[0].strip()  # without the host
        if found and nick:
            return Line(kind, nick, rest.strip())
    return None


def read(path: Path) -> Iterator[Line | None]:
    """The lines of a log, None for each that is skipped; empty lines are nothing at all."""
    with path.open("rb") as file:
        for raw in file:
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            if text:
                yield parse(text) if len(raw) <= BODY_BYTES_MAX else None


def find(paths: list[Path]) -> dict[str, Path]:
    """The logs at these paths (files, or folders of `.log` and `.txt` files) by the id of their room.

    Raises:
      LogUnfit: a path that is not there, is empty or cannot be read.
    """
    logs: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in walk(path) if file.suffix.lower() in SUFFIXES)
            if not found:
                raise LogUnfit(f"the folder {path} holds no {' or '.join(SUFFIXES)} files.")
        elif path.exists():
            found = [path]
        else:
            raise LogUnfit(f"{path} does not exist.")
        for file in found:
            logs[new_id(file, logs)] = file
    return logs


def walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise LogUnfit(f"the folder {error.filename} cannot be read: {error.strerror}.")

    for base, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (Path(base, name) for name in names)


def new_id(file: Path, taken: dict[str, Path]) -> str:
    """The file's name; a second file of the same name gets a number."""
    name = os.fsencode(file.name).decode("utf-8", "replace")[: ROOM_BYTES_MAX // 4]
    numbered = (f"{name} ({number})" for number in range(2, 1_000_000))
    return name if name not in taken else next(id for id in numbered if id not in taken)


class Logs:
    """A feed of logs: each lane posts one log after another, so that the order within a room is the order of its file."""

    def __init__(self, paths: list[Path]) -> None:
        """Reads every log once, to know how much there is.

        Raises:
          LogUnfit: a path that is not there, is empty or cannot be read, or no line that could be posted.
        """
        self.lines = self.skipped = 0
        self._logs = find(paths)
        for path in self._logs.values():
            try:
                for line in read(path):
                    self.lines += line is not None
                    self.skipped += line is None
            except OSError as error:
                raise LogUnfit(f"{path} cannot be read: {error.strerror}.") from error
        if not self.lines:
            raise LogUnfit(f"no line of a chat in {', '.join(map(str, paths))}: {self.skipped:,} lines, none of them readable.")
        self._waiting = iter(self._logs.items())
        self.lanes = self.rooms = min(LANES_MAX, len(self._logs))
        self._current = [self._open(log) for log in islice(self._waiting, self.lanes)]

    @property
    def description(self) -> str:
        logs = "log file, a room" if len(self._logs) == 1 else "log files, each a room"
        return f"{self.lines:,} lines of {len(self._logs):,} {logs}"

    def take(self, lane: int) -> tuple[str, Line] | None:
        while True:
            if (found := next(self._current[lane], None)) is not None:
                return found
            if (log := next(self._waiting, None)) is None:
                return None
            self._current[lane] = self._open(log)

    def progress(self, answered: int, seconds: float) -> float:
        return answered / self.lines

    @staticmethod
    def _open(log: tuple[str, Path]) -> Iterator[tuple[str, Line]]:
        room, path = log
        return ((room, line) for line in read(path) if line is not None)
