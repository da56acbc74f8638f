"""Questions across rooms: only the rooms that were named, as fresh as was asked."""

from typing import ClassVar

import apsw
import pytest
import trio

from durable_rooms import Actor, BadArguments, ReplicationLate, SQLiteReplica, StatementRefused
from durable_rooms.testing import open_test_runtime
from tests.reading.chat import ChatRoom, reading
from tests.reading.test_freshness import locked


class Directory(Actor):
    migrations: ClassVar = ["CREATE TABLE topics (room TEXT PRIMARY KEY NOT NULL, topic TEXT NOT NULL)"]

    def name(self, room: str, topic: str) -> None:
        self.sql("INSERT OR REPLACE INTO topics VALUES (?, ?)", room, topic)


COUNTS = "SELECT room_id, count(*) AS messages FROM ChatRoom_messages GROUP BY room_id ORDER BY room_id"


async def fill(runtime, rooms=("a", "b", "c")):
    for n, id in enumerate(rooms, 1):
        for number in range(n):
            await runtime.room(ChatRoom, id).post("ann", f"{id} {number}")


async def test_only_the_rooms_that_were_named_are_there(autojump_clock):
    async with reading() as runtime:
        await fill(runtime)
        assert await runtime.across({ChatRoom: ["a", "c"]}).sql(COUNTS) == [
            {"room_id": "a", "messages": 1},
            {"room_id": "c", "messages": 3},
        ]
        assert len(await runtime.across({ChatRoom: "all"}).sql(COUNTS)) == 3
        assert await runtime.across({ChatRoom: []}).sql(COUNTS) == []
        assert await runtime.across({ChatRoom: ["nobody", "a", "a"]}).sql(COUNTS) == [{"room_id": "a", "messages": 1}]


async def test_values_are_bound_by_place_and_by_name(autojump_clock):
    async with reading() as runtime:
        await fill(runtime)
        across = runtime.across({ChatRoom: "all"})
        query = "SELECT room_id FROM ChatRoom_messages WHERE body = "
        assert (await across.sql(f"{query}?", "b 1")).scalars() == ["b"]
        assert (await across.sql(f"{query}:body", body="c 2")).scalars() == ["c"]


async def test_several_classes_are_joined(autojump_clock):
    async with open_test_runtime(ChatRoom, Directory, replicas=[SQLiteReplica()]) as runtime:
        await fill(runtime)
        await runtime.room(Directory, "main").name("b", "bees")
        rows = await runtime.across({ChatRoom: "all", Directory: ["main"]}).sql(
            "SELECT topic, count(*) AS messages FROM ChatRoom_messages m JOIN Directory_topics t ON t.room = m.room_id"
            " GROUP BY topic"
        )
        assert rows == [{"topic": "bees", "messages": 2}]


async def test_thousands_of_ids_are_fine(autojump_clock):
    async with reading() as runtime:
        await fill(runtime)
        ids = [f"room-{n}" for n in range(5_000)] + ["b"]
        assert (await runtime.across({ChatRoom: ids}).sql(COUNTS)).one().messages == 2


async def test_what_had_returned_is_there_and_the_wait_has_an_end(autojump_clock):
    async with reading() as runtime:
        await fill(runtime)
        await runtime.replicated()
        other = locked(runtime.path / "replica.db")
        await runtime.room(ChatRoom, "a").post("bob", "late")
        with pytest.raises(ReplicationLate, match="ChatRoom/a"):
            await runtime.across({ChatRoom: "all"}).sql(COUNTS)
        assert len(await runtime.across({ChatRoom: "all"}, fresh="any").sql(COUNTS)) == 3
        assert len(await runtime.across({ChatRoom: "all"}, fresh=60).sql(COUNTS)) == 3
        await trio.sleep(100)
        with pytest.raises(ReplicationLate, match="s behind, and 60 s are allowed"):
            await runtime.across({ChatRoom: "all"}, fresh=60).sql(COUNTS)
        other.close()


async def test_a_session_asks_across_what_it_has_written(autojump_clock):
    async with reading() as runtime:
        session = runtime.session(fresh="any")
        for n in range(1, 20):
            await session.room(ChatRoom, "a").post("ann", "x")
            assert (await session.across({ChatRoom: "all"}).sql(COUNTS)).one().messages == n


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM _ChatRoom_messages",
        "SELECT * FROM main.ChatRoom_messages",
        "WITH ChatRoom_messages AS (SELECT * FROM _ChatRoom_messages) SELECT * FROM ChatRoom_messages",
        "SELECT * FROM _rooms",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM Directory_topics",
        "DELETE FROM ChatRoom_messages",
    ],
)
async def test_no_sql_reaches_beyond_them(query, autojump_clock):
    async with open_test_runtime(ChatRoom, Directory, replicas=[SQLiteReplica()]) as runtime:
        await fill(runtime)
        await runtime.room(Directory, "main").name("b", "bees")
        with pytest.raises((StatementRefused, apsw.SQLError)) as caught:
            await runtime.across({ChatRoom: ["a"]}).sql(query)
        assert "c 2" not in str(caught.value)


async def test_what_cannot_be_asked_is_refused_at_once(autojump_clock):
    async with reading() as runtime:
        with pytest.raises(BadArguments, match="not an actor class"):
            runtime.across({Directory: "all"})
        with pytest.raises(BadArguments, match="a list of ids"):
            runtime.across({ChatRoom: "general"})
        with pytest.raises(BadArguments, match="for one room"):
            runtime.across({ChatRoom: "all"}, fresh="room")
    async with open_test_runtime(ChatRoom) as runtime:
        with pytest.raises(BadArguments, match="without one"):
            runtime.across({ChatRoom: "all"})
