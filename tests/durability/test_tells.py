"""Tells and the power: nobody acts on what is not durable, and a crash at any step neither loses nor repeats one."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Disk, Doors, InlineThreads
from actors.names import RoomName, room_file
from durable_rooms.runtime import open_with_doors
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from durable_rooms.testing import TEST_TIME
from tests.durability.callers import Callers, covering_sync
from tests.durability.recording import RecordingDisk
from tests.rooms.telling import Board, Desk

PLACES = 6  # of crashes, in the default run; every one with -m slow


@pytest.fixture(autouse=True)
def nothing_fails():
    Board.failing.clear()
    Board.tries.clear()


@asynccontextmanager
async def opened(path, disk=None, threads=None):
    began = trio.current_time()
    doors = Doors(
        disk=disk or Disk(),
        threads=threads or InlineThreads(),
        wall_clock=lambda: TEST_TIME + trio.current_time() - began,
        random=Random(0),
    )
    async with open_with_doors(path, [Desk, Board], replicas=(), limits=None, doors=doors) as runtime:
        try:
            yield runtime
        finally:
            if threads is not None:
                threads.release_all()


def wal_of(actor, id):
    return f"rooms/{room_file(RoomName(actor, id))}-wal"


async def test_a_room_never_acts_on_a_tell_whose_turn_is_not_durable(data, disk, threads, tasks):
    async with opened(data, disk, threads) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.ping()
        await board.seen()
        hold = threads.hold("sync began", wal_of("Desk", "a"))
        callers = Callers(tasks, disk)
        await callers.start("tell", desk.tell_board(1, padding="told-one"))
        await hold.reached.wait()
        await wait_all_tasks_blocked()
        assert Board.tries == []
        hold.release()
        await callers.came("tell")
        with trio.fail_after(10):
            await runtime.courier.finish()  # as at a stop: everything that is under way
        assert Board.tries == [1]
        told = disk.where("write", wal_of("Desk", "a"), holding=b"told-one")[0]
        _, durable = covering_sync(disk, wal_of("Desk", "a"), told)
        (acted, *_) = [place for place in disk.where("write", wal_of("Board", "main")) if place > durable]
        assert told < durable < acted
        assert [place for place in disk.where("write", wal_of("Board", "main")) if told < place < durable] == []


async def test_a_tell_is_forgotten_only_when_what_it_did_is_durable(data, disk, threads, tasks, autojump_clock):
    async with opened(data, disk, threads) as runtime:
        desk, board = runtime.room(Desk, "a"), runtime.room(Board, "main")
        await desk.ping()
        await board.seen()
        hold = threads.hold("sync began", wal_of("Board", "main"))
        await desk.tell_board(1)
        await hold.reached.wait()
        before = len(disk.where("write", wal_of("Desk", "a")))
        await trio.sleep(5)
        assert Board.tries == [1]
        assert len(disk.where("write", wal_of("Desk", "a"))) == before
        hold.release()
        await trio.sleep(5)
        assert len(disk.where("write", wal_of("Desk", "a"))) > before


async def record(path, make_disk) -> RecordingDisk:
    """Tells from two rooms to two, one of them with a failure, and a hibernation."""
    disk = make_disk(path)
    async with opened(path, disk) as runtime:
        a, b = runtime.room(Desk, "a"), runtime.room(Desk, "b")
        Board.failing.add(3)
        await a.tell_board(1, 2, 3, 4)
        disk.reply("a 4")
        await b.tell_board(11)
        disk.reply("b 11")
        await trio.sleep(1.5)
        Board.failing.clear()
        await b.tell_board(12, 13, board="other")
        disk.reply("b 13")
        await trio.sleep(100)
        await a.tell_board(5)
        disk.reply("a 5")
        await trio.sleep(1)
    return disk


async def seen_by_all(runtime, desk) -> list[int]:
    boards = ("main",) if desk == "a" else ("main", "other")
    return [number for board in boards for number in await runtime.room(Board, board).seen(desk)]


async def check(path, acknowledged) -> None:
    """After a start what was acknowledged is delivered though nobody calls; what else is there, when its sender opens."""
    async with opened(path) as runtime:
        await trio.sleep(30)
        for desk in "ab":
            assert set(acknowledged[desk]) <= set(await seen_by_all(runtime, desk))
            told = await runtime.room(Desk, desk).told()
            await trio.sleep(30)
            assert await seen_by_all(runtime, desk) == told
            assert await runtime.room(Desk, desk).dead() == []


@pytest.mark.parametrize("places", [PLACES, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("keep", Keep)
async def test_a_crash_at_any_step_neither_loses_nor_repeats_a_tell(keep, places, make_disk, tmp_path, autojump_clock):
    disk = await record(tmp_path / "data", make_disk)
    first = disk.where("write", wal_of("Desk", "a"))[0]
    step = max(1, (len(disk.events) - first) // places)
    chance = Random(keep.value)
    world = World()
    acknowledged = {"a": [], "b": []}
    for place, event in enumerate(disk.events):
        world.apply(event)
        if event.kind == "reply":
            desk, number = event.other.split()
            acknowledged[desk].append(int(number))
        if place >= first and (place - first) % step == 0:
            Board.failing.clear()
            cut = tmp_path / f"cut-{place}"
            write_image(image(world, keep, chance), cut)
            await check(cut, acknowledged)
