"""A closed room costs no memory: what it leaves behind goes back to the system now and then."""

import gc
from random import Random

import pytest
import trio

from actors import Doors, InlineThreads, Limits
from actors.activation.activation import Activation
from actors.system.memory import PERIOD_SECONDS, ROOMS_MIN
from durable_rooms.runtime import open_with_doors
from replication import SQLiteReplica
from tests.rooms.chat import ChatRoom


@pytest.mark.parametrize(("rooms", "times"), [(ROOMS_MIN, 1), (ROOMS_MIN // 2, 0)])
async def test_memory_goes_back_once_after_many_rooms_have_left_and_not_for_a_few(rooms, times, tmp_path, autojump_clock) -> None:
    given: list[float] = []
    doors = Doors(threads=InlineThreads(), random=Random(0), give_memory_back=lambda: given.append(trio.current_time()))
    limits = Limits(open_rooms_max=8)
    async with open_with_doors(tmp_path, [ChatRoom], replicas=[], limits=limits, doors=doors) as runtime:
        for number in range(rooms + 8):
            await runtime.room(ChatRoom, str(number)).ping()
        await trio.sleep(3 * PERIOD_SECONDS)
    assert len(given) == times


async def test_a_room_that_has_left_is_freed_without_the_garbage_collector(tmp_path, autojump_clock) -> None:
    """A full collection looks at every object of the process with the loop standing still: 200 ms where 3,400 rooms are open."""

    def in_memory() -> set[int]:
        return {id(thing) for thing in gc.get_objects() if isinstance(thing, Activation | ChatRoom)}

    limits = Limits(open_rooms_max=8)
    others = in_memory()  # a test that failed keeps its frames
    gc.disable()
    try:
        doors = Doors(threads=InlineThreads(), random=Random(0))
        async with open_with_doors(tmp_path, [ChatRoom], replicas=[SQLiteReplica()], limits=limits, doors=doors) as runtime:
            for number in range(64):
                await runtime.room(ChatRoom, str(number)).post("hello")
            assert len(in_memory() - others) <= 2 * (8 + 1)
            await trio.sleep(2 * limits.idle_seconds_max)
            assert not in_memory() - others
    finally:
        gc.enable()
