"""A closed room costs no memory: what it leaves behind goes back to the system now and then."""

from random import Random

import pytest
import trio

from actors import Doors, InlineThreads, Limits
from actors.memory import PERIOD_SECONDS, ROOMS_MIN
from durable_rooms.runtime import open_with_doors
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
