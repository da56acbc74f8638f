"""F48: a stop has one bound for calls and follower, and says in one line what it has left."""

import logging
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Doors, InlineThreads, NoFollower, Runtime, open_house
from durable_rooms import Limits, OutcomeUnknown, RuntimeClosed, SQLiteReplica
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, other_program, outcome, path_of


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


async def hold_its_lock(path: Path) -> None:
    with other_program(path) as file:
        file.execute("BEGIN IMMEDIATE").fetchall()
        await trio.sleep(1_000)


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


async def test_a_stop_does_not_wait_for_another_programs_lock_beyond_its_bound(tmp_path: Path, autojump_clock) -> None:
    """Also where an async handler waits for it between two slices."""
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep() -> None:
            found.append(await outcome(lambda: room.post_slowly("x", 1)))

        async with open_test_runtime(Slow, path=tmp_path, limits=Limits(drain_seconds_max=10)) as runtime:
            room = runtime.room(Slow, "a")
            await room.post("first")
            await one_after_another(nursery, keep)
            nursery.start_soon(hold_its_lock, path_of(runtime, room))
            await trio.sleep(2)
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(10, abs=1)
        nursery.cancel_scope.cancel()
    assert [type(one) for one in found] == [OutcomeUnknown]


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


async def test_whoever_calls_while_a_runtime_that_failed_ends_is_refused(tmp_path: Path, autojump_clock) -> None:
    """Up to its last moment, also a room that would have to be opened: a call from another thread comes at any moment."""
    found: list[object] = []

    async def explode() -> None:
        await trio.lowlevel.checkpoint()
        raise Sorry("a fault of the runtime's own")

    async def keep(call) -> None:
        found.append(await outcome(call))

    with pytest.raises(Sorry):
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime, trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            runtime._nursery.start_soon(explode)
            for number in range(20):
                nursery.start_soon(keep, runtime.room(ChatRoom, f"{number}").ping)
                await trio.lowlevel.cancel_shielded_checkpoint()
            await wait_all_tasks_blocked()
            await keep(runtime.room(ChatRoom, "last").ping)
    assert {type(one) for one in found} <= {str, RuntimeClosed, OutcomeUnknown}
    assert type(found[-1]) is RuntimeClosed
