"""What happened in a simulated world, one entry after the other: the disk's operations, calls, replies, faults.

The order `write < sync began < sync returned < reply` can be read off one list, and a power cut is a place in it.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

OF_THE_HOST = ("lock", "replica.db-owner", "replica-2.db-owner")  # hold the number of this process and the place of its files


class Event(NamedTuple):
    """One thing that happened.

    Attributes:
      kind: create, write, truncate, rename, unlink, mkdir, open, close; "<a sync> began / returned / failed";
        writeback failed, evicted; call, reply, told, replica, fault, note.
      path: relative to the data directory; of a call the room.
      by: "ours" (our own operation), "sqlite", or "fault".
      node: the file behind the path. token: joins a sync's two ends, and a call's.
      other: where a rename ends; what a reply says.
      when: virtual seconds.
    """

    kind: str
    path: str = ""
    by: str = "ours"
    node: int = 0
    token: int = 0
    offset: int = 0
    data: bytes = b""
    other: str = ""
    when: float = 0.0

    def __str__(self) -> str:
        size = f" {len(self.data):,} bytes at {self.offset:,}" if self.data and self.path not in OF_THE_HOST else ""
        other = f" {self.other[:120]}" if self.other else ""
        by = "" if self.by == "ours" else f" ({self.by})"
        return f"{self.when:10.6f} s  {self.kind} {self.path}{size}{other}{by}"


def hash_of(events: Iterable[Event]) -> str:
    """Equal for equal histories: every event with its contents and its moment, but for what is of the host process."""
    digest = hashlib.blake2b(digest_size=16)
    for event in events:
        told = event._replace(data=b"") if event.path in OF_THE_HOST else event
        digest.update(repr(told).encode())
    return digest.hexdigest()
