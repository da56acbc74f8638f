"""Other programs at a room's file: their writes are seen, their locks waited for, their mistakes survived."""

import contextlib
import sqlite3
import subprocess
import sys

import pytest
import trio

from actors.names import RoomName
from durable_rooms import Limits, RoomLocked, RoomUnfit, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, other_program, outcome, path_of, together


async def test_a_commit_of_another_connection_is_seen_by_the_next_call(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "a")
        before = await room.ask(ChatRoom.post, "ours")
        with other_program(path_of(runtime, room)) as file:
            file.execute("INSERT INTO messages (body) VALUES ('theirs')").fetchall()
            after = await room.ask(ChatRoom.bodies)
            assert after.value == ["ours", "theirs"]
            assert after.seq > before.seq  # their write was captured as one of ours
            assert await room.post("ours again") == 3
            assert file.execute("SELECT count(*) FROM messages").fetchall() == [(3,)]


async def test_a_commit_of_another_process_is_seen(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("ours")
        program = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
            "c.execute(\"INSERT INTO messages (body) VALUES ('theirs')\"); c.commit(); c.close()"
        )
        subprocess.run([sys.executable, "-c", program, str(path_of(runtime, room))], check=True)
        assert await room.bodies() == ["ours", "theirs"]
        assert await room.post("more") == 3


async def test_a_lock_held_elsewhere_is_waited_for_and_other_rooms_go_on(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, limits=Limits(lock_seconds_max=2)) as runtime, trio.open_nursery() as nursery:
        room, other = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "other")
        await room.post("ours")
        with other_program(path_of(runtime, room)) as file:
            file.execute("BEGIN IMMEDIATE").fetchall()
            began = trio.current_time()
            found: list[object] = []

            async def keep() -> None:
                found.append(await outcome(lambda: room.post("waits")))

            nursery.start_soon(keep)
            for n in range(10):
                await other.post(f"{n}")
                await trio.sleep(0.1)
            assert found == []
            file.execute("COMMIT").fetchall()
            await trio.sleep(0.1)
            assert found == [2]
            assert trio.current_time() - began < 2


@pytest.mark.parametrize("first_call", [True, False])
async def test_f11_a_lock_held_for_long_refuses_calls_after_the_budget_and_nothing_ran(first_call: bool, autojump_clock) -> None:
    class Counts(ChatRoom):
        ran = 0

        def post(self, body: str) -> int:
            type(self).ran += 1
            return super().post(body)

    async with open_test_runtime(Counts, limits=Limits(lock_seconds_max=2)) as runtime:
        room = runtime.room(Counts, "a")
        await (room.bodies() if first_call else room.post("known to use SQL"))
        ran = Counts.ran
        with other_program(path_of(runtime, room)) as file:
            file.execute("BEGIN IMMEDIATE").fetchall()
            began = trio.current_time()
            errors = await together(*[lambda n=n: room.post(f"{n}") for n in range(5)])
            assert trio.current_time() - began == pytest.approx(2, abs=0.1)
            assert {type(error) for error in errors} == {RoomLocked}
            assert "lock_seconds_max = 2 s" in str(errors[0])
            assert (errors[0].ran, errors[0].retryable) == ("no", True)
            assert Counts.ran == ran
        assert await room.post("free") >= 1


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


