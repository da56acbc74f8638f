"""Compare the rooms of a data directory with the replica from outside: by position, by number of rows, by content.

    report = verify(Path("data"))
    report.equal

files     open SQLite files read-only, beside a running process or at rest
compare   two ordered streams of rows, what is unequal
room      one room against the replica
report    what was found
walk      every room of the catalog

Uses Python's own sqlite3 and nothing of the runtime: whoever checks it must not trust it.
"""

from durable_rooms.verify.report import Difference, Level, Report, RoomEntry
from durable_rooms.verify.walk import NotADataDirectory, verify

__all__ = ["Difference", "Level", "NotADataDirectory", "Report", "RoomEntry", "verify"]
