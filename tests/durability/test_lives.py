"""Rooms that are deleted, made again, loaded, aborted and evicted at random, over two lives with a power cut after each: every
room is as its last acknowledged change left it or as the one under way would, and the replica comes to the same."""

import shutil
from random import Random

import apsw
import pytest

from actors import Limits
from durable_rooms import SQLiteReplica
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World, world_of
from tests.durability.callers import room
from tests.durability.chat import opened

ROOMS = ("a", "b")
STEPS = 14


class Life:
    """What one client knows: each change with the states before and after it, and when it began and was acknowledged."""

    def __init__(self, states, chance, dump):
        self.states = dict(states)
        self.changes = []
        self.chance = chance
        self.dump = dump
        self.number = 0

    async def step(self, runtime, disk):
        chance, id = self.chance, self.chance.choice(ROOMS)
        before = self.states[id]
        what = chance.choice(["post", "post", "post", "delete", "evict", "abort", "load", "read", "replicated"])
        began = len(disk.events)
        after = before
        here = room(runtime, id)
        if what == "post":
            self.number += 1
            body = f"{chance.random():.9f}"
            after = sorted([*before, body])
            await here.post(body)
        elif what == "delete":
            after = []
            await runtime.delete(here)
        elif what == "load":
            after = ["loaded"]
            await runtime.load(here, self.dump, replace=True)
        elif what == "evict":
            await runtime.evict(here)
        elif what == "abort":
            await runtime.abort(here)
        elif what == "replicated":
            await runtime.replicated()
        else:
            assert await here.ids() == before
        self.states[id] = after
        self.changes.append((id, began, len(disk.events), before, after))

    def allowed(self, id, place):
        """What the room may hold after a power cut at this place."""
        mine = [change for change in self.changes if change[0] == id]
        done = [change for change in mine if change[2] <= place]
        begun = [change for change in mine if change[1] < place < change[2]]
        first = mine[0][3] if mine else self.states[id]
        return [done[-1][4] if done else first, *(change[4] for change in begun)]


def texts(path):
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        views = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'Chat_messages'").fetchall()
        return connection.execute("SELECT room_id, id FROM Chat_messages ORDER BY 1, 2").fetchall() if views else []
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(6))
async def test_over_two_lives_and_power_cuts_rooms_and_replica_are_as_acknowledged(
    tmp_path, make_disk, threads, seed, autojump_clock
):
    chance = Random(seed)
    async with opened(tmp_path / "elsewhere") as runtime:
        await room(runtime, "x").post("loaded")
        await runtime.dump(room(runtime, "x"), tmp_path / "dump.db")
    states: dict[str, list[str]] = {id: [] for id in ROOMS}
    path, world = tmp_path / "life-0", World()
    limits = Limits(open_rooms_max=chance.choice([1, 8]))
    for number in range(2):
        disk = make_disk(path, None, world)
        life = Life(states, chance, tmp_path / "dump.db")
        async with opened(path, disk, replicas=[SQLiteReplica()], limits=limits) as runtime:
            for _ in range(STEPS):
                await life.step(runtime, disk)
        place = chance.randrange(life.changes[0][1], len(disk.events) + 1)
        world = world.copy()
        world.play(disk.events[:place])
        path = tmp_path / f"life-{number + 1}"
        keep = chance.choice([Keep.NOTHING, Keep.SOME, Keep.SOME, Keep.ALL])
        contents = image(world, keep, chance)
        write_image(contents, path)
        shutil.copytree(path, tmp_path / f"look-{number}")
        async with opened(tmp_path / f"look-{number}", replicas=[SQLiteReplica()]) as runtime:
            states = {id: await room(runtime, id).ids() for id in ROOMS}
            for id in ROOMS:
                assert states[id] in life.allowed(id, place), (number, place, id)
            await runtime.replicated()
            assert texts(tmp_path / f"look-{number}" / "replica.db") == [(id, body) for id in ROOMS for body in states[id]]
        world = world_of(contents)
