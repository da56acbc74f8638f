"""The tools for people know rooms with full text: what is compared, copied, brought back and migrated are rows, never indexes."""

import random
import shutil
from pathlib import Path
from typing import Any, ClassVar

import apsw

from actors import DataDir, Doors, InlineThreads, RoomName
from actors.statements.fulltext import installed, search
from durable_rooms import Actor, RoomQuarantined, SQLiteReplica
from durable_rooms.migrate import Sweep, sweep
from durable_rooms.recovery import recover
from durable_rooms.testing import open_test_runtime
from durable_rooms.verify import verify

NAME = RoomName("Chat", "a")
PAGE = 4_096


class Chat(Actor):
    migrations: ClassVar = ["CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"]
    fulltext: ClassVar = {"messages": ["body"]}

    def fill(self, rows: int) -> None:
        self.sql.many("INSERT INTO messages (body) VALUES (?)", [(f"line {n} " + "x" * 200,) for n in range(rows)])
        self.sql("DELETE FROM messages WHERE id % 7 = 0")

    def find(self, words: str) -> list[int]:
        return [row.id for row in self.sql.match("messages", words, limit=1_000)]

    def tables(self) -> list[str]:
        return self.sql("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").scalars()


Plain = type("Chat", (Chat,), {"fulltext": {}})


async def filled(path: Path, chat: Any = Chat, **options: Any) -> Path:
    async with open_test_runtime(chat, path=path, replicas=[SQLiteReplica()], **options) as runtime:
        for id in "ab":
            await runtime.room(chat, id).fill(400)
        await runtime.replicated()
    return path


async def test_verify_compares_rows_and_no_index(tmp_path: Path, autojump_clock) -> None:
    report = verify(await filled(tmp_path / "data"))
    assert report.equal
    assert (report.rooms, report.rows) == (2, 2 * (400 - 57))


async def test_a_dump_can_be_searched_and_counts_the_rooms_own_tables(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Chat, path=tmp_path / "data") as runtime:
        room = runtime.room(Chat, "a")
        await room.fill(400)
        done = await runtime.dump(room, tmp_path / "a.db")
        told = await room.find("line 1*")
    assert done.rows == {"messages": 343}
    connection = apsw.Connection(str(tmp_path / "a.db"))
    assert [row.id for row in search(connection, installed(connection), "a", "messages", "line 1*", 1_000)] == told
    check = "INSERT INTO _fulltext_messages (_fulltext_messages, rank) VALUES ('integrity-check', 1)"
    connection.execute(check).fetchall()  # raises if the index is not that of its table
    connection.close()


async def test_a_recovered_room_has_its_index_made_anew(tmp_path: Path, autojump_clock) -> None:
    data = await filled(tmp_path / "data")
    file = DataDir.at(data).room(NAME)
    connection = apsw.Connection(str(file))
    leaves = "SELECT pageno FROM dbstat WHERE name IN ('messages', '_fulltext_messages_data') AND pagetype = 'leaf'"
    pages = [number for (number,) in connection.execute(leaves)]
    connection.close()
    content = bytearray(file.read_bytes())
    for number in random.Random(3).sample(pages, 4):
        content[(number - 1) * PAGE : number * PAGE] = b"\xa5" * PAGE
    file.write_bytes(content)
    async with open_test_runtime(Chat, path=data) as runtime:
        for _ in range(9):
            try:
                await runtime.room(Chat, "a").fill(3_000)
            except RoomQuarantined:
                break
            except Exception:
                continue
    report = recover(data, NAME)
    assert report.missing == []
    async with open_test_runtime(Chat, path=data, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Chat, "a")
        assert await room.find("line 399") == [400]
        assert await room.find("line") == [id for id in range(400, 0, -1) if id % 7]
        assert await room.find("line") == await runtime.room(Chat, "b").find("line")
        await runtime.replicated()
    assert verify(data).equal


async def test_a_sweep_and_a_declaration_in_one_release_leave_rooms_searchable(tmp_path: Path, autojump_clock) -> None:
    data = await filled(tmp_path / "data", Plain)
    stars = "ALTER TABLE messages ADD COLUMN stars INTEGER NOT NULL DEFAULT 0"
    release: Any = type("Chat", (Chat,), {"migrations": [*Chat.migrations, stars]})
    report = Sweep(todo=2)
    replica, doors = data / "replica.db", Doors(threads=InlineThreads())
    await sweep(data, {"Chat": release}, {"Chat": 2}, report, replica=replica, progress=lambda report: None, doors=doors)
    assert (report.done, report.failed) == (2, 0)
    assert verify(data).equal
    for id in "ab":
        connection = apsw.Connection(str(DataDir.at(data).room(RoomName("Chat", id))))
        assert len(search(connection, installed(connection), id, "messages", "line", 1_000)) == 343
        connection.close()


async def test_an_index_that_comes_or_goes_copies_no_room_anew(tmp_path: Path, autojump_clock) -> None:
    data = await filled(tmp_path / "data", Plain)
    for release in (Chat, Plain, Chat):
        async with open_test_runtime(release, path=data, replicas=[SQLiteReplica()]) as runtime:
            for id in "ab":
                await runtime.room(release, id).tables()
            await runtime.replicated()
            assert runtime.status().replicas[0].resyncs == {}
        assert verify(data).equal


async def test_a_copy_of_a_room_at_another_place_is_searched_as_well(tmp_path: Path, autojump_clock) -> None:
    data = await filled(tmp_path / "data")
    shutil.copytree(data, tmp_path / "copy")
    async with open_test_runtime(Chat, path=tmp_path / "copy") as runtime:
        assert await runtime.room(Chat, "a").find("line 399") == [400]
