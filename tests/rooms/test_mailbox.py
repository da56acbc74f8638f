"""The mailbox: bounded by calls and by bytes; full is an error at once."""

import pytest
import trio

from durable_rooms import Actor, Limits, Overloaded
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import one_after_another, one_room, outcome


class Held(Actor):
    def __init__(self) -> None:
        self.notes: list[str] = []

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    def note(self, text: str) -> None:
        self.notes.append(text[:20])

    def all(self) -> list[str]:
        return self.notes


async def test_f26_a_full_mailbox_refuses_at_once_and_says_how_full(autojump_clock) -> None:
    async with one_room(Held, limits=Limits(mailbox_calls_max=3)) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), *[lambda n=n: room.note(f"{n}") for n in range(3)])
        before = trio.current_time()
        with pytest.raises(
            Overloaded, match=r"3 of mailbox_calls_max = 3 calls, [\d,]+ of mailbox_bytes_max = [\d,]+ bytes"
        ) as caught:
            await room.note("one too many")
        assert trio.current_time() == before
        assert (caught.value.ran, caught.value.retryable, caught.value.room) == ("no", True, "Held/general")
        await trio.sleep(11)
        assert await room.all() == ["0", "1", "2"]


async def test_f26_it_is_bounded_by_bytes_too(autojump_clock) -> None:
    limits = Limits(mailbox_bytes_max=10_000, call_bytes_max=9_000)
    async with one_room(Held, limits=limits) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), lambda: room.note("x" * 8_000))
        with pytest.raises(Overloaded, match=r"1 of mailbox_calls_max = 1024 calls, 8,0\d\d of mailbox_bytes_max = 10,000 bytes"):
            await room.note("y" * 2_500)
        nursery.start_soon(room.note, "z" * 1_000)  # a smaller one still fits
        await trio.sleep(11)
        assert await room.all() == ["x" * 20, "z" * 20]
        await room.note("y" * 8_900)  # taken calls are forgotten


async def test_calls_whose_callers_have_gone_do_not_count(autojump_clock) -> None:
    async with one_room(Held, limits=Limits(mailbox_calls_max=3)) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10))
        async with trio.open_nursery() as impatient:
            await one_after_another(impatient, *[lambda n=n: room.note(f"gone {n}") for n in range(3)])
            impatient.cancel_scope.cancel()
        await one_after_another(nursery, *[lambda n=n: room.note(f"{n}") for n in range(3)])
        assert type(await outcome(lambda: room.note("too many"))) is Overloaded
        await trio.sleep(11)
        assert await room.all() == ["0", "1", "2"]


async def test_one_full_room_does_not_hinder_another(autojump_clock) -> None:
    async with open_test_runtime(Held, limits=Limits(mailbox_calls_max=1)) as runtime, trio.open_nursery() as nursery:
        busy, quiet = runtime.room(Held, "busy"), runtime.room(Held, "quiet")
        await one_after_another(nursery, lambda: busy.hold(10), lambda: busy.note("waits"))
        assert type(await outcome(lambda: busy.note("too many"))) is Overloaded
        assert await quiet.note("fine") is None


async def test_a_refused_caller_may_try_again_and_gets_through(autojump_clock) -> None:
    async with one_room(Held, limits=Limits(mailbox_calls_max=1)) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), lambda: room.note("first"))
        tries = 0
        while isinstance(await outcome(lambda: room.note("second")), Overloaded):
            tries += 1
            await trio.sleep(1)
        assert tries > 5
        assert await room.all() == ["first", "second"]
