"""Whatever rooms do, whatever breaks: after catching up, the replica equals the rooms."""

import tempfile
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replication import Replicator, SQLiteReplica
from tests.replication.fakes import FakeRooms, assert_equal, shutil_copy_replica

STEPS = (
    "ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 0",
    "ALTER TABLE messages ADD COLUMN note TEXT",
    "ALTER TABLE messages ADD COLUMN likes INTEGER DEFAULT 5",
    "ALTER TABLE messages DROP COLUMN likes",
    "ALTER TABLE messages RENAME COLUMN note TO remark",
    "CREATE TABLE users (name TEXT NOT NULL COLLATE NOCASE, n INTEGER NOT NULL, PRIMARY KEY (name, n))",
    "CREATE TABLE users (name TEXT NOT NULL PRIMARY KEY, n TEXT)",
    "DROP TABLE users",
    "CREATE INDEX by_author ON messages (author)",
)
ROWS = (
    "INSERT OR REPLACE INTO messages (id, author, body) VALUES (abs(random()) % 20, 'ann', abs(random()) % 30)",
    "UPDATE OR REPLACE messages SET id = id + 3 WHERE id % 4 = 1",
    "UPDATE OR IGNORE messages SET body = body || 'x'",
    "DELETE FROM messages WHERE id % 3 = 0",
    "DELETE FROM messages",
    "INSERT OR IGNORE INTO users (name, n) VALUES ('Ann', abs(random()) % 3)",
    "UPDATE OR REPLACE users SET name = 'ANN'",
)
action = st.one_of(
    st.tuples(st.just("rows"), st.integers(0, 2), st.lists(st.sampled_from(ROWS), min_size=1, max_size=5)),
    st.tuples(st.just("rows"), st.integers(0, 2), st.lists(st.sampled_from(ROWS[:1]), min_size=1, max_size=5)),
    st.tuples(st.just("step"), st.integers(0, 2), st.sampled_from(STEPS)),
    st.tuples(
        st.sampled_from(
            ["wait", "crash", "keep replica", "rewind replica", "delete replica", "keep room", "restore room", "unclean"]
        ),
        st.integers(0, 2),
        st.integers(0, 60),
    ),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(action, min_size=3, max_size=25))
def test_the_replica_equals_the_rooms(actions: list[tuple[str, int, Any]]) -> None:
    with tempfile.TemporaryDirectory() as path:
        trio.run(live, FakeRooms(Path(path)), actions, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(action, min_size=3, max_size=60))
def test_the_replica_equals_the_rooms_over_long_lives(actions: list[tuple[str, int, Any]]) -> None:
    with tempfile.TemporaryDirectory() as path:
        trio.run(live, FakeRooms(Path(path)), actions, clock=trio.testing.MockClock(autojump_threshold=0))


async def live(rooms: FakeRooms, actions: list[tuple[str, int, Any]]) -> None:
    members = [rooms.room(id) for id in "abc"]
    replica, kept = rooms.path / "replica.db", rooms.path / "kept.db"
    copies: dict[int, bytes] = {}
    rng = Random(len(actions))
    async with trio.open_nursery() as nursery:
        scope = await start(rooms, nursery)
        for what, number, detail in actions:
            room = members[number]
            if what in ("rows", "step"):
                for statement in [detail] if what == "step" else detail:
                    attempt(room, statement)
            elif what == "wait":
                await trio.sleep(detail / 1000)
            elif what == "unclean":
                room.new_epoch = True
            elif what == "keep room":
                copies[number] = room.snapshot()
            elif what == "restore room" and number in copies:
                room.restore(copies.pop(number))
                room.new_epoch = bool(detail % 2)  # with or without notice
                room.tell(0)
                await trio.sleep(1.1)  # noticed before its next write, as an activation does (rule 20)
            elif what == "keep replica":
                shutil_copy_replica(replica, kept)
            elif what in ("crash", "rewind replica", "delete replica"):
                scope.cancel()
                await trio.sleep(rng.random() / 50)
                if what == "rewind replica" and kept.exists():
                    shutil_copy_replica(kept, replica)
                elif what == "delete replica":
                    replica.unlink(missing_ok=True)
                scope = await start(rooms, nursery)
        assert rooms.follower is not None
        await rooms.follower.replicated(timeout=60)
        assert_equal(rooms, replica)
        nursery.cancel_scope.cancel()


def attempt(room: Any, statement: str) -> None:
    try:
        room.write(statement)
    except (apsw.ConstraintError, apsw.SQLError):  # no such table or column in this version, or a value that is taken
        room.run("ROLLBACK")


async def start(rooms: FakeRooms, nursery: trio.Nursery) -> trio.CancelScope:
    scope = trio.CancelScope()
    replicator = Replicator(SQLiteReplica())
    rooms.follower = replicator

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await replicator.run(rooms, task_status)

    await nursery.start(run)
    return scope
