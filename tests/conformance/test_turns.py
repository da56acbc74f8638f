"""One thread of control: what runs together, what interleaves, and in which order."""

import trio

from tests.conformance.stand import Notes
from tests.conformance.yardstick import behaviour
from tests.rooms.chat import one_after_another, one_room


class Steps(Notes):
    async def add_up(self) -> int:
        """Reads, writes, and reads again, twice; suspends once, in the middle."""
        for _ in range(2):
            before = len(self.bodies())
            self.post(f"{before}")
            assert len(self.bodies()) == before + 1
            await trio.sleep(1)
        return len(self.bodies())

    async def step(self, name: str, seconds: float) -> None:
        self.memory.append(f"{name} begins")
        await trio.sleep(seconds)
        self.memory.append(f"{name} ends")

    async def already_there(self) -> None:
        """Awaits what suspends nothing."""

        async def value() -> str:
            return "there"

        self.memory.append("in one piece:")
        self.memory.append(await value())


@behaviour(6, 7)
async def test_calls_interleave_at_suspensions_and_nowhere_else(autojump_clock) -> None:
    """Given 20 async handlers that read, write and suspend, when they run at once, then none sees another's half slice,
    though all are under way together."""
    async with one_room(Steps) as room:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(room.add_up)
        assert trio.current_time() - began < 3
        assert sorted(map(int, await room.bodies())) == list(range(40))


@behaviour(6)
async def test_an_await_that_suspends_nothing_lets_nobody_in(autojump_clock) -> None:
    """Given handlers that await a coroutine which is ready, when many run at once, then each is in one piece."""
    async with one_room(Steps) as room:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(room.already_there)
        assert await room.remember("end") == ["in one piece:", "there"] * 10 + ["end"]


@behaviour(8)
async def test_waiting_calls_run_strictly_in_order_whatever_they_are(autojump_clock) -> None:
    """Given a handler that excludes others, when plain and async calls queue behind it, then they begin in the order of
    their coming."""

    class Busy(Steps):
        async def hold(self) -> None:
            async with self.exclusive():
                await trio.sleep(5)
                self.memory.append("held")

    async with one_room(Busy) as room, trio.open_nursery() as nursery:
        await one_after_another(
            nursery,
            room.hold,
            lambda: room.remember("a"),
            lambda: room.step("b", 1),
            lambda: room.remember("c"),
            lambda: room.step("d", 1),
        )
        await trio.sleep(10)
        assert (await room.remember("end"))[:5] == ["held", "a", "b begins", "c", "d begins"]
