"""`async with self.exclusive()`: the critical section of a room."""

import trio
import trio.lowlevel

from tests.conformance.stand import Notes
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import one_after_another, one_room


class Sections(Notes):
    async def section(self, name: str, seconds: float = 1) -> None:
        async with self.exclusive():
            self.memory.append(f"{name} in")
            await trio.sleep(seconds)
            self.memory.append(f"{name} out")

    async def nested(self) -> None:
        async with self.exclusive():
            async with self.exclusive():
                await trio.sleep(1)
                self.memory.append("inner done")
            await trio.sleep(1)
            self.memory.append("outer done")

    async def many(self, count: int) -> None:
        for _ in range(count):
            async with self.exclusive():
                await trio.lowlevel.checkpoint()
        self.memory.append(f"{count} sections")

    async def wait_outside(self) -> None:
        await trio.sleep(1)
        self.memory.append("an outsider goes on")


@statement(1)
@behaviour(5)
async def test_of_those_who_wait_one_gets_in_and_who_gave_up_is_skipped(autojump_clock) -> None:
    """Given a section that is held and three who wait, when one gives up and the section ends, then the first of them
    gets in alone, then the next, and nobody waits for the one that has gone."""
    async with one_room(Sections) as room, trio.open_nursery() as nursery:

        async def gives_up() -> None:
            with trio.move_on_after(3):
                await room.section("gone", 5)

        await one_after_another(
            nursery, lambda: room.section("a", 5), lambda: room.section("b", 5), gives_up, lambda: room.section("c", 5)
        )
        await trio.sleep(15.5)
        order = ["a in", "a out", "b in", "b out", "c in", "c out"]
        assert await room.remember("end") == [*order, "end"]


@statement(2, 5)
@behaviour(5)
async def test_a_nested_section_keeps_others_out_until_the_outermost_ends(autojump_clock) -> None:
    """Given a section in a section, when the inner one ends, then others are still out and the outer one goes on."""
    async with one_room(Sections) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, room.nested, lambda: room.remember("an outsider"))
        await trio.sleep(3)
        assert await room.remember("end") == ["inner done", "outer done", "an outsider", "end"]


@statement(3)
@behaviour(5)
async def test_while_a_section_runs_nothing_else_does(autojump_clock) -> None:
    """Given a section whose own waits go on, when a call comes and when another handler's wait is over, then both wait
    until the section is gone."""
    async with one_room(Sections) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, room.wait_outside, lambda: room.section("a", 5), lambda: room.remember("a call"))
        await trio.sleep(6)
        memory = await room.remember("end")
        assert memory[:2] == ["a in", "a out"]
        assert set(memory[2:-1]) == {"an outsider goes on", "a call"}


@statement(4)
async def test_two_sections_that_come_together_run_one_after_the_other(autojump_clock) -> None:
    """Given two sections that are asked for at the same moment, when the first runs, then the second begins when it has
    ended."""
    async with one_room(Sections) as room:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.section, "a")
            nursery.start_soon(room.section, "b")
        one, two = "ab" if (await room.remember("end"))[0] == "a in" else "ba"
        assert await room.remember("end") == [f"{one} in", f"{one} out", f"{two} in", f"{two} out", "end", "end"]


@statement(7)
async def test_a_straggler_waits_for_one_of_thousands_of_sections_and_not_for_all(autojump_clock) -> None:
    """Given a handler that enters 5,000 sections, one after the other, when another one waits to get in, then it does so
    between two of them, and no stack grows."""
    async with one_room(Sections) as room, trio.open_nursery() as nursery:
        await one_after_another(
            nursery, lambda: room.section("first"), lambda: room.many(5_000), lambda: room.section("straggler")
        )
        await trio.sleep(10)
        memory = await room.remember("end")
        assert memory[:2] == ["first in", "first out"]
        assert {"straggler in", "5000 sections"} < set(memory)
        assert memory.index("straggler out") == memory.index("straggler in") + 1
