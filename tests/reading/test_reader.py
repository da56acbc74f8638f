"""One reader of one replica: what it saw, when it says no, and what it does when the file is in trouble."""

import itertools
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from actors import SQL, DeadlineExceeded, Disk, Limits, NoRow, Position, RoomName, StatementRefused, TooLarge
from replication import limits
from replication.reading.reader import Reader, Stale, Unanswerable
from replication.reading.scoped import Scoped
from replication.replica import ReplicaGone
from replication.standing import Moment
from tests.reading.replicas import HandMade

A, B = RoomName("ChatRoom", "a"), RoomName("ChatRoom", "b")
WIDER = ("CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT, score REAL, pinned INTEGER DEFAULT 0)",)
OTHER_KEY = ("CREATE TABLE messages (id TEXT PRIMARY KEY NOT NULL, author TEXT, body TEXT)",)


def messages(*texts: str) -> dict[str, list[tuple[Any, ...]]]:
    return {"messages": [(number, "ann", text, None) for number, text in enumerate(texts, 1)]}


def bodies(sql: SQL) -> list[str]:
    return sql("SELECT body FROM messages ORDER BY id").scalars()


@pytest.fixture
def replica(tmp_path: Path) -> Generator[HandMade]:
    made = HandMade(tmp_path / "replica.db", "0001")
    yield made
    made.close()


@pytest.fixture
def reader(replica: HandMade) -> Generator[Reader]:
    reader = replica.reader()
    yield reader
    reader.close()


# -- what it saw --------------------------------------------------------------------------------------------------------
def test_a_read_tells_the_moment_that_it_saw(replica: HandMade, reader: Reader) -> None:
    replica.put("b", messages("of b"))
    replica.put("a", messages("hello", "again"), seq=7)
    assert reader.read(A, Position(1, 7), bodies) == (["hello", "again"], Position(1, 7), 2, "0001")
    assert reader.read(B, None, bodies) == (["of b"], Position(1, 1), 2, "0001")


def test_a_read_is_stale_before_the_position_that_is_needed(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"), seq=7)
    for needed in (Position(1, 8), Position(2, 0)):
        with pytest.raises(Stale) as raised:
            reader.read(A, needed, bodies)
        assert raised.value.position == Position(1, 7)
    replica.put("a", {}, seq=8)
    assert reader.read(A, Position(1, 8), bodies).value == ["hello"]


def test_a_room_that_the_replica_does_not_know_is_stale_without_a_position(replica: HandMade, reader: Reader) -> None:
    for needed in (None, Position(1, 1)):
        with pytest.raises(Stale) as raised:
            reader.read(A, needed, bodies)
        assert raised.value.position is None


def test_all_statements_of_a_read_see_one_moment(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))

    def run(sql: SQL) -> list[list[str]]:
        before = bodies(sql)
        replica.put("a", messages("hello", "meanwhile"), seq=2)
        return [before, bodies(sql)]

    assert reader.read(A, None, run) == ([["hello"], ["hello"]], Position(1, 1), 1, "0001")
    assert reader.read(A, None, bodies) == (["hello", "meanwhile"], Position(1, 2), 2, "0001")


def test_rooms_of_several_versions_are_read_as_each_of_them_is(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("old"))
    replica.put("b", {"messages": [(1, "ann", "new", None, 1)]}, ddl=WIDER)
    replica.put("c", {"messages": [("k", "ann", "other key")]}, ddl=OTHER_KEY)

    def run(sql: SQL) -> list[str]:
        return list(sql("SELECT * FROM messages").one())

    for _ in range(2):
        assert reader.read(A, None, run).value == ["id", "author", "body", "score"]
        assert reader.read(B, None, run).value == ["id", "author", "body", "score", "pinned"]
        assert reader.read(RoomName("ChatRoom", "c"), None, run).value == ["id", "author", "body"]


def test_a_room_that_migrates_between_two_reads_is_read_as_it_is_now(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("old"))
    assert reader.read(A, None, bodies).value == ["old"]
    replica.put("a", {"messages": [(2, "ann", "new", None, 1)]}, ddl=WIDER, seq=2)
    assert reader.read(A, None, lambda sql: sql("SELECT body, pinned FROM messages WHERE id = 2").one()).value["pinned"] == 1
    assert reader.read(A, None, bodies).value == ["old", "new"]


def test_a_reader_keeps_a_bounded_number_of_connections(replica: HandMade, reader: Reader) -> None:
    for number in range(limits.READ_SCHEMAS_MAX + 3):
        ddl = (f"CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT, body TEXT, c{number} TEXT)",)
        replica.put("a", messages("hello"), actor=f"Actor{number}", ddl=ddl)
    for _ in range(2):
        for number in range(limits.READ_SCHEMAS_MAX + 3):
            assert reader.read(RoomName(f"Actor{number}", "a"), None, bodies).value == ["hello"]
    assert len(reader._kept) == limits.READ_SCHEMAS_MAX


