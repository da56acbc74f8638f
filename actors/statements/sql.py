"""What a handler sees of its room's database: `self.sql(query, …)` and the rows it returns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, overload

import apsw

from actors.errors import DeadlineExceeded, ManyRows, NoRow, StatementRefused, StorageFull, TooLarge
from actors.limits import STATEMENT_BYTES_MAX
from actors.statements.sqltext import first_statement_end, is_blank, tokens
from actors.statements.words import PREFIX
from actors.sync.space import Fullness, fills
from actors.system.threads import this_thread

SQLValue = None | bool | int | float | str | bytes
"""What a `?` takes and a column gives."""


class Row(dict[str, Any]):
    """One row: a dict of its columns, in order; also `row.author` and `row[0]`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the row has no column {name!r}; it has {', '.join(self)}") from None

    def __missing__(self, key: object) -> Any:
        if isinstance(key, int):
            return tuple(self.values())[key]
        raise KeyError(key)


class Rows(Sequence[Row]):
    """All rows of one statement, read at once, so that they stay valid over an await.

    `changes` is the number of rows that the statement wrote.
    """

    __slots__ = ("_names", "_tuples", "changes")

    def __init__(self, names: tuple[str, ...], tuples: list[tuple[Any, ...]], changes: int) -> None:
        self._names = names
        self._tuples = tuples
        self.changes = changes

    def __len__(self) -> int:
        return len(self._tuples)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [Row(zip(self._names, row, strict=True)) for row in self._tuples[index]]
        return Row(zip(self._names, self._tuples[index], strict=True))

    def __iter__(self) -> Iterator[Row]:
        names = self._names
        return (Row(zip(names, row, strict=True)) for row in self._tuples)

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None  # pyright: ignore[reportAssignmentType]: a list of rows is no key

    def __repr__(self) -> str:
        return f"Rows({list(self)!r:.200})"

    def one(self) -> Row:
        """The only row. Raises NoRow, ManyRows."""
        self._expect_one()
        return self[0]

    def first(self) -> Row | None:
        return self[0] if self._tuples else None

    def scalar(self) -> Any:
        """The first column of the only row. Raises NoRow, ManyRows."""
        if len(self._tuples) != 1:
            self._expect_one()
        return self._tuples[0][0]

    def scalars(self) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self._tuples]

    def dicts(self) -> list[dict[str, Any]]:
        """Plain dicts, as they arrive at a caller."""
        names = self._names
        return [dict(zip(names, row)) for row in self._tuples]  # noqa: B905 - strict= costs 8 % here and SQLite's rows fit

    def _expect_one(self) -> None:
        if not self._tuples:
            raise NoRow("one row was asked for and the statement returned none; use .first() where none is an answer")
        if len(self._tuples) > 1:
            raise ManyRows(f"one row was asked for and the statement returned {len(self._tuples)}; use .first() or add a LIMIT")


@dataclass(frozen=True, slots=True)
class Manner:
    """How statements of one kind are run, and how their errors speak."""

    who: str  # "a handler"
    interrupted: str  # why a statement that ran too long could not go on, what became of the call, and what to do
    ran: Literal["no", "rolled back"]
    prepare_flags: int = 0  # not 0: they are kept apart in apsw's cache of statements, and `check` and `fetch` are used
    check: Callable[[str], None] = lambda query: None
    """Asked once for each text. Raises StatementRefused."""
    fetch: Callable[[Any, str], list[tuple[Any, ...]]] = lambda cursor, query: cursor.fetchall()


HANDLER = Manner(
    "a handler",
    "because every room stands still meanwhile. The call was rolled back. Let it touch fewer rows (an index, a LIMIT, several "
    "calls), or do it in a migration",
    "rolled back",
)


class Scope(Protocol):
    """What the transaction behind `self.sql` offers it."""

    connection: Any  # an apsw.Connection; its stubs leave a type open that strict checking stumbles over
    entered: bool  # a handler runs and its savepoint is open
    thread: int  # in which it runs
    room: str
    space: Fullness
    manner: Manner
    prepare_flags: int  # those of its manner
    statement_began: float | None  # None before each statement; then as its deadline first saw it
    statement_seconds_max: float

    @property
    def call_bound(self) -> str:
        """The timeout of the call that its statement met, in words; "" where it was the statement's own."""
        ...

    def enter(self, query: str) -> None:
        """Open the running handler's savepoint. Raises StatementRefused where no handler runs, RoomLocked."""
        ...

    def refusal(self) -> str | None:
        """Why the authorizer refused the statement that was just prepared, if it did."""
        ...

    def search(self, table: str, words: str, limit: int) -> Rows:
        """What `SQL.match` tells. Raises as it does."""
        ...

    def look_for_rollback(self, error: apsw.Error) -> None:
        """A statement failed; it may have ended the transaction (INSERT OR ROLLBACK, a full disk)."""
        ...


