"""The transaction of a turn, on a room's own connection: calls inside it, each in a savepoint, then one COMMIT.

Synchronous and between two awaits: nobody else ever sees it open. BEGIN and savepoints are lazy, so that a call that touches
no SQL costs none.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw

from actors.calls.loan import Loan
from actors.directory.quarantine import is_damage
from actors.errors import RoomLocked, RoomUnfit, StatementRefused, StorageFull, TurnVoid
from actors.reason import reason
from actors.statements import fulltext
from actors.statements.deadline import CallDeadline, CallTime
from actors.statements.guard import Guard
from actors.statements.sql import HANDLER, INTERNAL, SQL, Rows, SQLValue, internal
from actors.sync.space import Fullness, Roomy
from actors.system.threads import this_thread
from actors.tables import capture
from actors.tables.compaction import Compaction
from actors.tables.replies import Replies
from actors.tables.schema import RoomSchema, refuse_names
from actors.tables.schemas import Schemas

FRAME_BYTES = 4_096 + 24  # of a WAL: a page and its header
_TRIM_STEP = 256  # entries; trimming costs 2 µs a turn plus 0.3 µs an entry, so it is done in steps


class Transaction:
    """One room's connection as its calls use it. `seq` is the position of the last commit."""

    manner = HANDLER
    prepare_flags = HANDLER.prepare_flags

    def __init__(
        self,
        connection: apsw.Connection,
        guard: Guard,
        schemas: Schemas,
        local: frozenset[str],
        room: str,
        searched: fulltext.Declared = fulltext.NOTHING,
    ) -> None:
        self.connection = connection
        self.guard = guard
        self.sql = SQL(self)
        self._execute: Callable[..., Any] = connection.execute  # for the two statements of every call
        self.entered = False
        self.loan: Loan | None = None  # an offloaded call has the connection in its thread: nobody else may touch it
        self.room = room
        self.known = schemas.of(connection, local)
        first, self.seq = capture.bounds(connection)
        self.compaction = Compaction(first)
        self.timeline = capture.timeline(connection)
        self.begun = False
        self.closed = False  # the room broke: nothing may touch the connection again (rule 21)
        self.void = False  # a turn was rolled back under the actor, which is thrown away: nothing of it may run here any more
        self.foreign_commit = False  # another program committed; its commit counts as one of ours (rule 34)
        self.lost: apsw.Error | None = None  # a statement of the running call made SQLite roll the whole turn back
        self.damage: apsw.Error | None = None  # the file was found damaged: nothing more may run on it
        self.committing = False  # COMMIT itself was reached: what it raises leaves the outcome open
        self.unfit = ""  # why another program's change of the schema leaves the room unusable
        self.new_epoch: int | None = None  # to begin with the next write (rule 31)
        self.acknowledged = 0  # the follower has it: the outbox may be trimmed below
        self._schemas = schemas
        self._local = local
        self._searched = searched  # what the class declares as `fulltext`
        self._trimmed = 0
        self._running = False
        self.thread = this_thread()  # in which the running call began
        self._changes_before = 0
        self._wrote_unseen = False
        self._frames_written = False
        self.wal_bytes = 0  # about, as of the last commit
        self._version = connection.data_version()
        self.space: Fullness = Roomy()
        self.statement_began: float | None = None  # as its deadline first saw it
        self.statement_seconds_max = math.inf
        self.time = CallTime()
        self.replies: Replies  # of calls with a key: the activation's
        connection.set_wal_hook(self._note_frames)

    def limit_statements(self, seconds: float, stopwatch: Callable[[], float]) -> None:
        """From now on, interrupt a handler's statement after so long."""
        self.statement_seconds_max = seconds
        CallDeadline(self, stopwatch, self.time).install()

    def renew(self) -> None:
        """A turn was void: what it did to the schema is undone, and what is known of it is read again."""
        self.known = self._schemas.of(self.connection, self._local)
        self.void = False

    def end(self) -> None:
        """Its connection is closed for good: cut its circle."""
        del self.sql, self._execute, self.replies

    @property
    def schema(self) -> RoomSchema:
        return self.known.schema

    @property
    def annexes(self) -> frozenset[str]:
        """Which of the runtime's optional tables the room has."""
        return self.known.schema.annexes

    @property
    def call_bound(self) -> str:
        """What bounds the running call, if a statement of it was interrupted for that."""
        return self.time.words if self.time.passed else ""

    @property
    def epoch(self) -> int:
        return self.timeline[-1].epoch

    @property
    def running(self) -> bool:
        """A call or a slice is under way; whoever finds it so outside of one was asked by that handler itself."""
        return self._running or self.begun

    # -- the turn ---------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """BEGIN IMMEDIATE. Raises apsw.BusyError while another program holds the write lock."""
        if self.begun:
            return
        if self.closed or self.void:
            why = "a sync of its file failed, so nothing runs on it any more" if self.closed else "the room was reset meanwhile"
            raise StatementRefused(f"{self.room}: {why}. Nothing was written.", room=self.room)
        internal(self.connection, "BEGIN IMMEDIATE")
        self.begun = True
        self.committing = self._wrote_unseen = False
        self._changes_before = self.connection.total_changes()
        if self.connection.data_version() != self._version:
            self._notice_foreign_commit()

    def commit(self) -> bool:
        """COMMIT; True if the turn wrote something.

        Raises:
          apsw.Error: what COMMIT raised; the caller decides by its kind (rule 25).
        """
        if not self.begun:
            return False
        wrote = self._wrote_unseen or self.connection.total_changes() != self._changes_before
        seq = self._finish_write() if wrote else self.seq
        self._frames_written = False
        self.committing = True
        internal(self.connection, "COMMIT")
        self.begun = self.committing = False
        if wrote and self.new_epoch is not None:
            self.timeline, self.new_epoch = capture.timeline(self.connection), None
        self.seq = seq
        self._version = self.connection.data_version()
        return wrote or self._frames_written

    def _note_frames(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        """A COMMIT put something into the WAL: ANALYZE and REINDEX do, and no counter of rows sees them."""
        self._frames_written = True
        self.wal_bytes = pages * FRAME_BYTES
        return apsw.SQLITE_OK

    def rollback(self) -> None:
        """Give up the whole turn."""
        self.begun = self.entered = self._running = self.guard.handler_runs = False
        self.lost = None
        if self.connection.in_transaction:
            internal(self.connection, "ROLLBACK")

    def give_up(self, damage: apsw.Error) -> None:
        """The file is damaged: nothing of this turn stays, and nothing runs here any more."""
        self.damage, self.closed = damage, True
        with suppress(apsw.Error):  # what it cannot undo now goes with the connection, which is closed untouched
            self.rollback()

    def _finish_write(self) -> int:
        """What the runtime itself adds to a turn that wrote; returns the seq at which its commit will stand."""
        connection = self.connection
        if self.new_epoch is not None:
            capture.begin_epoch(connection, self.new_epoch, self.seq)
        seq = capture.last_seq(connection)
        if seq == self.seq:
            capture.mark(connection)
            seq += 1
        if self.acknowledged >= self._trimmed + _TRIM_STEP:
            self.trim()
        self.compaction.forget(connection, seq - self.seq)
        return seq

    @property
    def fits(self) -> bool:
        """Whether `fit` would have nothing to do."""
        return self.known.fits and fulltext.fits(self.schema.fulltext, self._searched)

    def fit(self) -> None:
        """Inside a transaction: make the full text indexes those of the class, and the capture triggers fit the schema."""
        if not fulltext.fits(self.schema.fulltext, self._searched):
            fulltext.install(self.connection, self.schema.fulltext, self._searched)
            self._wrote_unseen = True
            self.known = self._schemas.of(self.connection, self._local)
        if not self.known.fits and capture.install(self.connection, self.schema.replicated):
            self._wrote_unseen = True
            self.known = self._schemas.of(self.connection, self._local)

    def drop_unwanted_indexes(self) -> None:
        """Inside a transaction, before a migration: a column cannot be dropped while a trigger of an index reads it."""
        keep = {table for table, index in self.schema.fulltext.items() if self._searched.get(table) == index.columns}
        fulltext.drop_all_but(self.connection, keep)

    def must_write(self) -> None:
        """This turn counts as one that wrote, whatever the change counter says (it does not see DDL)."""
        self._wrote_unseen = True

    def trim(self) -> None:
        """Inside a transaction: drop the outbox entries that the follower has committed."""
        self._trimmed = min(self.acknowledged, self.seq)
        capture.trim(self.connection, self._trimmed)

    def look_for_foreign_commit(self, *, reading: bool) -> bool:
        """Between turns: whether another program has committed since; a follower may have read it (rule 34).

        `reading`: a read transaction is open and has read something; else this begins one.
        """
        connection = self.connection
        if not reading:
            internal(connection, "SELECT 1 FROM _room")
        if connection.data_version() == self._version:
            return False
        self._version = connection.data_version()
        self._notice_foreign_commit()
        self.foreign_commit = False
        return True

    def _notice_foreign_commit(self) -> None:
        self.foreign_commit = True
        try:
            self.known = self._schemas.of(self.connection, self._local)
            self.unfit = ""
        except StatementRefused as error:  # what a handler could not have made; undone there, the room is fit again
            self.unfit = str(error)
        except UnicodeDecodeError as error:
            raise apsw.CorruptError(f"a text of the schema is not UTF-8 ({error})") from error
        self.seq = capture.last_seq(self.connection)
        self.timeline = capture.timeline(self.connection)

    # -- a call in it -----------------------------------------------------------------------------------------------
    def call_begins(self) -> None:
        self._running = True
        self.thread = this_thread()

    def enter(self, query: str) -> None:
        """The running call touches SQL for the first time: open its savepoint (see sql.Scope)."""
        loan = self.loan
        if not self._running or (loan is None and this_thread() != self.thread):
            raise StatementRefused(
                f"{self.room}: self.sql was used while no handler of this room runs here (from a child task or a thread, or "
                f"after the call ended). Nothing ran of: {query:.200}",
                room=self.room,
            )
        if loan is not None:  # its own thread, whichever the running call began in
            loan.check(query)
        if self.lost is not None:
            raise void_turn(self.lost, self.room) from self.lost
        if self.damage is not None:
            raise self.damage
        if loan is not None and loan.entered:
            return
        if not self.begun:
            try:
                self.begin()
            except apsw.BusyError as error:
                raise RoomLocked(
                    f"{self.room}: another program holds the write lock of its file. Nothing was written.",
                    room=self.room,
                    ran="rolled back",
                ) from error
        if self.unfit:
            raise RoomUnfit(
                f"{self.room}: another program changed its schema. {self.unfit} Nothing was written.",
                room=self.room,
                ran="rolled back",
            )
        self._execute("SAVEPOINT call", prepare_flags=INTERNAL)
        if loan is None:
            self.entered = True
        else:
            loan.entered = True  # so that each of its statements comes here first
        self.guard.handler_runs = True
        self.guard.schema_touched = False

    def call_ends(self) -> None:
        """Keep what the call wrote.

        Raises:
          apsw.ConstraintError: a deferred foreign key does not hold; the caller undoes the call.
          StatementRefused: it made a table that cannot be replicated.
          TurnVoid, StorageFull: SQLite rolled the turn back, and the call passed over that.
        """
        if self.lost is not None:
            raise void_turn(self.lost, self.room) from self.lost
        if self.damage is not None:
            raise self.damage
        if self.entered:
            self.guard.handler_runs = False
            if self.schema.has_foreign_keys or self.guard.schema_touched:
                self._check_foreign_keys()
            if self.guard.schema_touched:
                self._follow_schema()
            self._execute("RELEASE call", prepare_flags=INTERNAL)
            self.entered = False
        self._running = False

    def call_fails(self) -> bool:
        """Undo what the call wrote; False if SQLite has rolled back the whole turn with it."""
        self.guard.handler_runs = self._running = False
        entered, self.entered = self.entered, False
        lost, self.lost = self.lost, None
        if lost is not None:
            return False
        if not entered:
            return True
        internal(self.connection, "ROLLBACK TO call")
        internal(self.connection, "RELEASE call")
        if self.guard.schema_touched:
            self.known = self._schemas.of(self.connection, self._local)
        return True

    def look_for_rollback(self, error: apsw.Error) -> None:
        """A statement failed. If SQLite rolled the turn back with it, no other of this call may run: it would commit at once."""
        if is_damage(error):
            self.damage = error
        if not self.connection.in_transaction:
            self.lost = error
            self.begun = self.entered = self.guard.handler_runs = False
        if self.loan is not None and isinstance(error, apsw.InterruptError):
            raise self.loan.refusal() from error

    def search(self, table: str, words: str, limit: int) -> Rows:
        """See sql.SQL.match. The guard lets the index be read: no text of a handler's can name it."""
        indexes = self.schema.fulltext
        if self.guard.schema_touched:  # by this very call
            self.guard.handler_runs = False
            indexes = fulltext.installed(self.connection)
            self.guard.handler_runs = True
        return fulltext.search(self.connection, indexes, self.room, table, words, limit)

    def own(self, query: str, values: tuple[SQLValue, ...]) -> list[tuple[Any, ...]]:
        """A statement of the runtime's own inside the running call, kept or undone with it (see annex)."""
        self.guard.handler_runs = False
        self.statement_began = None
        try:
            return internal(self.connection, query, values)
        except apsw.Error as error:
            self.look_for_rollback(error)
            raise
        finally:
            self.guard.handler_runs = self.entered or self.loan is not None

    def annexed(self) -> None:
        """The running call has made a table of the runtime's own; undone with it."""
        self.guard.schema_touched = True
        self.guard.handler_runs = False
        try:
            self.known = self._schemas.of(self.connection, self._local)
        finally:
            self.guard.handler_runs = True

    def refusal(self) -> str | None:
        refusal, self.guard.refusal = self.guard.refusal, None
        return refusal

    def _check_foreign_keys(self) -> None:
        """A violation that waits for COMMIT would fail the neighbours: RELEASE of an inner savepoint lets it pass."""
        if self.connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise apsw.ConstraintError("FOREIGN KEY constraint failed (a deferred one, at the end of the call)")

    def _follow_schema(self) -> None:
        self._wrote_unseen = True
        refuse_names(self.connection)
        before, self.known = self.schema, self._schemas.of(self.connection, self._local)
        self.fit()
        if self.schema.computes_more_than(before):
            capture.break_continuity(self.connection)


def void_turn(error: BaseException, room: str) -> StorageFull | TurnVoid:
    """The error for every call of a turn that SQLite rolled back as a whole."""
    if isinstance(error, apsw.FullError):
        return StorageFull(
            f"{room}: the disk is full. Nothing of this turn was written; the call may be repeated when there is space.",
            room=room,
        )
    return TurnVoid(
        f"{room}: SQLite rolled back the turn that this call shared with others ({reason(error)}). "
        "Nothing of it was written; the call may be repeated.",
        room=room,
    )
