"""Upkeep of an open room: its WAL stays short by checkpoints, its outbox by compaction; both in worker threads, under its lock.

Checkpoints are ours (SQLite's own would run inside a COMMIT, on the loop). A WAL that a reader pins grows until the reader ends:
writes go on, and beyond `wal_bytes_alert` it is reported with whoever holds a read mark, where the system tells.
"""

import logging
from typing import Protocol

import apsw
import trio

from actors.directory.quarantine import is_damage
from actors.limits import Limits
from actors.storage.rehome import shm_of
from actors.storage.storage import Storage, abandon_checkpoint, open_to_checkpoint, run_checkpoint
from actors.system.threads import Threads
from actors.tables import compaction

logger = logging.getLogger("durable_rooms.actors")


class Kept(Protocol):
    """What upkeep needs of the activation."""

    storage: Storage
    broken: bool

    @property
    def sound(self) -> bool: ...
    async def round_returned(self) -> None:
        """Wait for the round that is under way, if it has to do with this room."""
        ...

    def pause(self, paused: bool) -> None:
        """Hold back every turn and slice of this room, or let them go on."""
        ...

    def wake(self) -> None: ...
    def damaged(self, error: apsw.Error) -> None: ...
    def break_(self, error: BaseException) -> None: ...


class Upkeep:
    def __init__(self, kept: Kept, room: str, limits: Limits, threads: Threads, turns: trio.Semaphore, lock: trio.Lock) -> None:
        self._kept = kept
        self._room = room
        self._limits = limits
        self._threads = threads
        self._turns = turns  # so many rooms are checkpointed at once
        self._lock = lock  # of the room (rule 14)
        self._checkpoint_at = limits.wal_bytes_max
        self._checkpointing = False
        self._compacting = False
        self.pinned = False  # the WAL is over `wal_bytes_alert` and a reader keeps it from beginning again

    @property
    def busy(self) -> bool:
        return self._checkpointing or self._compacting

    def look(self, nursery: trio.Nursery, seq: int) -> None:
        """After a turn: begin what is due."""
        storage = self._kept.storage
        transaction = storage.transaction
        if not self._kept.sound:
            return
        if transaction.wal_bytes > self._checkpoint_at and not self._checkpointing and not storage.first_round:
            self._checkpointing = True
            nursery.start_soon(self._checkpoint)
        if not self._compacting and transaction.compaction.due(seq, transaction.acknowledged):
            self._compacting = True
            nursery.start_soon(self._compact)

    # -- the WAL --------------------------------------------------------------------------------------------------------
    async def _checkpoint(self) -> None:
        """Beside turns; then, if frames came meanwhile, alone for these few.

        The next commit then begins the WAL again at its start. The file keeps its size: a sync of blocks that are there takes
        half the time of one that grows the file (ext4: 0.15 against 0.29 ms). Only one that a reader let grow is cut.
        """
        kept, transaction = self._kept, self._kept.storage.transaction
        left = transaction.wal_bytes
        try:
            async with self._turns, self._lock:
                before = transaction.wal_bytes
                left = await self._run("PASSIVE")
                # SQLite tells of the WAL as it was when it began, and syncs the database only if nothing came meanwhile.
                if left or self.pinned or transaction.wal_bytes > before:
                    kept.pause(True)
                    left = transaction.wal_bytes = await self._run("TRUNCATE" if self.pinned else "PASSIVE")
                elif transaction.wal_bytes == before:  # else a commit has begun the WAL again already
                    transaction.wal_bytes = 0
            await self._report(left)
        except (apsw.BusyError, apsw.FullError, apsw.CantOpenError):
            pass  # another program's lock, a disk too full, no descriptor left: the WAL is whole, and may grow as much again
        except (OSError, apsw.Error) as error:
            if isinstance(error, apsw.Error) and is_damage(error):
                kept.damaged(error)
            else:
                kept.break_(error)
        finally:
            # What is left is pinned by a reader: the next checkpoint is due when as much again has been written.
            self._checkpoint_at = left + self._limits.wal_bytes_max
            self._checkpointing = False
            kept.pause(False)
            kept.wake()

    async def _run(self, mode: str) -> int:
        """The files are opened before a round that is under way returns. If its sync of the WAL fails, the room breaks and is not
        checkpointed; if one fails later, SQLite's own sync fails, too. A descriptor opened between that failure and its telling
        would sync in peace, and the database would be made of frames that are not on the disk (rules 21, 22)."""
        storage = self._kept.storage
        connection = await self._threads.run(open_to_checkpoint, storage.disk, storage.path)
        try:
            await self._kept.round_returned()
            await trio.lowlevel.checkpoint_if_cancelled()  # a room that broke is cancelled
            return await self._threads.run(run_checkpoint, connection, mode)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._threads.run(abandon_checkpoint, connection)
            raise

    async def _report(self, left: int) -> None:
        """Say once that somebody pins the WAL, and once that it is over."""
        storage = self._kept.storage
        if left > self._limits.wal_bytes_alert and not self.pinned:
            self.pinned = True
            readers = await self._threads.run(storage.disk.readers, shm_of(storage.path))
            logger.warning(
                "%s: its WAL has %d bytes, because a reader keeps an old moment of the room open (%s). Writes go on; it shrinks "
                "when the reader ends",
                self._room,
                left,
                ", ".join(readers) or "the system does not say who",
            )
        elif self.pinned and not left:
            self.pinned = False
            logger.warning("%s: its WAL begins again; nobody pins it any more", self._room)

    # -- the outbox -----------------------------------------------------------------------------------------------------
    async def _compact(self) -> None:
        """The follower is away: find in a worker thread which entries say nothing more; the next turns forget them."""
        storage = self._kept.storage
        outbox, seq = storage.transaction.compaction, storage.transaction.seq
        try:
            async with self._lock:
                outbox.found(await self._threads.run(compaction.find, storage.disk, storage.path))
        except (apsw.CorruptError, apsw.NotADBError) as error:
            self._kept.damaged(error)
        except (OSError, apsw.Error) as error:  # nothing is lost: the outbox is whole, only long
            outbox.put_off(seq)
            logger.warning("%s: its outbox could not be compacted (%s); tried again after as many changes", self._room, error)
        finally:
            self._compacting = False
            self._kept.wake()
