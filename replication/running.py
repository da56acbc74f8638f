"""What a replicator has while it runs in a runtime."""

from collections.abc import Callable

from actors import Doors, Rooms
from replication.auditor import Auditor
from replication.collector import Collector
from replication.file import ReplicaFile
from replication.house import House
from replication.jobs import Jobs
from replication.replica import SQLiteReplica


def drawn_token(doors: Doors) -> str:
    """Of one start of a runtime (see House)."""
    return f"{doors.random.getrandbits(128):032x}"


class Running:
    """Of one replicator, from its start to its end."""

    def __init__(self, replica: SQLiteReplica, rooms: Rooms, hanging: Callable[[str], None], token: str, number: int) -> None:
        self.rooms = rooms
        self.token = token
        house = House(rooms.doors.disk, rooms.path, token, self._generation, number)
        self.file = ReplicaFile(rooms.doors.disk, replica.path or rooms.path / "replica.db", house)
        self.jobs = Jobs(rooms.doors.threads, lambda: self.file.beats, hanging)
        self.collector = Collector(replica.window, rooms.doors.random.uniform)
        self.auditor = Auditor(rooms, self.file, self.jobs, self.collector)

    def _generation(self) -> str:
        """Of a replica that is made now."""
        return f"{round(self.rooms.doors.wall_clock() * 1000):012x}{self.rooms.doors.random.getrandbits(40):010x}"