# -- errors of the read -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM drafts",
        "SELECT local FROM messages",
        "SELECT * FROM pinned_messages",
        "SELECT soundex(body) FROM messages",
        "SELECT body FROM messages ORDER BY body COLLATE german",
        "SELECT * FROM elsewhere.messages",
        "SELECT * FROM ChatRoom_messages",
        "SELECT " + " + ".join("1" * 300),
        " UNION ALL ".join(["SELECT 1"] * 200),
        "SELECT 1 IN (" + ", ".join(f"abs({n})" for n in range(9_000)) + ")",
    ],
    ids=lambda query: query[:40],
)
def test_what_only_the_room_may_have_is_asked_of_the_room(replica: HandMade, reader: Reader, query: str) -> None:
    replica.put("a", messages("hello"))
    with pytest.raises((Unanswerable, StatementRefused)) as raised:
        reader.read(A, None, lambda sql: sql(query))
    assert raised.type is Unanswerable or "soundex" in query  # a function that is refused is refused in the room, too
    assert reader.read(A, None, bodies).value == ["hello"]


def test_a_read_that_passes_over_what_only_the_room_has_is_not_believed(replica: HandMade, reader: Reader) -> None:
    """In the room the table is there, and the answer another one."""
    replica.put("a", messages("hello"))

    def run(sql: SQL) -> str:
        try:
            return sql("SELECT body FROM drafts").scalar()
        except apsw.SQLError:
            return "no drafts"

    with pytest.raises(Unanswerable):
        reader.read(A, None, run)


def test_the_errors_of_a_read_are_its_own(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))

    def fails(sql: SQL) -> None:
        raise OSError("the handler's own")

    with pytest.raises(NoRow):
        reader.read(A, None, lambda sql: sql("SELECT 1 FROM messages WHERE id = 9").one())
    with pytest.raises(OSError, match="the handler's own"):
        reader.read(A, None, fails)
    with pytest.raises(StatementRefused, match="a @read may not write"):
        reader.read(A, None, lambda sql: sql("DELETE FROM messages"))
    with pytest.raises(StatementRefused, match="a @read may not"):
        reader.read(A, None, lambda sql: sql.many("INSERT INTO messages VALUES (?, ?, ?, ?)", [(1, "a", "b", None)]))
    with pytest.raises(apsw.SQLError, match="malformed JSON"):
        reader.read(A, None, lambda sql: sql("SELECT json(body) FROM messages"))
    assert reader.read(A, None, bodies).value == ["hello"]


def test_a_statement_too_large_for_readers_across_rooms_says_so(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))
    query = "SELECT 1 IN (" + ", ".join(f"abs({n})" for n in range(9_000)) + ")"
    with pytest.raises(TooLarge, match="more than a reader has"):
        reader.across({"ChatRoom": None}, None, lambda sql: sql(query))


# -- the file -----------------------------------------------------------------------------------------------------------
def test_no_transaction_outlives_its_read(replica: HandMade, reader: Reader) -> None:
    """A checkpoint that truncates the WAL needs that nobody reads."""
    replica.put("a", messages("hello"))
    for run in (
        bodies,
        lambda sql: sql("SELECT absent"),
        lambda sql: sql("DROP TABLE x"),
        lambda sql: sql("SELECT 1").one().nothing,
    ):
        try:
            reader.read(A, None, run)
            reader.across({"ChatRoom": ["a"]}, None, lambda sql: sql("SELECT 1"))
            reader.across({"ChatRoom": ["a"]}, Moment("9", 9), bodies)
        except (Unanswerable, StatementRefused, AttributeError, Stale):
            pass
        replica.put("a", {})
        replica.file.connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert Path(f"{replica.path}-wal").stat().st_size == 0


def test_a_file_that_was_deleted_is_gone_until_it_is_there_again(replica: HandMade, reader: Reader, tmp_path: Path) -> None:
    replica.put("a", messages("hello"))
    assert reader.read(A, None, bodies).generation == "0001"
    replica.close()
    replica.path.unlink()
    for _ in range(2):
        with pytest.raises(ReplicaGone, match="does not exist"):
            reader.read(A, None, bodies)
    new = HandMade(tmp_path / "replica.db", "0002")
    new.put("a", messages("anew"))
    assert reader.read(A, None, bodies) == (["anew"], Position(1, 1), 1, "0002")
    new.close()


