"""A read of one room sees no row of another, whatever its SQL says, and learns no name that would let it."""

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from itertools import count

import apsw
import pytest

from actors import SQL, DeadlineExceeded, Limits, RoomName, RoomsError, StatementRefused, TooLarge
from actors.limits import READ_ROWS_MAX
from replication.reading.reader import Reader, Unanswerable
from tests.reading.attacks import PROBES
from tests.reading.replicas import CHAT, HandMade, Rows, room_database

MINE: Rows = {
    "messages": [(1, "ann", "hello", 1.5), (2, "bob", "{", 2.0), (3, "ann", None, None)],
    "members": [("Ann", 10), ("bob", None)],
}
VICTIM: Rows = {
    "messages": [(1_000_000 + n, "SECRET author", f"SECRET {n}", 1e9) for n in range(500)] + [(1, "SECRET", "SECRET", 1e9)],
    "members": [("SECRET member", 1_000_001)],
}
PEOPLE = ("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)",)


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Generator[HandMade]:
    made = HandMade(tmp_path_factory.mktemp("isolation") / "replica.db")
    made.put("victim", VICTIM)
    made.put("mine", MINE)
    made.put("main", {"people": [(1_000_000, "SECRET person")]}, actor="Directory", ddl=PEOPLE)
    yield made
    made.close()


@pytest.fixture(scope="module")
def reader(replica: HandMade) -> Generator[Reader]:
    reader = replica.reader(seed=4711)
    yield reader
    reader.close()


def asked(reader: Reader, query: str, id: str = "mine") -> list[tuple[object, ...]]:
    def run(sql: SQL) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in sql(query)]

    return reader.read(RoomName("ChatRoom", id), None, run).value


def in_a_room_alone(query: str) -> list[tuple[object, ...]] | None:
    """What a database says that has nothing but the room's rows; None if it cannot run that, or would do more than ask."""
    if query.split(None, 1)[0].upper() in ("ATTACH", "VACUUM"):
        return None
    connection = room_database(CHAT, MINE)
    try:
        return connection.execute(query).fetchall()
    except (apsw.Error, ValueError):
        return None
    finally:
        connection.close()


def words_of(error: BaseException | None) -> str:
    """Everything that an error tells, with what it came from."""
    told: list[str] = []
    seen: set[int] = set()  # an error may be its own cause
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        told += [str(error), repr(error), *getattr(error, "__notes__", [])]
        error = error.__cause__ or error.__context__
    return "\n".join(told)


def hidden_names_in(text: str, query: str) -> set[str]:
    """Names of inner views, and what lies behind them, that the query did not say itself."""
    found = set(re.findall(r"[0-9a-f]{32}", text))
    return found | {name for name in ("_ChatRoom_", "_Directory_", "last_insert_rowid") if name in text and name not in query}


def is_foreign(value: object) -> bool:
    return "SECRET" in str(value) or (isinstance(value, int | float) and abs(value) >= 500)


Answer = list[tuple[object, ...]]
ERRORS = (RoomsError, Unanswerable, apsw.SQLError, ValueError)


def tried(ask: Callable[[], Answer]) -> tuple[Answer, Exception | None]:
    try:
        return ask(), None
    except ERRORS as error:
        return [], error


@pytest.mark.parametrize("query", PROBES, ids=[f"{number:03d}" for number in range(len(PROBES))])
def test_f43_a_read_sees_no_row_of_another_room(reader: Reader, query: str) -> None:
    rows, error = tried(lambda: asked(reader, query))
    assert not [value for row in rows for value in row if is_foreign(value)]
    assert not hidden_names_in(words_of(error), query), words_of(error)
    assert "SECRET" in query or "SECRET" not in words_of(error)
    alone = in_a_room_alone(query)
    if alone is not None and error is None:
        assert Counter(rows) == Counter(alone)


HONEST = PROBES[PROBES.index("SELECT * FROM messages") :]


@pytest.mark.parametrize("query", HONEST)
def test_what_is_honest_is_answered_as_in_the_room(reader: Reader, query: str) -> None:
    assert Counter(asked(reader, query)) == Counter(in_a_room_alone(query) or [])


def test_the_attacks_meet_a_replica_where_they_would_succeed(replica: HandMade) -> None:
    """Without the scope, the rows are there to be seen."""
    connection = apsw.Connection(str(replica.path), flags=apsw.SQLITE_OPEN_READONLY)
    seen = connection.execute("WITH messages AS (SELECT * FROM _ChatRoom_messages) SELECT * FROM messages").fetchall()
    assert any(is_foreign(value) for row in seen for value in row)
    connection.close()


