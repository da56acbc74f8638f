"""`self.alarms`: set and cancelled with the data, never early, exactly once in effect, tried again, given up."""

import logging
from pathlib import Path
from typing import Any, ClassVar

import apsw
import pytest
import trio
import trio.lowlevel

from actors import Alarm, Disk, Limits
from actors.tables.annex import ALARMS
from durable_rooms import Actor, CallFailed, OutcomeUnknown, SQLiteReplica, StatementRefused, StorageFull, TooLarge, read
from durable_rooms.testing import TEST_TIME, bare
from tests.rooms.chat import one_after_another, one_room
from tests.rooms.faults import FailsOnce, Mute
from tests.rooms.reminders import Reminders, Sorry, WallClock, opened

RETRIES = [2, 4, 8, 16, 32, 64]  # seconds before each, without jitter


@pytest.fixture
def fails():
    Reminders.fails.clear()
    yield Reminders.fails
    Reminders.fails.clear()


async def test_an_alarm_goes_off_at_its_time_with_its_payload(autojump_clock):
    async with one_room(Reminders) as room:
        await room.remind("tea", 60, {"to": ["ann"], "n": 2**60})
        alarm = await room.look("tea")
        assert (alarm["in"], alarm["payload"]) == (60, {"to": ["ann"], "n": 2**60})
        await trio.sleep(59.9)
        assert await room.log() == []
        await trio.sleep(0.11)
        ((name, at),) = await room.log()
        assert name == "tea"
        assert await room.payloads() == ['{"to": ["ann"], "n": 1152921504606846976}']
        assert 60 <= at < 60.05
        assert await room.look("tea") is None
        await trio.sleep(600)
        assert len(await room.log()) == 1


async def test_one_in_the_past_goes_off_as_soon_as_it_is_durable(autojump_clock):
    async with one_room(Reminders) as room:
        await room.remind("late", -1e6)
        await trio.sleep(0.01)
        assert [name for name, _ in await room.log()] == ["late"]


async def test_an_alarm_lives_and_dies_with_the_call_that_sets_it(autojump_clock):
    async with one_room(Reminders) as room:
        with pytest.raises(Sorry):
            await room.remind_and_raise("never", 1)
        await room.remind("tea", 60)
        with pytest.raises(Sorry):
            await room.remind_and_raise("tea", 1)
        assert [one["in"] for one in await room.listed()] == [60]
        await trio.sleep(50)
        assert await room.log() == []
        assert await room.cancel("tea") is True
        assert await room.cancel("tea") is False
        await trio.sleep(50)
        assert await room.log() == []


async def test_a_name_set_again_has_the_new_time_and_payload_alone(autojump_clock):
    async with one_room(Reminders) as room:
        await room.remind("tea", 10, "first")
        await room.remind("tea", 20, "second")
        await room.remind("tea", 5, "third")
        await trio.sleep(30)
        assert await room.payloads() == ["third"]


async def test_a_thousand_alarms_of_one_room_go_off_in_the_order_of_their_times_and_names(autojump_clock):
    async with one_room(Reminders) as room:
        await room.remind_many(1_000, 5)
        await trio.sleep(20)
        names = [name for name, _ in await room.log()]
        assert names == [f"{number:04}" for last in range(10) for number in range(last, 1_000, 10)]


async def test_a_room_without_alarms_has_no_table_for_them(autojump_clock, tmp_path):
    async with opened(tmp_path / "data") as runtime:
        room = runtime.room(Reminders, "a")
        assert await room.look("tea") is None
        assert await room.listed() == []
        assert await room.cancel("tea") is False
        transaction = runtime.seated(room._name).storage.transaction
        assert ALARMS not in transaction.annexes
        await room.remind("tea", 1)
        assert ALARMS in transaction.annexes


@pytest.mark.parametrize(
    ("name", "seconds", "every"),
    [("", 1, None), ("x" * 1025, 1, None), (7, 1, None), ("a", 1e300, None), ("a", float("nan"), None), ("a", -1e300, None)]
    + [("a", 1, every) for every in (0, 0.5, -1, float("inf"), float("nan"), 1e300, True)],
)
async def test_what_is_no_alarm_is_refused(name: Any, seconds: float, every: Any, autojump_clock):
    async with one_room(Reminders) as room:
        with pytest.raises(CallFailed):
            await room.remind(name, seconds, None, every)
        assert await room.listed() == []


