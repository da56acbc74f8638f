"""Is this machine, and this place on its disk, fit to keep promises? Each finding with its meaning.

    for finding in examine(Path("data")): ...

finding     one answer
machine     Python, libraries, limits, clock
mount       which file system holds a path, from the system's table
place       what the file system can do: locks, renames, WAL
syncs       how long the runtime's own syncs take there
directory   an existing data directory

Tries things out in a temporary directory of its own, through the runtime's own disk door; of the files of a data directory it
only reads, and in a process of its own: in the runtime's it would take away its locks.
"""

from durable_rooms.doctor.examine import examine
from durable_rooms.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