async def test_f11_another_process_that_locks_a_room_for_10_s_costs_that_room_its_calls_and_nobody_a_moment(
    autojump_clock,
) -> None:
    """Where F11 asks for a stall under 5 ms: SQLite is never let wait (its busy timeout is 0), so there is none to measure; the
    calls of other rooms return at the very moment of the virtual clock at which they came.
    """
    async with open_test_runtime(ChatRoom, limits=Limits(lock_seconds_max=2)) as runtime, trio.open_nursery() as nursery:
        room, other = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "other")
        await room.post("ours")
        await other.post("before")
        for name in (RoomName("ChatRoom", "a"), RoomName("ChatRoom", "other")):
            activation = runtime._seats[name].activation
            assert activation.storage.connection.execute("PRAGMA busy_timeout").fetchall() == [(0,)]
        refused: list[float] = []

        async def insist() -> None:
            while type(error := await outcome(lambda: room.post("mine"))) is RoomLocked:
                assert error.ran == "no"
                refused.append(trio.current_time())
            assert error == 2

        command = [sys.executable, "-c", HOLDER, str(path_of(runtime, room))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "locked\n"
            began = trio.current_time()
            nursery.start_soon(insist)
            while (now := trio.current_time()) < began + 10.5:
                assert await other.post(f"{now}")
                assert trio.current_time() == now
                await trio.sleep(0.1)
            process.communicate("\n")
        assert [round(at - began) for at in refused] == [2, 4, 6, 8, 10]
        await trio.sleep(1)
        assert await room.bodies() == ["ours", "mine"]


async def test_a_room_that_is_locked_when_it_is_called_first_is_waited_for_too(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "a").post("old")
    async with (
        open_test_runtime(ChatRoom, path=tmp_path, limits=Limits(lock_seconds_max=2)) as runtime,
        trio.open_nursery() as nursery,
    ):
        room = runtime.room(ChatRoom, "a")
        with other_program(path_of(runtime, room)) as file:
            file.execute("BEGIN IMMEDIATE").fetchall()
            began = trio.current_time()
            assert type(await outcome(room.bodies)) is RoomLocked
            assert trio.current_time() - began == pytest.approx(2, abs=0.1)

            async def let_go() -> None:
                await trio.sleep(1)
                file.execute("COMMIT").fetchall()

            nursery.start_soon(let_go)
            assert await room.bodies() == ["old"]


async def test_a_slice_waits_for_a_lock_like_a_call(autojump_clock) -> None:
    class Slices(ChatRoom):
        async def twice(self) -> list[str]:
            self.post("first")
            await trio.sleep(1)
            self.post("second")
            return self.bodies()

    async with open_test_runtime(Slices) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Slices, "a")
        found: list[object] = []

        async def keep() -> None:
            found.append(await outcome(room.twice))

        nursery.start_soon(keep)
        await trio.sleep(0.5)
        with other_program(path_of(runtime, room)) as file:
            file.execute("BEGIN IMMEDIATE").fetchall()
            await trio.sleep(10)
            assert found == []
            file.execute("COMMIT").fetchall()
            await trio.sleep(1)
        assert found == [["first", "second"]]


async def test_a_room_hibernates_beside_a_lock_and_a_reader_and_nothing_breaks(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, limits=Limits(idle_seconds_max=10)) as runtime:
        room = runtime.room(ChatRoom, "a")
        for statement in ("BEGIN IMMEDIATE", "BEGIN"):
            await room.post(statement)
            with other_program(path_of(runtime, room)) as file:
                file.execute(statement).fetchall()
                file.execute("SELECT * FROM messages").fetchall()
                await trio.sleep(100)
                assert runtime.status().rooms_open == 0
                assert runtime.status().rooms_broken == 0
        assert await room.bodies() == ["BEGIN IMMEDIATE", "BEGIN"]


async def test_a_table_made_elsewhere_is_captured_from_the_next_opening_or_turn(autojump_clock) -> None:
    class Reads(ChatRoom):
        def add(self, text: str) -> None:
            self.sql("INSERT INTO notes (text) VALUES (?)", text)

    async with open_test_runtime(Reads, limits=Limits(idle_seconds_max=10)) as runtime:
        room = runtime.room(Reads, "a")
        await room.post("x")
        with other_program(path_of(runtime, room)) as file:
            file.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)").fetchall()
            await room.add("hello")
            await trio.sleep(100)
            await room.add("again")
            keys = file.execute(
                "SELECT DISTINCT pk FROM _outbox JOIN _tables ON _tables.id = tbl WHERE name = 'notes'"
            ).fetchall()
            assert keys == [(1,), (2,)]


