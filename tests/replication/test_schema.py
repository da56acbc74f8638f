"""Schemas followed: columns, keys, indexes, names; rooms of several versions side by side."""

from pathlib import Path

import apsw
import pytest

from tests.replication.conftest import Follow
from tests.replication.fakes import MESSAGES, FakeRooms, assert_equal, replica_rows


def query(path: Path, statement: str, *values: object) -> list[tuple]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


async def test_a_table_has_the_room_in_front_and_no_constraint_of_the_user(
    rooms: FakeRooms, replica: Path, follow: Follow
) -> None:
    rooms.room(
        "a",
        "CREATE TABLE m (id INTEGER PRIMARY KEY, n VARCHAR(9) UNIQUE COLLATE NOCASE CHECK (n > ''), d REAL NOT NULL DEFAULT 1.5)",
    )
    async with follow() as replicator:
        await replicator.replicated()
        ((sql,),) = query(replica, "SELECT sql FROM sqlite_schema WHERE name = '_ChatRoom_m'")
        assert sql == (
            'CREATE TABLE "_ChatRoom_m" ("_room" INTEGER NOT NULL, "id" "INTEGER", "n" "VARCHAR(9)" COLLATE "NOCASE",'
            ' "d" "REAL" DEFAULT 1.5, UNIQUE ("_room", "id"))'
        )
        columns = [row[1] for row in query(replica, "PRAGMA table_info(ChatRoom_m)")]
        assert columns == ["room_id", "id", "n", "d"]