async def test_a_payload_is_bounded_and_by_value(autojump_clock):
    class Careless(Reminders):
        def remind_of_a_set(self) -> None:
            self.alarms.set("a", 0, {1, 2})

        def remind_of_what_changes(self) -> None:
            words = ["one"]
            self.alarms.set("a", 0, words)
            words.append("two")

        def on_alarm(self, name: str, payload: Any) -> None:
            self.write(name, ",".join(payload))

    async with one_room(Careless, limits=Limits(call_bytes_max=1_000)) as room:
        with pytest.raises(CallFailed, match="set"):
            await room.remind_of_a_set()
        with pytest.raises(TooLarge, match="call_bytes_max"):
            await room.remind("a", 1, b"x" * 998)
        await room.remind_of_what_changes()
        await trio.sleep(0.01)
        assert await room.payloads() == ["one"]


async def test_a_class_without_on_alarm_is_refused_its_alarms(autojump_clock):
    class Forgetful(Actor):
        def remind(self) -> None:
            self.alarms.set("a", 0)

    async with one_room(Forgetful) as room:
        with pytest.raises(StatementRefused, match="no method on_alarm"):
            await room.remind()


@pytest.mark.parametrize("wrong", [lambda self: None, lambda self, name: None, read(lambda self, name, payload: None), 7])
def test_an_on_alarm_that_cannot_be_called_is_refused_with_its_class(wrong: Any):
    class Wrong(Actor):
        on_alarm = wrong

    with pytest.raises(TypeError, match="on_alarm"):
        bare(Wrong)


def test_bare_rooms_keep_alarms_and_reads_have_none():
    class Peeking(Reminders):
        @read
        def peek(self) -> Any:
            return self.alarms.get("a")

    room = bare(Peeking)
    room.remind("b", 2)
    room.remind("a", 1)
    assert [(one["name"], one["in"]) for one in room.listed()] == [("a", 1), ("b", 2)]
    assert [one["name"] for one in room.listed("b")] == ["b"]
    assert room.cancel("a") is True
    assert room.look("a") is None
    with pytest.raises(StatementRefused, match=r"self\.alarms"):
        room.peek()


def test_a_listing_of_several_pages_may_cancel_as_it_goes():
    class Sweeping(Reminders):
        def sweep(self) -> int:
            return sum(self.alarms.cancel(alarm.name) for alarm in self.alarms.items())

    room = bare(Sweeping)
    room.remind_many(600, 5)
    assert room.sweep() == 600
    assert room.listed() == []


