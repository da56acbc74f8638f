"""`sql.match` in a read that runs on a replica: the rooms of the read and no others, as its tables."""

from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from actors import SQL, Disk, Limits, RoomName, TooLarge
from durable_rooms import Actor, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from replication.reading.reader import Reader, Unanswerable


class Searched(Actor):
    migrations: ClassVar = [
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)",
    ]
    fulltext: ClassVar = {"messages": ["body"]}

    def post(self, body: str) -> None:
        self.sql("INSERT INTO messages (body) VALUES (?)", body)


async def replica_with_rooms(path: Path) -> Reader:
    async with open_test_runtime(Searched, path=path, replicas=[SQLiteReplica()]) as runtime:
        for id in ("a", "b", "c"):
            for body in ("hello to all", f"only {id}", "hello again"):
                await runtime.room(Searched, id).post(body)
        await runtime.replicated()
    return Reader(Disk(), path / "replica.db", Random(1), Limits(), lambda: 0.0)


def matched(words: str, table: str = "messages") -> Any:
    return lambda sql: [tuple(row.values()) for row in sql.match(table, words)]


async def test_a_search_finds_the_rows_of_its_room_alone(tmp_path: Path, autojump_clock: object) -> None:
    reader = await replica_with_rooms(tmp_path)
    for id in ("a", "b", "a"):
        name = RoomName("Searched", id)
        assert reader.read(name, None, matched("hello")).value == [(3, "hello again"), (1, "hello to all")]
        assert reader.read(name, None, matched("only*")).value == [(2, f"only {id}")]
        assert reader.read(name, None, matched("only c")).value == []
        assert reader.read(name, None, matched('_room : "3" OR hello')).value == []
    reader.close()


async def test_a_search_across_rooms_finds_those_of_the_rooms_that_were_named(tmp_path: Path, autojump_clock: object) -> None:
    reader = await replica_with_rooms(tmp_path)
    search = matched("only", "Searched_messages")
    assert sorted(reader.across({"Searched": ["a", "c"]}, None, search).value) == [("a", 2, "only a"), ("c", 2, "only c")]
    assert len(reader.across({"Searched": None}, None, search).value) == 3
    assert reader.across({"Searched": []}, None, search).value == []
    reader.close()


async def test_a_search_that_the_replica_cannot_make_is_asked_of_the_room(tmp_path: Path, autojump_clock: object) -> None:
    reader = await replica_with_rooms(tmp_path)
    with pytest.raises(Unanswerable):
        reader.read(RoomName("Searched", "a"), None, matched("hello", "notes"))
    with pytest.raises(TooLarge):
        reader.read(RoomName("Searched", "a"), None, matched("x " * 5_000))
    reader.close()


async def test_the_guard_is_on_again_after_a_search(tmp_path: Path, autojump_clock: object) -> None:
    reader = await replica_with_rooms(tmp_path)

    def run(sql: SQL) -> None:
        sql.match("messages", "hello")
        sql("SELECT * FROM main._Searched_messages")

    with pytest.raises(Unanswerable):
        reader.read(RoomName("Searched", "a"), None, run)
    reader.close()