async def test_a_table_made_elsewhere_that_cannot_be_replicated_refuses_calls_until_it_is_gone(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room, other = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "b")
        await room.post("x")
        with other_program(path_of(runtime, room)) as file:
            file.execute("CREATE TABLE scratch (x)").fetchall()
            for _ in range(2):
                with pytest.raises(RoomUnfit, match=r"another program changed its schema.*table scratch has no primary key"):
                    await room.post("y")
            assert await other.post("fine") == 1
            file.execute("DROP TABLE scratch").fetchall()
        assert await room.post("y") == 2


async def test_the_same_at_opening(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "a").post("x")
    (file,) = (tmp_path / "rooms").rglob("*.db")
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE scratch (x)")
    connection.close()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        with pytest.raises(RoomUnfit, match="table scratch has no primary key") as caught:
            await runtime.room(ChatRoom, "a").bodies()
        assert caught.value.ran == "no"


def edit_outside(path, body: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as outside, outside:
        outside.execute("PRAGMA recursive_triggers = 1")
        outside.execute("UPDATE messages SET body = ?", (body,))


def replicated_bodies(path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path / "replica.db")) as replica:
        return [body for (body,) in replica.execute("SELECT body FROM ChatRoom_messages")]


async def test_an_edit_from_outside_reaches_the_replica_though_nobody_calls_the_room(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(ChatRoom, "a").post("before")
        await runtime.replicated()
        await trio.sleep(5)
        (file,) = (tmp_path / "rooms").glob("*/*.db")
        edit_outside(file, "edited outside")
        await trio.sleep(3)
        assert runtime.status().rooms_open == 1
        await runtime.replicated()
        assert replicated_bodies(tmp_path) == ["edited outside"]


async def test_an_edit_from_outside_is_noticed_when_the_room_leaves_memory(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(ChatRoom, "a").post("before")
        await runtime.replicated()
        (file,) = (tmp_path / "rooms").glob("*/*.db")
        edit_outside(file, "edited outside")
        runtime.seated(RoomName("ChatRoom", "a")).leave()
        await trio.sleep(1)
        assert runtime.status().rooms_open == 0
        await runtime.replicated()
        assert replicated_bodies(tmp_path) == ["edited outside"]


async def test_an_edit_of_a_closed_room_reaches_the_replica_when_the_room_is_next_opened(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(ChatRoom, "a").post("before")
        await runtime.replicated()
        runtime.seated(RoomName("ChatRoom", "a")).leave()
        await trio.sleep(1)
        (file,) = (tmp_path / "rooms").glob("*/*.db")
        edit_outside(file, "edited outside")
        assert await runtime.room(ChatRoom, "a").bodies() == ["edited outside"]
        await runtime.replicated()
        assert replicated_bodies(tmp_path) == ["edited outside"]


BREAKS = {
    "the runtime's table dropped": "DROP TABLE _room",
    "the outbox dropped": "DROP TRIGGER _capture_1_insert; DROP TABLE _outbox; INSERT INTO messages (body) VALUES ('theirs')",
    "a schema that does not parse": "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE TABLE (' "
    "WHERE name = 'messages'; PRAGMA schema_version = 4711",
}


@pytest.mark.parametrize("leave", [False, True], ids=["at rest", "leaving"])
@pytest.mark.parametrize("statements", BREAKS.values(), ids=BREAKS)
async def test_a_file_that_another_program_made_unreadable_while_nobody_called_costs_that_room_only(
    statements, leave, autojump_clock
) -> None:
    async with open_test_runtime(ChatRoom, limits=Limits(idle_seconds_max=1 if leave else 60)) as runtime:
        room, other = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "other")
        await room.post("ours")
        with other_program(path_of(runtime, room)) as file:
            for statement in statements.split("; "):
                file.execute(statement).fetchall()
        await trio.sleep(5)
        assert isinstance(await outcome(room.bodies), RoomUnfit)
        assert await other.post("goes on") == 1