async def test_what_alarms_wrote_reaches_the_replica(autojump_clock, tmp_path):
    async with opened(tmp_path / "data", replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("tea", 1)
        await trio.sleep(2)
        await runtime.replicated()
        assert [row.name for row in await runtime.across({Reminders: "all"}).sql("SELECT name FROM Reminders_log")] == ["tea"]


# -- in the handler ---------------------------------------------------------------------------------------------------------
class Thoughtful(Reminders):
    """Looks at its alarms from within the handler."""

    seen: ClassVar[list[Any]] = []

    def on_alarm(self, name: str, payload: Any) -> None:
        self.write(name, payload)
        self.seen.append(self.alarms.get(name))
        if payload:
            self.alarms.set(name, self.now() + 5, payload - 1)
            self.seen.append(self.alarms.get(name).payload)


async def test_while_its_handler_runs_an_alarm_is_not_there_until_set_anew_and_that_stays(autojump_clock):
    Thoughtful.seen.clear()
    async with one_room(Thoughtful) as room:
        await room.remind("tea", 10, 2)
        await trio.sleep(60)
        assert [round(at) for _, at in await room.log()] == [10, 15, 20]
        assert Thoughtful.seen == [None, 1, None, 0, None]
        assert await room.listed() == []


class Slow(Reminders):
    """An async handler of three slices. Its alarm is `meddled` with from inside or outside meanwhile."""

    async def on_alarm(self, name: str, payload: Any) -> None:
        self.write(f"{name} begins")
        await trio.sleep(1)
        assert self.alarms.get(name) is None or payload == "anew"
        if payload == "set":
            self.alarms.set(name, self.now() + 5, "anew")
        await trio.sleep(1)
        self.write(f"{name} ends")
        if payload == "raise" or name in self.fails:
            raise Sorry(name)


async def test_the_alarm_of_an_async_handler_goes_with_its_last_slice(autojump_clock, tmp_path):
    async with opened(tmp_path / "data", Slow) as runtime:
        room = runtime.room(Slow, "a")
        await room.remind("tea", 1)
        await trio.sleep(2.5)
        assert [name for name, _ in await room.log()] == ["tea begins"]
        assert await room.look("tea") is None
        assert await room.cancel("other") is False
        rows = runtime.seated(room._name).storage.connection.execute("SELECT name FROM _alarms").get
        assert rows == "tea", "a crash here would let it go off again"
        await trio.sleep(2)
        assert [name for name, _ in await room.log()] == ["tea begins", "tea ends"]
        assert runtime.seated(room._name).storage.connection.execute("SELECT count(*) FROM _alarms").get == 0
        assert runtime.status().alarms_fired == 1


async def test_an_alarm_set_anew_while_its_async_handler_runs_stays(autojump_clock):
    async with one_room(Slow) as room:
        await room.remind("inside", 1, "set")
        await room.remind("outside", 1)
        await trio.sleep(2.5)
        await room.remind("outside", 10, "anew")
        await trio.sleep(1)
        assert [(one["name"], one["payload"]) for one in await room.listed()] == [("inside", "anew"), ("outside", "anew")]
        await trio.sleep(20)
        assert [name for name, _ in await room.log()].count("inside ends") == 2
        assert [name for name, _ in await room.log()].count("outside ends") == 2


async def test_the_slices_of_an_async_handler_that_raises_stay_and_the_alarm_is_tried_again(autojump_clock):
    async with one_room(Slow) as room:
        await room.remind("tea", 1, "raise")
        await trio.sleep(3.1)
        assert [name for name, _ in await room.log()] == ["tea begins"], "the last slice was rolled back"
        (alarm,) = await room.listed()
        assert (alarm["tries"], alarm["reason"]) == (1, "Sorry: tea")
        await trio.sleep(10)
        assert [name for name, _ in await room.log()].count("tea begins") > 1


async def test_an_alarm_waits_its_turn_like_a_call(autojump_clock):
    class Excluding(Reminders):
        async def alone(self, seconds: float) -> None:
            async with self.exclusive():
                await trio.sleep(seconds)
                self.write("alone")

    async with one_room(Excluding) as room, trio.open_nursery() as nursery:
        await room.remind("tea", 1)
        nursery.start_soon(room.alone, 5)
        await trio.sleep(10)
        assert [name for name, _ in await room.log()] == ["alone", "tea"]


async def test_a_handler_that_wants_to_knows_how_often_it_was_tried(autojump_clock):
    class Curious(Reminders):
        def on_alarm(self, name: str, payload: Any, alarm: Alarm) -> None:
            self.write(name, f"{alarm.tries} {round(alarm.at - TEST_TIME)} {alarm.reason}")
            if alarm.tries < 2:
                raise Sorry("not yet")

    async with one_room(Curious) as room:
        await room.remind("tea", 1)
        await trio.sleep(60)
        assert await room.payloads() == ["2 1 Sorry: not yet"]


# -- failures -----------------------------------------------------------------------------------------------------------------
async def test_a_handler_that_raises_is_rolled_back_and_tried_again_after_doubling_delays(autojump_clock, fails, tmp_path):
    tried = []

    class Failing(Reminders):
        def on_alarm(self, name: str, payload: Any) -> None:
            tried.append(self.now() - TEST_TIME)
            self.alarms.set("another", 0)
            super().on_alarm(name, payload)

    fails.add("tea")
    async with opened(tmp_path / "data", Failing) as runtime:
        room = runtime.room(Failing, "a")
        at = await room.remind("tea", 1) - TEST_TIME
        await trio.sleep(1_000)
        delays = [later - earlier for earlier, later in zip([at, *tried], tried, strict=False)]
        assert delays[0] < 0.05
        assert len(delays) == 7
        for delay, seconds in zip(delays[1:], RETRIES, strict=True):
            assert seconds <= delay <= seconds * 1.25 + 0.1
        assert len({round(delay / seconds, 3) for delay, seconds in zip(delays[1:], RETRIES, strict=True)}) > 1, "no jitter"
        assert await room.log() == []
        assert await room.listed() == []
        (dead,) = await room.dead()
        assert (dead["name"], dead["tries"], dead["reason"]) == ("tea", 7, "Sorry: tea")
        assert (runtime.status().alarms_fired, runtime.status().alarms_dead) == (0, 1)


async def test_an_alarm_that_is_given_up_is_logged_once_and_may_be_set_anew(autojump_clock, fails, caplog):
    fails.add("tea")
    async with one_room(Reminders, limits=Limits(alarm_retries_max=1)) as room:
        with caplog.at_level(logging.ERROR, "durable_rooms"):
            await room.remind("tea", 1, "first")
            await trio.sleep(300)
        (record,) = caplog.records
        assert "'tea'" in record.getMessage()
        assert record.exc_info is not None
        assert await room.look("tea") is None
        fails.clear()
        await room.remind("tea", 1, "second")
        assert await room.dead() == []
        await trio.sleep(2)
        assert await room.payloads() == ["second"]
        fails.add("tea")
        await room.remind("tea", 1)
        await trio.sleep(300)
        assert len(await room.dead()) == 1
        assert await room.cancel("tea") is True
        assert await room.dead() == []


async def test_one_that_fails_does_not_hold_up_the_others(autojump_clock, fails):
    fails.add("0000")
    async with one_room(Reminders) as room:
        await room.remind_many(300, 1)
        await trio.sleep(20)
        assert len(await room.log()) == 299


async def test_a_handler_whose_error_has_no_text_is_kept_with_one(autojump_clock, monkeypatch):
    monkeypatch.setattr(logging.getLogger("durable_rooms.actors"), "propagate", False)  # pytest-xdist cannot carry such a log

    class Failing(Reminders):
        def on_alarm(self, name: str, payload: Any) -> None:
            raise Mute if payload else Sorry("\ud800" * 1_000)

    async with one_room(Failing, limits=Limits(alarm_retries_max=1)) as room:
        await room.remind("mute", 1, True)
        await room.remind("odd", 1, False)
        await trio.sleep(100)
        assert [one["reason"][:10] for one in await room.dead()] == ["Mute (its ", "Sorry: ???"]


async def test_a_neighbour_that_voids_the_turn_is_not_counted_against_the_alarm(autojump_clock, tmp_path):
    class Shaky(Reminders):
        migrations: ClassVar = [*Reminders.migrations, "CREATE TABLE one (id INTEGER PRIMARY KEY)", "INSERT INTO one VALUES (1)"]
        tried: ClassVar[list[float]] = []

        def roll_back(self) -> None:
            self.sql("INSERT OR ROLLBACK INTO one VALUES (1)")

        async def hold(self) -> None:
            async with self.exclusive():
                await trio.sleep(5)

        def on_alarm(self, name: str, payload: Any) -> None:
            self.tried.append(self.now())
            super().on_alarm(name, payload)

    async with opened(tmp_path / "data", Shaky) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Shaky, "a")
        await room.remind("tea", 1)

        async def fail() -> None:
            with pytest.raises(Exception, match="UNIQUE"):
                await room.roll_back()

        nursery.start_soon(room.hold)
        await trio.sleep(2)  # by now the alarm waits in the mailbox
        nursery.start_soon(fail)  # behind it, in the same turn
        await trio.sleep(10)
        assert len(Shaky.tried) == 2
        assert [name for name, _ in await room.log()] == ["tea"]