def test_one_layer_of_views_would_leak(replica: HandMade) -> None:
    """Why there are two: a table of WITH that is named like the view reads as the view may."""
    connection = apsw.Connection(str(replica.path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("CREATE TEMP VIEW messages AS SELECT * FROM main._ChatRoom_messages WHERE _room = 2").fetchall()

    def naive(operation: int, one: str | None, two: str | None, database: str | None, accessor: str | None) -> int:
        base = operation == apsw.SQLITE_READ and one == "_ChatRoom_messages"
        return apsw.SQLITE_DENY if base and accessor != "messages" else apsw.SQLITE_OK

    connection.authorizer = naive
    attack = "WITH messages AS (SELECT * FROM main._ChatRoom_messages) SELECT * FROM messages"
    assert any(is_foreign(value) for row in connection.execute(attack).fetchall() for value in row)
    connection.close()


@pytest.mark.parametrize("query", PROBES, ids=[f"{number:03d}" for number in range(len(PROBES))])
@pytest.mark.parametrize("ids", [["mine", "nobody"], ["mine"]], ids=["two", "one"])
def test_a_read_across_rooms_sees_no_row_of_a_room_that_was_not_named(reader: Reader, query: str, ids: list[str]) -> None:
    query = re.sub(r"(?<![\w_])messages", "ChatRoom_messages", query)

    def run(sql: SQL) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in sql(query)]

    rows, error = tried(lambda: reader.across({"ChatRoom": ids}, None, run).value)
    assert not [value for row in rows for value in row if is_foreign(value)]
    assert not hidden_names_in(words_of(error), query), words_of(error)


def test_a_class_that_was_not_named_is_not_there(reader: Reader) -> None:
    with pytest.raises((StatementRefused, apsw.SQLError)):
        reader.across({"ChatRoom": None}, None, lambda sql: sql("SELECT * FROM Directory_people"))
    seen = reader.across(
        {"Directory": ["main"], "ChatRoom": []}, None, lambda sql: sql("SELECT room_id, name FROM Directory_people")
    )
    assert seen.value == [{"room_id": "main", "name": "SECRET person"}]


def test_a_room_that_is_not_in_scope_and_one_that_does_not_exist_are_asked_about_alike(reader: Reader) -> None:
    def steps_of(id: str) -> tuple[list[dict[str, object]], int]:
        looked: list[int] = []

        def run(sql: SQL) -> list[dict[str, object]]:
            connection = sql._scope.connection
            rows = sql("SELECT body FROM ChatRoom_messages WHERE room_id = ?", id).dicts()
            looked.append(connection.status(apsw.SQLITE_DBSTATUS_CACHE_HIT)[0])
            return rows

        before: list[int] = []
        reader.across(
            {"ChatRoom": ["mine"]},
            None,
            lambda sql: before.append(sql._scope.connection.status(apsw.SQLITE_DBSTATUS_CACHE_HIT)[0]),
        )
        return reader.across({"ChatRoom": ["mine"]}, None, run).value, looked[0] - before[0]

    steps_of("warm")
    assert steps_of("victim") == steps_of("does not exist")


# -- what would fill the memory or never end ---------------------------------------------------------------------------
BOMBS = [
    "SELECT zeroblob(1000000000)",
    "SELECT randomblob(1000000000)",
    "SELECT printf('%1000000000d', 1)",
    "SELECT format('%.*c', 900000000, 'x')",
    "SELECT replace(hex(printf('%2000000c', 'x')), '2', 'aaaaaaaa')",
    "SELECT group_concat(printf('%100000c', 'x')) FROM messages a, messages b, messages c, messages d, messages e",
    "SELECT json_group_array(printf('%1000000c', 'x')) FROM messages a, messages b, messages c",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
    "WITH RECURSIVE c(n, t) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, t || t FROM c) SELECT n FROM c",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION SELECT n + 1 FROM c) SELECT max(n) OVER () FROM c",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 200) SELECT printf('%1000000c', 'x') FROM c",
    "SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab' LIKE '" + "%a" * 200 + "'",
    "SELECT " + " + ".join("1" * 2_000),
    "SELECT " + "(" * 4_000 + "1" + ")" * 4_000,
    " UNION ALL ".join(["SELECT 1"] * 450),
    "SELECT * FROM " + ", ".join(f"messages m{n}" for n in range(65)),
    "SELECT 1 IN (" + ", ".join(f"abs({n})" for n in range(9_000)) + ")",
    "SELECT 1 -- " + "x" * 100_000,
]


