"""Alarms: many of them, by name, as durable as rows; never early, and never forgotten."""

import errno
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio

from durable_rooms import DiskFailed, Room, RoomsError
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.image import Keep
from durable_rooms.testing import bare, open_test_runtime
from tests.conformance.stand import Notes, cut_power, on_faulty_disk, on_still_disk
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import Sorry, one_room, other_program

HOUR = 3_600.0


class Timed(Notes):
    """Notes when its alarms fired, and what it found then."""

    def set_alarm(self, name: str, seconds: float, payload: Any = None) -> None:
        self.alarms.set(name, self.now() + seconds, payload)

    def post_and_set(self, body: str, seconds: float) -> None:
        self.post(body)
        self.alarms.set(f"alarm of {body}", self.now() + seconds)

    def set_and_raise(self, name: str, seconds: float) -> None:
        self.alarms.set(name, self.now() + seconds)
        raise Sorry

    def cancel(self, name: str) -> bool:
        return self.alarms.cancel(name)

    def is_set(self, name: str) -> bool:
        return self.alarms.get(name) is not None

    def dead(self) -> list[str]:
        return [alarm.name for alarm in self.alarms.dead()]

    def clock(self) -> float:
        return self.now()

    def on_alarm(self, name: str, payload: Any) -> None:
        self.post(f"{name} {payload or ''}".strip())


class Failing(Timed):
    """`on_alarm` notes in `runs` when it ran and whether the alarm was still set, then does what `then` says."""

    runs: list[tuple[float, bool]]
    then: str

    def on_alarm(self, name: str, payload: Any) -> None:
        type(self).runs.append((self.now(), self.alarms.get(name) is not None))
        self.post(f"{name} {payload}")
        if type(self).then == "raise":
            raise Sorry
        if type(self).then == "set anew":
            type(self).then = "end"
            self.alarms.set(name, self.now() + HOUR, "anew")


@pytest.fixture
def failing() -> type[Failing]:
    class Fails(Failing):
        runs: list[tuple[float, bool]] = []
        then = "end"

    return Fails


async def born(room: Room[Timed]) -> None:
    """Let the catalog have all that it is told of a new room by itself."""
    await room.post("born")
    await room.post("proven")


def writes_of_catalog(path) -> Any:
    """A look at the catalog from outside: the number changes with each of its commits."""
    return other_program(path / "catalog.db")


def version(connection) -> int:
    return connection.execute("PRAGMA data_version").fetchall()[0][0]


@behaviour(23)
async def test_alarms_fire_in_order_at_their_time_and_never_before(autojump_clock) -> None:
    """Given ten alarms of one room, with payloads, when their times come, then each fires once, in order, and not a
    moment early."""
    async with one_room(Timed) as room:
        for n in reversed(range(10)):
            await room.set_alarm(f"{n}", 10 + n, "payload")
        await trio.sleep(9.9)
        assert await room.bodies() == []
        await trio.sleep(20)
        assert await room.bodies() == [f"{n} payload" for n in range(10)]


@behaviour(15, 23)
async def test_an_alarm_is_atomic_with_the_data_of_its_call(autojump_clock) -> None:
    """Given an alarm that is set or cancelled by a call that raises, when its time comes, then it is as if that call had
    not been."""

    class Cancels(Timed):
        def cancel_and_raise(self, name: str) -> None:
            self.alarms.cancel(name)
            raise Sorry

    async with one_room(Cancels) as room:
        await room.set_alarm("kept", 10)
        for call in (room.set_and_raise("never", 5), room.set_and_raise("kept", HOUR), room.cancel_and_raise("kept")):
            with pytest.raises(Sorry):
                await call
        await trio.sleep(20)
        assert await room.bodies() == ["kept"]