async def test_a_broken_sync_is_not_counted_and_the_alarm_goes_off_again(autojump_clock, tmp_path):
    disk, tried = FailsOnce(), []

    class Breaking(Reminders):
        def on_alarm(self, name: str, payload: Any) -> None:
            tried.append(self.now())
            if len(tried) == 1:
                disk.fail_next()
            super().on_alarm(name, payload)

    async with opened(tmp_path / "data", Breaking, disk=disk) as runtime:
        room = runtime.room(Breaking, "a")
        await room.remind("tea", 1)
        await trio.sleep(30)
        assert runtime.status().rooms_broken == 1
        log = [name for name, _ in await room.log()]
        assert log == ["tea"] * len(tried), "what a failed sync leaves may be there, and then it did not go off again"
        assert await room.listed() == []


async def test_an_alarm_that_meets_damage_costs_its_room_alone(autojump_clock, tmp_path):
    class Damaged(Reminders):
        def on_alarm(self, name: str, payload: Any) -> None:
            raise apsw.CorruptError(name)

    async with opened(tmp_path / "data", Damaged) as runtime:
        await runtime.room(Damaged, "a").remind_many(
            30, 1
        )  # at once by threes: others wait in the mailbox when the first one runs
        await trio.sleep(60)
        assert [room.id for room in runtime.list_rooms(Damaged, sick=True)] == ["a"]
        await runtime.room(Damaged, "b").ping()


