"""A removal: one deleted room's rows and its mark leave the replica, in one transaction. Runs in a worker thread.

Nothing of the room is left, so nothing of an old batch can be applied any more: it was collected after a mark that is gone. What
keeps the deletion is the catalog's tombstone; a replica that was away, or an older copy put in its place, meets it at its next
opening. The room's new incarnation stands in a higher epoch, so that its mark is never taken for one that must go.
"""

import apsw

from actors import RoomName
from replication.batch import refused
from replication.file import ReplicaFile
from replication.replica import REPLICA_ERRORS
from replication.shape import ROOM, quoted


def remove(file: ReplicaFile, name: RoomName, epoch: int, now: float) -> int | None:
    """Remove what the replica has of a room in `epoch` or an earlier one; returns the batch's number, None: there is nothing.

    Raises:
      RowsRefused: something of the user's refuses it (a trigger that somebody made); nothing was removed.
      apsw.Error, ReplicaGone, ReplicaDamaged: the replica is in trouble, as of a batch.
    """
    try:
        with file.transaction():
            found = file.room(name)
            if found is None or found[1].position.epoch > epoch:
                return None
            for base in file.tables.bases(name.actor):
                file.run(f"DELETE FROM {quoted(base)} WHERE {ROOM} = ?", (found[0],))  # noqa: S608 (quoted)
            file.run("DELETE FROM _rooms WHERE key = ?", (found[0],))
            return file.next_batch(now)
    except REPLICA_ERRORS:
        raise
    except apsw.Error as error:
        raise refused(file, error) from error
