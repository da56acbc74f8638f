"""A connection to the replica on which a read sees only the rows that it is meant to, whatever its SQL says.

By construction: the tables that SQLite finds are views over the scope; base tables may be read by an inner view of a random name
alone; all else is denied when a statement is prepared. One set of views serves all rooms of a schema, so a read of another
room sets a number and prepares nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import apsw

from actors import SQL, DeadlineExceeded, Disk, Limits, Rows, StatementRefused, TooLarge
from actors.reads.purity import READ, ReadGuard
from actors.statements.deadline import Deadline
from actors.statements.fulltext import NotIndexed
from actors.statements.guard import harden
from actors.statements.sql import internal
from actors.sync.space import Fullness, Roomy
from replication.limits import COMPOUND_MAX, EXPRESSION_DEPTH_MAX, PROGRAM_STEPS_MAX, READ_SECONDS_MAX
from replication.reading.views import HELD_KEY, View
from replication.shape import fold, listed, quoted

T = TypeVar("T")

Search = Callable[[int, str, int], Rows]
"""(the room's key, words, limit): a search of one table."""

NO_ROOM = 0  # keys begin with 1

FILE_ERRORS = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,  # it must be put right first, and a reader may not: a journal beside it, a WAL without an index
)
"""What SQLite says of the replica's file, and not of the statement."""

# What is true of the replica and perhaps not of the room: it has other tables, and some bounds are lower here.
_ONLY_HERE = re.compile(
    "no such (table|column|function|module|collation)|unknown database|Expression tree is too large|too many terms in compound"
)


class Unanswerable(Exception):
    """A statement of the read cannot be prepared on the replica: it names what only the room may have. Ask the room."""