async def test_an_alarm_that_is_given_up_as_its_room_leaves_memory_is_dead_after_it(autojump_clock, tmp_path):
    class Failing(Reminders):
        def on_alarm(self, name: str, payload: Any) -> None:
            tried.unpark_all()
            raise Sorry(name)

    tried = trio.lowlevel.ParkingLot()
    async with opened(tmp_path / "data", Failing, limits=Limits(alarm_retries_max=1)) as runtime:
        room = runtime.room(Failing, "a")
        await room.remind("tea", 1)
        await tried.park()
        await tried.park()
        assert await runtime.evict(room)
        assert [(one["name"], one["tries"]) for one in await room.dead()] == [("tea", 2)]
        assert runtime.status().alarms_dead == 1


class NearlyFull(Disk):
    free = 10 * 2**30

    def free_bytes(self, path: Path) -> int:
        return self.free


async def test_a_full_disk_is_waited_for_without_counting(autojump_clock, tmp_path):
    disk = NearlyFull()
    async with opened(tmp_path / "data", disk=disk, limits=Limits(alarm_retries_max=1)) as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("tea", 10)
        disk.free = 0
        await trio.sleep(600)
        with pytest.raises(StorageFull):
            await room.remind("b", 1)
        assert [(one["name"], one["tries"]) for one in await room.listed()] == [("tea", 0)]
        disk.free = 10 * 2**30
        await trio.sleep(70)
        assert [name for name, _ in await room.log()] == ["tea"]
        assert runtime.status().alarms_dead == 0


async def test_a_new_incarnation_does_not_wait_because_the_alarms_of_the_old_one_failed(autojump_clock, tmp_path):
    disk = NearlyFull()
    async with opened(tmp_path / "data", disk=disk) as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("old", 10)
        disk.free = 0
        await trio.sleep(600)  # it is tried once a minute by now
        await runtime.delete(room)
        disk.free = 10 * 2**30
        await trio.sleep(5)  # until that is noticed
        await room.remind("new", 1)
        await trio.sleep(2)
        assert [name for name, _ in await room.log()] == ["new"]


async def test_more_calls_than_the_mailbox_holds_keep_no_alarm_out(autojump_clock):
    class Busy(Reminders):
        async def hold(self) -> None:
            async with self.exclusive():
                await trio.sleep(5)

    async with one_room(Busy, limits=Limits(mailbox_calls_max=2)) as room, trio.open_nursery() as nursery:
        await room.remind("tea", 1)
        await one_after_another(nursery, room.hold, room.ping, room.ping)
        await trio.sleep(10)
        assert [name for name, _ in await room.log()] == ["tea"]


# -- repeating ----------------------------------------------------------------------------------------------------------------
async def test_a_repeating_alarm_keeps_to_its_grid_and_is_cancelled_from_within(autojump_clock):
    class Counting(Reminders):
        def on_alarm(self, name: str, payload: Any) -> None:
            self.write(name, self.alarms.get(name).at - TEST_TIME)
            if len(self.log()) == 4:
                assert self.alarms.cancel(name)

    async with one_room(Counting) as room:
        await room.remind("tick", 10, None, 30)
        await trio.sleep(500)
        assert [round(at) for _, at in await room.log()] == [10, 40, 70, 100]
        assert await room.payloads() == [40, 70, 100, 130]
        assert await room.listed() == []