@statement(13, 48)
@behaviour(23, 24)
@pytest.mark.parametrize("keep", Keep, ids=lambda keep: keep.name.lower())
async def test_an_acknowledged_alarm_survives_a_power_cut_and_fires_though_nobody_calls(keep, tmp_path, autojump_clock) -> None:
    """Given an alarm that was set, or moved earlier, when the power fails after the reply, whatever is left of the
    unsynced, then the next start fires it at its time without a call."""
    async with on_faulty_disk(tmp_path / "data", Timed) as (runtime, disk):
        room = runtime.room(Timed, "a")
        await room.set_alarm("moved earlier", 10 * HOUR)
        await room.post_and_set("post", HOUR)
        await room.set_alarm("moved earlier", HOUR / 2)
        cut_power(disk, keep, tmp_path / "cut", Random(1))
    async with open_test_runtime(Timed, path=tmp_path / "cut") as runtime:
        assert runtime.status().rooms_open == 0
        await trio.sleep(HOUR + 60)
        assert await runtime.room(Timed, "a").bodies() == ["post", "moved earlier", "alarm of post"]


@statement(48)
@behaviour(23)
async def test_an_alarm_survives_a_restart_and_an_overdue_one_fires_at_once(failing, tmp_path, autojump_clock) -> None:
    """Given alarms and a stop, when the runtime starts again before one and after the other was due, then the overdue one
    fires at once and the other at its time, though nobody calls."""
    async with on_still_disk(tmp_path, failing) as (runtime, _, _):
        began = await runtime.room(failing, "a").clock()
        await runtime.room(failing, "a").set_alarm("soon", 30)
        await runtime.room(failing, "a").set_alarm("later", HOUR)
    await trio.sleep(60)
    async with on_still_disk(tmp_path, failing) as (runtime, _, _):
        await trio.sleep(30)
        assert [began + 60 <= at < began + 65 for at, _ in failing.runs] == [True]
        await trio.sleep(HOUR)
        assert [began + HOUR <= at < began + HOUR + 5 for at, _ in failing.runs] == [False, True]
        assert await runtime.room(failing, "a").bodies() == ["soon None", "later None"]


@statement(14, 20)
@behaviour(24)
async def test_an_alarm_that_was_moved_later_is_not_fired_early_by_what_the_catalog_still_says(tmp_path, autojump_clock) -> None:
    """Given an alarm that was moved later, when the process is killed before the catalog was told, then the room is woken
    in vain at the old time, nothing fires, and the alarm does at the new one."""
    async with on_faulty_disk(tmp_path / "data", Timed) as (runtime, disk):
        room = runtime.room(Timed, "a")
        await room.set_alarm("a", 60)
        await room.set_alarm("a", 600)
        cut_power(disk, Keep.ALL, tmp_path / "killed", Random(1))
    async with open_test_runtime(Timed, path=tmp_path / "killed") as runtime:
        room = runtime.room(Timed, "a")
        await trio.sleep(300)
        assert await room.bodies() == []
        assert await room.is_set("a")
        await trio.sleep(600)
        assert await room.bodies() == ["a"]


@statement(15)
async def test_an_alarm_that_the_catalog_cannot_keep_is_not_acknowledged(tmp_path, autojump_clock) -> None:
    """Given a catalog whose syncs fail, when an alarm is moved later, then nothing is asked of it and the call returns;
    when one is moved earlier, then the runtime stops, and the caller is not told that it is set."""
    moved: list[Any] = []
    with pytest.raises(DiskFailed):
        async with on_faulty_disk(tmp_path, Timed) as (runtime, disk):
            room = runtime.room(Timed, "a")
            await born(room)
            await room.set_alarm("a", HOUR)
            disk.fail(Fault("sync", "catalog.db*", by="ours", times=float("inf")))
            disk.fail(Fault("file system sync", times=float("inf")))
            await room.set_alarm("a", 2 * HOUR)
            try:
                moved.append(await room.set_alarm("a", 60))
            except RoomsError as error:
                moved.append(error.ran)
            disk.faults.clear()
    assert moved == ["unknown"]


@statement(16, 17)
@behaviour(24)
async def test_what_moves_no_alarm_earlier_asks_nothing_of_the_catalog(tmp_path, autojump_clock) -> None:
    """Given a room with an alarm, when posts come, and when the alarm moves later a hundred times, then the catalog is
    not written; when it moves earlier, then it is."""
    async with open_test_runtime(Timed, path=tmp_path) as runtime:
        room = runtime.room(Timed, "a")
        await born(room)
        await room.set_alarm("a", HOUR)
        with writes_of_catalog(tmp_path) as catalog:
            before = version(catalog)
            for n in range(100):
                await room.post(f"{n}")
                await room.set_alarm("a", HOUR + n)
            assert version(catalog) == before
            await room.set_alarm("a", 60)
            assert version(catalog) != before


