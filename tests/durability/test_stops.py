"""Clean and unclean stops, and who owns a data directory."""

import os
import shutil
import signal
import subprocess
import sys
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from durable_rooms import DataDirInUse, RuntimeClosed
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import Callers, path_of, room
from tests.durability.chat import Chat, opened

POSTS_UNTIL_KILLED = """
import sys, trio
from tests.durability.chat import Chat
from durable_rooms import open_runtime

async def main():
    async with open_runtime(sys.argv[1], [Chat]) as runtime:
        for number in range(1_000_000):
            await runtime.room(Chat, f"room-{number % 3}").post(str(number))
            print(number, flush=True)

trio.run(main)
"""


async def test_a_clean_stop_leaves_its_marker_and_no_wal(data):
    async with opened(data) as runtime:
        for id in ("a", "b"):
            await room(runtime, id).post("1")
    assert (data / "clean-stop").exists()
    assert not list(data.rglob("*-wal"))
    assert not list(data.rglob("*-shm"))


async def test_the_marker_of_a_clean_stop_is_durably_gone_before_anything_is_written(open_rooms, disk):
    async with open_rooms():
        pass
    before = len(disk.events)
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
    gone = next(place for place in disk.where("unlink", "clean-stop") if place >= before)
    synced = next(place for place in disk.where("directory sync returned", ".") if place > gone)
    assert synced < next(place for place in disk.where("write", "*.db*") if place >= before)


async def test_the_marker_is_the_last_thing_written_and_synced(open_rooms, disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
    marked = disk.where("create", "clean-stop")[-1]
    assert not [place for place in disk.where("write", "*.db*") if place > marked]
    assert disk.where("sync returned", "clean-stop")[-1] < disk.where("directory sync returned", ".")[-1]


async def test_a_body_that_raises_still_stops_cleanly(data):
    with pytest.raises(KeyError):
        async with opened(data) as runtime:
            await room(runtime, "a").post("1")
            raise KeyError
    assert (data / "clean-stop").exists()
    async with opened(data) as runtime:
        assert await room(runtime, "a").ids() == ["1"]


async def test_a_second_owner_is_refused_with_the_pid_of_the_first(data):
    async with opened(data) as runtime:
        with pytest.raises(DataDirInUse, match=f"pid {os.getpid()}"):
            async with opened(data):
                pass
        assert await room(runtime, "a").post("1") == 1
    assert (data / "clean-stop").exists()


async def test_the_lock_is_released_by_a_stop_and_by_a_start_that_failed(data):
    data.mkdir()
    (data / "catalog.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(Exception, match="damaged"):
        async with opened(data):
            pass
    (data / "catalog.db").unlink()
    for _ in range(2):
        async with opened(data):
            pass


async def test_the_copy_of_a_running_runtimes_directory_holds_everything_acknowledged(data):
    async with opened(data) as runtime:
        for number in range(10):
            for id in ("a", "b", "c"):
                await room(runtime, id).post(str(number))
        shutil.copytree(data, data.parent / "copy")
    async with opened(data.parent / "copy") as runtime:
        for id in ("a", "b", "c"):
            assert await room(runtime, id).ids() == [str(number) for number in range(10)]


@pytest.mark.parametrize("seed", range(10))
async def test_a_kill_at_any_event_of_a_stop_loses_nothing(open_rooms, disk, tmp_path, seed):
    async with open_rooms() as runtime:
        for id in ("a", "b"):
            await room(runtime, id).post("1")
        acknowledged = len(disk.events)
    chance = Random(seed)
    world = World()
    world.play(disk.events[: chance.randrange(acknowledged, len(disk.events) + 1)])
    write_image(image(world, chance.choice([Keep.ALL, Keep.SOME]), chance), tmp_path / "killed")
    async with opened(tmp_path / "killed") as runtime:
        assert {name.id for name, _, _ in runtime.positions()} == {"a", "b"}
        for id in ("a", "b"):
            assert await room(runtime, id).ids() == ["1"]


async def test_a_process_that_is_killed_loses_nothing_that_it_acknowledged(data):
    process = subprocess.Popen([sys.executable, "-c", POSTS_UNTIL_KILLED, str(data)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        acknowledged = [await trio.to_thread.run_sync(process.stdout.readline) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    numbers = {line.strip() for line in acknowledged if line.endswith("\n")}
    assert len(numbers) >= 50
    assert not (data / "clean-stop").exists()
    async with opened(data) as runtime:
        found = [id for number in range(3) for id in await room(runtime, f"room-{number}").ids()]
        assert len(found) == len(set(found))
        assert numbers <= set(found)
    assert (data / "clean-stop").exists()


class Waits(Chat):
    async def wait(self) -> None:
        await trio.sleep(1_000)


Waits.__name__ = "Chat"


async def test_a_call_that_a_stop_refuses_while_its_room_waits_for_a_place_makes_no_room(
    data, disk, threads, tasks, autojump_clock
):
    limits = Limits(open_rooms_max=2, drain_seconds_max=1)
    async with opened(data, disk, threads, limits=limits, actor=Waits) as runtime:
        callers = Callers(tasks, disk)
        for id in ("a", "b"):
            await callers.start(id, room(runtime, id).wait())
        await callers.start("refused", room(runtime, "c").post("1"))
        hold = threads.hold("sync began", path_of("b"))  # the other place is free while this room closes
        tasks.start_soon(release_when_blocked, hold)
    assert isinstance(callers["refused"], RuntimeClosed)
    assert not (data / path_of("c")).exists()


async def release_when_blocked(hold):
    await hold.reached.wait()
    await wait_all_tasks_blocked()
    hold.release()
