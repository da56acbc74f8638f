"""The router between rooms and replicas, what it knows of arrivals, and the bookmark beside running reads: each alone."""

import math
import sys
from functools import partial
from random import Random
from typing import Any

import apsw
import pytest
import trio

from actors import Answer, Limits, Position, ReadCall, ReplicationLate, RoomName
from actors.calls.handlers import Handler
from durable_rooms import Overloaded, RuntimeClosed
from replication.arrivals import Arrivals
from replication.collector import Collector
from replication.reading.bookmark import Bookmark, parsed
from replication.reading.breaker import FAILURES_MIN, OPEN_SECONDS_FIRST, Breaker
from replication.reading.reader import Seen, Stale, Unanswerable
from replication.reading.readers import NoAnswer
from replication.reading.router import WAIT_SECONDS_MAX, Route, Router
from replication.standing import Mark
from replication.status import Tally

GENERAL = RoomName("ChatRoom", "general")


# -- arrivals --------------------------------------------------------------------------------------------------------------
class Source:
    def __init__(self, name: RoomName) -> None:
        self.name = name


def arrivals_of() -> tuple[Arrivals, Collector, Tally]:
    tally = Tally("replica")
    tally.turn("live")
    arrivals = Arrivals(tally)
    arrivals.collector = collector = Collector(0.05, Random(0).uniform)
    arrivals.compared = True
    return arrivals, collector, tally


def at(seq: int, *, settled: bool = True) -> Mark:
    return Mark(Position(1, seq), "digest", settled)


async def test_what_is_there_is_not_waited_for(autojump_clock):
    arrivals, collector, _ = arrivals_of()
    arrivals.marks[GENERAL] = at(5)
    assert await arrivals.reached(GENERAL, Position(1, 5), trio.current_time())
    assert collector.readers == 0


async def test_a_wait_ends_when_it_arrives_and_not_when_something_else_does(autojump_clock):
    arrivals, collector, _ = arrivals_of()
    arrivals.marks[GENERAL] = at(5)
    async with trio.open_nursery() as nursery:

        async def arrives() -> None:
            for seq in (5, 6, 7):
                await trio.sleep(1)
                arrivals.marks[GENERAL] = at(seq)
                arrivals.tell()

        nursery.start_soon(arrives)
        assert await arrivals.reached(GENERAL, Position(1, 7), trio.current_time() + 10)
        assert trio.current_time() == pytest.approx(3)
    assert collector.readers == 0


@pytest.mark.parametrize("why", ["late", "in trouble", "parked", "not running", "cancelled"])
async def test_a_wait_that_is_in_vain_ends_and_leaves_nobody_waiting(why, autojump_clock):
    arrivals, collector, tally = arrivals_of()
    arrivals.marks[GENERAL] = at(5)
    if why == "in trouble":
        tally.turn("retrying")
    if why == "parked":
        tally.park(GENERAL, "a row is too large")
    if why == "not running":
        arrivals.collector = None
    with trio.move_on_after(3 if why == "cancelled" else math.inf):
        assert not await arrivals.reached(GENERAL, Position(1, 6), trio.current_time() + 5)
    assert trio.current_time() == pytest.approx({"late": 5, "cancelled": 3}.get(why, 0))
    assert collector.readers == 0


async def test_a_replica_that_falls_into_trouble_ends_the_waits(autojump_clock):
    arrivals, _, tally = arrivals_of()
    arrivals.marks[GENERAL] = at(5)
    async with trio.open_nursery() as nursery:

        async def falls() -> None:
            await trio.sleep(1)
            tally.turn("retrying")
            arrivals.tell()

        nursery.start_soon(falls)
        assert not await arrivals.reached(GENERAL, Position(1, 6), math.inf)


