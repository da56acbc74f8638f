"""Checkpoints: the WAL stays short, and nothing notices."""

from durable_rooms import Limits
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, other_program, path_of, together


async def test_checkpoints_keep_the_wal_short_in_a_long_run(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, limits=Limits(wal_bytes_max=200_000)) as runtime:
        room = runtime.room(ChatRoom, "a")
        wal = path_of(runtime, room).with_name(f"{path_of(runtime, room).name}-wal")
        posted: list[str] = []
        most = 0
        for turn in range(100):
            batch = [f"{turn} {n} ".ljust(500, "x") for n in range(20)]
            await together(*[lambda body=body: room.post(body) for body in batch])
            posted += batch
            most = max(most, wal.stat().st_size)
        assert sum(map(len, posted)) > 2 * most
        assert 100_000 < most < 600_000
        assert sorted(await room.bodies()) == sorted(posted)
        assert runtime.status().rooms_broken == 0


async def test_checkpoints_run_beside_a_reader_that_pins_the_wal(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, limits=Limits(wal_bytes_max=100_000)) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("first")
        with other_program(path_of(runtime, room)) as file:
            file.execute("BEGIN").fetchall()
            assert file.execute("SELECT count(*) FROM messages").fetchall() == [(1,)]
            for turn in range(20):
                await together(*[lambda n=n, turn=turn: room.post(f"{turn} {n} ".ljust(500, "x")) for n in range(20)])
            assert file.execute("SELECT count(*) FROM messages").fetchall() == [(1,)]
        assert len(await room.bodies()) == 401
        assert runtime.status().rooms_broken == 0
