"""What a room does by itself, and in threads, beside `on_start`, resets and aborts: nothing of it is lost, and nothing is counted
against what failed by no fault of its own."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import RoomName
from durable_rooms import (
    Actor,
    DeadlineExceeded,
    Limits,
    OutcomeUnknown,
    RoomAborted,
    RoomReset,
    StorageFull,
    command,
    open_runtime,
)
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import Sorry, one_after_another, outcome
from tests.rooms.test_offload import Gate, until


class Log(Actor):
    migrations: ClassVar = ["CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"]

    def post(self, body: str) -> int:
        return self.sql("INSERT INTO messages (body) VALUES (?) RETURNING id", body).scalar()

    def bodies(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()


class Room(Log):
    """Its `on_start` takes its time, and everything else says so in which order it came."""

    started: ClassVar[bool] = True
    gate: ClassVar[Gate]
    entered: ClassVar[list[str]] = []

    async def on_start(self) -> None:
        self.post("start")
        await trio.sleep(2)
        if not self.started:
            raise Sorry("not yet")
        self.post("started")

    def remind(self, name: str, seconds: float, how: str = "") -> None:
        self.alarms.set(name, self.now() + seconds, how)

    async def on_alarm(self, name: str, payload: Any) -> None:
        await self.do(name, payload)

    async def do(self, name: str, how: str) -> None:
        self.entered.append(name)
        if how == "hold":
            async with self.exclusive():
                await trio.sleep(1_000)
        if how == "fail":
            async with self.exclusive():
                raise Sorry(name)
        if how == "wait" and self.entered.count(name) == 1:
            await trio.sleep(100)
        self.post(name)

    async def fail_in_a_block(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)
            raise Sorry("in a block")

    async def wait(self) -> None:
        await trio.sleep(1_000)

    async def wait_and_clean_up(self) -> None:
        self.post("before")
        try:
            await trio.sleep(1_000)
        finally:
            self.entered.append("cleaned up")

    @command(offload=True)
    def imported(self, body: str) -> None:
        self.post(body)

    @command(offload=True)
    def held(self, body: str) -> None:
        self.post(body)
        self.gate.pass_()

    def dead(self) -> int:
        return len(list(self.alarms.dead()))


class Plain(Room):
    def on_start(self) -> None: ...


class Desk(Log):
    def tell_room(self, name: str, how: str = "") -> None:
        self.tell(Room, "a", Room.do, name, how)

    def tell_one(self, name: str) -> None:
        self.tell(Room, "a", Room.post, name)

    def tell_plain(self, name: str) -> None:
        self.tell(Plain, "a", Plain.held, name)

    def dead(self) -> int:
        return len(list(self.dead_tells))

    async def fail_in_a_block(self) -> None:
        async with self.exclusive():
            raise Sorry("in a block")


@pytest.fixture(autouse=True)
def fresh() -> None:
    Room.started = True
    Room.entered.clear()
    Room.gate = Gate()


class Kept:
    """Outcomes by name."""

    def __init__(self) -> None:
        self.of: dict[str, Any] = {}

    def __call__(self, name: str, call: Callable[[], Any]) -> Callable[[], Any]:
        async def keep() -> None:
            self.of[name] = await outcome(call)

        return keep


def without(bodies: list[str], *words: str) -> list[str]:
    return [body for body in bodies if body not in words]


# -- on_start comes first -------------------------------------------------------------------------------------------------
async def test_on_start_comes_before_alarms_tells_and_offloaded_calls(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(Room, Desk, path=tmp_path) as runtime:
        room = runtime.room(Room, "a")
        await room.remind("alarm", 10)
        await runtime.evict(room)
        await runtime.room(Desk, "d").tell_one("told")
        await trio.sleep(5)
        assert await room.bodies() == ["start", "started", "start", "started", "told"]
        await runtime.evict(room)
        await trio.sleep(20)
        await runtime.evict(room)
        await room.imported("imported")
        assert (await room.bodies())[5:] == ["start", "started", "alarm", "start", "started", "imported"]


async def test_nothing_of_a_room_runs_or_counts_as_failed_while_its_on_start_fails(tmp_path, autojump_clock) -> None:
    async with open_test_runtime(Room, Desk, path=tmp_path) as runtime:
        room, desk = runtime.room(Room, "a"), runtime.room(Desk, "d")
        await room.remind("alarm", 10)
        await runtime.evict(room)
        Room.started = False
        await desk.tell_one("told")
        await trio.sleep(600)
        assert await desk.dead() == 0
        Room.started = True
        await trio.sleep(120)
        bodies = await room.bodies()
        assert sorted(without(bodies, "start", "started")) == ["alarm", "told"]
        assert bodies.index("started", 2) < min(bodies.index("alarm"), bodies.index("told"))
        assert await room.dead() == 0


# -- resets ---------------------------------------------------------------------------------------------------------------
async def test_an_alarm_that_another_handlers_reset_cut_short_goes_off_again_and_has_not_failed(autojump_clock) -> None:
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "a")
        await room.remind("alarm", 1, "wait")
        await trio.sleep(2)
        assert isinstance(await outcome(lambda: room.fail_in_a_block(1)), Sorry)
        await trio.sleep(30)
        assert Room.entered == ["alarm", "alarm"]
        assert without(await room.bodies(), "start", "started") == ["alarm"]
        assert (runtime.status().alarms_fired, runtime.status().alarms_dead) == (1, 0)


@pytest.mark.parametrize("how", ["hold", "fail"])
async def test_an_alarm_whose_own_block_resets_the_room_has_failed_and_is_given_up(how: str, autojump_clock) -> None:
    async with open_test_runtime(Room) as runtime:
        room = runtime.room(Room, "a")
        await room.remind("alarm", 1, how)
        await trio.sleep(1_000)
        assert Room.entered == ["alarm"] * 7
        assert await room.dead() == 1


async def test_a_tell_that_another_handlers_reset_cut_short_is_delivered_again_once(autojump_clock) -> None:
    async with open_test_runtime(Room, Desk) as runtime:
        room, desk = runtime.room(Room, "a"), runtime.room(Desk, "d")
        await desk.tell_room("told", "wait")
        await trio.sleep(5)
        assert Room.entered == ["told"]
        assert isinstance(await outcome(lambda: room.fail_in_a_block(1)), Sorry)
        await trio.sleep(60)
        assert Room.entered == ["told", "told"]
        assert without(await room.bodies(), "start", "started") == ["told"]
        assert await desk.dead() == 0


@pytest.mark.parametrize("how", ["hold", "fail"])
async def test_a_tell_whose_own_block_resets_the_room_has_failed_and_is_given_up(how: str, autojump_clock) -> None:
    async with open_test_runtime(Room, Desk) as runtime:
        desk = runtime.room(Desk, "d")
        await desk.tell_room("told", how)
        await trio.sleep(1_000)
        assert Room.entered == ["told"] * 3
        assert await desk.dead() == 1


async def test_an_offloaded_tell_whose_room_breaks_under_it_is_delivered_again_and_has_not_failed(tmp_path) -> None:
    limits = Limits(tell_attempts_max=1)
    async with open_runtime(tmp_path / "data", [Plain, Desk], limits=limits) as runtime:
        room = runtime.room(Plain, "a")
        await room.post("x")
        await runtime.room(Desk, "d").tell_plain("told")
        await until(Room.gate.reached)
        activation = runtime.seated(RoomName("Plain", "a"))
        assert activation is not None
        activation.break_(OSError("its disk"))
        first, Room.gate = Room.gate, Gate()
        first.open.set()
        await until(Room.gate.reached)
        Room.gate.open.set()
        assert await room.bodies() == ["x", "told"]


async def test_what_a_room_had_told_before_its_reset_arrives_once(autojump_clock) -> None:
    async with open_test_runtime(Room, Desk) as runtime:
        room, desk = runtime.room(Room, "a"), runtime.room(Desk, "d")
        for n in range(5):
            await desk.tell_one(f"{n}")
        assert isinstance(await outcome(desk.fail_in_a_block), Sorry)
        await desk.tell_one("5")
        await trio.sleep(60)
        assert without(await room.bodies(), "start", "started") == list("012345")


async def test_an_offloaded_call_that_waits_for_a_block_is_served_after_the_reset(autojump_clock) -> None:
    async with open_test_runtime(Room) as runtime, trio.open_nursery() as nursery:
        room, kept = runtime.room(Room, "a"), Kept()
        await room.post("x")
        await one_after_another(
            nursery,
            kept("block", lambda: room.fail_in_a_block(5)),
            kept("offloaded", lambda: room.imported("imported")),
            kept("queued", lambda: room.post("queued")),
        )
        await trio.sleep(20)
        assert (type(kept.of["block"]), kept.of["offloaded"]) == (Sorry, None)
        assert (await room.bodies())[-4:] == ["start", "started", "imported", "queued"]


async def test_a_block_whose_slice_passes_its_callers_deadline_resets_nothing(autojump_clock) -> None:
    class Late(Log):
        async def late(self) -> None:
            async with self.exclusive():
                await trio.lowlevel.checkpoint()
                autojump_clock.jump(3)  # the slice takes its time
                raise DeadlineExceeded("its own statement was interrupted", room=f"Late/{self.id}")

        async def wait(self) -> str:
            await trio.sleep(10)
            return "still there"

    async with open_test_runtime(Late) as runtime, trio.open_nursery() as nursery:
        room, kept = runtime.room(Late, "a"), Kept()
        await one_after_another(nursery, kept("waits", room.wait))
        assert isinstance(await outcome(lambda: room.options(timeout=2).late()), DeadlineExceeded)
        await trio.sleep(20)
        assert kept.of["waits"] == "still there"


async def test_a_full_disk_in_a_block_is_told_as_anywhere(autojump_clock) -> None:
    class Filled(Log):
        async def fill(self) -> None:
            async with self.exclusive():
                self.sql("INSERT INTO messages (body) VALUES (?)", "x" * 1_000_000)

    async with open_test_runtime(Filled) as runtime:
        room = runtime.room(Filled, "a")
        await room.post("x")
        connection = next(iter(runtime._seats.values())).activation.storage.connection
        pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}").fetchall()
        error = await outcome(room.fill)
        assert (type(error), error.retryable) == (StorageFull, True)
        assert await room.bodies() == ["x"]


# -- aborts ---------------------------------------------------------------------------------------------------------------
async def test_a_call_that_was_about_to_begin_is_refused_by_the_abort_and_not_run_by_the_next_stay(autojump_clock) -> None:
    async with open_test_runtime(Room) as runtime, trio.open_nursery() as nursery:
        room, kept = runtime.room(Room, "a"), Kept()
        await room.post("x")
        for _ in range(runtime.limits.offload_calls_max):  # so that it has its room's turn, and waits for a slot
            runtime.offloads.acquire_nowait()
        await one_after_another(
            nursery,
            kept("waits", room.wait),
            kept("offloaded", lambda: room.imported("imported")),
            kept("queued", lambda: room.post("queued")),
        )
        assert await runtime.abort(room, "it hangs")
        await wait_all_tasks_blocked()
        assert {name: type(error) for name, error in kept.of.items()} == {
            "waits": RoomReset,
            "offloaded": RoomAborted,
            "queued": RoomAborted,
        }
        assert without(await room.bodies(), "start", "started") == ["x"]


async def test_a_handler_that_an_abort_cuts_short_beside_an_offloaded_call_commits_nothing_of_that(tmp_path) -> None:
    """It ends its slice only when the thread has given the connection back."""
    async with open_runtime(tmp_path / "data", [Plain]) as runtime:
        room, kept = runtime.room(Plain, "a"), Kept()
        async with trio.open_nursery() as nursery:
            await one_after_another(nursery, kept("waits", room.wait_and_clean_up))
            nursery.start_soon(kept("offloaded", lambda: room.held("half")))
            await until(Room.gate.reached)
            nursery.start_soon(kept("abort", lambda: runtime.abort(room)))
            await wait_all_tasks_blocked()
            assert Room.entered == [], "its thread has the connection"
            Room.gate.open.set()
        assert Room.entered == ["cleaned up"]
        assert type(kept.of["offloaded"]) is RoomReset
        assert type(kept.of["waits"]) is OutcomeUnknown
        assert await room.bodies() == ["before"]