async def test_a_room_is_as_stale_as_its_oldest_change_that_is_not_there(autojump_clock):
    arrivals, collector, _ = arrivals_of()
    assert arrivals.staleness(GENERAL) == 0
    collector.changed(Source(GENERAL), Position(1, 6), 1)
    assert 0 < arrivals.staleness(GENERAL) < 1e-6, "of this very moment, and yet not there"
    await trio.sleep(7)
    assert arrivals.staleness(GENERAL) == arrivals.lag_seconds == pytest.approx(7)
    assert arrivals.staleness(RoomName("ChatRoom", "other")) == 0
    arrivals.compared = False
    assert arrivals.staleness(RoomName("ChatRoom", "other")) == math.inf


async def test_a_wait_for_everything_does_not_wait_for_what_came_later(autojump_clock):
    arrivals, collector, _ = arrivals_of()
    collector.changed(Source(GENERAL), Position(1, 1), 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(arrivals.caught_up, 5.0, parked=True))
        await trio.testing.wait_all_tasks_blocked()
        collector.changed(Source(RoomName("ChatRoom", "later")), Position(1, 1), 1)
        del collector._waiting[GENERAL]
        arrivals.tell()
    assert trio.current_time() < 1


# -- the router ----------------------------------------------------------------------------------------------------------------
class FakeLane:
    """The rooms."""

    def __init__(self) -> None:
        self.position: Position | None = Position(1, 5)
        self.reads = 0
        self.brief: bool | None = None  # how reads fared in the room, if it is in memory

    def acknowledged(self, name: RoomName) -> Position | None:
        return self.position

    def at_hand(self, call: ReadCall) -> bool:
        return bool(self.brief)

    async def read(self, call: ReadCall) -> Answer[Any]:
        self.reads += 1
        return Answer("from the room", self.position or Position(1, 99), "room")


class FakeReaders:
    """One reader's answers, in turn; the last one again and again."""

    waiting = 0

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def ask(self, what: Any, kind: object = None) -> Any:
        await trio.lowlevel.checkpoint()
        return self.here(what, kind)

    def here(self, what: Any, kind: object) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def way(*answers: Any, seq: int = 5) -> tuple[Router, Route, FakeLane]:
    arrivals, _, _ = arrivals_of()
    arrivals.marks[GENERAL] = at(seq)
    readers: Any = FakeReaders(*answers)
    route = Route(arrivals, readers, Breaker("replica", trio.current_time, Random(0).uniform))
    lane = FakeLane()
    return Router([route], lane), route, lane


def a_read() -> ReadCall:
    def bodies(self: Any) -> list[str]:
        return []

    return ReadCall(object, GENERAL, Handler("bodies", bodies), (), {}, lambda: 0.0, Limits().result_bytes_max)  # pyright: ignore


SEEN = Seen("from the replica", Position(1, 5), 7, "generation")
STALE = Stale(Position(1, 4))


@pytest.mark.parametrize("fresh", ["acknowledged", "any", 0, 5.0])
async def test_a_replica_that_is_there_answers(fresh, autojump_clock):
    router, _, lane = way(SEEN)
    assert (await router.read(a_read(), fresh, None)).source == "replica"
    assert lane.reads == 0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (STALE, "not there in time"),
        (Stale(None), "unknown to replicas"),
        (Unanswerable("no such table"), "only the room can"),
        (apsw.IOError("disk I/O error"), "replica in trouble"),
        (apsw.BusyError("locked"), "replica in trouble"),
        (NoAnswer("no answer"), "replica in trouble"),
        (Overloaded("too many"), "readers are busy"),
    ],
    ids=repr,
)
async def test_whatever_a_replica_cannot_the_room_does(answer, why, autojump_clock):
    router, route, lane = way(answer)
    assert (await router.read(a_read(), "acknowledged", None)).source == "room"
    assert lane.reads == 1
    assert router.status().by_why == {why: 1}
    assert route.breaker.state == "closed", "one failure is none"


