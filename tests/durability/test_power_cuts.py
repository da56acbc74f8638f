"""Power cuts in windows that random ones seldom meet; and known-bad variants are caught there, or this proves nothing.

Cuts at any moment are the simulator's (tests/simulation), all known-bad variants are in tests/sabotage.
"""

import contextlib
import sqlite3
from random import Random

from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.storage import opening, storage
from actors.storage.storage import Storage
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import Callers, path_of, room, wal
from tests.durability.chat import opened


# -- narrow windows, on purpose ---------------------------------------------------------------------------------------------
def synchronous_off_for_life(monkeypatch):
    set_pragmas = storage.set_pragmas
    monkeypatch.setattr(Storage, "raise_level", lambda self: setattr(self, "level_off", False))
    monkeypatch.setattr(opening, "set_pragmas", lambda connection, synchronous: set_pragmas(connection, synchronous="OFF"))


async def bad_images_after_a_restarted_wal(open_rooms, disk, threads, tasks, path, count=300):
    """Posts, a complete checkpoint, one more post whose round is in flight, then the power fails: images that lost a post."""
    async with open_rooms(limits=Limits(wal_bytes_max=150_000)) as runtime:
        a = room(runtime, "a")
        for number in range(3):
            await a.post(str(number), "x" * 100)
        await a.post("3", "x" * 200_000)
        await wait_all_tasks_blocked()
        assert disk.where("sync returned", path_of("a"), by="sqlite")
        hold = threads.hold("sync began", wal("a"))
        await Callers(tasks, disk).start("in flight", a.post("4", "x" * 60_000))
        await hold.reached.wait()
        world = World()
        world.play(disk.events)
        hold.release()
    chance = Random(1)
    bad = 0
    for number in range(count):
        left = image(world, Keep.SOME, chance)
        write_image(
            {name: content for name, content in left.items() if path_of("a").startswith(name) or name == wal("a")}, path / "cut"
        )
        bad += not _is_whole(path / "cut" / path_of("a"), {"0", "1", "2", "3"})
    return bad


def _is_whole(file, acknowledged):
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            found = {id for (id,) in connection.execute("SELECT id FROM messages")}
            return acknowledged <= found and connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


async def test_rule_11_a_wal_that_begins_again_after_a_checkpoint_loses_nothing(open_rooms, disk, threads, tasks, tmp_path):
    assert await bad_images_after_a_restarted_wal(open_rooms, disk, threads, tasks, tmp_path) == 0


async def test_rule_11_synchronous_off_for_life_is_caught(open_rooms, disk, threads, tasks, tmp_path, monkeypatch):
    synchronous_off_for_life(monkeypatch)
    assert await bad_images_after_a_restarted_wal(open_rooms, disk, threads, tasks, tmp_path) > 0


async def lost_after_a_kill_and_a_cut(open_rooms, disk, threads, tasks, make_disk, path):
    """A post whose sync is in flight, a kill, a restart that shows it, a power cut: what was shown and is gone."""
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        await room(runtime, "a").post("1")
        hold = threads.hold("sync began", wal("a"))
        await Callers(tasks, disk).start("unknown", room(runtime, "a").post("2"))
        await hold.reached.wait()
        world = World()
        world.play(disk.events)
        hold.release()
    write_image(image(world, Keep.ALL, Random(0)), path / "killed")
    again = make_disk(path / "killed", None, world)
    async with opened(path / "killed", again) as runtime:
        shown = await room(runtime, "a").ids()
        assert shown == ["0", "1", "2"]
        world.play(again.events)
    write_image(image(world, Keep.NOTHING, Random(0)), path / "cut")
    async with opened(path / "cut") as runtime:
        return set(shown) - set(await room(runtime, "a").ids())


async def test_rule_19_what_a_kill_left_unsynced_is_durable_before_it_is_shown(
    open_rooms, disk, threads, tasks, make_disk, tmp_path
):
    assert await lost_after_a_kill_and_a_cut(open_rooms, disk, threads, tasks, make_disk, tmp_path) == set()


async def test_rule_19_showing_it_without_rehoming_is_caught(open_rooms, disk, threads, tasks, make_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "rehome_wal", lambda disk, path: None)
    # A clean stop of the second process would make it durable after all; the power fails before.
    monkeypatch.setattr(Storage, "close", Storage.abandon)
    assert await lost_after_a_kill_and_a_cut(open_rooms, disk, threads, tasks, make_disk, tmp_path) == {"2"}