@statement(18)
@behaviour(23)
async def test_inside_its_handler_an_alarm_is_not_set_and_only_success_ends_it(failing, autojump_clock) -> None:
    """Given an alarm that fires, when its handler runs, then the alarm is not set; when it raises, then nothing it wrote
    stays and the alarm does; when it succeeds, then the alarm is gone, unless it was set anew."""
    async with one_room(failing) as room:
        failing.then = "raise"
        await room.set_alarm("a", 10, "first")
        await trio.sleep(11)
        assert [was_set for _, was_set in failing.runs] == [False]
        assert (await room.bodies(), await room.is_set("a")) == ([], True)
        failing.then = "set anew"
        await trio.sleep(5)
        assert (await room.bodies(), await room.is_set("a")) == (["a first"], True)
        await trio.sleep(HOUR)
        assert (await room.bodies(), await room.is_set("a")) == (["a first", "a anew"], False)


@statement(19)
async def test_an_alarm_whose_commit_fails_fires_again_and_takes_effect_once(failing, tmp_path, autojump_clock) -> None:
    """Given an alarm whose handler succeeds, when its COMMIT meets a full disk, then the alarm is still set; when there
    is space, it fires again, and its effect is there once. A full disk is not the handler's fault and never makes a dead
    letter."""
    async with on_faulty_disk(tmp_path, failing) as (runtime, disk):
        room = runtime.room(failing, "a")
        await room.set_alarm("a", 10, "first")
        disk.fail(Fault("write", "rooms/*-wal", errno.ENOSPC, by="sqlite", times=float("inf")))
        await trio.sleep(HOUR)
        assert await room.bodies() == []
        assert await room.is_set("a")
        disk.faults.clear()
        await trio.sleep(HOUR)
        assert await room.bodies() == ["a first"]
        assert not await room.is_set("a")
        assert await room.dead() == []


@behaviour(23)
async def test_a_failing_alarm_is_retried_with_doubling_waits_and_then_kept_as_a_dead_letter(failing, autojump_clock) -> None:
    """Given a handler that always raises, when its alarm fires, then it runs 7 times, 2, 4, … 64 seconds apart and a
    quarter more at most; then it is kept with its reason, where a Durable Object forgets it, and others are not held up."""
    failing.then = "raise"
    async with one_room(failing) as room:
        await room.set_alarm("a", 1)
        await trio.sleep(HOUR)
        waits = [later - earlier for (earlier, _), (later, _) in pairwise(failing.runs)]
        assert len(waits) == 6
        for wait, least in zip(waits, (2, 4, 8, 16, 32, 64), strict=True):
            assert least <= wait <= 1.25 * least + 1.1
        assert await room.dead() == ["a"]
        assert not await room.is_set("a")
        failing.then = "end"
        await room.set_alarm("b", 1)
        await trio.sleep(5)
        assert await room.bodies() == ["b None"]


@statement(22)
async def test_an_alarm_that_is_set_anew_while_an_earlier_one_fails_is_kept(failing, autojump_clock) -> None:
    """Given an alarm that is being retried, when somebody sets it to another time, then the old one is not tried again
    and does not take the new one with it: that fires at its time, with its payload, and has all its tries before it."""
    failing.then = "raise"
    async with one_room(failing) as room:
        began = await room.clock()
        await room.set_alarm("a", 1, "old")
        await trio.sleep(100)
        tries = len(failing.runs)
        await room.set_alarm("a", HOUR, "new")
        await trio.sleep(1_000)
        assert len(failing.runs) == tries
        failing.then = "end"
        await trio.sleep(HOUR)
        assert await room.bodies() == ["a new"]
        assert failing.runs[-1][0] >= began + 100 + HOUR


@behaviour(23)
def test_a_class_without_on_alarm_sets_none() -> None:
    """Given a class that could not be told, when it sets an alarm, then that is refused and nothing is kept."""

    class Deaf(Notes):
        def set_alarm(self) -> None:
            self.alarms.set("a", self.now() + 1)

    with pytest.raises(RoomsError, match="on_alarm"):
        bare(Deaf).set_alarm()
