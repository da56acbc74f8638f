"""Where virtual time stands still although the loop goes round: it is told, and it ends."""

import gc
import sys

import pytest
import trio
from trio.testing import MockClock

from durable_rooms.simulation.chat import ChatScenario
from durable_rooms.simulation.plan import plan_of
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.schedule import run_seeded
from durable_rooms.simulation.simulation import Simulation


async def spin(*, shielded: bool) -> None:
    with trio.CancelScope(shield=shielded):
        while True:
            await trio.lowlevel.checkpoint()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr("durable_rooms.simulation.standstill.PASSES_MAX", 500)


def test_it_is_told_once_and_whoever_hears_of_it_may_end_it():
    told: list[str] = []
    scope = trio.CancelScope()

    def found() -> None:
        told.append("found")
        scope.cancel()

    async def main() -> None:
        with scope:
            await spin(shielded=False)

    run_seeded("1", main, stands_still=found)
    assert told == ["found"]


def test_who_is_behind_a_shield_ends_too_and_the_clock_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # trio leaves its tasks as they stand
    clock, told = MockClock(autojump_threshold=0), []

    async def main() -> None:
        await spin(shielded=True)

    with pytest.raises(trio.TrioInternalError) as caught:
        run_seeded("1", main, clock=clock, stands_still=lambda: told.append("found"))
    assert "stands still" in str(caught.value.__cause__)
    assert told == ["found"]
    assert clock.current_time() == 0.0
    del caught
    gc.collect()


def test_time_that_goes_on_is_no_standstill():
    told: list[str] = []

    async def main() -> None:
        for _ in range(10):
            for _ in range(300):
                await trio.lowlevel.checkpoint()
            await trio.sleep(1)

    run_seeded("1", main, stands_still=lambda: told.append("found"))
    assert told == []


class OneRoom(ChatScenario):
    rooms = ("a",)


def test_each_look_is_judged_by_itself(monkeypatch):
    """They follow each other in one run, each takes some fifty passes, and most take no time."""
    passes = 2_000
    monkeypatch.setattr("durable_rooms.simulation.standstill.PASSES_MAX", passes)
    scenario = OneRoom()
    found = quietly(Simulation(scenario, 1, plan=plan_of(1, scenario.clients, scenario.visits, lives=1, cuts=120)))
    assert len(found.images) > passes / 40
    assert not found.failures, found.failures
