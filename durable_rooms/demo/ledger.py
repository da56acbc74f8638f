"""The ledger: what was posted, and what the server said about it. It lives in the parent process, so that a kill cannot touch it.

A post is in one of four states: in flight (sent, no reply yet), acknowledged (its call returned), refused (its call raised, and
left nothing), unknown (in flight when the server was killed, or told to be unknown). A dozen bytes a post, so that millions fit.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from enum import IntEnum
from zlib import crc32

from durable_rooms.demo.line import Line

RECENT = 4_096  # posts that the live percentiles look back on


class State(IntEnum):
    in_flight = 0
    acknowledged = 1
    refused = 2
    unknown = 3


class Ledger:
    def __init__(self, run: str) -> None:
        self.run = run
        self.rooms: dict[str, int] = {}  # every room that was posted to, by name; the number is its place
        self.counts = [0] * len(State)
        self.first_refusal = ""
        self.recent: deque[float] = deque(maxlen=RECENT)
        self._seconds = array("f")  # of every acknowledged call, as its caller saw it
        self._states = bytearray()
        self._room_of = array("I")
        self._content = array("I")  # a checksum: an acknowledged line must be there unchanged

    def __len__(self) -> int:
        return len(self._states)

    def post(self, room: str, line: Line) -> int:
        """Enter a post that is about to be sent; returns its number."""
        self._states.append(State.in_flight)
        self._room_of.append(self.rooms.setdefault(room, len(self.rooms)))
        self._content.append(checksum(line))
        self.counts[State.in_flight] += 1
        return len(self._states) - 1

    def acknowledge(self, number: int, seconds: float) -> None:
        self._move(number, State.acknowledged)
        self._seconds.append(seconds)
        self.recent.append(seconds)

    def refuse(self, number: int, ran: str, why: str) -> None:
        """Its call raised. `ran` is the error's own word on what that means."""
        self._move(number, State.unknown if ran == "unknown" else State.refused)
        self.first_refusal = self.first_refusal or why

    def lose_sight(self, number: int) -> None:
        """The server is gone and nobody knows what became of this post. It is never repeated."""
        self._move(number, State.unknown)

    def state(self, number: int) -> State:
        return State(self._states[number])

    def fits(self, number: int, room: str, line: Line) -> bool:
        """Is this the room and the content that were posted under this number?"""
        return self.rooms.get(room) == self._room_of[number] and self._content[number] == checksum(line)

    def percentile(self, share: float) -> float:
        """Seconds of the acknowledged call at this share, of all of them."""
        return percentile(self._seconds, share)

    @property
    def posted(self) -> int:
        return len(self._states)

    @property
    def acknowledged(self) -> int:
        return self.counts[State.acknowledged]

    @property
    def unknown(self) -> int:
        return self.counts[State.unknown]

    @property
    def refused(self) -> int:
        return self.counts[State.refused]

    def _move(self, number: int, state: State) -> None:
        assert self._states[number] == State.in_flight, f"post {number} was answered twice"
        self._states[number] = state
        self.counts[State.in_flight] -= 1
        self.counts[state] += 1


def checksum(line: Line) -> int:
    return crc32(f"{line.kind}\0{line.author}\0{line.body}".encode("utf-8", "surrogateescape"))


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
