"""How old the oldest change is that a replica lacks: asked by every read, so it must not cost a look at all rooms."""

import math
from random import Random
from typing import Any

import pytest
import trio

from actors import Position, RoomName
from replication.collector import Collector

ROOMS = [RoomName("ChatRoom", f"{number}") for number in range(6)]


class Source:
    def __init__(self, name: RoomName) -> None:
        self.name = name


async def step(collector: Collector, random: Random, batch: dict[RoomName, Any]) -> None:
    """What may happen to one room: it changes, is a candidate (also while it is taken), is taken into a batch, arrives, has to be
    tried again. `batch`: what was taken, and has not come to its end."""
    source: Any = Source(random.choice(ROOMS))
    waiting, taken = collector._waiting, collector._taken
    what = random.choice(("change", "change", "candidate", "take", "done", "again", "give back", "time"))
    if what == "change":
        collector.changed(source, Position(1, 1), 1)
    elif what == "candidate":
        collector.candidate(source, None)
    elif what == "take" and source.name in waiting and source.name not in batch:
        taken[source.name] = batch[source.name] = waiting.pop(source.name)
    elif what == "done" and source.name in batch:
        collector.done(batch.pop(source.name))
    elif what == "again" and source.name in batch:
        collector.again(batch.pop(source.name), random.random())
    elif what == "give back":
        collector.give_back()
        batch.clear()
    elif what == "time":
        await trio.sleep(random.random())


@pytest.mark.parametrize("seed", range(20))
async def test_the_oldest_change_is_that_of_all_rooms_whatever_happened_to_them(seed, autojump_clock):
    collector, random = Collector(0.05, Random(seed).uniform), Random(seed)
    batch: dict[RoomName, Any] = {}
    for _ in range(400):
        await step(collector, random, batch)
        dirty = collector.dirty()
        if random.random() < 0.7:  # not always: what was asked must not tell the next answer
            assert collector.oldest == min((room.since for room in dirty), default=math.inf)
        assert collector.all_known == all(room.known for room in dirty)


async def test_an_outage_of_many_rooms_is_not_looked_through_for_each_read(monkeypatch, autojump_clock):
    collector = Collector(0.05, Random(0).uniform)
    for number in range(1_000):
        source: Any = Source(RoomName("ChatRoom", f"{number}"))
        collector.changed(source, Position(1, 1), 1)
    looks: list[None] = []
    dirty = collector.dirty
    monkeypatch.setattr(collector, "dirty", lambda: looks.append(None) or dirty())
    for number in range(100):
        source = Source(RoomName("ChatRoom", f"{number}"))
        collector.changed(source, Position(1, 2), 1)
        collector.candidate(source, None)
        assert (collector.oldest, collector.all_known) == (trio.current_time(), True)
    assert len(looks) <= 1
