"""The classes of the upgrade test, and the program that wrote its directories with the first version of this project (commit
5809d71, catalog of format 1). To write them again, from the root of this repository:

    git worktree add --detach OLD 5809d71
    PYTHONPATH=OLD python tests/upgrade/write.py SCRATCH
    git worktree remove OLD

SCRATCH is a new directory. Makes clean.tar.gz (stopped cleanly), killed.tar.gz (SIGKILL under load: WALs, a birth not yet proven,
a replica that is behind) and expected.json (every row that was acknowledged) beside this file.
"""

import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import trio

from durable_rooms import SQL, Actor, Migration, Runtime, SQLiteReplica, open_runtime

HERE = Path(__file__).parent
IDS = ("general", "Grüße ☕ 日本語", "caf\u00e9", "cafe\u0301", "../../etc/passwd", "two\nlines", "0" * 300)
CALLERS = 8
LINES_UNTIL_KILL = 160


def welcome(sql: SQL) -> None:
    sql("INSERT INTO messages (author, body, sent_at) VALUES ('system', 'welcome', 0.0)")


class Channel(Actor):
    migrations: ClassVar = [  # all have run in the directories kept here: never edit them
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT, sent_at REAL NOT NULL, attachment BLOB);"
        "CREATE INDEX messages_by_author ON messages (author COLLATE NOCASE, sent_at)",
        "CREATE TABLE reactions (message INTEGER NOT NULL REFERENCES messages (id), who TEXT NOT NULL, emoji TEXT NOT NULL,"
        " PRIMARY KEY (message, who, emoji)) WITHOUT ROWID;"
        "ALTER TABLE messages ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;"
        "CREATE UNIQUE INDEX one_pin ON messages (pinned) WHERE pinned = 1; CREATE TABLE drafts (body TEXT)",
        Migration(welcome),
    ]
    local_tables = frozenset({"drafts"})

    def post(self, author: str, body: str | None, attachment: bytes | None = None) -> dict[str, Any]:
        query = "INSERT INTO messages (author, body, sent_at, attachment) VALUES (?, ?, ?, ?) RETURNING *"
        return dict(self.sql(query, author, body, self.now(), attachment).one())

    def change(self, query: str, *values: Any) -> None:
        self.sql(query, *values)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.sql(f"SELECT * FROM {table}")]


class Notes(Channel):
    """Values of every kind under keys that are text."""

    migrations: ClassVar = ["CREATE TABLE notes (key TEXT PRIMARY KEY NOT NULL, value)"]
    local_tables = frozenset()


TABLES = {Channel: ("messages", "reactions", "drafts"), Notes: ("notes",)}
VALUES = (None, 0, -(2**63), 2**63 - 1, 0.1, -1e308, "", "zero \0 inside", "𝄞 é\u0301", b"", bytes(range(256)))


def as_json(value: Any) -> Any:
    return {"blob": value.hex()} if isinstance(value, bytes) else value


def line(*parts: Any) -> None:
    """To whoever started us; a row of it is what was acknowledged."""
    print(json.dumps(parts, default=as_json), flush=True)


async def fill(runtime: Runtime) -> None:
    for id in IDS:
        channel, notes = runtime.room(Channel, id), runtime.room(Notes, id)
        for number in range(5):
            await channel.post("Ann" if number % 2 else "bob", f"{number} in {id}", bytes([number]) * 50)
        await channel.post("nobody", None)
        await channel.change("INSERT INTO reactions VALUES (2, 'ann', '👍'), (3, 'bob', '👍')")
        await channel.change("UPDATE messages SET pinned = 1, body = body || ' (edited)' WHERE id = 3")
        await channel.change("DELETE FROM messages WHERE id = 5")
        await channel.change("INSERT INTO drafts VALUES (?)", f"a draft of {id}")
        for number, value in enumerate(VALUES):
            await notes.change("INSERT INTO notes VALUES (?, ?)", f"key {number}", value)
        await notes.change("UPDATE notes SET key = 'renamed ' || key WHERE key LIKE 'key 1%'")
        await notes.change("DELETE FROM notes WHERE key = 'key 2'")
    await runtime.room(Notes, "only born").rows("notes")
    await runtime.room(Notes, "emptied").change("INSERT INTO notes VALUES ('gone', 1)")
    await runtime.room(Notes, "emptied").change("DELETE FROM notes")


