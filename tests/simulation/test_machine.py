"""A machine that draws lives call by call: rooms, callers, closes, a migration, stops, kills and power cuts.

Rules write down what the next life does; a rule that ends a life runs it on the product, from the first call to the cut, and
then looks as `durable-rooms simulate` looks. So an example is a short list of calls and cuts that anybody can read.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from durable_rooms.simulation import ChatScenario
from durable_rooms.simulation.chat import Chat
from durable_rooms.simulation.client import Client, Place
from durable_rooms.simulation.cuts import Known
from durable_rooms.simulation.history import History
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.life import Life
from durable_rooms.simulation.look import Inspection, Notes
from durable_rooms.simulation.plan import LifePlan
from durable_rooms.simulation.simulation import RAM_DISK
from durable_rooms.simulation.troubles import rooms_close, rooms_tidied
from durable_rooms.simulation.world import World, world_of
from tests.sabotage.rounds import no_sync, reply_before_the_round

Call = tuple[str, str, int]  # method, room, after so many steps of the loop


class WrittenLife(Life):
    """Its callers do what was written down, all at once; after each group they wait for one another."""

    def __init__(self, groups: "list[list[Call]]", *args) -> None:
        super().__init__(*args)
        self._groups = groups

    async def _clients(self, place: Place) -> None:
        self.place = place
        async with trio.open_nursery() as others:
            others.start_soon(self._watch_replica)
            for number, group in enumerate(self._groups):
                async with trio.open_nursery() as callers:
                    for caller, call in enumerate(group):
                        callers.start_soon(self._call, call, f"{self.number}.{number}.{caller}")
            others.cancel_scope.cancel()

    async def _call(self, call: Call, name: str) -> None:
        method, room, steps = call
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        if method in ("close", "tidy"):
            await {"close": rooms_close, "tidy": rooms_tidied}[method](self, self._chance)
            return
        arguments = {"post": (name,), "long": (name, "x" * 30_000), "glance": (0.5,), "draft": (name,)}
        stub = Client(self, name, self._chance).room(Chat, room)
        await getattr(stub, "post" if method == "long" else method)(*arguments.get(method, ()))


calls = st.tuples(
    st.sampled_from(["post", "remove", "ids", "long", "glance", "draft", "close", "tidy"]),
    st.sampled_from("abc"),
    st.integers(0, 40),
)
seeds = st.integers(0, 1_000)
LOOKS = 2  # at a life, beside its end

places = st.integers(0, 99)  # in hundredths of the life


class RoomsAndCuts(RuleBasedStateMachine):
    """No faults of the disk: every call is answered, and the world has nothing but its cuts."""

    scenario: ClassVar[ChatScenario] = ChatScenario()
    images: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory(
            prefix="durable-rooms-machine-", dir=str(RAM_DISK) if RAM_DISK.is_dir() else None
        )
        self.directory = Path(self.temporary.name)
        self.world, self.history, self.number = World(), History(), 0
        self.groups: list[list[Call]] = []
        self.notes = Notes()

    def teardown(self) -> None:
        try:
            if self.groups:
                self.power_fails(seed=0, where=90)
        finally:
            self.temporary.cleanup()

    @rule(group=st.lists(calls, min_size=1, max_size=5))
    def callers_come(self, group: list[Call]) -> None:
        self.groups.append(group)

    @rule(seed=seeds)
    def it_is_stopped(self, seed: int) -> None:
        self._ends(seed, None, Keep.ALL)

    @rule(seed=seeds, where=places)
    def it_is_killed(self, seed: int, where: int) -> None:
        self._ends(seed, where, Keep.ALL)

    @rule(seed=seeds, where=places)
    def power_fails(self, seed: int, where: int) -> None:
        self._ends(seed, where, Keep.SOME)

    def _ends(self, seed: int, where: int | None, keep: Keep) -> None:
        """Run what is written down, cut it, look at what is left of it; the next life begins there."""
        root = self.directory / f"life-{self.number}"
        plan = LifePlan("cut", clients=0, visits=0)
        life = WrittenLife(self.groups, self.scenario, plan, self.number, str(seed), root, self.world.copy(), self.history)
        life.run()
        assert not life.problems, life.problems
        events = life.disk.events
        end = len(events) if where is None else where * len(events) // 100
        chance, before = Random(seed), self.history
        replied = [place + 1 for place, event in enumerate(events[:end]) if event.kind == "reply"]
        played = 0
        for place in [*sorted(chance.sample(replied, min(LOOKS, len(replied)))), end]:  # a promise is youngest after a reply
            self.world.play(events[played:place])
            played = place
            self.history = before.until(self.number, place)
            self._look(image(self.world, Keep.NOTHING, chance), "nothing")
        self._look(left := image(self.world, keep, chance), keep.name.lower())
        write_image(left, self.directory / f"life-{self.number + 1}")
        if keep is not Keep.ALL:
            self.world = world_of(left)
        self.groups = []
        self.number += 1

    def _look(self, left, keep: str) -> None:
        type(self).images += 1
        write_image(left, self.directory / "cut")
        looking = Inspection(self.scenario, self.number, [Known(self.history, f"of the unsynced: {keep}")], self.notes)
        problems = looking.look_alone(self.directory / "cut", f"{self.number}")
        assert not problems, problems


def run_machine(examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    bounds = settings(
        max_examples=examples,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=phases,
        print_blob=False,
    )
    run_state_machine_as_test(RoomsAndCuts, settings=bounds)


def test_whatever_is_called_and_wherever_it_is_cut_every_promise_holds():
    RoomsAndCuts.images = 0
    run_machine(12)
    assert RoomsAndCuts.images > 40


@pytest.mark.slow
def test_whatever_is_called_and_wherever_it_is_cut_1_000_times():
    run_machine(1_000)


BROKEN = pytest.mark.parametrize("bad", [no_sync, reply_before_the_round], ids=lambda bad: bad.__name__)


@BROKEN
def test_the_machine_finds_a_broken_product(monkeypatch, bad):
    bad(monkeypatch.setattr)
    with pytest.raises(AssertionError, match=r"acknowledged|commands before it"):
        run_machine(60, [Phase.generate])