@pytest.mark.parametrize("error", [LookupError("nothing"), apsw.SQLError("near"), RuntimeClosed("over")], ids=repr)
async def test_what_the_read_raises_is_not_asked_again_and_says_nothing_about_the_replica(error, autojump_clock):
    router, route, lane = way(error)
    for _ in range(2 * FAILURES_MIN):
        with pytest.raises(type(error)):
            await router.read(a_read(), "acknowledged", None)
    assert lane.reads == 0
    assert route.breaker.state == "closed"


@pytest.mark.parametrize("fresh", ["acknowledged", "any", 0, 5.0])
async def test_what_is_there_is_told_at_once(fresh, autojump_clock):
    router, _, _ = way(SEEN)
    answer = router.read_now(a_read(), fresh, None)
    assert answer is not None
    assert (answer.value, answer.source) == ("from the replica", "replica")
    assert router.status().by_source == {"replica": 1}


@pytest.mark.parametrize("why", ["behind", "its room knows", "for the room", "stuck", "too old", "broken", "only in rooms"])
async def test_what_must_be_waited_for_is_not_tried_at_once(why, autojump_clock):
    router, route, lane = way(SEEN, seq=4 if why == "behind" else 5)
    arrivals, fresh = route.arrivals, "acknowledged"
    if why == "its room knows":
        lane.position = None
    if why == "for the room":
        fresh = "room"
    if why == "stuck":
        arrivals._tally.turn("retrying")
    if why == "too old":
        assert arrivals.collector is not None
        arrivals.collector.changed(Source(GENERAL), Position(1, 6), 1)
        fresh = 0
        await trio.sleep(1)
    if why == "broken":
        for _ in range(FAILURES_MIN):
            route.breaker.failed("a disk I/O error")
    if why == "only in rooms":
        call = a_read()
        router._only_in_rooms.add((call.handler, "digest"))
        assert router.read_now(call, fresh, None) is None
    else:
        assert router.read_now(a_read(), fresh, None) is None
    readers: Any = route.readers
    assert readers.asked == 0


@pytest.mark.parametrize("answer", [None, STALE, Unanswerable("no such table"), apsw.IOError("disk I/O error")], ids=repr)
async def test_what_cannot_be_told_at_once_is_found_out_by_the_read_itself(answer, autojump_clock):
    router, route, _ = way(answer)
    for _ in range(2 * FAILURES_MIN):
        assert router.read_now(a_read(), "acknowledged", None) is None
    assert route.breaker.state == "closed", "counted when it is asked in earnest"
    assert router.status().by_source == {}


async def test_what_a_read_raises_at_once_is_its_callers(autojump_clock):
    router, _, _ = way(LookupError("nothing"))
    with pytest.raises(LookupError):
        router.read_now(a_read(), "acknowledged", None)


async def test_a_replica_in_trouble_is_asked_no_more_until_a_probe_succeeds(autojump_clock):
    router, route, _ = way(*[apsw.IOError("disk I/O error")] * FAILURES_MIN, SEEN)
    for _ in range(10):
        assert (await router.read(a_read(), "acknowledged", None)).source == "room"
    readers: Any = route.readers
    assert readers.asked == FAILURES_MIN
    await trio.sleep(OPEN_SECONDS_FIRST)
    assert (await router.read(a_read(), "acknowledged", None)).source == "replica"
    assert route.breaker.state == "closed"


async def test_a_cancelled_probe_keeps_nobody_from_probing(autojump_clock):
    router, _, _ = way(*[apsw.IOError("disk I/O error")] * FAILURES_MIN, SEEN)
    for _ in range(FAILURES_MIN):
        await router.read(a_read(), "acknowledged", None)
    await trio.sleep(OPEN_SECONDS_FIRST)
    with trio.CancelScope() as scope:
        scope.cancel()
        await router.read(a_read(), "acknowledged", None)
    assert (await router.read(a_read(), "acknowledged", None)).source == "replica"


async def test_a_write_is_waited_for_so_long_and_then_the_room_answers(autojump_clock):
    router, _, lane = way(SEEN, seq=4)
    assert (await router.read(a_read(), "acknowledged", None)).source == "room"
    assert trio.current_time() == pytest.approx(WAIT_SECONDS_MAX)
    assert lane.reads == 1