async def tell(runtime: Runtime) -> None:
    rooms = [(actor, id) for id in (*IDS, "only born") for actor in TABLES] + [(Notes, "emptied")]
    for actor, id in rooms:
        for table in TABLES[actor]:
            rows = await runtime.room(actor, id).rows(table)
            line("room", actor.__name__, id, table)
            for row in rows:
                line("there", actor.__name__, id, table, row)


async def load(runtime: Runtime, caller: int) -> None:
    """Posts, each deleted again after a while, into rooms that are there and into new ones."""
    posted: list[tuple[str, dict[str, Any]]] = []
    for number in range(1_000_000):
        id = f"new {caller}.{number}" if number % 7 == 3 else IDS[(caller + number) % len(IDS)]
        row = await runtime.room(Channel, id).post(f"caller {caller}", f"{number} under load", os.urandom(16))
        line("there", "Channel", id, "messages", row)
        posted.append((id, row))
        if number % 5 == 4:
            id, row = posted.pop(number % len(posted))
            line("perhaps", "Channel", id, "messages", row)
            await runtime.room(Channel, id).change("DELETE FROM messages WHERE id = ?", row["id"])
            line("gone", "Channel", id, "messages", row)


async def write(data: str, mode: str) -> None:
    """What the child does. A first stay leaves rooms behind that have run one migration of three."""
    early = type("Channel", (Channel,), {"migrations": Channel.migrations[:1]})
    async with open_runtime(data, [early], replicas=[SQLiteReplica()]) as runtime:
        line("there", "Channel", "early", "messages", await runtime.room(early, "early").post("ann", "in version 1"))
    async with open_runtime(data, [Channel, Notes], replicas=[SQLiteReplica()]) as runtime:
        await fill(runtime)
        await tell(runtime)
        async with trio.open_nursery() as nursery:
            for caller in range(CALLERS if mode == "killed" else 0):
                nursery.start_soon(load, runtime, caller)


def run(data: Path, mode: str) -> dict[str, Any]:
    """Start the child, kill it in time if it is to be; returns what it was told."""
    rooms: dict[str, Any] = {}
    under_load = 0
    with subprocess.Popen([sys.executable, __file__, str(data), mode], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for text in child.stdout:
            if not text.endswith("\n"):  # cut short by the kill: no acknowledgement
                break
            what, actor, id, table, *rest = json.loads(text)
            found = rooms.setdefault(f"{actor}/{id}", {}).setdefault(table, {"there": [], "gone": []})
            if what == "perhaps":
                found["there"].remove(rest[0])
            elif what in found:
                found[what] += rest
            under_load += bool(rest) and str(rest[0].get("body")).endswith("under load")
            if under_load == LINES_UNTIL_KILL:
                child.kill()  # and read on: what it had written by then was acknowledged, too
    assert child.returncode == (0 if mode == "clean" else -9)
    return rooms


def pack(data: Path, archive: Path) -> None:
    """Without times, owners and the like."""
    with tarfile.open(archive, "w:gz", compresslevel=9) as tar:
        for path in sorted(path for path in data.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(path.relative_to(data).as_posix())
            content = path.read_bytes()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def main(scratch: Path) -> None:
    expected: dict[str, Any] = {}
    for mode in ("clean", "killed"):
        data = scratch / mode
        data.mkdir(parents=True)
        expected[mode] = run(data, mode)
        pack(data, HERE / f"{mode}.tar.gz")
        with sqlite3.connect(data / "catalog.db") as catalog:
            assert catalog.execute("PRAGMA user_version").fetchone() == (0,), "this is not the first version"
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        trio.run(write, *sys.argv[1:])
    else:
        main(Path(sys.argv[1]))
