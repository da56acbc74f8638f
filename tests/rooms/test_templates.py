"""Births from a template: a new room is what its migrations would make of it, and shares nothing that depends on the room."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.tables import template
from durable_rooms import Actor, Migration, MigrationFailed
from durable_rooms.testing import TEST_TIME, open_test_runtime
from tests.rooms.chat import ChatRoom


def files(path: Path) -> list[Path]:
    return sorted((path / "rooms").glob("*/*.db"))


def looked_up(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as outside:
        return outside.execute(query).fetchall()


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """The templates that were made."""
    names: list[str] = []
    make = template._make
    monkeypatch.setattr(template, "_make", lambda actor, *rest: names.append(actor) or make(actor, *rest))
    return names


async def test_the_template_is_made_once_and_every_room_is_its_own(tmp_path, autojump_clock, made):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for id in ("a", "b", "c"):
            assert await runtime.room(ChatRoom, id).post(f"in {id}") == 1
        assert [await runtime.room(ChatRoom, id).bodies() for id in ("a", "b", "c")] == [["in a"], ["in b"], ["in c"]]
    assert made == ["ChatRoom"]
    assert {looked_up(file, "SELECT id FROM _room")[0][0] for file in files(tmp_path)} == {"a", "b", "c"}


async def test_a_room_knows_when_it_was_migrated_and_not_when_the_template_was(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "early").post("x")
        autojump_clock.jump(1000)
        await runtime.room(ChatRoom, "late").post("x")
    times = sorted(looked_up(file, "SELECT min(applied_at), max(applied_at) FROM _migrations")[0] for file in files(tmp_path))
    assert [first == last for first, last in times] == [True, True]
    assert times[0][0] >= TEST_TIME
    assert times[1][0] >= times[0][0] + 1000


class Secret(Actor):
    migrations = (
        "CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value)",
        "INSERT INTO settings VALUES ('secret', randomblob(16))",
        "CREATE TABLE later (id INTEGER PRIMARY KEY)",
    )

    def secret(self) -> bytes:
        return self.sql("SELECT value FROM settings").scalar()


async def test_a_step_that_leaves_rows_runs_in_each_room(tmp_path, autojump_clock):
    async with open_test_runtime(Secret, path=tmp_path) as runtime:
        secrets = {await runtime.room(Secret, str(number)).secret() for number in range(5)}
    assert len(secrets) == 5
    assert looked_up(files(tmp_path)[0], "SELECT version FROM _migrations") == [(1,), (2,), (3,)]


async def test_a_step_that_is_a_function_runs_in_each_room(tmp_path, autojump_clock):
    ran = []

    def fill(sql):
        ran.append(sql)

    class Filled(Actor):
        migrations = ("CREATE TABLE t (id INTEGER PRIMARY KEY)", Migration(fill, name="fill"), "CREATE INDEX i ON t (id)")

        def count(self) -> int:
            return self.sql("SELECT count(*) FROM t").scalar()

    async with open_test_runtime(Filled, path=tmp_path) as runtime:
        for number in range(3):
            assert await runtime.room(Filled, str(number)).count() == 0
    assert len(ran) == 3


async def test_a_step_that_fails_names_the_room_and_not_the_template(tmp_path, autojump_clock):
    class Wrong(Actor):
        migrations = ("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE t (id INTEGER PRIMARY KEY)")

        def ping(self) -> None: ...

    async with open_test_runtime(Wrong, path=tmp_path) as runtime:
        with pytest.raises(MigrationFailed, match=r"^Wrong/a: migration 2 "):
            await runtime.room(Wrong, "a").ping()
    assert files(tmp_path) == []


class Searched(Actor):
    migrations = (
        "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT",
        "CREATE VIRTUAL TABLE words USING fts5(body, content='notes', content_rowid='id')",
        "CREATE TRIGGER index_new AFTER INSERT ON notes BEGIN INSERT INTO words (rowid, body) VALUES (new.id, new.body); END",
    )

    def add(self, body: str) -> int:
        return self.sql("INSERT INTO notes (body) VALUES (?) RETURNING id", body).scalar()

    def found(self, word: str) -> list[int]:
        return self.sql("SELECT rowid FROM words WHERE words MATCH ?", word).scalars()


async def test_full_text_and_autoincrement_come_along(tmp_path, autojump_clock):
    async with open_test_runtime(Searched, path=tmp_path) as runtime:
        for id in ("a", "b"):
            room = runtime.room(Searched, id)
            assert [await room.add(body) for body in ("one", "two", "one two")] == [1, 2, 3]
            assert await room.found("two") == [2, 3]
    for file in files(tmp_path):
        assert looked_up(file, "PRAGMA integrity_check") == [("ok",)]
