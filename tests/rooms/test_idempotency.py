"""F28, and what else an idempotency key promises: a call runs once, and every repeat of it gets the reply of the first."""

from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from actors.limits import KEY_BYTES_MAX
from actors.tables.annex import REPLIES
from actors.tables.replies import FORGET_EVERY_CALLS, FORGET_ROWS_MAX
from durable_rooms import (
    BadArguments,
    KeyInvalid,
    KeyReused,
    Limits,
    OutcomeUnknown,
    Room,
    SQLiteReplica,
    StatementRefused,
    StorageFull,
    TooLarge,
    TurnVoid,
    read,
)
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, one_room, outcome, path_of, together
from tests.rooms.faults import FailsOnce
from tests.rooms.reminders import WallClock, opened

SHORT = Limits(key_seconds_max=100)  # a day of virtual time has many ticks


class Keyed(ChatRoom):
    migrations = (
        *ChatRoom.migrations,
        "CREATE TABLE poison (id INTEGER PRIMARY KEY); CREATE TRIGGER poisoned AFTER INSERT ON poison BEGIN "
        "SELECT RAISE(ROLLBACK, 'poisoned'); END",
    )

    def __init__(self) -> None:
        self.runs = 0

    def count(self) -> int:
        """Touches no SQL."""
        self.runs += 1
        return self.runs

    def post_and_tell(self, body: str, tags: dict[str, Any] | None = None, *, at: float = 0.0) -> dict[str, Any]:
        return {"id": self.post(body), "body": body, "tags": tags, "at": at}

    def post_then_fail(self, body: str, fail: bool) -> int:
        self.runs += 1
        if fail and self.runs < 3:
            self.post_and_raise(body)
        return self.post(body)

    def echo(self, size: int) -> str:
        self.post(f"{size}")
        return "x" * size

    def poison(self) -> None:
        self.sql("INSERT INTO poison DEFAULT VALUES")

    async def post_slowly(self, body: str, seconds: float) -> int:
        self.runs += 1
        await trio.sleep(seconds)
        return self.post(body)

    async def fail_at_first(self, body: str, times: int) -> list[Any]:
        self.runs += 1
        mine = self.runs
        await trio.sleep(1)
        if mine <= times:
            raise Sorry(f"{mine}")
        return [mine, self.post(body)]

    async def post_twice(self, body: str) -> int:
        self.post(f"{body} {self.sql('SELECT count(*) FROM messages').scalar()}")
        await trio.sleep(10)
        return self.post(f"{body} done")

    def peek(self) -> Any:
        return self.sql("SELECT * FROM _replies")

    @read
    def seen(self) -> int:
        return self.sql("SELECT count(*) FROM messages").scalar()


def kept(room: Room[Any]) -> list[str]:
    """The keys that the room has, the oldest first; of a room in memory."""
    transaction = room._office.seated(room._name).storage.transaction
    if REPLIES not in transaction.annexes:
        return []
    return [key for (key,) in transaction.connection.execute("SELECT key FROM _replies ORDER BY id")]