INTERNAL = apsw.SQLITE_PREPARE_PERSISTENT
READING = apsw.SQLITE_PREPARE_NORMALIZE  # means nothing to SQLite: keeps a read's statements apart from a handler's


def internal(connection: Any, query: str, values: Sequence[SQLValue] = ()) -> list[tuple[Any, ...]]:
    """Run one statement of the runtime's own and read its rows.

    The prepare flag keeps it apart from a handler's statement of the same text in apsw's statement cache: the guard judges a
    statement when it is prepared, so a cached internal one would let the handler's pass.
    """
    return connection.execute(query, values, prepare_flags=INTERNAL).fetchall()


def internal_many(connection: Any, query: str, rows: Iterable[Sequence[SQLValue]]) -> None:
    connection.executemany(query, rows, prepare_flags=INTERNAL).fetchall()


KNOWN_MAX = 1_000  # texts whose form was checked; more distinct ones mean that values are built into them


class SQL:
    """Run one statement; its rows are read at once. Values one by one (`?`) or by name (`:name`), never built into the text."""

    __slots__ = ("_known", "_scope")

    def __init__(self, scope: Scope, known: set[str] | None = None) -> None:
        """`known`: texts that were checked before, if others have the same rules."""
        self._scope = scope
        self._known: set[str] = set() if known is None else known

    def __call__(self, query: str, /, *args: SQLValue, **named: SQLValue) -> Rows:
        """Run `query`.

        Raises:
          StatementRefused: more than one statement, a statement that handlers may not run, or no handler is running.
          TooLarge: a value or row over `row_bytes_max`, or a text over 100,000 bytes.
          DeadlineExceeded: it ran longer than `statement_seconds_max` and was interrupted.
          apsw.Error: what SQLite says of it (ConstraintError, SQLError, …); the handler may catch it and go on.
        """
        scope = self._scope
        if not scope.entered or this_thread() != scope.thread:
            scope.enter(query)
        if query not in self._known:
            self._check(query)
        if args and named:
            raise StatementRefused(f"give values one by one or by name, not both: {query:.200}")
        if scope.space.full and fills(query):
            raise self._full(query)
        connection = scope.connection
        before = connection.total_changes()
        scope.statement_began = None
        tuples: list[tuple[Any, ...]]
        try:
            flags = scope.prepare_flags
            cursor: Any = connection.execute(query, named or args, prepare_flags=flags)
            try:
                description = cursor.get_description()
            except apsw.ExecutionCompleteError:
                description, tuples = (), []
            else:
                tuples = scope.manner.fetch(cursor, query) if flags else cursor.fetchall()
        except apsw.Error as error:
            raise self._explained(error, query, named.values() if named else args) from error
        if scope.space.full and fills(query) is None and connection.total_changes() != before:
            raise self._full(query)
        names = tuple([column[0] for column in description])
        if len(names) > 1 and len(set(names)) != len(names):
            raise StatementRefused(
                f"two columns of the result have the same name ({', '.join(names)}); name them with AS: {query:.200}"
            )
        return Rows(names, tuples, connection.changes() if connection.total_changes() != before else 0)

    def many(self, query: str, rows: Iterable[Sequence[SQLValue]], /) -> int:
        """Run `query` once per row of values, each a statement; returns the number of rows written. Raises as a single call."""
        scope = self._scope
        if not scope.entered or this_thread() != scope.thread:
            scope.enter(query)
        if query not in self._known:
            self._check(query)
        if scope.space.full and fills(query) is not False:
            raise self._full(query)
        written = 0
        connection = scope.connection
        row: Sequence[SQLValue] = ()
        try:
            for row in rows:
                before = connection.total_changes()
                scope.statement_began = None
                connection.execute(query, row, prepare_flags=scope.prepare_flags).fetchall()
                if connection.total_changes() != before:
                    written += connection.changes()
        except apsw.Error as error:
            raise self._explained(error, query, row) from error
        return written

    def match(self, table: str, words: str, *, limit: int = 50) -> Rows:
        """Rows of `table` in which a person's words are, newest first (by the primary key, descending). The same in a room and
        on a replica. The class names what is searched: fulltext = {"messages": ["body"]}.

        Args:
          words: all of them must be there, in any case and in any of the table's columns; "side by side" in quotes, `hel*` for
            any ending. No input is an error of syntax, and none finds nothing.
          limit: 1 to 1,000 rows.

        Raises:
          StatementRefused: the class does not declare the table.
          TooLarge: over 1,000 characters, or 32 words and phrases. ValueError: a limit out of bounds.
        """
        scope = self._scope
        if not scope.entered or this_thread() != scope.thread:
            scope.enter(f"match({table!r}, {words!r})")
        scope.statement_began = None
        try:
            return scope.search(table, words, limit)
        except TooLarge as error:
            error.ran = scope.manner.ran
            raise
        except apsw.Error as error:
            raise self._explained(error, f"match({table!r}, {words!r})", ()) from error

    def _full(self, query: str) -> StorageFull:
        space = self._scope.space
        return StorageFull(
            f"{self._scope.room}: {space.words}. Nothing was written; the call may be repeated when there is space. Reads and "
            f"DELETE work. The statement: {query:.200}",
            room=self._scope.room,
        )

    def _check(self, query: str) -> None:
        if not isinstance(query, str):  # pyright: ignore[reportUnnecessaryIsInstance]: callers without a type checker
            raise StatementRefused(f"a statement is text, not {type(query).__name__}")
        if len(query) > STATEMENT_BYTES_MAX or len(query.encode()) > STATEMENT_BYTES_MAX:
            raise TooLarge(
                f"a statement's text may have {STATEMENT_BYTES_MAX:,} bytes and this one has {len(query.encode()):,}; "
                f"give values by ? or :name, many rows by sql.many: {query:.200}",
                ran=self._scope.manner.ran,
            )
        if ";" in query and not is_blank(query[first_statement_end(query) :]):
            raise StatementRefused(f"one statement a call; this text holds several: {query:.200}")
        if PREFIX in query.lower() and any(text.lower().strip("'\"`[").startswith(PREFIX) for _, text in tokens(query)):
            raise StatementRefused(
                f"{self._scope.manner.who} may not touch {PREFIX}…: full text indexes are the runtime's own; ask them by "
                f"self.sql.match. The statement: {query:.200}"
            )
        self._scope.manner.check(query)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known.add(query)

    def _explained(self, error: apsw.Error, query: str, values: Iterable[SQLValue]) -> Exception:
        self._scope.look_for_rollback(error)
        manner = self._scope.manner
        refusal = self._scope.refusal()
        if refusal is None and str(error).startswith("cannot VACUUM"):  # it looks for a transaction before it asks the guard
            refusal = "use VACUUM: a room is one file, and its free pages are used again"
        if refusal is not None:
            return StatementRefused(f"{manner.who} may not {refusal}. The statement: {query:.200}")
        if isinstance(error, apsw.InterruptError):
            if bound := self._scope.call_bound:
                return DeadlineExceeded(
                    f"{self._scope.room}: the call passed its deadline ({bound}) within a statement, which was interrupted. The "
                    f"call was rolled back. The statement: {query:.200}",
                    room=self._scope.room,
                )
            return DeadlineExceeded(
                f"{self._scope.room}: a statement ran longer than statement_seconds_max = "
                f"{self._scope.statement_seconds_max:g} s and was interrupted, {manner.interrupted}. The statement: {query:.200}",
                room=self._scope.room,
                ran=manner.ran,
            )
        if isinstance(error, apsw.TooBigError):
            limit = self._scope.connection.limit(apsw.SQLITE_LIMIT_LENGTH)
            size = sum(_bytes_of(value) for value in values)
            has = f"of {size:,} bytes" if size > limit else "made by the statement"
            return TooLarge(f"a value or row {has} is over row_bytes_max = {limit:,} in: {query:.200}", ran=manner.ran)
        return error


def _bytes_of(value: SQLValue) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 8
