"""What the SQL of a `@read` may say: a pure function of the room's tables, with the same answer in the room and on a replica.

Two gates. `check` looks at the text and refuses what the two places answer differently, whatever is in the tables. `ReadGuard`
is asked by SQLite for every table, column and function when a statement is prepared; there what is not allowed is denied.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import apsw

from actors.errors import StatementRefused, TooLarge
from actors.limits import READ_BYTES_MAX, READ_ROWS_MAX
from actors.statements.sql import READING, Manner
from actors.statements.sqltext import tokens, unquoted

_MATH = (
    "abs acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 max min mod pi pow"
    " power radians round sign sin sinh sqrt tan tanh trunc"
)
_TEXT = (
    "char concat concat_ws format glob hex instr length like lower ltrim octet_length printf quote replace rtrim substr substring"
    " trim typeof unhex unicode unistr unistr_quote upper"
)
_CHOICE = "coalesce if ifnull iif likelihood likely nullif unlikely"
_TIME = "current_date current_time current_timestamp date datetime julianday strftime time timediff unixepoch"
_AGGREGATES = "avg count group_concat median percentile percentile_cont percentile_disc string_agg sum total"
_WINDOW = "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"
_JSON = (
    "-> ->> json json_array json_array_insert json_array_length json_error_position json_extract json_group_array"
    " json_group_object json_insert json_object json_patch json_pretty json_quote json_remove json_replace json_set json_type"
    " json_valid jsonb jsonb_array jsonb_array_insert jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert"
    " jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set"
)

FUNCTIONS = frozenset(" ".join((_MATH, _TEXT, _CHOICE, _TIME, _AGGREGATES, _WINDOW, _JSON)).split())
"""What a read may call. Not here: chance (random, randomblob), what a connection remembers (changes, last_insert_rowid), what
programs and builds differ in (sqlite_version, fts5), and zeroblob, which asks for memory by a number alone."""

TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})  # generate_series is not compiled into apsw: use WITH RECURSIVE

ASKED_BY_INDEXES = frozenset({"data_version", "page_size"})  # pragmas that full text and R-tree tables read for themselves
_ROWIDS = frozenset({"rowid", "_rowid_", "oid"})

_DENIED = {
    apsw.SQLITE_ATTACH: "use ATTACH: it sees its room and nothing else",
    apsw.SQLITE_DETACH: "use DETACH: it sees its room and nothing else",
    apsw.SQLITE_PRAGMA: "use PRAGMA: a room and a replica have other settings",
    apsw.SQLITE_TRANSACTION: "use BEGIN, COMMIT or ROLLBACK: all its statements see one moment as it is",
    apsw.SQLITE_SAVEPOINT: "use SAVEPOINT or RELEASE: it writes nothing",
}
_WRITES = "write: it may run on a replica. Leave @read away to make it a command"


def check(query: str) -> None:
    """Look at the text of a read's statement; that it is only one is known (`SQL`).

    Raises:
      StatementRefused: it is no SELECT or VALUES, or its answer would depend on where it runs.
    """
    found = [*tokens(query)]
    _check_verb(query, found)
    before = ""
    for place, (kind, text) in enumerate(found):
        word = text.upper()
        if before not in (":", "@", "$") and _is_rowid(kind, text, before):
            raise _refused(f"use {text}: a row has another one on a replica. Use the table's key", query)
        if kind == "word" and word == "INDEXED" and (before == "NOT" or _is_word(found, place + 1, "BY")):
            raise _refused("name an index: a replica has others. Leave INDEXED BY away", query)
        before = word


def _check_verb(query: str, found: list[tuple[str, str]]) -> None:
    verb = found[0][1].upper() if found else ""
    if verb == "EXPLAIN":
        raise _refused("use EXPLAIN: a room and a replica have other plans", query)
    if verb == "WITH":
        verb = _verb_behind(found)
    if verb in ("SELECT", "VALUES"):
        return
    if verb in ("INSERT", "UPDATE", "DELETE", "REPLACE"):
        raise _refused(_WRITES, query)
    raise _refused("run this: it only asks, with SELECT, VALUES or WITH … SELECT", query)


def _verb_behind(found: list[tuple[str, str]]) -> str:
    """What follows the tables of a WITH; `REPLACE` may be such a table's name, so it is left to the guard."""
    depth = 0
    for kind, text in found:
        if kind == "other":
            depth += (text == "(") - (text == ")")
        elif kind == "word" and depth == 0 and text.upper() in ("SELECT", "VALUES", "INSERT", "UPDATE", "DELETE"):
            return text.upper()
    return ""