def test_a_file_that_was_replaced_is_let_go_of(replica: HandMade, reader: Reader, tmp_path: Path) -> None:
    replica.put("a", messages("hello"))
    assert reader.read(A, None, bodies).value == ["hello"]
    (tmp_path / "other").mkdir()
    other = HandMade(tmp_path / "other" / "replica.db", "0002")
    other.put("a", messages("of the other"))
    replica.close()
    other.close()
    Path(f"{replica.path}-wal").unlink(missing_ok=True)
    other.path.replace(replica.path)
    Path(f"{other.path}-wal").replace(f"{replica.path}-wal")
    assert reader.read(A, None, bodies) == (["of the other"], Position(1, 1), 1, "0002")


def test_an_error_of_the_file_closes_it_for_the_next_read_to_open(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))
    replica.file.connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
    reader.read(A, None, bodies)
    reader.close()
    good = replica.path.read_bytes()
    replica.path.write_bytes(good[:100] + b"\xff" * (len(good) - 100))
    with pytest.raises((apsw.CorruptError, apsw.NotADBError)):
        reader.read(A, None, bodies)
    replica.path.write_bytes(good)
    assert reader.read(A, None, bodies).value == ["hello"]


def test_a_connection_that_cannot_be_asked_whether_it_is_outdated_is_closed(
    replica: HandMade, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator's seed 127: the replica's file system goes away between two reads across rooms."""
    replica.put("a", messages("hello"))
    assert rows_across(reader, {"ChatRoom": None}, "SELECT body FROM ChatRoom_messages") == [("hello",)]
    (kept,) = reader._kept.values()

    def gone(scoped: Scoped) -> bool:
        raise apsw.IOError("disk I/O error")

    with monkeypatch.context() as patch, pytest.raises(apsw.IOError):
        patch.setattr(Scoped, "outdated", gone)
        rows_across(reader, {"ChatRoom": None}, "SELECT body FROM ChatRoom_messages")
    with pytest.raises(apsw.ConnectionClosedError):
        kept.connection.execute("SELECT 1")
    assert rows_across(reader, {"ChatRoom": None}, "SELECT body FROM ChatRoom_messages") == [("hello",)]


def test_damage_that_a_read_passes_over_is_told_all_the_same(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages(*(f"{number} " + "x" * 3_000 for number in range(50))))
    replica.file.connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
    (root,) = replica.file.connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = '_ChatRoom_messages'").fetchall()[
        0
    ]
    content = bytearray(replica.path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    replica.path.write_bytes(bytes(content))

    def run(sql: SQL) -> str:
        try:
            return sql("SELECT max(score) FROM messages").scalar()
        except apsw.Error:
            return "nothing"

    with pytest.raises(apsw.CorruptError):
        reader.read(A, None, run)
    assert not reader._kept


def test_a_replica_without_a_generation_is_left_to_its_replicator(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))
    replica.file.run("DROP TABLE _generation")
    with pytest.raises(ReplicaGone, match="no generation yet"):
        reader.read(A, None, bodies)
    replica.close()
    again = HandMade(replica.path, "0003")
    assert reader.read(A, None, bodies).generation == "0003"
    again.close()


def test_a_replica_keeps_its_generation_over_starts(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))
    replica.close()
    again = HandMade(replica.path, "9999")
    assert reader.read(A, None, bodies).generation == "0001"
    again.close()


# -- across rooms -------------------------------------------------------------------------------------------------------
def rows_across(reader: Reader, rooms: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    return reader.across(rooms, None, lambda sql: [tuple(row.values()) for row in sql(query)]).value


def test_across_rooms_the_room_is_a_column_and_the_rooms_are_those_named(replica: HandMade, reader: Reader) -> None:
    for id in ("a", "b", "c"):
        replica.put(id, messages(f"of {id}"))
    query = "SELECT room_id, body FROM ChatRoom_messages ORDER BY room_id"
    assert rows_across(reader, {"ChatRoom": ["a", "c", "c", "nobody"]}, query) == [("a", "of a"), ("c", "of c")]
    assert rows_across(reader, {"ChatRoom": ["b"]}, query) == [("b", "of b")]
    assert rows_across(reader, {"ChatRoom": None}, query) == [("a", "of a"), ("b", "of b"), ("c", "of c")]
    assert rows_across(reader, {"ChatRoom": []}, query) == []
    seen = reader.across({"ChatRoom": None}, Moment("0001", 3), lambda sql: None)
    assert (seen.position, seen.batch, seen.generation) == (None, 3, "0001")


@pytest.mark.parametrize(
    "since", [Moment("0001", 2), Moment("0002", 0), Moment("0000", 0)], ids=["an older batch", "an older file", "a later file"]
)
def test_across_rooms_a_file_that_is_not_what_was_last_written_is_stale(replica: HandMade, reader: Reader, since: Moment) -> None:
    replica.put("a", messages("hello"))
    with pytest.raises(Stale):
        reader.across({"ChatRoom": None}, since, bodies)


def test_across_classes_columns_of_all_versions_and_several_classes(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("old"))
    people = ("CREATE TABLE people (name TEXT PRIMARY KEY NOT NULL, room TEXT)",)
    replica.put("main", {"people": [("ann", "a"), ("bob", "b")]}, actor="Directory", ddl=people)
    rooms = {"ChatRoom": None, "Directory": ["main"]}
    joined = "SELECT p.name, m.body FROM Directory_people p JOIN ChatRoom_messages m ON m.room_id = p.room ORDER BY 1"
    assert rows_across(reader, rooms, joined) == [("ann", "old")]
    replica.put("b", {"messages": [(1, "ann", "new", None, 1)]}, ddl=WIDER)
    replica.put("c", {"messages": [("k", "ann", "other key")]}, ddl=OTHER_KEY)
    assert rows_across(reader, rooms, joined) == [("ann", "old"), ("bob", "new")]
    assert rows_across(reader, rooms, "SELECT room_id, pinned FROM ChatRoom_messages ORDER BY 1") == [
        ("a", 0),
        ("b", 1),
        ("c", None),
    ]


def test_across_rooms_the_view_is_the_documented_one_column_for_column(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("old"))
    replica.put("b", {"messages": [(1, "ann", "new", None, 1)]}, ddl=WIDER)
    documented = [row[1] for row in replica.file.run("PRAGMA table_info(ChatRoom_messages)")]
    assert (
        list(reader.across({"ChatRoom": ["a"]}, None, lambda sql: sql("SELECT * FROM ChatRoom_messages").one()).value)
        == documented
    )


def test_across_thousands_of_rooms_each_is_found_by_index(replica: HandMade, reader: Reader) -> None:
    replica.put("a", messages("hello"))
    kept: list[SQL] = []
    for rooms in (["a"], None):
        reader.across({"ChatRoom": rooms}, None, kept.append)
        plan = (
            kept[-1]
            ._scope.connection.execute(
                "EXPLAIN QUERY PLAN SELECT * FROM ChatRoom_messages WHERE room_id = 'a' ORDER BY id DESC LIMIT 50"
            )
            .fetchall()
        )
        assert not [row for row in plan if "SCAN" in row[3] or "TEMP B-TREE" in row[3]]
    ids = [f"room {number}" for number in range(5_000)]
    assert rows_across(reader, {"ChatRoom": [*ids, "a"]}, "SELECT count(*) FROM ChatRoom_messages") == [(1,)]


def test_a_reader_in_a_hurry_gives_a_long_read_up_also_where_the_read_would_pass_over_that(tmp_path) -> None:
    made = HandMade(tmp_path / "replica.db")
    made.put("a", {"messages": [(n, "ann", "x" * 50, 1.0) for n in range(200)]})

    def long(sql):
        try:
            return sql("SELECT count(*) FROM messages a, messages b, messages c, messages d").scalar()
        except DeadlineExceeded:
            return "another answer"

    times = itertools.count()
    reader = Reader(Disk(), tmp_path / "replica.db", Random(1), Limits(), lambda: next(times) * 0.001, None, 0.002)
    with pytest.raises(apsw.InterruptError):
        reader.read(RoomName("ChatRoom", "a"), None, long)
    reader.close()
    made.close()


def test_a_file_that_is_still_being_made_is_nothing_to_read_and_no_error_of_the_read(tmp_path: Path) -> None:
    """Its first transaction is under way or was cut off: SQLite says that it is read-only, for a reader may not roll it back."""
    path, made = tmp_path / "replica.db", tmp_path / "made.db"
    with closing(apsw.Connection(str(made))) as connection:
        connection.execute("CREATE TABLE t (x)").fetchall()
        connection.execute("PRAGMA cache_size = 1").fetchall()
        connection.execute("BEGIN").fetchall()
        connection.execute(
            "WITH n (x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n LIMIT 500) INSERT INTO t SELECT zeroblob(4000) FROM n"
        ).fetchall()
        for suffix in ("", "-journal"):
            Path(f"{path}{suffix}").write_bytes(Path(f"{made}{suffix}").read_bytes())
    reader = Reader(Disk(), path, Random(1), Limits(), lambda: 0.0)
    with pytest.raises(ReplicaGone, match="being made"):
        reader.read(A, None, bodies)
    with pytest.raises(ReplicaGone, match="being made"):
        reader.across({"ChatRoom": None}, None, bodies)
    reader.close()
