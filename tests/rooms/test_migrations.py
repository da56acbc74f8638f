"""Migrations: each step once a room, in order, all or nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from actors import SQL
from durable_rooms import Actor, Migration, MigrationEdited, MigrationFailed, RoomUnfit, SchemaTooNew, StatementRefused
from durable_rooms.testing import TEST_TIME, bare, open_test_runtime
from tests.rooms.chat import ChatRoom, other_program, path_of

MESSAGES = """
    CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL); -- a comment; with a semicolon
    CREATE INDEX by_body ON messages (body);
    CREATE TRIGGER loud AFTER INSERT ON messages WHEN new.body = 'shout' BEGIN
        UPDATE messages SET body = CASE new.body WHEN 'shout' THEN 'SHOUT;' ELSE '' END WHERE id = new.id;
    END;
    INSERT INTO messages (body) VALUES ('welcome; all'), ('shout');
"""


def add_stars(sql: SQL) -> None:
    sql("ALTER TABLE messages ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")
    for row in sql("SELECT id FROM messages"):
        sql("UPDATE messages SET stars = ? WHERE id = ?", row.id * 10, row.id)


def with_steps(*steps: Any) -> type[Actor]:
    """A chat room of these migrations, as one release of a program has it."""

    def all(self: Actor) -> Any:
        return self.sql("SELECT * FROM messages ORDER BY id")

    def ping(self: Actor) -> str:
        return "pong"

    return type("ChatRoom", (Actor,), {"migrations": list(steps), "all": all, "ping": ping})


async def released(path: Path, actor: type[Actor], handler: str = "all", id: str = "general") -> Any:
    """Run one release of the program and call one handler."""
    async with open_test_runtime(actor, path=path) as runtime:
        return await getattr(runtime.room(actor, id), handler)()


async def test_a_step_holds_many_statements(tmp_path: Path, autojump_clock) -> None:
    assert await released(tmp_path, with_steps(MESSAGES)) == [{"id": 1, "body": "welcome; all"}, {"id": 2, "body": "SHOUT;"}]


async def test_a_step_may_be_a_function(tmp_path: Path, autojump_clock) -> None:
    rows = await released(tmp_path, with_steps(MESSAGES, add_stars))
    assert [row["stars"] for row in rows] == [10, 20]


async def test_steps_run_once_in_order_and_are_recorded(tmp_path: Path, autojump_clock) -> None:
    actor = with_steps(MESSAGES, Migration(add_stars, name="stars"))
    for _ in range(3):
        assert len(await released(tmp_path, actor)) == 2
    async with open_test_runtime(actor, path=tmp_path) as runtime:
        with other_program(path_of(runtime, runtime.room(actor, "general"))) as file:
            recorded = file.execute("SELECT version, name, applied_at FROM _migrations").fetchall()
    assert recorded == [(1, " ".join(MESSAGES.split())[:60], TEST_TIME), (2, "stars", TEST_TIME)]


async def test_a_new_step_runs_on_an_old_room_and_only_that(tmp_path: Path, autojump_clock) -> None:
    await released(tmp_path, with_steps(MESSAGES))
    rows = await released(tmp_path, with_steps(MESSAGES, add_stars))
    assert [(row["body"], row["stars"]) for row in rows] == [("welcome; all", 10), ("SHOUT;", 20)]


async def test_an_edited_step_is_refused_by_name_and_the_room_waits_for_the_old_text(tmp_path: Path, autojump_clock) -> None:
    await released(tmp_path, with_steps(Migration(MESSAGES, name="messages")))
    with pytest.raises(MigrationEdited, match=r"ChatRoom/general: migration 1 \(messages\) was edited") as caught:
        await released(tmp_path, with_steps(Migration(MESSAGES + "DELETE FROM messages", name="messages")))
    assert caught.value.ran == "no"
    assert len(await released(tmp_path, with_steps(MESSAGES))) == 2


async def test_reformatting_a_step_is_no_edit(tmp_path: Path, autojump_clock) -> None:
    await released(tmp_path, with_steps(MESSAGES.replace("-- a comment; with a semicolon", "")))
    assert (
        len(
            await released(tmp_path, with_steps(MESSAGES.replace("-- a comment; with a semicolon", "").replace("\n    ", "\n\t")))
        )
        == 2
    )


async def test_a_room_of_a_newer_version_is_refused(tmp_path: Path, autojump_clock) -> None:
    await released(tmp_path, with_steps(MESSAGES, Migration(add_stars, name="stars")))
    with pytest.raises(SchemaTooNew, match=r"stands at migration 2 \(stars\), this program knows 1"):
        await released(tmp_path, with_steps(MESSAGES))


async def test_a_failing_step_leaves_an_old_room_as_it_was(tmp_path: Path, autojump_clock) -> None:
    await released(tmp_path, with_steps(MESSAGES))
    bad = with_steps(
        MESSAGES, "DELETE FROM messages; CREATE TABLE extra (id INTEGER PRIMARY KEY); INSERT INTO nowhere VALUES (1)"
    )
    for _ in range(2):
        with pytest.raises(MigrationFailed, match=r"migration 2 .* raised SQLError: no such table: nowhere") as caught:
            await released(tmp_path, bad)
        assert isinstance(caught.value.__cause__, apsw.SQLError)
    assert len(await released(tmp_path, with_steps(MESSAGES))) == 2
    assert len(await released(tmp_path, with_steps(MESSAGES, "CREATE TABLE extra (id INTEGER PRIMARY KEY)"))) == 2


async def test_a_failing_step_leaves_no_file_of_a_newborn(tmp_path: Path, autojump_clock) -> None:
    def fail(sql: SQL) -> None:
        sql("INSERT INTO messages (body) VALUES ('half')")
        raise ZeroDivisionError

    actor = with_steps(MESSAGES, fail)
    async with open_test_runtime(actor, ChatRoomElsewhere, path=tmp_path) as runtime:
        for _ in range(2):
            with pytest.raises(MigrationFailed, match=r"fail.*ZeroDivisionError"):
                await runtime.room(actor, "general").ping()
        assert await runtime.room(ChatRoomElsewhere, "general").post("others live") == 1
        assert [path.name for path in path_of(runtime, runtime.room(actor, "general")).parent.iterdir()] == []


async def test_rows_that_a_step_makes_are_captured_with_their_table(tmp_path: Path, autojump_clock) -> None:
    actor = with_steps(MESSAGES)
    async with open_test_runtime(actor, path=tmp_path) as runtime:
        await runtime.room(actor, "general").ping()
        with other_program(path_of(runtime, runtime.room(actor, "general"))) as file:
            assert file.execute("SELECT DISTINCT pk FROM _outbox WHERE tbl = 1 ORDER BY pk").fetchall() == [(1,), (2,)]


@pytest.mark.parametrize(
    "statement",
    ["BEGIN", "COMMIT", "PRAGMA user_version = 5", "DELETE FROM _outbox", "CREATE TABLE _mine (id INTEGER PRIMARY KEY)"],
)
async def test_steps_may_do_no_more_than_handlers(statement: str, tmp_path: Path, autojump_clock) -> None:
    with pytest.raises(MigrationFailed, match="may not") as caught:
        await released(tmp_path, with_steps(statement), "ping")
    assert isinstance(caught.value.__cause__, StatementRefused)


async def test_a_step_whose_table_cannot_be_replicated_is_refused_with_the_remedies(tmp_path: Path, autojump_clock) -> None:
    with pytest.raises(RoomUnfit, match=r"table notes has no primary key.*local_tables"):
        await released(tmp_path, with_steps("CREATE TABLE notes (x)"), "ping")


def test_the_hash_of_a_function_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(
        "def step(sql):\n    if sql in {'a', 'b', 'c', 'd', ('x', 'y')}:\n        return lambda: {'e', 'f', 'g'}\n"
    )
    program = "from durable_rooms import Migration; from steps import step; print(Migration(step).hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(hashes) == 1


def test_an_edited_function_has_another_hash_and_a_moved_one_the_same() -> None:
    def one(sql: SQL) -> None:
        sql("SELECT 1")

    first = Migration(one).hash

    def one(sql: SQL) -> None:

        sql("SELECT 1")

    assert Migration(one).hash == first

    def one(sql: SQL) -> None:
        sql("SELECT 2")

    assert Migration(one).hash != first


def test_what_is_no_step_is_refused_at_once() -> None:
    async def step(sql: SQL) -> None: ...

    for bad in (5, None, step):
        with pytest.raises(TypeError, match="SQL text or a plain function"):
            Migration(bad)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="a list of steps, not one text"):
        bare(type("Text", (Actor,), {"migrations": "CREATE TABLE t (id INTEGER PRIMARY KEY)"}))


class ChatRoomElsewhere(ChatRoom):
    pass