def _is_rowid(kind: str, text: str, before: str) -> bool:
    if kind == "word":
        return text.lower() in _ROWIDS
    if kind != "quoted" or (text[0] == "'" and before != "."):  # after a dot SQLite takes a text for a name
        return False
    return unquoted(text).lower() in _ROWIDS


def _is_word(found: list[tuple[str, str]], place: int, word: str) -> bool:
    return place < len(found) and found[place][0] == "word" and found[place][1].upper() == word


def _refused(what: str, query: str) -> StatementRefused:
    return StatementRefused(f"a @read may not {what}. The statement: {query:.200}")


MayRead = Callable[[str, str, str | None, str | None], bool]
"""(table, column, database, accessor): whether a read may see it. Accessor: the view, or the table of a WITH, that asks."""
MayCall = Callable[[str, str | None], bool]
"""(function, accessor): whether it may be called there although it is not in FUNCTIONS."""


class ReadGuard:
    """The authorizer of statements that are prepared for a read. `handler_runs` switches it; `refusal` says what it refused.

    `ours`: a statement of the runtime's own is run for the read, a search; it may do everything.
    """

    __slots__ = ("_may_call", "_may_read", "handler_runs", "ours", "refusal")

    def __init__(self, may_read: MayRead, may_call: MayCall = lambda function, accessor: False) -> None:
        self.handler_runs = False
        self.ours = False
        self.refusal: str | None = None
        self._may_read = may_read
        self._may_call = may_call

    def take_refusal(self) -> str | None:
        """What it refused since this was last asked."""
        refusal, self.refusal = self.refusal, None
        return refusal

    def __call__(self, operation: int, one: str | None, two: str | None, database: str | None, accessor: str | None) -> int:
        if not self.handler_runs or self.ours or operation in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE):
            return apsw.SQLITE_OK
        if operation == apsw.SQLITE_READ:
            return self._judge(
                self._readable(one or "", two or "", database, accessor),
                "read this: it sees the tables of its room, not those of the runtime or of SQLite",
            )
        if operation == apsw.SQLITE_FUNCTION:
            function = (two or "").lower()
            return self._judge(
                function in FUNCTIONS or self._may_call(function, accessor),
                f"call {two}: only functions of their arguments answer alike in a room and on a replica",
            )
        if operation == apsw.SQLITE_PRAGMA and one in ASKED_BY_INDEXES and two is None:
            return apsw.SQLITE_OK
        return self._judge(False, _DENIED.get(operation, _WRITES))

    def _readable(self, table: str, column: str, database: str | None, accessor: str | None) -> bool:
        name = table.lower()
        if name.startswith(("sqlite_", "pragma_")):
            return False
        return name in TABLE_FUNCTIONS or self._may_read(table, column, database, accessor)

    def _judge(self, allowed: bool, refusal: str) -> int:
        if allowed:
            return apsw.SQLITE_OK
        self.refusal = refusal
        return apsw.SQLITE_DENY


_FIRST_ROWS = 64  # fetched before anybody counts: a page of a history is not slowed down by what large answers need
_MORE_ROWS = 1_024


def fetch(cursor: Any, query: str) -> list[tuple[Any, ...]]:
    """The rows of a read's statement.

    Raises:
      TooLarge: more rows than READ_ROWS_MAX, or more text than READ_BYTES_MAX.
    """
    rows: list[tuple[Any, ...]] = list(islice(cursor, _FIRST_ROWS))
    if len(rows) < _FIRST_ROWS:
        return rows
    size = _bytes_of(rows)
    while True:
        more: list[tuple[Any, ...]] = list(islice(cursor, _MORE_ROWS))
        size += _bytes_of(more)
        if len(rows) + len(more) > READ_ROWS_MAX or size > READ_BYTES_MAX:
            cursor.close(True)
            raise TooLarge(
                f"a statement of a @read may fetch {READ_ROWS_MAX:,} rows and {READ_BYTES_MAX:,} bytes of text, and this one "
                f"fetches more. Nothing was written; add a LIMIT, or let SQLite count and add up: {query:.200}",
                ran="no",
            )
        rows += more
        if len(more) < _MORE_ROWS:
            return rows


def _bytes_of(rows: list[tuple[Any, ...]]) -> int:
    return sum(len(value) for row in rows for value in row if type(value) is str or type(value) is bytes)


READ = Manner(
    "a @read",
    "because others wait for it meanwhile. Nothing was written. Let it touch fewer rows (an index, a LIMIT, pages)",
    "no",
    prepare_flags=READING,
    check=check,
    fetch=fetch,
)