async def test_equal_keys_and_unique_values_of_two_rooms_stay_two_rows(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    for id in "ab":
        rooms.room(id).write("INSERT INTO messages VALUES (1, 'ann', 'same')")
    async with follow() as replicator:
        await replicator.replicated()
        assert replica_rows(replica, "ChatRoom_messages") == [("a", 1, "ann", "same"), ("b", 1, "ann", "same")]


async def test_a_room_is_found_through_the_view_by_index(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    rooms.room("a").post()
    async with follow() as replicator:
        await replicator.replicated()
        plan = query(
            replica, "EXPLAIN QUERY PLAN SELECT * FROM ChatRoom_messages WHERE room_id = 'a' AND id > 3 ORDER BY id DESC LIMIT 50"
        )
        text = "\n".join(row[3] for row in plan)
        assert "SCAN" not in text
        assert "TEMP B-TREE" not in text


async def test_indexes_are_carried_with_the_room_in_front(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    index = 'CREATE UNIQUE INDEX by_author ON messages (author, length(body) DESC) WHERE author <> "bot"'
    a = rooms.room("a", MESSAGES, index)
    async with follow() as replicator:
        await replicator.replicated()
        ((sql,),) = query(
            replica, "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND name LIKE '\\_Chat%' ESCAPE '\\'"
        )
        head = 'CREATE INDEX "_ChatRoom_by_author" ON "_ChatRoom_messages"'
        assert sql == head + ' ("_room", author, length(body) DESC) WHERE author <> "bot"'
        a.write("CREATE INDEX by_body ON messages (body)")
        await replicator.replicated()
        assert query(replica, "SELECT count(*) FROM sqlite_schema WHERE name = '_ChatRoom_by_body'") == [(1,)]
        a.write("DROP INDEX by_body")
        await replicator.replicated()
        assert query(replica, "SELECT count(*) FROM sqlite_schema WHERE name = '_ChatRoom_by_body'") == [(1,)]  # stays
        assert replicator.status().resyncs == {}


async def test_an_index_that_the_replica_cannot_have_holds_back_no_row(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    a = rooms.room("a", MESSAGES)
    a.connection.create_scalar_function("mine", lambda x: x, 1, deterministic=True)
    a.write("CREATE INDEX i ON messages (mine(author))")
    a.post()
    async with follow() as replicator:
        await replicator.replicated()
        assert replicator.status().parked == {}
        assert_equal(rooms, replica)


async def test_composite_keys(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    a = rooms.room(
        "a",
        "CREATE TABLE odd (x TEXT NOT NULL, v, y INTEGER NOT NULL, PRIMARY KEY (y, x)) WITHOUT ROWID",
    )
    async with follow() as replicator:
        a.write("INSERT INTO odd VALUES ('p', 1, 1), ('q', 2, 1), ('p', 3, 2)")
        await replicator.replicated()
        a.write("DELETE FROM odd WHERE x = 'q'", "UPDATE odd SET y = 7 WHERE v = 3", "UPDATE odd SET v = 9 WHERE v = 1")
        await replicator.replicated()
        assert replica_rows(replica, "ChatRoom_odd", "a") == [("p", 3, 7), ("p", 9, 1)]
        assert_equal(rooms, replica)


async def test_a_key_that_changes_its_case_only(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    a = rooms.room("a", "CREATE TABLE users (name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, n)")
    async with follow() as replicator:
        a.write("INSERT INTO users VALUES ('ann', 1)")
        await replicator.replicated()
        a.write("UPDATE users SET name = 'ANN'")
        await replicator.replicated()
        assert replica_rows(replica, "ChatRoom_users", "a") == [("ANN", 1)]


async def test_quotes_and_keywords_in_names(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    a = rooms.room(
        "a", 'CREATE TABLE "select" ("order" INTEGER PRIMARY KEY, "a b;--" "weird "" type", "?" TEXT DEFAULT \'it\'\'s\')'
    )
    async with follow() as replicator:
        a.write("INSERT INTO \"select\" VALUES (1, 'x', 'y')")
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_names_that_collide_get_a_number(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    first = rooms.room("1", "CREATE TABLE b_c (id INTEGER PRIMARY KEY)", actor="A")
    second = rooms.room("2", "CREATE TABLE c (id INTEGER PRIMARY KEY)", actor="A_b")
    third = rooms.room("3", "CREATE TABLE c (id INTEGER PRIMARY KEY)", actor="_A_b")
    first.write("INSERT INTO b_c VALUES (1)")
    second.write("INSERT INTO c VALUES (2)")
    third.write("INSERT INTO c VALUES (3)")
    async with follow() as replicator:
        await replicator.replicated()
        assert replica_rows(replica, "A_b_c") == [("1", 1)]
        assert replica_rows(replica, "A_b_c_2") == [("2", 2)]
        (view,) = query(replica, "SELECT view FROM _tables WHERE actor = '_A_b'")
        assert replica_rows(replica, view[0]) == [("3", 3)]


async def test_values_arrive_as_they_are(rooms: FakeRooms, replica: Path, follow: Follow) -> None:
    a = rooms.room(
        "a",
        "CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, t TEXT, r REAL, n ANY, b BLOB, x ANY) STRICT",
    )
    async with follow() as replicator:
        a.write(
            ("INSERT INTO v VALUES (1, ?, ?, ?, ?, ?, ?)", (2**63 - 1, "a\0b", 1e300, "007", b"\0\xff", None)),
            ("INSERT INTO v VALUES (2, ?, ?, ?, ?, ?, ?)", (-(2**63), "", -0.0, 7, b"", "1.0")),
        )
        await replicator.replicated()
        assert_equal(rooms, replica)


@pytest.mark.parametrize(
    "step",
    [
        "ALTER TABLE messages ADD COLUMN likes INTEGER",
        "ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 7",
        "ALTER TABLE messages ADD COLUMN note TEXT NOT NULL DEFAULT 'it''s'",
        "CREATE TABLE pins (id INTEGER PRIMARY KEY)",
        "CREATE INDEX i ON messages (author)",
    ],
)
async def test_additive_steps_need_no_resync(rooms: FakeRooms, replica: Path, follow: Follow, step: str) -> None:
    rooms.room("a").post(3)
    rooms.room("b").post(2)
    async with follow() as replicator:
        await replicator.replicated()
        for id in "ab":
            rooms.room(id).write(step, "INSERT INTO messages (author) VALUES ('new')")
            await replicator.replicated()
            assert_equal(rooms, replica)  # also while one room is ahead of the other
        assert replicator.status().resyncs == {}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("ALTER TABLE messages DROP COLUMN author", "schema"),
        ("ALTER TABLE messages RENAME COLUMN author TO writer", "schema"),
        ("ALTER TABLE messages RENAME TO posts", "gap"),
        ("DROP TABLE messages", "gap"),
    ],
)
async def test_other_steps_resync_the_room(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, step: str, reason: str
) -> None:
    rooms.room("a").post(3)
    rooms.room("b").post(2)
    async with follow() as replicator:
        await replicator.replicated()
        for id in "ab":
            rooms.room(id).write(step)
            await replicator.replicated()
            assert_equal(rooms, replica)
        assert replicator.status().resyncs == {reason: 2}


async def test_a_default_that_differs_from_the_replicas_is_a_resync(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock
) -> None:
    a, b = rooms.room("a"), rooms.room("b")
    a.post(3)
    b.post(2)
    async with follow() as replicator:
        await replicator.replicated()
        a.write("ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 1")
        b.write("ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 2")
        await replicator.replicated()
        assert replicator.status().resyncs == {"schema": 1}
        assert_equal(rooms, replica)


async def test_a_changed_type_or_key_gets_a_table_of_its_own_behind_one_view(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock
) -> None:
    a = rooms.room("a", "CREATE TABLE t (id INTEGER PRIMARY KEY, code INTEGER)")
    b = rooms.room("b", "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT, more)")
    c = rooms.room("c", "CREATE TABLE t (id INTEGER NOT NULL, code TEXT NOT NULL, PRIMARY KEY (id, code))")
    a.write("INSERT INTO t VALUES (1, 7)")
    b.write("INSERT INTO t VALUES (1, '007', 'x')")
    c.write("INSERT INTO t VALUES (1, '007'), (1, '008')")
    async with follow() as replicator:
        await replicator.replicated()
        assert replica_rows(replica, "ChatRoom_t") == [
            ("a", 1, 7, None),
            ("b", 1, "007", "x"),
            ("c", 1, "007", None),
            ("c", 1, "008", None),
        ]
        a.write("DROP TABLE t", "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT)", "INSERT INTO t VALUES (1, '0')")
        await replicator.replicated()
        assert replica_rows(replica, "ChatRoom_t", "a") == [(1, "0", None)]
        assert_equal(rooms, replica)
        a.write("INSERT INTO t VALUES (2, '00')", "DELETE FROM t WHERE id = 1")
        await replicator.replicated()
        assert_equal(rooms, replica)


async def test_rooms_of_several_versions_side_by_side_also_after_a_restart(
    rooms: FakeRooms, replica: Path, follow: Follow
) -> None:
    old, new = rooms.room("old"), rooms.room("new", MESSAGES, "ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 0")
    for _ in range(3):
        async with follow() as replicator:
            old.post(2)
            new.post(2)
            await replicator.replicated()
            assert_equal(rooms, replica)
            assert replicator.status().resyncs == {}
    async with follow() as replicator:
        old.write("ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 0")
        await replicator.replicated()
        assert replicator.status().resyncs == {}
        assert_equal(rooms, replica)


async def test_a_schema_change_is_rolled_back_with_its_batch(
    rooms: FakeRooms, replica: Path, follow: Follow, autojump_clock, monkeypatch
) -> None:
    from replication.file import ReplicaFile

    a = rooms.room("a")
    async with follow() as replicator:
        await replicator.replicated()
        failures = [apsw.FullError("full"), apsw.FullError("full")]
        original = ReplicaFile.put_marks

        def put_marks(self: ReplicaFile, *args) -> None:
            if failures:
                raise failures.pop()
            original(self, *args)

        monkeypatch.setattr(ReplicaFile, "put_marks", put_marks)
        a.write("ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 0", "CREATE TABLE pins (id INTEGER PRIMARY KEY)")
        a.write("INSERT INTO pins VALUES (4)")
        await replicator.replicated()
        assert_equal(rooms, replica)
