"""F48: a stop has one bound for calls and follower, and says in one line what it has left."""

import logging
from pathlib import Path

import pytest
import trio

from actors import Doors, InlineThreads, NoFollower, Runtime, open_house
from durable_rooms import Limits, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_after_another, outcome


class Hanging(NoFollower):
    """A follower that is asked to catch up and never does."""

    def __init__(self) -> None:
        self.asked_at: float | None = None

    async def drain(self) -> None:
        self.asked_at = trio.current_time()
        await trio.sleep_forever()


class Slow(ChatRoom):
    async def post_slowly(self, body: str, seconds: float) -> int:
        await trio.sleep(seconds)
        return self.post(body)

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)


def ending(caplog: pytest.LogCaptureFixture) -> tuple[int, str]:
    (record,) = [record for record in caplog.records if record.getMessage().startswith("stopped in")]
    return record.levelno, record.getMessage()


@pytest.mark.parametrize("seconds", [0, 4, 3_600])
async def test_f48_a_follower_that_hangs_does_not_exceed_the_bound_of_the_stop(
    seconds: float, tmp_path: Path, autojump_clock
) -> None:
    """Whatever the calls have used up of it."""
    follower = Hanging()
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep() -> None:
            found.append(await outcome(lambda: room.post_slowly("x", seconds)))

        doors = Doors(threads=InlineThreads())
        async with open_house(Runtime, tmp_path, [Slow], follower, Limits(drain_seconds_max=10), doors) as runtime:
            room = runtime.room(Slow, "a")
            await room.post("first")
            await one_after_another(nursery, keep)
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(10, abs=1)
    assert follower.asked_at == pytest.approx(began + min(seconds, 10), abs=1)
    assert runtime.left is not None
    assert (runtime.left.refused, runtime.left.unknown) == (0, int(seconds > 10))
    assert runtime.left.seconds == pytest.approx(10, abs=1)


async def test_f48_the_last_line_counts_what_was_refused_and_what_is_unknown(caplog, autojump_clock) -> None:
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep(call) -> None:
            found.append(await outcome(call))

        async def come_late() -> None:
            await trio.sleep(1)
            await keep(lambda: room.post("late"))

        async with open_test_runtime(Slow, limits=Limits(drain_seconds_max=10)) as runtime:
            room = runtime.room(Slow, "a")
            calls = [lambda: keep(lambda: room.hold(3_600)), lambda: keep(lambda: room.post("queued")), come_late]
            await one_after_another(nursery, *calls)
    assert sorted((type(one).__name__, one.ran) for one in found) == [
        ("OutcomeUnknown", "unknown"),
        ("RuntimeClosed", "no"),
        ("RuntimeClosed", "no"),
    ]
    level, line = ending(caplog)
    assert level == logging.WARNING
    assert "2 calls refused, 1 of unknown outcome; not in the replica yet: nothing" in line


async def test_f48_the_last_line_names_what_the_replica_lacks_and_the_next_start_brings_it(
    caplog, tmp_path: Path, autojump_clock
) -> None:
    replica = SQLiteReplica(tmp_path / "away" / "replica.db")
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[replica]) as runtime:
        for room in ("a", "b"):
            for n in range(3):
                await runtime.room(ChatRoom, room).post(f"{n}")
    level, line = ending(caplog)
    assert level == logging.WARNING
    assert line.endswith("0 of unknown outcome; not in the replica yet: 2 rooms with 6 changes (after the next start)")
    (tmp_path / "away").mkdir()
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", replicas=[replica]) as runtime:
        await runtime.replicated()
        assert runtime.status().replicas[0].lag_rooms == 0


async def test_f48_a_stop_that_leaves_nothing_is_no_warning(caplog, tmp_path: Path, autojump_clock) -> None:
    caplog.set_level(logging.INFO, "durable_rooms")
    async with open_test_runtime(ChatRoom, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(ChatRoom, "a").post("x")
    level, line = ending(caplog)
    assert level == logging.INFO
    assert line.endswith("0 calls refused, 0 of unknown outcome; not in the replica yet: nothing")
