"""Cuts that leave the same: opened once, asked after all that was known, and never counted twice."""

from random import Random

from durable_rooms.simulation import ChatScenario, Simulation, plan_of
from durable_rooms.simulation.chat import Chat
from durable_rooms.simulation.cuts import SETTLING, Cuts, Remains, lasts_of
from durable_rooms.simulation.events import Event
from durable_rooms.simulation.history import History
from durable_rooms.simulation.image import Wounds, every_image, key_of
from durable_rooms.simulation.life import Life
from durable_rooms.simulation.look import Inspection
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.scenario import After
from durable_rooms.simulation.world import World

ROOM = "Chat/a"


def remains(events: list[Event], places: list[int], history: History) -> list[Remains]:
    return Cuts(Random(1), Wounds()).remains(World(), events, places, 0, history, "life 1")


def write(node: int, data: bytes) -> Event:
    return Event("write", "a", node=node, data=data)


def test_what_a_cut_leaves_is_asked_after_once_more_where_the_last_cut_that_may_leave_it_has_promised_more():
    history = History()
    number = history.begin(ROOM, "ids", (), {}, 0, 0)
    history.settle(number, 2, "returned", [], 1)
    events = [Event("note"), Event("note"), Event("reply"), Event("sync began", token=1), Event("sync returned", token=1)]
    (left,) = remains(events, [1, 1], history)
    assert [(known.place, known.history.promises(), known.cuts) for known in left.known] == [(1, 0, 1), (4, 1, 1)]
    (left,) = remains(events, [3], history)
    assert [known.place for known in left.known] == [3], "nothing more was promised until the sync returned"


def test_until_something_settles_a_later_cut_may_leave_whatever_an_earlier_one_may():
    """By every combination, of worlds that are small enough to have them all."""
    chance = Random(7)
    compared = 0
    for _ in range(60):
        events = [Event("create", "a", node=1), Event("create", "b", node=2)]
        while len(events) < 14:
            kind = chance.choice(("write", "write", "sync", "fails", "unlink", "directory"))
            node, token = chance.choice((1, 2)), len(events)
            if kind == "write":
                events.append(write(node, bytes([chance.randrange(256)])))
            elif kind == "unlink":
                events.append(Event("unlink", "ab"[node - 1], node=node))
            else:
                sync = "directory sync" if kind == "directory" else "sync"
                path = "." if kind == "directory" else "ab"[node - 1]
                ends = "failed" if kind == "fails" else "returned"
                events += [Event(f"{sync} {end}", path, node=node, token=token) for end in ("began", ends)]
        lasts = lasts_of(events)
        may_leave: list[set[bytes]] = []
        world = World()
        for event in [*events, None]:
            may_leave.append({key_of(one) for one in every_image(world)})
            if event is not None:
                world.apply(event)
        for place, last in enumerate(lasts):
            if may_leave[last]:  # few enough to have them all
                assert may_leave[place] <= may_leave[last]
                compared += last > place
            assert last == len(events) or events[last].kind in SETTLING
    assert compared > 100


class Writing(ChatScenario):
    """Its check changes what it finds."""

    rooms = ("a",)

    async def check(self, after: After) -> None:
        posts = await after.room(Chat, "a").ids()
        assert "by the check" not in posts
        await after.room(Chat, "a").post("by the check")


def looked_at(scenario: ChatScenario, monkeypatch) -> tuple[int, int, int]:
    """Openings, cuts, and cuts that were asked after in one opening with another."""
    openings, shared = [], []
    look = Inspection.look

    async def counted(self, directory, seed):
        await look(self, directory, seed)
        openings.append(self)
        shared.append(self.asked - 1)

    monkeypatch.setattr(Inspection, "look", counted)
    found = quietly(Simulation(scenario, 1, plan=plan_of(1, scenario.clients, scenario.visits, lives=1, cuts=40)))
    assert not found.failures, found.failures
    return len(openings), found.crash_points, sum(shared)


def test_a_check_that_writes_finds_what_the_cut_has_left_each_time(monkeypatch):
    openings, cuts, shared = looked_at(Writing(), monkeypatch)
    assert shared == 0
    assert openings <= cuts


def test_a_check_that_reads_is_asked_in_one_opening_after_several_cuts(monkeypatch):
    openings, cuts, shared = looked_at(OneRoom(), monkeypatch)
    assert shared
    assert openings + shared <= cuts


class OneRoom(ChatScenario):
    rooms = ("a",)


def test_a_cut_is_counted_once_however_often_it_is_drawn(tmp_path):
    life = Life(OneRoom(), plan_of(1, 4, 8).lives[0], 0, "1", tmp_path, World(), history := History())
    quietly(life)
    made = Cuts(Random(1), Wounds())
    found = made.remains(World(), life.disk.events, [100] * 50, 0, history, "life 1")
    assert len({(one.key, known.place) for one in found for known in one.known}) == sum(made.kept.values())
    assert sum(known.cuts for one in found for known in one.known) == sum(made.kept.values())