@pytest.mark.parametrize("query", BOMBS, ids=[query[:60] for query in BOMBS])
def test_a_bomb_is_an_error_with_a_bound(replica: HandMade, query: str) -> None:
    reader = replica.reader(seconds=count(0.0, 0.01))
    try:
        with pytest.raises(
            (StatementRefused, DeadlineExceeded, TooLarge, Unanswerable, apsw.SQLError, apsw.TooBigError)
        ) as raised:
            asked(reader, query)
        assert not hidden_names_in(words_of(raised.value), query)
        assert len(asked(reader, "SELECT * FROM messages")) == 3
    finally:
        reader.close()


def numbers(rows: int) -> str:
    return f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT {rows}) SELECT n FROM c"


def test_a_read_may_fetch_so_many_rows_and_not_one_more(reader: Reader) -> None:
    assert len(asked(reader, numbers(READ_ROWS_MAX))) == READ_ROWS_MAX
    with pytest.raises(TooLarge, match="100,000 rows") as raised:
        asked(reader, numbers(READ_ROWS_MAX + 1))
    assert raised.value.ran == "no"


def test_a_statement_that_never_ends_is_interrupted_by_its_deadline(replica: HandMade) -> None:
    reader = replica.reader(Limits(statement_seconds_max=0.25), seconds=count(0.0, 0.01))
    with pytest.raises(DeadlineExceeded, match=r"statement_seconds_max = 0\.25 s") as raised:
        asked(reader, "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c")
    assert raised.value.ran == "no"
    reader.close()


def test_many_short_statements_have_a_deadline_together(replica: HandMade) -> None:
    reader = replica.reader(seconds=count(0.0, 0.1))

    def run(sql: SQL) -> None:
        for _ in range(100):
            sql("SELECT 1")

    with pytest.raises(DeadlineExceeded, match="one @read may take 2 s together"):
        reader.read(RoomName("ChatRoom", "mine"), None, run)
    reader.close()


# -- what a read leaves behind ------------------------------------------------------------------------------------------
def test_a_prepared_statement_keeps_no_room_of_an_earlier_read(reader: Reader) -> None:
    queries: Iterable[str] = [
        "SELECT author FROM messages",
        "SELECT author FROM messages WHERE id = (SELECT max(id) FROM messages)",
        "WITH m AS MATERIALIZED (SELECT * FROM messages) SELECT author FROM m UNION SELECT author FROM m",
        "SELECT max(author) OVER () FROM messages WHERE EXISTS (SELECT 1 FROM messages)",
        "SELECT a.author FROM messages a LEFT JOIN messages b ON b.id = a.id AND b.author = a.author",
    ]
    for query in queries:
        for _ in range(3):
            assert {row[0] for row in asked(reader, query)} <= {"ann", "bob"}, query
            assert {row[0] for row in asked(reader, query, "victim")} <= {"SECRET", "SECRET author"}, query


def test_outside_of_a_read_the_views_are_empty(reader: Reader) -> None:
    kept: list[SQL] = []
    reader.read(RoomName("ChatRoom", "victim"), None, kept.append)
    with pytest.raises(StatementRefused, match="after its read had ended"):
        kept[0]("SELECT * FROM messages")
    assert kept[0]._scope.connection.execute("SELECT count(*) FROM messages").fetchall() == [(0,)]


def test_a_read_that_fails_leaves_nothing_to_the_next(reader: Reader) -> None:
    def run(sql: SQL) -> None:
        sql("SELECT * FROM messages")
        raise KeyError("the handler's own")

    with pytest.raises(KeyError):
        reader.read(RoomName("ChatRoom", "victim"), None, run)
    assert {row[1] for row in asked(reader, "SELECT * FROM messages")} == {"ann", "bob"}


def test_the_inner_names_are_drawn_anew_for_each_connection(replica: HandMade) -> None:
    def inner(seed: int) -> set[str]:
        reader = replica.reader(seed=seed)
        kept: list[SQL] = []
        reader.read(RoomName("ChatRoom", "mine"), None, kept.append)
        names = kept[0]._scope.connection.execute("SELECT name FROM sqlite_temp_schema").fetchall()
        reader.close()
        return {name for (name,) in names} - {"messages", "members"}

    assert len(inner(1) | inner(2)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{32}", name) for name in inner(3))