@pytest.mark.parametrize(
    ("session", "brief", "waits"),
    [
        (False, True, False),
        (False, False, True),  # slow reads are the replica's, also where the room is in memory
        (True, True, True),  # a session's next read is served by the replica, too
    ],
)
async def test_a_brief_read_does_not_wait_for_a_write_that_its_room_has(session, brief, waits, autojump_clock):
    router, _, lane = way(SEEN, seq=4)
    lane.brief = brief
    assert (await router.read(a_read(), "acknowledged", Bookmark() if session else None)).source == "room"
    assert trio.current_time() == pytest.approx(WAIT_SECONDS_MAX if waits else 0)


async def test_a_replica_that_has_the_write_is_asked_though_the_room_is_at_hand(autojump_clock):
    router, _, lane = way(SEEN, seq=5)
    lane.brief = True
    assert (await router.read(a_read(), "acknowledged", None)).source == "replica"


async def test_a_room_that_alone_knows_is_asked_at_once(autojump_clock):
    router, route, lane = way(SEEN)
    lane.position = None
    assert (await router.read(a_read(), "acknowledged", None)).source == "room"
    readers: Any = route.readers
    assert readers.asked == 0


async def test_a_session_needs_what_it_saw_also_where_anything_would_do(autojump_clock):
    router, _, _ = way(SEEN, seq=5)
    bookmark = Bookmark()
    bookmark.saw_room(GENERAL, Position(1, 6))
    assert (await router.read(a_read(), "any", bookmark)).source == "room"
    assert (await router.read(a_read(), "any", None)).source == "replica"


async def test_across_says_that_it_is_late_and_why(autojump_clock):
    router, route, _ = way(apsw.IOError("disk I/O error"))
    for _ in range(FAILURES_MIN):
        with pytest.raises(ReplicationLate, match="disk I/O error"):
            await router.across({"ChatRoom": None}, lambda sql: None, "any", None)
    with pytest.raises(ReplicationLate, match="is not asked now"):
        await router.across({"ChatRoom": None}, lambda sql: None, "any", None)
    assert route.breaker.state == "open"


# -- the bookmark, beside running reads ---------------------------------------------------------------------------------------
def test_what_was_seen_across_rooms_binds_every_room_of_the_session():
    bookmark = Bookmark()
    bookmark.saw_room(GENERAL, Position(1, 5))
    bookmark.saw_across("generation", 7)
    for name in (GENERAL, RoomName("ChatRoom", "never seen alone")):
        assert bookmark.trusts(name, "generation", 7, whole=True)
        assert not bookmark.trusts(name, "generation", 6, whole=True), "an older copy"
    assert not parsed(bookmark.token(b"k" * 32), b"k" * 32).trusts(GENERAL, "generation", 6, whole=True)


def test_a_token_that_is_made_at_any_step_of_a_read_forgets_nothing():
    """Another thread may make one between any two steps: here, between any two lines."""
    key, tokens = b"k" * 32, []
    bookmark = Bookmark()
    names = [RoomName("ChatRoom", f"{n}") for n in range(70)]
    for n, name in enumerate(names[:64]):
        bookmark.saw_replica(name, Position(1, 5), "generation", n)

    def look(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename.endswith("bookmark.py"):
            sys.settrace(None)
            tokens.append(bookmark.token(key))
            sys.settrace(look)
        return look

    try:
        sys.settrace(look)
        bookmark.saw_room(names[0], Position(1, 6))
        for n, name in enumerate(names[64:]):
            bookmark.saw_replica(name, Position(1, 5), "generation", 64 + n)
    finally:
        sys.settrace(None)
    assert len(tokens) > 50
    for token in tokens:
        then = parsed(token, key)
        for name in names[:64]:
            assert then.needs(name) or not then.trusts(name, "generation", 5, whole=True), "it would be read older than seen"
