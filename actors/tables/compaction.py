"""Compaction: while the follower is away, the outbox is bounded by the number of distinct rows, not by the number of changes.

An entry is superseded when a newer one names the same row: a follower joins the row's state of now, so the newest says all. A
counter that is raised a million times during an outage leaves one entry.

Two halves, so that no turn waits for any of it: superseded entries are *found* in a worker thread, on a connection of its own
(0.6 µs an entry), and *forgotten* in the room's next transactions, a few at a time, like trimming. What is superseded at one
moment stays so for ever, whatever is committed or trimmed in between.

Never forgotten: the newest entry (rule 28: `seq` never restarts), and the lowest: a follower judges by it whether the outbox
still reaches back to where it stands, so that forgetting it would look like a gap.
"""

import json
from pathlib import Path
from typing import NamedTuple

import apsw

from actors.statements.sql import internal
from actors.system.disk import Disk

COMPACT_ENTRIES_MIN = 16_384  # what the hottest room writes in the 0.1 s until a healthy follower has acknowledged it; 0.3 MB
COMPACT_RANGES_MAX = 16_384  # found at once, 2 MB; decoding them holds the loop up for 3 ms
FORGET_ENTRIES_MIN = 512  # a turn, 35 µs where they follow each other; and twice what the turn itself wrote, so that it ends

# The oldest ranges of entries without one between them that must stay, as one value: fetching row by row would hand
# Python's lock over to the loop and back for each. With them, how many there are and how many entries stay.
_SUPERSEDED = """
    WITH marked AS (
        SELECT seq, seq IN (SELECT max(seq) FROM _outbox GROUP BY tbl, pk) OR seq = (SELECT min(seq) FROM _outbox) AS stays
        FROM _outbox),
    numbered AS (SELECT seq, stays, sum(stays) OVER (ORDER BY seq) AS island FROM marked),
    ranges AS (SELECT min(seq) AS first, max(seq) AS last FROM numbered WHERE NOT stays GROUP BY island)
    SELECT (SELECT json_group_array(json_array(first, last)) FROM (SELECT first, last FROM ranges ORDER BY first LIMIT ?)),
        (SELECT count(*) FROM ranges), (SELECT coalesce(max(island), 0) FROM numbered), (SELECT max(seq) FROM _outbox)"""


class Superseded(NamedTuple):
    """What one search found: `ranges` of seq from the oldest on (inclusive), all of them or `more`; `left` entries stay."""

    ranges: list[tuple[int, int]]
    more: bool
    left: int
    until: int


def find(disk: Disk, path: Path) -> Superseded:
    """Search a room's outbox on a connection of its own. Blocks; the caller holds the room's lock (rule 14)."""
    connection = disk.connect(path)
    try:
        connection.wal_autocheckpoint(0)
        internal(connection, "PRAGMA temp_store = MEMORY")  # a full disk is no reason to let the outbox grow
        return search(connection)
    finally:
        connection.close()


def search(connection: apsw.Connection) -> Superseded:
    ranges, count, left, until = internal(connection, _SUPERSEDED, (COMPACT_RANGES_MAX,))[0]
    found = [(first, last) for first, last in json.loads(ranges)]
    return Superseded(found, count > len(found), left, until or 0)


class Compaction:
    """What one activation knows of its outbox: when to search it, and what to forget."""

    def __init__(self, first: int | None) -> None:
        self._until = (first or 1) - 1  # searched up to here; what former activations left counts as never searched
        self._left = 0  # entries that stayed then
        self._ranges: list[tuple[int, int]] = []  # to forget, the oldest last

    def due(self, seq: int, acknowledged: int) -> bool:
        """Whether to search: the outbox has doubled since the last search, and the follower is not about to acknowledge that."""
        left = self._left if acknowledged < self._until else 0
        return not self._ranges and seq - max(self._until, acknowledged) > max(COMPACT_ENTRIES_MIN, left)

    def found(self, superseded: Superseded) -> None:
        self._ranges = superseded.ranges[::-1]
        self._until, self._left = (0, 0) if superseded.more else (superseded.until, superseded.left)

    def put_off(self, seq: int) -> None:
        """It could not be searched: again when as much has been written."""
        self._until = seq

    def forget(self, connection: apsw.Connection, written: int) -> None:
        """Inside a turn's transaction that wrote so many entries. A turn that is rolled back leaves them for the next search."""
        budget = max(FORGET_ENTRIES_MIN, 2 * written)
        while self._ranges and budget > 0:
            first, last = self._ranges.pop()
            if last - first >= budget:
                self._ranges.append((first + budget, last))
                last = first + budget - 1
            # Trimming may have come up to one of them: the lowest stays, or a follower that stands there would see a gap.
            internal(
                connection,
                "DELETE FROM _outbox WHERE seq BETWEEN ? AND ? AND seq > (SELECT min(seq) FROM _outbox)",
                (first, last),
            )
            budget -= max(8, last - first + 1)  # a statement costs as much as eight entries
