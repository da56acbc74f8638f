"""The check: the ledger against the room files, and the room files against the replica. Runs after the server has stopped.

Opens the files with Python's own sqlite3 and believes nobody: every acknowledged post must be in its room, once, as it was
posted; every row must be one that was posted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from durable_rooms.demo.ledger import Ledger, State
from durable_rooms.demo.line import Line
from durable_rooms.demo.wire import number_of, uid
from durable_rooms.verify import Report, verify
from durable_rooms.verify.files import Unreadable, reading
from durable_rooms.verify.report import RoomEntry
from durable_rooms.verify.walk import rooms_of_catalog, settled
from durable_rooms.verify.words import shown

NAMED_MAX = 5


@dataclass(slots=True)
class Findings:
    """What the files say, counted. All but `found` and `absent` must be zero."""

    lost: int = 0  # acknowledged, but not in its room, or not as it was posted
    duplicated: int = 0  # in the rooms more than once
    found: int = 0  # unknown posts that are there
    absent: int = 0  # unknown posts that are not
    undone: int = 0  # refused posts that are there all the same
    strange: int = 0  # rows that nobody posted
    examples: list[str] = field(default_factory=list[str])  # the first few of what must not be
    replica: Report = field(default_factory=lambda: Report(Path()))

    def name(self, example: str) -> None:
        if len(self.examples) < NAMED_MAX:
            self.examples.append(example)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.undone or self.strange) and self.replica.equal


def check(data: Path, ledger: Ledger, look: Callable[[str, float], None]) -> Findings:
    """Read everything and judge; `look` is told what is read and how far it is, 0 to 1.

    Raises:
      NotADataDirectory: there is no catalog, or no replica.
    """
    findings = Findings()
    times = bytearray(len(ledger))  # how often each post was found, up to 255
    rooms = settled(data / "catalog.db", rooms_of_catalog)
    for place, room in enumerate(rooms):
        look("reading the room files", place / len(rooms))
        try:
            count_room(data, room, ledger, times, findings)
        except Unreadable as error:
            findings.name(f"{shown(str(room))}: {error}")  # its posts stay at zero, so they count as lost
    judge(ledger, times, findings)
    findings.replica = verify(data, progress=lambda report, all: look("comparing with the replica", report.rooms / all))
    return findings


def count_room(data: Path, room: RoomEntry, ledger: Ledger, times: bytearray, findings: Findings) -> None:
    with reading(data / "rooms" / room.file) as connection:
        for text, kind, author, body in connection.execute("SELECT uid, kind, author, body FROM messages ORDER BY id"):
            number = number_of(ledger.run, text)
            if number is None or number >= len(ledger) or not ledger.fits(number, room.id, Line(kind, author, body)):
                findings.strange += 1
                findings.name(
                    f"{shown(str(room))} has a line that was not posted like this: {text!r} {kind!r} {author!r} {body[:60]!r}"
                )
            else:
                times[number] = min(255, times[number] + 1)


def judge(ledger: Ledger, times: bytearray, findings: Findings) -> None:
    for number, seen in enumerate(times):
        if seen > 1:
            findings.duplicated += 1
            findings.name(f"{uid(ledger.run, number)} is there {seen} times")
        match ledger.state(number):
            case State.acknowledged if not seen:
                findings.lost += 1
                findings.name(f"{uid(ledger.run, number)} was acknowledged and is not there")
            case State.unknown | State.in_flight:
                findings.found += bool(seen)
                findings.absent += not seen
            case State.refused if seen:
                findings.undone += 1
                findings.name(f"{uid(ledger.run, number)} was refused and is there")
            case _:
                pass
