"""Turns of all rooms share each pass of the loop, so that whoever else waits is heard in between; nobody is forgotten in line."""

import tempfile
from collections import Counter
from typing import Any, ClassVar

import trio

from actors import Doors, InlineThreads
from actors.calls.pace import PASS_SECONDS
from durable_rooms import Actor, Limits
from durable_rooms.runtime import open_with_doors


class Clock:
    """Moved by the handlers' work alone. `passes` counts those of the loop while somebody counts."""

    def __init__(self) -> None:
        self.time = 0.0
        self.passes = 0

    async def count(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.passes += 1


class Working(Actor):
    clock: ClassVar[Clock]

    def ping(self) -> None: ...

    def work(self, seconds: float) -> int:
        self.clock.time += seconds
        return self.clock.passes


ROOMS = 40


async def worked(seconds: float, calls: int = 1) -> Counter[int]:
    """So many calls wait in each of 40 rooms; in which pass each of them ran."""
    Working.clock = clock = Clock()
    doors = Doors(threads=InlineThreads(), stopwatch=lambda: clock.time)
    found: list[int] = []
    with tempfile.TemporaryDirectory() as temporary:
        limits = Limits(turn_seconds_max=PASS_SECONDS)
        async with open_with_doors(temporary, [Working], replicas=[], limits=limits, doors=doors) as runtime:
            rooms = [runtime.room(Working, f"{n}") for n in range(ROOMS)]
            for room in rooms:
                await room.ping()

            async def keep(room: Any) -> None:
                found.append(await room.work(seconds))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(clock.count)
                async with trio.open_nursery() as callers:
                    for room in rooms:
                        for _ in range(calls):
                            callers.start_soon(keep, room)
                nursery.cancel_scope.cancel()
    assert len(found) == ROOMS * calls
    return Counter(found)


async def test_rooms_beyond_the_share_of_a_pass_wait_in_line_and_all_of_them_come(autojump_clock) -> None:
    per_pass = await worked(PASS_SECONDS)
    assert max(per_pass.values()) <= 4, "the ones before a pass is known to be over, and the one that is let in"


async def test_a_pass_takes_as_many_short_turns_as_fit(autojump_clock) -> None:
    per_pass = await worked(PASS_SECONDS / 10)
    assert 5 <= max(per_pass.values()) <= 35


async def test_a_room_with_much_to_do_takes_turns_with_the_others(autojump_clock) -> None:
    per_pass = await worked(PASS_SECONDS / 4, calls=8)
    assert max(per_pass.values()) <= 32, "of 320 calls"


async def test_work_that_takes_no_time_is_never_held_up(autojump_clock) -> None:
    per_pass = await worked(0.0)
    assert len(per_pass) <= 4
