"""The process that is killed: posts into several rooms from several tasks, and writes each acknowledged id to its output."""

import sys

import trio

from durable_rooms import Actor, Runtime, SQLiteReplica, open_runtime

ROOMS = 6
CALLERS = 12


class Log(Actor):
    migrations = (
        "CREATE TABLE entries (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL);"
        "CREATE TABLE tally (one INTEGER PRIMARY KEY, entries INTEGER NOT NULL);"
        "INSERT INTO tally VALUES (1, 0)",
    )

    def add(self, id: str, body: str) -> None:
        self.sql("INSERT INTO entries VALUES (?, ?)", id, body)
        self.sql("UPDATE tally SET entries = entries + 1")

    def ids(self) -> list[str]:
        assert self.sql("SELECT entries = (SELECT count(*) FROM entries) FROM tally").scalar(), "half a call"
        return self.sql("SELECT id FROM entries").scalars()


def room_of(number: int) -> str:
    return f"room-{number % ROOMS}"


async def call(runtime: Runtime, prefix: str, caller: int) -> None:
    for number in range(1_000_000):
        id = f"{prefix}.{caller}.{number}"
        await runtime.room(Log, room_of(caller + number)).add(id, "x" * (20_000 if number % 50 == 49 else 100))
        print(id, room_of(caller + number), flush=True)


async def main(path: str, prefix: str) -> None:
    async with open_runtime(path, [Log], replicas=[SQLiteReplica()]) as runtime, trio.open_nursery() as nursery:
        await runtime.room(Log, room_of(0)).ids()
        print("serving", flush=True)
        for caller in range(CALLERS):
            nursery.start_soon(call, runtime, prefix, caller)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
