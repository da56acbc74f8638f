"""A `@read` searches as a handler does, wherever it runs."""

from pathlib import Path
from typing import Any, ClassVar

import apsw
import pytest
import trio

from durable_rooms import Actor, Rows, SQLiteReplica, read
from durable_rooms.testing import open_test_runtime


class Chat(Actor):
    migrations: ClassVar = ["CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT)"]
    fulltext: ClassVar = {"messages": ["body"]}

    def post(self, body: str) -> None:
        self.sql("INSERT INTO messages (body) VALUES (?)", body)

    @read
    def find(self, words: str) -> Rows:
        return self.sql.match("messages", words)


Plain: Any = type("Chat", (Chat,), {"fulltext": {}})


async def found(runtime: Any, chat: Any, fresh: str, words: str = "one") -> tuple[str, list[int]]:
    reply = await runtime.room(chat, "a").options(fresh=fresh).ask(chat.find, words)
    return reply.source, [row["id"] for row in reply.value]


async def test_a_read_finds_the_same_in_the_room_and_on_the_replica(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Chat, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        for id in ("b", "a"):
            for body in ("one", "one two", "two"):
                await runtime.room(Chat, id).post(f"{body} of {id}")
        await runtime.replicated()
        for words, ids in (("one", [2, 1]), ("two", [3, 2]), ("b", []), ('"two of"', [3, 2]), ("", [])):
            assert await found(runtime, Chat, "room", words) == ("room", ids)
            assert await found(runtime, Chat, "acknowledged", words) == ("replica", ids)


async def test_a_room_that_was_not_opened_since_its_class_declares_full_text_is_opened_for_a_search(
    tmp_path: Path, autojump_clock
) -> None:
    async with open_test_runtime(Plain, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(Plain, "a").post("one")
        await runtime.replicated()
    for fresh in ("room", "any"):
        async with open_test_runtime(Chat, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
            assert (await found(runtime, Chat, fresh))[1] == [1]
        async with open_test_runtime(Plain, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
            await runtime.room(Plain, "a").post("nothing")  # its index goes


@pytest.mark.parametrize("rests", [False, True])
async def test_a_damaged_index_is_the_reads_matter_and_not_the_rooms(rests: bool, tmp_path: Path, autojump_clock) -> None:
    """What FTS5 keeps was changed behind its back: a search says so, as in a handler; the file itself is sound."""
    async with open_test_runtime(Chat, path=tmp_path) as runtime:
        room = runtime.room(Chat, "a")
        for number in range(50):
            await room.post(f"one {number}")
        await trio.sleep(1_000)
        (file,) = (tmp_path / "rooms").rglob("*.db")
        other = apsw.Connection(str(file))
        other.execute("UPDATE _fulltext_messages_data SET block = x'00112233' WHERE id > 10").fetchall()
        other.close()
        if not rests:
            await room.post("now it is in memory")
        with pytest.raises(apsw.CorruptError):
            await room.find("one")
        await room.post("and works on")
