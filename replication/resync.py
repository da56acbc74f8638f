"""A resync: one room's rows made again from the room's file, in one transaction of the replica. Also the frame of everything
that is read so (see backlog).

The file is attached read-only and everything, the watermark included, comes from one snapshot of it. What the snapshot shows may
not be durable yet, so the replica commits only when the room's newest commit at that moment is (rule 26).
"""

from collections.abc import Callable

import apsw
import trio

from actors import Position, RoomCopy, Source
from replication.batch import refused
from replication.file import ReplicaFile
from replication.jobs import Jobs
from replication.replica import REPLICA_ERRORS, ReplicaGone
from replication.shape import ROOM, quoted
from replication.standing import Mark, Reason

Write = Callable[[ReplicaFile, RoomCopy, Position, float], Mark]
"""Writes rows from the attached file, whose snapshot stands at the position; returns the mark that it has written, too."""


class RoomUnreadable(Exception):
    """The room's file cannot be read; the replica is as it was."""


class Unfit(Exception):
    """The replica does not stand where what was to be written begins. Nothing was applied."""

    def __init__(self, reason: Reason | None, mark: Mark | None) -> None:
        super().__init__(reason or "moved")
        self.reason: Reason | None = reason  # of the resync that is needed; None: begin again from `mark`
        self.mark = mark


async def resync(jobs: Jobs, file: ReplicaFile, source: Source, now: float, *, rewound: bool) -> Mark:
    """Copy a room whole; returns where the replica stands now, to be settled by the next collect.

    A room that was `rewound` is told so while it is held: it begins a new epoch at its next write (rule 32).

    Raises:
      OutcomeUnknown: the room broke before what was copied became durable; nothing was applied.
      RoomUnreadable, RowsRefused, RoomUnfit, RoomLocked: this room cannot be copied now; nothing was applied.
      apsw.Error, ReplicaGone, ReplicaHangs: the replica is in trouble.
    """
    return await from_file(jobs, file, source, _replace, now, rewound=rewound)


async def from_file(jobs: Jobs, file: ReplicaFile, source: Source, write: Write, now: float, *, rewound: bool = False) -> Mark:
    """Let SQLite write rows of the replica from a room's file, and commit when they are durable there. Raises as `resync`."""
    threads = jobs.holding_a_room
    async with source.copy() as copy:
        if rewound:
            source.rewound()
        done = False
        try:
            mark = await threads.run(_write, file, copy, write, now)
            await copy.commit_now().durable()
            await threads.run(file.commit)
            done = True
        finally:
            if not jobs.left_alone:  # else the room shall not wait for it: its file is closed when the job comes back
                with trio.CancelScope(shield=True):
                    await threads.run(_leave, file, done)
    return mark


def _write(file: ReplicaFile, copy: RoomCopy, write: Write, now: float) -> Mark:
    try:
        _attach(file, copy)
        file.begin()
        position = _position(file, copy)
        return write(file, copy, position, now)
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
        if _room_is_sound(file):
            raise
        raise RoomUnreadable(f"{copy.path}: {error}") from error
    except (Unfit, RoomUnreadable, *REPLICA_ERRORS):
        raise
    except Exception as error:
        raise refused(file, error) from error


def _attach(file: ReplicaFile, copy: RoomCopy) -> None:
    """By a bound value: a path is no SQL and no URI. The replica's connection opens what it attaches read-only."""
    try:
        file.run("ATTACH ? AS room", (str(copy.path),))
    except apsw.Error as error:
        raise RoomUnreadable(f"{copy.path}: {error}") from error


def _position(file: ReplicaFile, copy: RoomCopy) -> Position:
    """The room's position in the snapshot that this first read takes."""
    try:
        ((seq, epoch),) = file.run(
            "SELECT (SELECT coalesce(max(seq), 0) FROM room._outbox), (SELECT coalesce(max(epoch), 0) FROM room._timeline)"
        )
    except apsw.Error as error:
        raise RoomUnreadable(f"{copy.path}: {error}") from error
    return Position(epoch, seq)


def _replace(file: ReplicaFile, copy: RoomCopy, position: Position, now: float) -> Mark:
    placements = file.tables.placements(copy.room.actor, copy.schema)
    found = file.room(copy.room)
    key = found[0] if found else file.intern(copy.room)
    if found:
        for base in file.tables.bases(copy.room.actor):
            file.run(f"DELETE FROM {quoted(base)} WHERE {ROOM} = ?", (key,))  # noqa: S608 (quoted)
    for table in copy.schema.tables:
        file.run(placements[table.name].copy, (key,))
    mark = Mark(position, copy.schema.digest, settled=False)
    file.put_marks([(key, mark)], now)
    return mark


def _room_is_sound(file: ReplicaFile) -> bool:
    """Whose damage it was: the error does not say, and a damaged room must not cost the replica."""
    try:
        return file.run("PRAGMA room.quick_check(1)") == [("ok",)]
    except apsw.Error:
        return False


def _leave(file: ReplicaFile, done: bool) -> None:
    if not done:
        file.rollback()
    if "room" in file.connection.db_names():
        try:
            file.run("DETACH room")
        except apsw.Error as error:
            raise ReplicaGone(f"a room's file stays attached: {error}") from error