async def test_the_times_of_a_repeating_alarm_that_were_missed_are_made_up_for_by_one_run(autojump_clock, tmp_path):
    class Missing(Reminders):
        def on_alarm(self, name: str, payload: Any, alarm: Alarm) -> None:
            self.write(name, alarm.missed)

    async with opened(tmp_path / "data", Missing) as runtime:
        began = await runtime.room(Missing, "a").remind("tick", 10, None, 30) - TEST_TIME - 10
        await trio.sleep(45)
    await trio.sleep(200)  # until 245: 70, 100, 130, 160, 190 and 220 are missed
    async with opened(tmp_path / "data", Missing) as runtime:
        await trio.sleep(40)
        room = runtime.room(Missing, "a")
        assert [round(at - began) for _, at in await room.log()] == [10, 40, 245, 250, 280]
        assert await room.payloads() == [0, 0, 5, 0, 0]


async def test_a_repeating_alarm_of_an_async_handler_goes_on_after_it(autojump_clock):
    class Slowly(Reminders):
        async def on_alarm(self, name: str, payload: Any) -> None:
            at = self.alarms.get(name).at
            await trio.sleep(25)
            self.write(name, round(at - TEST_TIME))

    async with one_room(Slowly) as room:
        await room.remind("tick", 10, None, 10)
        await trio.sleep(96)
        assert [round(at) for _, at in await room.log()] == [35, 65, 95]
        assert await room.payloads() == [20, 50, 80]


async def test_a_repeating_alarm_that_fails_gives_up_that_time_and_goes_on(autojump_clock, fails):
    fails.add("tick")
    async with one_room(Reminders, limits=Limits(alarm_retries_max=2)) as room:
        await room.remind("tick", 10, None, 100)
        await trio.sleep(50)
        ((alarm),) = await room.listed()
        assert (alarm["in"], alarm["tries"], alarm["reason"]) == (110, 0, "Sorry: tick")
        fails.clear()
        await trio.sleep(100)
        assert [round(at) for _, at in await room.log()] == [110]
        assert await room.dead() == []


# -- the wall clock -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("jump", [-3_600, 86_400])
async def test_f34_a_clock_that_jumps_lets_each_alarm_go_off_once_and_never_early(jump: int, autojump_clock, tmp_path):
    clock = WallClock()
    async with opened(tmp_path / "data", clock=clock) as runtime:
        room = runtime.room(Reminders, "a")
        times = {name: await room.remind(name, seconds) for name, seconds in [("before", 10), ("after", 100), ("later", 7_200)]}
        await trio.sleep(50)
        clock.jump = jump
        await trio.sleep(0.0 if jump < 0 else 2.0)
        assert [name for name, _ in await room.log()] == (["before"] if jump < 0 else ["before", "after", "later"])
        await trio.sleep(200)
        assert len(await room.log()) == (1 if jump < 0 else 3), "early by the clock of the wall"
        clock.jump = 0.0
        await trio.sleep(10_000)
        log = await room.log()
        assert [name for name, _ in log] == ["before", "after", "later"]
        assert all(TEST_TIME + at >= times[name] - 0.001 for name, at in log)


async def test_f34_a_repeating_alarm_does_not_go_back_with_the_clock(autojump_clock, tmp_path):
    clock = WallClock()
    async with opened(tmp_path / "data", clock=clock) as runtime:
        room = runtime.room(Reminders, "a")
        await room.remind("tick", 10, None, 600)
        await trio.sleep(700)  # 10 and 610
        clock.jump = -3_600
        await trio.sleep(4_000)  # 1,100 by the wall
        assert len(await room.log()) == 2
        await trio.sleep(200)
        assert len(await room.log()) == 3


def test_an_unknown_outcome_counts_by_whose_it_is():
    from actors.alarms.firing import is_its_own

    assert is_its_own(OutcomeUnknown("another room's", room="Chat/b"), "Chat/a")
    assert not is_its_own(OutcomeUnknown("ours", room="Chat/a"), "Chat/a")
