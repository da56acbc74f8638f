"""Tells: messages from room to room, as durable as rows, and run exactly once."""

from random import Random

import pytest
import trio

from durable_rooms.simulation.image import Keep
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Notes, cut_power, on_faulty_disk, on_still_disk
from tests.conformance.yardstick import behaviour
from tests.rooms.chat import Sorry


class Teller(Notes):
    def post_and_tell(self, body: str, to: str = "told") -> None:
        self.post(body)
        self.tell(Teller, to, Teller.post, f"told {body}")

    def tell_and_raise(self, body: str) -> None:
        self.post_and_tell(body)
        raise Sorry


@behaviour(9)
async def test_a_tell_leaves_when_the_turn_that_sent_it_is_durable(tmp_path, autojump_clock) -> None:
    """Given a handler that writes and tells, when its sync is in flight, then the other room knows nothing; when it has returned,
    then it does."""
    async with on_still_disk(tmp_path, Teller) as (runtime, disk, callers):
        sender, told = runtime.room(Teller, "a"), runtime.room(Teller, "told")
        await sender.post_and_tell("old")
        await trio.sleep(1)
        assert await told.bodies() == ["told old"]
        disk.still = True
        await callers.start("tell", sender.post_and_tell, "new")
        await callers.start("look", told.bodies)
        assert callers.outcomes == {"look": ["told old"]}
        await disk.move()
        await trio.sleep(1)
        assert await told.bodies() == ["told old", "told new"]


@behaviour(13)
async def test_a_tell_is_gone_with_the_call_that_raises(autojump_clock) -> None:
    """Given a handler that tells and then raises, when time passes, then the other room is never told."""
    async with open_test_runtime(Teller) as runtime:
        with pytest.raises(Sorry):
            await runtime.room(Teller, "a").tell_and_raise("never")
        await runtime.room(Teller, "a").post_and_tell("x")
        await trio.sleep(60)
        assert await runtime.room(Teller, "told").bodies() == ["told x"]


@behaviour(13)
@pytest.mark.parametrize("keep", Keep, ids=lambda keep: keep.name.lower())
async def test_an_acknowledged_tell_runs_once_whatever_a_power_cut_leaves(keep, tmp_path, autojump_clock) -> None:
    """Given tells that were sent, when the power fails before, while and after they are delivered, then after the next start each
    has run exactly once, in order, though nobody calls."""
    async with on_faulty_disk(tmp_path / "data", Teller) as (runtime, disk):
        for n in range(3):
            await runtime.room(Teller, "a").post_and_tell(f"{n}")
            cut_power(disk, keep, tmp_path / f"cut {n}", Random(n))
        await trio.sleep(1)
        cut_power(disk, keep, tmp_path / "cut 3", Random(3))
    for n in range(4):
        async with open_test_runtime(Teller, path=tmp_path / f"cut {n}") as runtime:
            await trio.sleep(60)
            assert await runtime.room(Teller, "told").bodies() == [f"told {m}" for m in range(min(n, 2) + 1)]
