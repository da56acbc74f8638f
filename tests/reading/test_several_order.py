"""Which of several replicas is asked first, by the router alone."""

from random import Random
from typing import Any

import pytest
import trio

from actors import Position, RoomName
from durable_rooms import Overloaded
from replication.arrivals import Arrivals
from replication.collector import Collector
from replication.reading.bookmark import Bookmark
from replication.reading.breaker import Breaker
from replication.reading.reader import Seen
from replication.reading.router import Route, Router
from replication.status import State, Tally
from tests.reading.test_router import GENERAL, FakeLane, FakeReaders, Source, a_read, at

OTHER = RoomName("ChatRoom", "other")
READS = 50


def way(name: str, *answers: Any, weight: float = 1.0, state: State = "live") -> Route:
    """To a replica that has the room and everything else."""
    tally = Tally(name)
    tally.turn(state)
    arrivals = Arrivals(tally)
    arrivals.collector = Collector(0.05, Random(0).uniform)
    arrivals.compared = arrivals.checked = True
    arrivals.generation = f"generation of {name}"
    arrivals.marks[GENERAL] = at(5)
    readers: Any = FakeReaders(*(answers or [Seen(name, Position(1, 5), 7, arrivals.generation)]))
    return Route(arrivals, readers, Breaker(name, trio.current_time, Random(0).uniform), weight)


def lags(route: Route, room: RoomName = OTHER) -> Collector:
    collector = route.arrivals.collector
    assert collector is not None
    source: Any = Source(room)
    collector.changed(source, Position(1, 9), 1)
    return collector


def router_of(*routes: Route) -> Router:
    return Router(routes, FakeLane(), Random(0))


async def asked(router: Router, bookmark: Bookmark | None = None) -> set[str]:
    return {(await router.read(a_read(), "acknowledged", bookmark)).source for _ in range(READS)}


async def test_a_replica_without_weight_is_not_asked_because_another_lags_with_other_rooms(autojump_clock):
    first, spare = way("first"), way("spare", weight=0.0)
    lags(first)
    await trio.sleep(60.0)
    assert await asked(router_of(first, spare)) == {"first"}


async def test_a_session_leaves_a_replica_without_weight_when_another_can_answer(autojump_clock):
    first, spare = way("first"), way("spare", weight=0.0)
    router, bookmark = router_of(first, spare), Bookmark()
    first.arrivals.marks[GENERAL] = at(4)
    assert await asked(router, bookmark) == {"spare"}
    first.arrivals.marks[GENERAL] = at(5)
    assert await asked(router, bookmark) == {"first"}


async def test_across_waits_for_a_live_replica_rather_than_for_one_in_trouble(autojump_clock):
    for names in (("ill", "well"), ("well", "ill")):
        routes = [way(name, state="retrying" if name == "ill" else "live") for name in names]
        collectors = {route.arrivals.name: lags(route) for route in routes}
        async with trio.open_nursery() as nursery:

            async def arrives(route: Route, collector: Collector) -> None:
                await trio.sleep(0.1)
                collector.done(collector._waiting.pop(OTHER))
                route.arrivals.tell()

            well = next(route for route in routes if route.arrivals.name == "well")
            nursery.start_soon(arrives, well, collectors["well"])
            began = trio.current_time()
            assert await router_of(*routes).across({"ChatRoom": None}, lambda sql: None, "acknowledged", None) == "well"
            assert trio.current_time() - began == pytest.approx(0.1)


async def test_across_asks_the_next_replica_where_the_readers_of_one_are_busy(autojump_clock):
    for names in (("busy", "calm"), ("calm", "busy")):
        routes = [way(name, *([Overloaded("busy")] if name == "busy" else [])) for name in names]
        for _ in range(10):
            assert await router_of(*routes).across({"ChatRoom": None}, lambda sql: None, "any", None) == "calm"
    with pytest.raises(Overloaded):
        await router_of(way("busy", Overloaded("busy"))).across({"ChatRoom": None}, lambda sql: None, "any", None)
