"""Rooms that wake by themselves: found in the catalog, opened only when due, put right when the catalog was wrong."""

import shutil
import sqlite3
from contextlib import closing
from typing import Any, ClassVar

import pytest
import trio

from actors import Limits, Position, RoomName
from actors.alarms.waker import LOAD_ROOMS, PUT_OFF_SECONDS_FIRST, WAKES_AT_ONCE_MAX
from actors.directory.catalog import Catalog, Entry
from actors.system.disk import Disk
from durable_rooms import Actor, RuntimeClosed
from tests.rooms.chat import ChatRoom, outcome, path_of
from tests.rooms.faults import FailsOnce
from tests.rooms.reminders import Reminders, Sorry, WallClock, killed, opened


def info(runtime: Any, id: str = "a") -> Any:
    return runtime.describe(runtime.room(Reminders, id))


async def test_a_room_with_an_alarm_far_away_hibernates_and_is_awake_in_time(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        room = runtime.room(Reminders, "a")
        at = await room.remind("tea", 10_000)
        await trio.sleep(200)
        assert runtime.status().rooms_open == 0
        assert info(runtime).wake_at == at
        await trio.sleep(9_790)
        assert runtime.status().rooms_open == 0
        await trio.sleep(11)
        assert runtime.status().alarms_fired == 1
        await trio.sleep(1)
        assert runtime.status().rooms_open == 0, "nobody needs it any more"
        assert info(runtime).wake_at is None
        assert [name for name, _ in await room.log()] == ["tea"]


async def test_after_a_restart_an_alarm_goes_off_and_a_room_that_is_not_due_stays_closed(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        await runtime.room(Reminders, "a").remind("tea", 100)
        await runtime.room(Reminders, "b").remind("tea", 5_000)
        await runtime.room(Reminders, "c").ping()
    async with opened(tmp_path / "data") as runtime:
        await trio.sleep(50)
        assert runtime.status().rooms_open == 0
        await trio.sleep(60)
        assert runtime.status().alarms_fired == 1
        assert [name for name, _ in await runtime.room(Reminders, "a").log()] == ["tea"]
        assert not info(runtime, "b").resident
        assert not info(runtime, "c").resident


async def test_alarms_that_fell_due_while_down_go_off_after_the_start(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        for number in range(40):
            await runtime.room(Reminders, f"{number:02}").remind("tea", 100)
    await trio.sleep(500)
    async with opened(tmp_path / "data") as runtime:
        await trio.sleep(1)
        assert runtime.status().alarms_fired == 40


async def test_after_a_crash_an_acknowledged_alarm_goes_off(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        await runtime.room(Reminders, "a").remind("later", 5_000)
        await runtime.room(Reminders, "a").remind("tea", 100)
        left = killed(tmp_path / "data")
    async with opened(left) as runtime:
        await trio.sleep(50)
        assert runtime.status().rooms_open == 0
        await trio.sleep(60)
        assert runtime.status().alarms_fired == 1
        await trio.sleep(5_000)
        assert [name for name, _ in await runtime.room(Reminders, "a").log()] == ["tea", "later"]


async def test_after_a_crash_one_that_went_off_does_not_go_off_again(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("tea", 10)
        await trio.sleep(20)
        assert info(runtime).wake_at is not None, "put right only when the room closes"
        left = killed(tmp_path / "data")
    async with opened(left) as runtime:
        await trio.sleep(100)
        assert runtime.status().alarms_fired == 0
        assert info(runtime).wake_at is None, "woken in vain, and put right"
        assert [name for name, _ in await runtime.room(Reminders, "a").log()] == ["tea"]


async def test_what_a_crash_left_in_the_file_alone_is_found_when_the_room_is_opened(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        await runtime.room(Reminders, "a").remind("tea", 100)
    with closing(sqlite3.connect(tmp_path / "data" / "catalog.db")) as catalog, catalog:
        catalog.execute("UPDATE rooms SET wake_at = NULL")
    async with opened(tmp_path / "data") as runtime:
        await trio.sleep(500)
        assert runtime.status().rooms_open == 0
        await runtime.room(Reminders, "a").ping()
        await trio.sleep(1)
        assert runtime.status().alarms_fired == 1


async def test_an_older_copy_in_place_of_a_rooms_file_has_its_own_alarms(autojump_clock, tmp_path):
    data = tmp_path / "data"
    async with opened(data) as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("old", 1_000)
        file = path_of(runtime, room)
    shutil.copy(file, tmp_path / "old.db")
    async with opened(data) as runtime:
        await runtime.room(Reminders, "a").cancel("old")
        await runtime.room(Reminders, "a").remind("new", 500)
    shutil.copy(tmp_path / "old.db", file)
    async with opened(data) as runtime:
        await trio.sleep(600)
        assert runtime.status().alarms_fired == 0
        await trio.sleep(600)
        assert [name for name, _ in await runtime.room(Reminders, "a").log()] == ["old"]


async def test_a_catalog_that_was_lost_knows_again_who_is_to_be_woken(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        at = await runtime.room(Reminders, "a").remind("tea", 100)
        await runtime.room(Reminders, "b").ping()
    for file in (tmp_path / "data").glob("catalog.db*"):
        file.unlink()
    async with opened(tmp_path / "data") as runtime:
        assert (info(runtime).wake_at, info(runtime, "b").wake_at) == (at, None)
        await trio.sleep(200)
        assert runtime.status().alarms_fired == 1


async def test_a_room_that_broke_is_opened_again_for_its_alarm(autojump_clock, tmp_path):
    disk = FailsOnce()
    async with opened(tmp_path / "data", disk=disk) as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("tea", 100)
        disk.fail_next()
        await outcome(lambda: room.remind("other", 50))
        assert runtime.status().rooms_broken == 1
        await trio.sleep(200)
        assert runtime.status().alarms_fired >= 1
        assert "tea" in [name for name, _ in await room.log()]


async def test_the_earliest_of_many_alarms_moves_as_they_are_set_and_cancelled(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        room = runtime.room(Reminders, "a")
        for seconds in (300, 200, 100, 400):
            await room.remind(f"in {seconds}", seconds)
        await room.cancel("in 100")
        await trio.sleep(150)
        assert await room.log() == []
        await trio.sleep(1_000)
        assert [name for name, _ in await room.log()] == ["in 200", "in 300", "in 400"]
        assert runtime.waker._next == {}


async def test_an_alarm_that_is_put_off_again_and_again_leaves_nothing_behind(autojump_clock, tmp_path):
    """As a timeout for idleness does: every call sets it later."""
    async with opened(tmp_path / "data") as runtime:
        room = runtime.room(Reminders, "a")
        for _ in range(500):
            await room.remind("idle", 60)
            await trio.sleep(1)
        assert len(runtime.waker._heap) < 5
        assert await room.log() == []
        await trio.sleep(70)
        assert len(await room.log()) == 1


async def test_rooms_that_come_and_go_with_alarms_far_away_leave_nothing_in_memory(autojump_clock, tmp_path):
    async with opened(tmp_path / "data", limits=Limits(open_rooms_max=8)) as runtime:
        for number in range(200):
            await runtime.room(Reminders, f"{number}").remind("tea", 1e6)
            await trio.sleep(0.1)
        assert len(runtime.waker._next) <= 8
        assert len(runtime.waker._heap) <= 8 * 2 + 65


async def test_more_rooms_than_places_and_pages_are_all_woken_a_few_at_once(autojump_clock, tmp_path):
    count, most = LOAD_ROOMS + 50, 0

    class Counted(Reminders):
        async def on_alarm(self, name: str, payload: Any) -> None:
            nonlocal most
            most = max(most, len(runtime.waker._visiting))
            await trio.sleep(0.5)
            self.write(name)

    Counted.__name__ = "Reminders"
    data = tmp_path / "data"
    async with opened(data, Counted, limits=Limits(open_rooms_max=400)) as runtime, trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(runtime.room(Counted, f"{number:04}").remind, "tea", 900)
    await trio.sleep(2_000)
    async with opened(data, Counted, limits=Limits(open_rooms_max=20)) as runtime:
        await trio.sleep(60)
        assert runtime.status().alarms_fired == count
        assert most == WAKES_AT_ONCE_MAX
        await trio.sleep(1)
        assert runtime.status().rooms_open == 0


async def test_a_call_waits_for_no_alarms_of_other_rooms(autojump_clock, tmp_path):
    class Long(Reminders):
        async def on_alarm(self, name: str, payload: Any) -> None:
            await trio.sleep(3_000)
            self.write(name)

    async with opened(tmp_path / "data", Long) as runtime:
        for number in range(WAKES_AT_ONCE_MAX + 4):
            await runtime.room(Long, f"{number}").remind("tea", 100)
    async with opened(tmp_path / "data", Long) as runtime:
        await trio.sleep(100.1)
        assert runtime.status().rooms_open == WAKES_AT_ONCE_MAX
        with trio.fail_after(0.1):
            await runtime.room(Long, "0").ping()
            await runtime.room(Long, "new").ping()
        await trio.sleep(20)
        assert runtime.status().rooms_open >= WAKES_AT_ONCE_MAX + 4, "the last ones wait for the first no longer than so"


async def test_no_room_is_born_by_being_woken(autojump_clock, tmp_path):
    disk = FailsOnce()
    async with opened(tmp_path / "data", disk=disk) as runtime:
        disk.fail_next()
        await outcome(lambda: runtime.room(Reminders, "a").remind("tea", 10))
        await trio.sleep(200)
        assert not list((tmp_path / "data" / "rooms").glob("*/*.db"))
        assert runtime.status().rooms_open == 0


async def test_a_room_of_a_class_that_is_not_there_waits_for_it(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        await runtime.room(Reminders, "a").remind("tea", 10)
    async with opened(tmp_path / "data", ChatRoom) as runtime:
        await trio.sleep(100)
        assert runtime.status().rooms_open == 0
    async with opened(tmp_path / "data") as runtime:
        await trio.sleep(1)
        assert runtime.status().alarms_fired == 1


async def test_a_room_that_cannot_be_opened_is_tried_again_ever_more_seldom(autojump_clock, tmp_path):
    made: list[float] = []

    class Fragile(Reminders):
        fit: ClassVar = True

        def __init__(self) -> None:
            made.append(trio.current_time())
            if not self.fit:
                raise Sorry("not today")

    async with opened(tmp_path / "data", Fragile) as runtime:
        await runtime.room(Fragile, "a").remind("tea", 10)
    Fragile.fit = False
    made.clear()
    async with opened(tmp_path / "data", Fragile) as runtime:
        await trio.sleep(600)
        assert 5 < len(made) < 20
        assert made[-1] - made[-2] > 30
        Fragile.fit = True
        await trio.sleep(130)
        assert runtime.status().alarms_fired == 1


async def test_an_alarm_of_a_class_that_lost_its_handler_is_kept_as_dead(autojump_clock, tmp_path):
    class Deaf(Actor):
        migrations = Reminders.migrations

        def dead(self) -> list[str]:
            return [f"{alarm.name}: {alarm.reason}" for alarm in self.alarms.dead()]

    Deaf.__name__ = "Reminders"
    async with opened(tmp_path / "data") as runtime:
        await runtime.room(Reminders, "a").remind("tea", 10)
    async with opened(tmp_path / "data", Deaf) as runtime:
        await trio.sleep(500)
        (dead,) = await runtime.room(Deaf, "a").dead()
        assert dead.startswith("tea: StatementRefused: Reminders has no method on_alarm")


async def test_a_stop_lets_a_handler_that_has_begun_end_and_begins_none(autojump_clock, tmp_path):
    class Slow(Reminders):
        async def on_alarm(self, name: str, payload: Any) -> None:
            await trio.sleep(5)
            self.write(name)

    async with opened(tmp_path / "data", Slow) as runtime:
        room = runtime.room(Slow, "a")
        await room.remind("one", 10)
        await room.remind("two", 13)
        await trio.sleep(12)
    assert runtime.status().alarms_fired == 1
    with pytest.raises(RuntimeClosed):
        await room.log()
    async with opened(tmp_path / "data", Slow) as runtime:
        await trio.sleep(20)
        assert [name for name, _ in await runtime.room(Slow, "a").log()] == ["one", "two"]


async def test_a_stop_that_cuts_a_handler_short_leaves_its_alarm(autojump_clock, tmp_path):
    class Endless(Reminders):
        async def on_alarm(self, name: str, payload: Any) -> None:
            self.write("begun")
            await trio.sleep(1_000 if not self.log()[1:] else 1)
            self.write("ended")

    async with opened(tmp_path / "data", Endless) as runtime:
        await runtime.room(Endless, "a").remind("one", 10)
        await trio.sleep(12)
    async with opened(tmp_path / "data", Endless) as runtime:
        await trio.sleep(20)
        assert [name for name, _ in await runtime.room(Endless, "a").log()] == ["begun", "begun", "ended"]


async def test_idle_alarms_wake_nobody(autojump_clock, tmp_path):
    """A closed room with an alarm costs the waker one look a second, and without any it sleeps."""
    clock = WallClock()
    async with opened(tmp_path / "data", clock=clock) as runtime:
        await runtime.room(Reminders, "a").ping()
        looked = 0
        wall_clock = runtime.doors.wall_clock

        def counted() -> float:
            nonlocal looked
            looked += 1
            return wall_clock()

        await trio.sleep(100)
        runtime.doors.wall_clock = counted
        await trio.sleep(1_000)
        assert looked == 0
        runtime.doors.wall_clock = wall_clock


async def test_the_catalog_tells_in_order_who_is_to_be_woken_with_what_waits(tmp_path):
    catalog = Catalog.open(Disk(), tmp_path / "catalog.db")
    try:

        def put(id: str, wake_at: float | None) -> None:
            catalog.put(Entry(RoomName("R", id), active=False, proven=True, position=Position(1, 0), wake_at=wake_at))

        def told(after: tuple[float, str, str], limit: int) -> list[tuple[str, float | None]]:
            return [(entry.name.id, entry.wake_at) for entry in catalog.to_wake(after, limit)]

        for number in range(6):
            put(f"{number}", 10.0 + number // 2)
        put("never", None)
        catalog.commit()
        start = (float("-inf"), "", "")
        assert told(start, 2) == [("0", 10.0), ("1", 10.0)]
        assert told((10.0, "R", "0"), 2) == [("1", 10.0), ("2", 11.0)]
        assert told((10.0, "R", "1"), 100) == [("2", 11.0), ("3", 11.0), ("4", 12.0), ("5", 12.0)]
        put("0", 12.5)
        put("1", None)
        put("4", 9.0)
        catalog.forget(RoomName("R", "2"))
        assert told(start, 2) == [("4", 9.0)], "nothing that is committed comes before; the two that did have moved"
        assert told((9.0, "R", "4"), 2) == [("3", 11.0)]
        assert told((9.0, "R", "4"), 100) == [("3", 11.0), ("5", 12.0), ("0", 12.5)]
        catalog.commit()
        assert told(start, 100) == [("4", 9.0), ("3", 11.0), ("5", 12.0), ("0", 12.5)]
    finally:
        catalog.close()


async def test_a_room_that_fails_again_as_its_time_comes_is_put_off_for_longer(autojump_clock, tmp_path):
    """The wall clock's seconds are coarser than trio's: its time may come some nanoseconds before it is over there."""
    async with opened(tmp_path / "data") as runtime:
        waker, name = runtime.waker, RoomName("Reminders", "a")
        waker.put_off(name)
        await trio.sleep(PUT_OFF_SECONDS_FIRST - 1e-8)
        waker.put_off(name)
        assert waker._put_off[name][0] - trio.current_time() == pytest.approx(2 * PUT_OFF_SECONDS_FIRST)
