"""What can be known of a data directory from outside, beside a running process or at rest. Reads only; prints nothing.

    for entry in rooms(Path("data")): ...
    overview(data, ground(data)).attention

place     is it a data directory, and who runs on it
catalog   its rooms, page by page, and their sums
live      what the running process says of itself (status.json)
replica   how far the replica is, by positions
replicas  each replica, by the process's words and by its file
status    all of it, and what needs a person

Uses Python's own sqlite3, so never in the process whose runtime owns the directory.
"""

from durable_rooms.inspect.catalog import Selection, Sums, rooms, sums
from durable_rooms.inspect.live import Live, live
from durable_rooms.inspect.status import Ground, Overview, ground, overview
from durable_rooms.verify import NotADataDirectory

__all__ = ["Ground", "Live", "NotADataDirectory", "Overview", "Selection", "Sums", "ground", "live", "overview", "rooms", "sums"]