class Scoped:
    """One connection and its views. Blocks; used by one thread at a time."""

    manner = READ
    prepare_flags = READ.prepare_flags
    entered = False  # never: `enter` is asked before each statement
    thread = 0

    def __init__(
        self, disk: Disk, path: Path, random: Random, limits: Limits, stopwatch: Callable[[], float], hurry: float | None = None
    ) -> None:
        """Nothing is shown yet. `hurry`: seconds after which a read is interrupted, to be run elsewhere (apsw.InterruptError)."""
        self._hurry = hurry
        self.connection: Any = disk.connect(path, read_only=True)
        self.guard = ReadGuard(self._may_read, self._may_call)
        self.room = ""
        self.space: Fullness = Roomy()
        self.call_bound = ""
        self.statement_began: float | None = None
        self.statement_seconds_max = limits.statement_seconds_max if hurry is None else hurry
        self._random = random
        self._stopwatch = stopwatch
        self._until = 0.0
        self._schema_version = 0
        self._key = NO_ROOM
        self.searches: Mapping[str, Search] = {}
        self._shown: set[str] = set()  # folded names
        self._inner: dict[str, frozenset[tuple[str, str]]] = {}  # what each inner view may read
        self._hidden: re.Pattern[str] | None = None
        self._only_here: str | None = None  # why this read must be asked elsewhere
        self._trouble: apsw.Error | None = None  # of the file, during this read
        self.sql = SQL(self)
        try:
            self._fortify(limits)
        except BaseException:
            self.connection.close()
            raise

    def _fortify(self, limits: Limits) -> None:
        connection = self.connection
        connection.set_busy_timeout(0)  # a locked replica is the router's to go around; no reader waits for it
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        harden(connection, limits)
        # Else a statement with `LIMIT ?` is prepared anew for each value, asking the guard about each column: 18 of 52 µs.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.limit(apsw.SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_DEPTH_MAX)
        connection.limit(apsw.SQLITE_LIMIT_COMPOUND_SELECT, COMPOUND_MAX)
        connection.limit(apsw.SQLITE_LIMIT_VDBE_OP, PROGRAM_STEPS_MAX)
        internal(connection, "PRAGMA mmap_size = 0")  # a file that is cut short while it is read must be an error, not a SIGBUS
        self.read_only(on=True)
        connection.authorizer = self.guard
        self._deadline = Deadline(self, self._stopwatch)
        self._deadline.install()

    def show(self, views: Sequence[View], limits: Sequence[str] = ()) -> None:
        """Once. `limits`: the temporary tables, of (key, id), that some views are limited by."""
        self.read_only(on=False)
        for limit in limits:
            # Without rowid, so that its key counts as a column that the inner view uses; else SQLite asks once more, for nobody.
            columns = "(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) WITHOUT ROWID"
            internal(self.connection, f"CREATE TEMP TABLE {quoted(limit)} {columns}")
        for view in views:
            inner = f"{self._random.getrandbits(128):032x}"
            self._inner[inner] = view.reads
            self._shown.add(fold(view.name))
            columns = listed(view.columns)
            internal(self.connection, f"CREATE TEMP VIEW {quoted(inner)} ({columns}) AS {view.select}")
            internal(
                self.connection,
                f"CREATE TEMP VIEW {quoted(view.name)} ({columns}) AS SELECT {columns} FROM temp.{quoted(inner)}",  # noqa: S608 (quoted)
            )
        hidden = {*self._inner, HELD_KEY, *(table for view in views for _, table in view.reads)}
        self._hidden = re.compile("|".join(sorted(map(re.escape, hidden), key=len, reverse=True)), re.IGNORECASE)
        self.read_only(on=True)
        self._schema_version = self._schema_now()

    def outdated(self) -> bool:
        """Whether tables or columns came to the replica since."""
        return self._schema_now() != self._schema_version

    def _schema_now(self) -> int:
        return int(internal(self.connection, "PRAGMA main.schema_version")[0][0])

    def read_only(self, *, on: bool) -> None:
        """Temporary tables can be filled while it is off; the file cannot be written either way."""
        internal(self.connection, f"PRAGMA query_only = {int(on)}")

    def close(self) -> None:
        self.connection.close()

    # -- one read -----------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """One moment of the replica from the first statement on, until `end`."""
        internal(self.connection, "BEGIN")

    def end(self) -> None:
        """Also after any error: a transaction that stays open keeps the WAL growing."""
        if self.connection.in_transaction:  # SQLite may have ended it: no memory, a full disk, an error of the file
            internal(self.connection, "ROLLBACK")

    def run(self, key: int, room: str, run: Callable[[SQL], T]) -> T:
        """Let a read run, in the transaction. Raises what it raises, FILE_ERRORS also where it passed over them, and Unanswerable
        (but not across rooms, with NO_ROOM: there is nobody else to ask)."""
        self.room = room
        self._key = key
        self._only_here = self._trouble = self.guard.refusal = None
        self._until = self._stopwatch() + (READ_SECONDS_MAX if self._hurry is None else self._hurry)
        if self._hurry is None:
            self._deadline.install_in_thread()
        self.connection.set_last_insert_rowid(key)
        self.guard.handler_runs = True
        try:
            value = run(self.sql)
        except Exception as error:
            self._judge(error)
            raise
        finally:
            self.guard.handler_runs = False
            self.connection.set_last_insert_rowid(NO_ROOM)
        self._judge(None)
        return value

    def _judge(self, error: Exception | None) -> None:
        """A read may have caught what the replica told it, and answered something else than the room would."""
        if self._trouble is not None and self._trouble is not error:
            raise self._trouble
        if self._trouble is not None or self._only_here is None:
            return
        if self._key != NO_ROOM:
            raise Unanswerable(f"{self.room}: {self._only_here}") from error
        if isinstance(error, apsw.NoMemError):
            raise TooLarge(f"{self.room}: {self._only_here}. Nothing was written; ask for less at once.") from error

    # -- what SQLite asks ---------------------------------------------------------------------------------------------
    def _may_read(self, table: str, column: str, database: str | None, accessor: str | None) -> bool:
        name = fold(table)
        if accessor in self._inner and (database, name) in self._inner[accessor]:
            return True
        # Without a database: a WITH table or a view of which no column is used. A real table here always begins with "_".
        allowed = (
            not name.startswith("_") if database is None else database == "temp" and (name in self._shown or name in self._inner)
        )
        if not allowed:
            self._only_here = "the statement names a table that is not shown here"
        return allowed

    def _may_call(self, function: str, accessor: str | None) -> bool:
        return function == HELD_KEY and accessor in self._inner

    # -- of sql.Scope -------------------------------------------------------------------------------------------------
    def enter(self, query: str) -> None:
        if not self.guard.handler_runs:
            raise StatementRefused(f"{self.room}: self.sql was used after its read had ended. Nothing ran of: {query:.200}")
        if self._stopwatch() > self._until:
            if self._hurry is not None:
                self._trouble = apsw.InterruptError("the read takes long")
                raise self._trouble
            raise DeadlineExceeded(
                f"{self.room}: the statements of one @read may take {READ_SECONDS_MAX:g} s together. Nothing was written. Ask "
                f"for less at once, in pages. It was about to run: {query:.200}",
                room=self.room,
                ran="no",
            )

    def search(self, table: str, words: str, limit: int) -> Rows:
        """What the user's tables are to SQL, `searches` are to `sql.match`: each looks at the rooms of this read alone."""
        self.guard.ours = True
        try:
            if table not in self.searches:
                there = ", ".join(self.searches) or "none"
                raise NotIndexed(f"{self.room}: {table!r:.100} has no full text index on the replica (there are: {there})")
            return self.searches[table](self._key, words, limit)
        except NotIndexed:
            self._only_here = "the replica cannot search this table"
            raise
        finally:
            self.guard.ours = False

    def refusal(self) -> str | None:
        return self.guard.take_refusal()

    def look_for_rollback(self, error: apsw.Error) -> None:
        """Note what it means for the read, and take out of its words what nobody outside may know."""
        text = str(error)
        if isinstance(error, FILE_ERRORS) or (self._hurry is not None and isinstance(error, apsw.InterruptError)):
            self._trouble = error
        elif isinstance(error, apsw.NoMemError):  # of PROGRAM_STEPS_MAX, too
            self._only_here = "the statement needs more than a reader has"
        elif isinstance(error, apsw.SQLError) and _ONLY_HERE.search(text):
            self._only_here = "the statement cannot be prepared here"
        if isinstance(error, apsw.AuthError):
            error.args = ("not authorized",)
        elif self._hidden is not None:
            error.args = (self._hidden.sub("…", text),)
