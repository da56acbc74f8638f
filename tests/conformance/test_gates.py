"""What leaves a room, and when: not before everything that it may have seen is durable, and then at once."""

import pytest
import trio

from durable_rooms import OutcomeUnknown, read
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Callers, Notes, on_still_disk
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import Sorry
from tests.rooms.faults import FailsOnce


class Shown(Notes):
    @read
    def shown(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()


@behaviour(9)
async def test_whatever_a_reply_may_have_seen_is_durable_before_it_leaves(tmp_path, autojump_clock) -> None:
    """Given a write that is committed but not durable, when later calls read, touch no SQL or raise, then their answers
    wait with the write's own."""
    async with on_still_disk(tmp_path, Notes) as (runtime, disk, callers):
        room = runtime.room(Notes, "a")
        await room.post("old")
        disk.still = True
        await callers.start("write", room.post, "new")
        await callers.start("read", room.bodies)
        await callers.start("ping", room.ping)
        await callers.start("raises", room.post_and_raise, "x")
        assert callers.outcomes == {}
        await disk.move()
        error = callers.outcomes.pop("raises")
        assert callers.outcomes == {"write": 2, "read": ["old", "new"], "ping": "pong"}
        assert isinstance(error, Sorry)


@behaviour(9)
@pytest.mark.parametrize("fresh", ["acknowledged", "room"])
async def test_a_read_past_the_mailbox_waits_for_what_it_saw(fresh, tmp_path, autojump_clock) -> None:
    """Given a write that is committed but not durable, when a @read sees it on the room's own file, then its answer waits for
    the write's round; one that sees only what is durable does not wait."""
    async with on_still_disk(tmp_path, Shown) as (runtime, disk, callers):
        room = runtime.room(Shown, "a")
        await room.post("old")
        disk.still = True
        await callers.start("before", room.options(fresh=fresh).shown)
        assert callers.outcomes == {"before": ["old"]}
        await callers.start("write", room.post, "new")
        await callers.start("after", room.options(fresh=fresh).shown)
        assert callers.outcomes == {"before": ["old"]}
        await disk.move()
        assert callers.outcomes == {"before": ["old"], "write": 2, "after": ["old", "new"]}


@statement(9, 27)
@behaviour(10)
async def test_a_later_write_never_delays_an_earlier_reply(tmp_path, autojump_clock) -> None:
    """Given a call that waits for its round, when others write meanwhile and the round returns, then the call is
    answered, and the others wait for the next round."""
    async with on_still_disk(tmp_path, Notes) as (runtime, disk, callers):
        room = runtime.room(Notes, "a")
        await room.post("old")
        disk.still = True
        await callers.start("first", room.post, "one")
        await callers.start("second", room.post, "two")
        await disk.finish_one()
        assert callers.outcomes == {"first": 2}
        await disk.move()
        assert callers.outcomes == {"first": 2, "second": 3}


@statement(8)
async def test_rounds_end_in_the_order_of_the_commits(tmp_path, autojump_clock) -> None:
    """Given commits A and B, when there is room for B's sync beside A's, then it does not begin: B is never durable
    before A, in one room or in two."""
    async with on_still_disk(tmp_path, Notes) as (runtime, disk, callers):
        a, b = runtime.room(Notes, "a"), runtime.room(Notes, "b")
        await a.post("old")
        await b.post("old")
        disk.still = True
        await callers.start("A", a.post, "one")
        await callers.start("B", b.post, "one")
        await callers.start("read", a.bodies)
        assert (callers.outcomes, disk.jobs) == ({}, 1)
        await disk.finish_one()
        assert (callers.outcomes.keys(), disk.jobs) == ({"A", "read"}, 1)
        await disk.finish_one()
        assert callers.outcomes.keys() == {"A", "B", "read"}


@behaviour(11)
async def test_execution_goes_on_while_a_round_is_in_flight(tmp_path, autojump_clock) -> None:
    """Given a sync in flight, when more calls come, then they run and commit, and another room does: only replies wait."""
    seen: list[str] = []

    class Watched(Notes):
        def post(self, body: str) -> int:
            seen.append(body)
            return super().post(body)

    async with on_still_disk(tmp_path, Watched) as (runtime, disk, callers):
        room, other = runtime.room(Watched, "a"), runtime.room(Watched, "b")
        await room.post("old")
        await other.post("old")
        disk.still = True
        for body in ("one", "two", "three"):
            await callers.start(body, room.post, body)
        await callers.start("other", other.post, "other")
        assert seen == ["old", "old", "one", "two", "three", "other"]
        assert callers.outcomes == {}


@statement(10)
@behaviour(14)
async def test_a_failed_sync_leaves_what_was_answered_and_makes_the_rest_unknown(tmp_path, autojump_clock) -> None:
    """Given a call that was answered, when the sync for later ones fails, then these are told that their outcome is
    unknown, the activation with its memory is gone, and the same stub goes on from what is there."""
    disk = FailsOnce()
    async with open_test_runtime(Notes, path=tmp_path, disk=disk) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Notes, "a"), Callers(nursery)
        assert await room.post("acknowledged") == 1
        await room.remember("in memory")
        disk.fail_next()
        await callers.start("write", room.post, "unknown")
        error = callers.outcomes["write"]
        assert type(error) is OutcomeUnknown
        assert (error.ran, error.room) == ("unknown", "Notes/a")
        assert await room.remember("fresh") == ["fresh"]
        assert await room.bodies() in (["acknowledged"], ["acknowledged", "unknown"])
