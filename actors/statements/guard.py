"""The guard: which statements a handler may run. A guard rail for mistakes, not a sandbox: actors are trusted Python.

SQLite asks the authorizer when a statement is *prepared*; statements of the runtime's own are kept apart from a handler's in
the statement cache (`sql.internal`), so one flag, "a handler runs", decides for both.
"""

import apsw

from actors.limits import LIKE_PATTERN_BYTES_MAX, STATEMENT_BYTES_MAX, Limits
from actors.reads.purity import ASKED_BY_INDEXES, ReadGuard
from actors.statements.words import PREFIX

_DENIED = {
    apsw.SQLITE_ATTACH: "use ATTACH: a room is one file",
    apsw.SQLITE_DETACH: "use DETACH: a room is one file",
    apsw.SQLITE_TRANSACTION: "use BEGIN, COMMIT or ROLLBACK: the runtime commits; raise to undo what the call wrote",
    apsw.SQLITE_SAVEPOINT: "use SAVEPOINT or RELEASE: the runtime keeps one for each call; raise to undo what the call wrote",
    apsw.SQLITE_PRAGMA: "use PRAGMA: the settings of a room's file are part of its durability",
    apsw.SQLITE_CREATE_TEMP_TABLE: "create temporary tables: they are not durable and would outlive the call",
    apsw.SQLITE_CREATE_TEMP_INDEX: "create temporary indexes",
    apsw.SQLITE_CREATE_TEMP_TRIGGER: "create temporary triggers",
    apsw.SQLITE_CREATE_TEMP_VIEW: "create temporary views",
}

_SCHEMA_CHANGES = frozenset(
    {
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_ALTER_TABLE,
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_CREATE_VTABLE,
        apsw.SQLITE_DROP_VTABLE,
    }
)

_ROWS = frozenset({apsw.SQLITE_READ, apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
_ON_TABLES = _ROWS | _SCHEMA_CHANGES

_OUR_TRIGGERS = ("_capture_", PREFIX)


def harden(connection: apsw.Connection, limits: Limits) -> None:
    """The settings and bounds of every connection on which statements of a user run."""
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)  # "typo" is a column that is missing, not a text
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, limits.row_bytes_max)
    connection.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MAX)
    connection.limit(apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LIKE_PATTERN_BYTES_MAX)
    connection.limit(apsw.SQLITE_LIMIT_WORKER_THREADS, 0)  # a sort stays on its thread: no chance, none of our doors


class Guard:
    """The authorizer of one connection. `handler_runs` switches it; `refusal` says what it last refused. While a read runs there,
    `reading` decides."""

    __slots__ = ("handler_runs", "reading", "refusal", "schema_touched")

    def __init__(self) -> None:
        self.handler_runs = False
        self.reading: ReadGuard | None = None
        self.schema_touched = False  # a statement that changes the schema was prepared since this was cleared
        self.refusal: str | None = None

    def install(self, connection: apsw.Connection, limits: Limits) -> None:
        connection.authorizer = self
        harden(connection, limits)
        # Left as SQLite has them: columns (2,000) and compound selects (500), because a lower bound would make rooms that have
        # more unreadable; trigger depth (1,000), because deleting a thread of replies cascades as deep as it is; variables
        # (32,766) and steps of a program, because the length of the text bounds them and the deadline what they do.

    def __call__(self, operation: int, one: str | None, two: str | None, database: str | None, trigger: str | None) -> int:
        if not self.handler_runs:
            return apsw.SQLITE_OK
        if self.reading is not None:
            return self.reading(operation, one, two, database, trigger)
        denied = _DENIED.get(operation)
        if denied is not None and not (one in ASKED_BY_INDEXES and two is None):
            self.refusal = denied
            return apsw.SQLITE_DENY
        if operation == apsw.SQLITE_FUNCTION and two == "load_extension":
            self.refusal = "load an extension: a room's statements run the same in every program that opens it"
            return apsw.SQLITE_DENY
        if operation in _SCHEMA_CHANGES:
            self.schema_touched = True
        if operation in _ON_TABLES and not self._may_touch(operation, one, two, trigger):
            return apsw.SQLITE_DENY
        return apsw.SQLITE_OK

    def _may_touch(self, operation: int, one: str | None, two: str | None, trigger: str | None) -> bool:
        if trigger is not None and trigger.startswith(_OUR_TRIGGERS):
            return True  # our own trigger, run by the handler's write
        if operation == apsw.SQLITE_DROP_TRIGGER:
            return True  # DROP TABLE drops the capture triggers through here; dropped alone, they are put back after the call
        table = two if operation == apsw.SQLITE_ALTER_TABLE else one
        if table is not None and table.startswith(PREFIX) and operation in _ROWS:
            return True  # FTS5 prepares what it does to its tables in the middle of a handler's write; no text names them (SQL)
        if table is not None and table.startswith("_"):
            self.refusal = f"touch {table}: tables, indexes and triggers whose name begins with _ are the runtime's own"
            return False
        return True