# -- once ------------------------------------------------------------------------------------------------------------------
async def test_f28_a_key_that_is_repeated_100_times_at_once_has_1_effect_and_100_identical_replies(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        call = room.options(key="client-msg-42")
        found = await together(*[lambda: call.post_and_tell("once", {"a": [1, None]})] * 100)
        assert found == [{"id": 1, "body": "once", "tags": {"a": [1, None]}, "at": 0.0}] * 100
        assert await room.bodies() == ["once"]


async def test_f28_as_many_repeats_of_an_async_handler_wait_for_it_and_get_its_reply(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        call = room.options(key="client-msg-42")
        found = await together(*[lambda: call.post_slowly("once", 5)] * 100)
        assert found == [1] * 100
        assert (await room.bodies(), await room.count()) == (["once"], 2)
        assert trio.current_time() == pytest.approx(5, abs=0.5)


async def test_a_repeat_gets_the_reply_after_hibernation_and_after_a_restart(tmp_path: Path, autojump_clock) -> None:
    for _ in range(2):
        async with one_room(Keyed, path=tmp_path) as room:
            for _ in range(2):
                assert await room.options(key="k").post("hello") == 1
                await trio.sleep(Limits().idle_seconds_max * 2)
                assert room._office.seated(room._name) is None
            assert await room.bodies() == ["hello"]


async def test_calls_under_other_keys_or_none_are_other_calls_and_rooms_have_their_own(autojump_clock) -> None:
    async with open_test_runtime(Keyed) as runtime:
        rooms = [runtime.room(Keyed, id) for id in "ab"]
        for room in rooms:
            assert await room.options(key="1").count() == 1
            assert await room.options(key="2").count() == 2
            assert await room.count() == 3
            assert await room.options(key="1").count() == 1
            assert await room.options(key="1").options(key=None).count() == 4


async def test_a_handler_that_touches_no_sql_runs_once_too(tmp_path: Path, autojump_clock) -> None:
    for _ in range(2):
        async with one_room(Keyed, path=tmp_path) as room:
            assert await together(*[room.options(key="k").count] * 10) == [1] * 10


async def test_a_repeats_seq_is_the_rooms_present_one(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        first = await room.options(key="k").ask(Keyed.post, "one")
        later = await room.ask(Keyed.post, "two")
        repeat = await room.options(key="k").ask(Keyed.post, "one")
        assert (first.value, repeat.value) == (1, 1)
        assert first.seq < later.seq <= repeat.seq
        assert repeat.source == "room"


async def test_many_keys_in_one_turn_new_ones_old_ones_and_repeats_among_them(autojump_clock) -> None:
    """A turn looks for the keys of its calls at once; what is not plain text it looks for one by one."""
    odd = ["", " ", "'\"", "\0", "a\0b", "ü", "\U0001f600", "%", "\\", "\n", "[1]", "x" * KEY_BYTES_MAX]
    async with one_room(Keyed) as room:
        for number in range(0, 50, 2):
            await room.options(key=f"key {number}").post(f"{number}")
        names = [*(f"key {number}" for number in range(50)), *(f"odd {name}"[:KEY_BYTES_MAX] for name in odd)]
        for _ in range(3):
            calls = [room.options(key=name) for name in names for _ in range(3)]
            bodies = [name.removeprefix("key ") for name in names for _ in range(3)]
            ids = await together(*[lambda c=call, b=body: c.post(b) for call, body in zip(calls, bodies, strict=True)])
            assert ids[::3] == ids[1::3] == ids[2::3]
            assert sorted(ids[::3]) == list(range(1, 63))
        assert len(await room.bodies()) == 62


async def test_long_keys_are_looked_for_within_their_bound(autojump_clock) -> None:
    async with one_room(Keyed, limits=Limits(row_bytes_max=10_000)) as room:
        for _ in range(2):
            calls = [room.options(key=f"{number}" + "k" * 1_000) for number in range(100)]
            found = await together(*[lambda c=call, n=number: c.post(f"{n}") for number, call in enumerate(calls)])
            assert sorted(found) == list(range(1, 101))
        assert len(await room.bodies()) == 100


# -- another call ----------------------------------------------------------------------------------------------------------
async def test_another_method_or_other_arguments_under_a_key_are_refused(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        call = room.options(key="k")
        assert await call.post("one") == 1
        for other, words in (
            (lambda: call.post("two"), "the same method with other arguments"),
            (call.ping, "another method, post"),
        ):
            with pytest.raises(KeyReused, match=words) as caught:
                await other()
            error = caught.value
            assert (error.ran, error.retryable, error.overloaded, error.room) == ("no", False, False, "Keyed/general")
            assert not getattr(error, "__notes__", [])
        assert await room.bodies() == ["one"]


async def test_arguments_are_the_same_in_whichever_order_their_names_came(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        call = room.options(key="k")
        first = await call.post_and_tell("one", {"a": 1, "b": {"c": 2, "d": 3}}, at=1.0)
        assert await call.post_and_tell(tags={"b": {"d": 3, "c": 2}, "a": 1}, at=1.0, body="one") == first
        assert await call.post_and_tell("one", at=1.0, tags={"b": {"d": 3, "c": 2}, "a": 1}) == first
        for other in ({"a": 1, "b": {"c": 3, "d": 2}}, {"a": 1}, [["a", 1]], None):
            with pytest.raises(KeyReused):
                await call.post_and_tell("one", other, at=1.0)


async def test_while_an_async_handler_runs_its_key_is_refused_to_other_calls(autojump_clock) -> None:
    async with one_room(Keyed) as room, trio.open_nursery() as nursery:
        call = room.options(key="k")
        await one_after_another(nursery, lambda: call.post_slowly("one", 5))
        for other in (call.count, lambda: call.post_slowly("two", 5), lambda: call.fail_at_first("one", 0)):
            with pytest.raises(KeyReused):
                await other()
        assert await call.post_slowly("one", 5) == 1


# -- what failed runs again ------------------------------------------------------------------------------------------------
async def test_a_call_that_fails_keeps_nothing_and_runs_again(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        call = room.options(key="k")
        for _ in range(2):
            with pytest.raises(Sorry):
                await call.post_then_fail("one", True)
            assert (await room.bodies(), kept(room)) == ([], [])
        assert await call.post_then_fail("one", True) == 1
        assert await call.post_then_fail("one", True) == 1
        assert await room.bodies() == ["one"]


async def test_when_an_async_handler_fails_the_first_that_waits_runs_it_again(autojump_clock) -> None:
    async with one_room(Keyed) as room, trio.open_nursery() as nursery:
        call, found = room.options(key="k"), {}

        def caller(place: int) -> Any:
            async def keep() -> None:
                found[place] = await outcome(lambda: call.fail_at_first("one", 2))

            return keep

        await one_after_another(nursery, *(caller(place) for place in range(6)))
        await trio.sleep(10)
        assert [str(found[place]) for place in (0, 1)] == ["1", "2"]
        assert [found[place] for place in range(2, 6)] == [[3, 1]] * 4
        assert await room.bodies() == ["one"]


async def test_callers_who_leave_change_nothing_for_those_who_wait(autojump_clock) -> None:
    """The first completes although its caller has gone; a repeat that is cut by its timeout lets the next one have its place."""
    async with one_room(Keyed) as room, trio.open_nursery() as nursery:
        call = room.options(key="k")
        with trio.move_on_after(1):
            await call.post_slowly("one", 5)
        with pytest.raises(TimeoutError) as caught:
            await call.options(timeout=1).post_slowly("one", 5)
        assert caught.value.ran == "unknown"
        assert "the first call under its key" in str(caught.value)
        nursery.start_soon(call.post_slowly, "one", 5)
        assert await call.post_slowly("one", 5) == 1
        assert (await room.bodies(), await room.count()) == (["one"], 2)


async def test_a_key_and_its_effects_are_undone_together_by_a_void_turn(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        await room.bodies()
        void = 0
        for number in range(20):  # trio shuffles tasks: in some of these turns the poison comes second
            call = room.options(key=f"{number}")
            mine, _ = await together(lambda call=call, n=number: call.post(f"{n}"), room.poison)
            if isinstance(mine, TurnVoid):
                void += 1
                assert (f"{number}" in kept(room)) == (f"{number}" in await room.bodies()) == False  # noqa: E712
            await call.post(f"{number}")
        assert void
        assert sorted(map(int, await room.bodies())) == list(range(20))


async def test_after_a_failed_sync_a_repeat_under_the_key_settles_what_was_unknown(tmp_path: Path, autojump_clock) -> None:
    disk = FailsOnce()
    async with one_room(Keyed, path=tmp_path, disk=disk) as room:
        await room.options(key="before").post("before")
        disk.fail_next()
        with pytest.raises(OutcomeUnknown) as caught:
            await room.options(key="k").post("one")
        assert (caught.value.ran, caught.value.retryable, caught.value.method) == ("unknown", True, "post")
        assert any("under the same key" in note for note in caught.value.__notes__)
        assert await room.options(key="k").post("one") == 2
        assert await room.bodies() == ["before", "one"]
        disk.fail_next()
        with pytest.raises(OutcomeUnknown) as caught:
            await room.post("without a key")
        assert caught.value.retryable is False


async def test_an_async_handler_that_was_cut_short_runs_again_and_finds_its_earlier_slices(
    tmp_path: Path, autojump_clock
) -> None:
    async with trio.open_nursery() as nursery, one_room(Keyed, path=tmp_path, limits=Limits(drain_seconds_max=1)) as room:
        found: list[Any] = []

        async def caller() -> None:
            found.append(await outcome(lambda: room.options(key="k").post_twice("slice")))

        await one_after_another(nursery, caller, caller)
    assert [(type(one), one.retryable) for one in found] == [(OutcomeUnknown, False)] * 2
    async with one_room(Keyed, path=tmp_path) as room:
        assert await room.options(key="k").post_twice("slice") == 3
        assert await room.options(key="k").post_twice("slice") == 3
        assert await room.bodies() == ["slice 0", "slice 1", "slice done"]


# -- how long, and how large -----------------------------------------------------------------------------------------------
async def test_a_key_is_forgotten_after_its_time_and_the_call_runs_again(autojump_clock) -> None:
    async with one_room(Keyed, limits=SHORT) as room:
        call = room.options(key="k")
        assert await call.count() == 1
        await trio.sleep(99)
        assert await call.count() == 1
        await trio.sleep(2)
        assert await room.options(key="k").ping() == "pong", "another call may have it now"
        with pytest.raises(KeyReused):
            await call.count()


async def test_expired_replies_are_forgotten_a_few_at_a_time_until_those_alive_are_left(autojump_clock) -> None:
    async with one_room(Keyed, limits=SHORT) as room:
        for number in range(200):
            await room.options(key=f"old {number}").ping()
        await trio.sleep(50)
        for number in range(10):
            await room.options(key=f"young {number}").ping()
        assert len(kept(room)) == 210
        await trio.sleep(51)
        left = 210
        for number in range(12 * FORGET_EVERY_CALLS):
            await room.options(key=f"new {number}").ping()
            now = len(kept(room))
            assert left + 1 - now <= FORGET_ROWS_MAX, "no call pays for many"
            left = now
        assert left == 10 + 12 * FORGET_EVERY_CALLS
        assert kept(room)[:10] == [f"young {number}" for number in range(10)]


async def test_a_clock_that_was_ahead_for_a_while_keeps_no_reply_for_longer(tmp_path: Path, autojump_clock) -> None:
    clock = WallClock()
    async with opened(tmp_path / "data", Keyed, clock=clock, limits=SHORT) as runtime:
        room = runtime.room(Keyed, "general")

        async def call_often(what: str) -> None:
            for number in range(3 * FORGET_EVERY_CALLS):
                await room.options(key=f"{what} {number}").ping()

        clock.jump = 1e6
        await call_often("ahead")
        clock.jump = 0.0
        await call_often("then")
        await trio.sleep(101)
        for _ in range(3):
            await call_often("now")
        await call_often("last")
        assert {key.split()[0] for key in kept(room)} == {"now", "last"}


async def test_large_expired_replies_are_forgotten_one_by_one(autojump_clock) -> None:
    async with one_room(Keyed, limits=SHORT) as room:
        for number in range(10):
            await room.options(key=f"old {number}").echo(300_000 + number)
        await trio.sleep(101)
        for number in range(3 * FORGET_EVERY_CALLS):
            await room.options(key=f"new {number}").ping()
        assert [key for key in kept(room) if key.startswith("old")] == [f"old {number}" for number in range(3, 10)]


async def test_a_reply_that_cannot_be_kept_rolls_its_call_back_and_names_the_limit(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        big = Limits().row_bytes_max
        with pytest.raises(TooLarge, match="row_bytes_max") as caught:
            await room.options(key="k").echo(big)
        assert (caught.value.ran, caught.value.method) == ("rolled back", "echo")
        assert await room.bodies() == []
        assert len(await room.options(key="k").echo(big - 4_096)) == big - 4_096
        assert len(await room.options(key="k").echo(big - 4_096)) == big - 4_096
        assert len(await room.echo(big)) == big, "without a key it may be larger"


# -- what a key cannot be --------------------------------------------------------------------------------------------------
async def test_a_key_that_is_none_is_refused_at_once(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        for key in ("", "x" * (KEY_BYTES_MAX + 1), "ü" * (KEY_BYTES_MAX // 2 + 1), "\ud800", 7, b"x"):
            with pytest.raises(KeyInvalid, match="1 to 1,024 bytes") as caught:
                room.options(key=key)
            assert isinstance(caught.value, ValueError)


async def test_a_read_takes_no_key(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        with pytest.raises(BadArguments, match="call it without a key") as caught:
            await room.options(key="k").seen()
        assert (caught.value.room, caught.value.method) == ("Keyed/general", "seen")


async def test_an_argument_that_nests_too_deep_to_be_compared_is_refused(autojump_clock) -> None:
    deep: Any = 1
    for _ in range(450):
        deep = [deep]
    async with one_room(Keyed) as room:
        found = await outcome(lambda: room.options(key="k").post_and_tell("one", deep))
        assert isinstance(found, BadArguments) or found["id"] == 1
        assert (await room.bodies() == ["one"]) == (not isinstance(found, Exception))


# -- where it is kept ------------------------------------------------------------------------------------------------------
async def test_a_room_without_keyed_calls_has_no_table_and_sql_cannot_touch_it(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        await room.post("one")
        transaction = room._office.seated(room._name).storage.transaction
        assert REPLIES not in transaction.annexes
        await room.options(key="k").post("two")
        assert REPLIES in transaction.annexes
        assert transaction.connection.execute("SELECT format FROM _room").get == 2
        with pytest.raises(StatementRefused, match="_replies"):
            await room.peek()


async def test_a_full_disk_refuses_calls_with_new_keys_and_answers_repeats(autojump_clock) -> None:
    async with one_room(Keyed) as room:
        await room.options(key="k").ping()
        space = room._office.space
        space.full = True
        with pytest.raises(StorageFull) as caught:
            await room.options(key="new").ping()
        assert (caught.value.ran, caught.value.retryable) == ("no", True)
        assert await room.options(key="k").ping() == "pong"
        space.full = False
        assert await room.options(key="new").ping() == "pong"


async def test_replies_never_leave_the_room_and_the_replica_follows_all_the_same(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(Keyed, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Keyed, "general")
        await room.options(key="k").ping()
        await room.options(key="l").post("one")
        await runtime.replicated()
        assert await room.options(fresh="any").seen() == 1
        (status,) = runtime.status().replicas
        assert status.lag_rooms == 0
        assert path_of(runtime, room).exists()
    replica = apsw.Connection(str(tmp_path / "replica.db"))
    names = {name for (name,) in replica.execute("SELECT name FROM sqlite_schema")}
    replica.close()
    assert not [name for name in names if "_replies" in name]
