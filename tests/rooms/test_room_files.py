"""A room's file of a newer version, not a file, or gone: that room is refused, what is there left alone, the others live.

Damaged ones are the matter of test_sick_rooms.
"""

import shutil
from pathlib import Path

import apsw
import pytest
import trio

from durable_rooms import OutcomeUnknown, RoomUnfit
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_room, outcome, path_of
from tests.rooms.faults import FailsOnce


@pytest.fixture
async def path(tmp_path: Path, autojump_clock) -> Path:
    """A data directory with two rooms, cleanly left."""
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for name in "ab":
            await runtime.room(ChatRoom, name).post(f"in {name}")
    return tmp_path


def from_the_future(file: Path, other: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE _room SET format = 99").fetchall()
    connection.close()


def a_folder(file: Path, other: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("harm", [from_the_future, a_folder])
async def test_an_unfit_file_is_refused_left_as_it_is_and_harms_no_other(harm, path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a, b = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "b")
        file = path_of(runtime, a)
        harm(file, path_of(runtime, b))
        before = file.read_bytes() if file.is_file() else None
        for _ in range(2):
            with pytest.raises(RoomUnfit, match="ChatRoom/a") as caught:
                await a.post("no")
            assert caught.value.ran == "no"
            assert str(file) in str(caught.value)
        assert before == (file.read_bytes() if file.is_file() else None)
        assert await b.bodies() == ["in b"]
        assert runtime.status().rooms_broken == 0


async def test_a_missing_file_is_refused_and_not_made_again(path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        a = runtime.room(ChatRoom, "a")
        file = path_of(runtime, a)
        away = path / "away"
        file.rename(away)
        with pytest.raises(RoomUnfit, match=r"is missing.*Put the file back"):
            await a.post("no")
        assert not file.exists()
        away.rename(file)
        assert await a.bodies() == ["in a"]


async def test_a_room_file_copied_into_another_directory_is_that_room(path: Path, tmp_path_factory, autojump_clock) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    async with open_test_runtime(ChatRoom, path=elsewhere) as runtime:
        target = path_of(runtime, runtime.room(ChatRoom, "a"))
        shutil.copy(path / target.relative_to(elsewhere), target)
        assert await runtime.room(ChatRoom, "a").bodies() == ["in a"]


def overwrite_open_files(file: Path) -> None:
    for part in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        part.write_bytes(b"\xff" * max(4096, part.stat().st_size))


async def test_a_file_damaged_while_it_is_open_costs_only_its_room(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        a, b = runtime.room(ChatRoom, "a"), runtime.room(ChatRoom, "b")
        await a.post("x")
        overwrite_open_files(path_of(runtime, a))
        for n in range(3):
            with pytest.raises((RoomUnfit, apsw.Error)):
                await a.post(f"{n}")
        assert await b.post("fine") == 1


async def test_a_failed_sync_while_an_async_handler_sleeps_costs_only_its_room(autojump_clock) -> None:
    """What tests/durability holds for turns, for a handler between its slices."""

    class Sleeps(ChatRoom):
        async def sleep(self, body: str, seconds: float) -> list[str]:
            self.post(body)
            await trio.sleep(seconds)
            return self.bodies()

    disk = FailsOnce()
    async with one_room(Sleeps, disk=disk) as room, trio.open_nursery() as nursery:
        found: list[object] = []

        async def keep() -> None:
            found.append(await outcome(lambda: room.sleep("slept", 100)))

        await room.sleep("learnt", 0)
        nursery.start_soon(keep)
        await trio.sleep(1)
        disk.fail_next()
        with pytest.raises(OutcomeUnknown):
            await room.post("unknown")
        await trio.sleep(1)
        assert [type(one) for one in found] == [OutcomeUnknown]
        assert "learnt" in await room.bodies()
