"""Rules 1 and 2 for calls with an idempotency key: a repeat tells of the first call's commit, so it waits for its sync; a power
cut leaves what the call did, its key and its reply, or nothing of the three."""

import contextlib
import sqlite3
from random import Random

import pytest
from trio.testing import wait_all_tasks_blocked

from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import Callers, assert_durable_before_reply, path_of, room, wal
from tests.durability.chat import opened

FEW = "sync began"
IMAGES = 64


async def test_rule_02_a_repeat_waits_for_the_sync_of_the_call_that_it_repeats(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.options(key="0").post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold(FEW, wal("a"))
        await callers.start("first", a.options(key="k").post("1", "body-one"))
        await hold.reached.wait()
        await callers.start("repeat", a.options(key="k").post("1", "body-one"))
        await callers.start("refused", a.options(key="k").post("2"))
        for name in ("first", "repeat", "refused"):
            assert name not in callers, "it tells of a commit that is not durable"
        hold.release()
        await wait_all_tasks_blocked()
        assert (callers["first"], callers["repeat"]) == (2, 2)
        assert type(callers["refused"]).__name__ == "KeyReused"
        assert await a.ids() == ["0", "1"]
    assert_durable_before_reply(disk, "a", "body-one", "repeat")
    assert_durable_before_reply(disk, "a", "body-one", "refused")


async def test_a_power_cut_leaves_the_effect_with_its_key_or_neither_and_a_repeat_makes_it_whole(
    open_rooms, disk, threads, tasks, tmp_path, make_disk
):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.options(key="0").post("0")
        hold = threads.hold(FEW, wal("a"))
        await Callers(tasks, disk).start("in flight", a.options(key="k").post("1", "x" * 5_000))
        await hold.reached.wait()
        world = World()
        world.play(disk.events)
        hold.release()
    found: set[tuple[bool, bool]] = set()
    chance = Random(1)
    for number in range(IMAGES):
        cut = tmp_path / f"cut {number % 8}"
        left = image(world, Keep.SOME if number % 8 else Keep.ALL, chance)
        write_image({name: content for name, content in left.items() if path_of("a").startswith(name) or name == wal("a")}, cut)
        with contextlib.closing(sqlite3.connect(cut / path_of("a"))) as connection:
            keys = {key for (key,) in connection.execute("SELECT key FROM _replies")}
            ids = {id for (id,) in connection.execute("SELECT id FROM messages")}
        assert "0" in keys
        assert "0" in ids
        found.add(("k" in keys, "1" in ids))
    assert found == {(False, False), (True, True)}


@pytest.mark.parametrize("keep", [Keep.SOME, Keep.ALL], ids=["some", "all"])
async def test_after_a_power_cut_a_repeat_under_the_key_runs_at_most_once(
    keep, open_rooms, disk, threads, tasks, tmp_path, make_disk
):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.options(key="0").post("0")
        hold = threads.hold(FEW, wal("a"))
        await Callers(tasks, disk).start("in flight", a.options(key="k").post("1"))
        await hold.reached.wait()
        world = World()
        world.play(disk.events)
        hold.release()
    write_image(image(world, keep, Random(2)), tmp_path / "cut")
    async with opened(tmp_path / "cut", make_disk(tmp_path / "cut"), None) as runtime:
        a = room(runtime, "a")
        assert await a.options(key="0").post("0") == 1
        assert await a.options(key="k").post("1") == 2
        assert await a.options(key="k").post("1") == 2
        assert await a.ids() == ["0", "1"]
