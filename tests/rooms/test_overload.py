"""Overload: what is too much is refused at once, lane by lane, in a room and in the runtime; what was accepted keeps order."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Doors, InlineThreads
from actors.calls.admission import FAIR_CALLS
from actors.calls.envelope import Envelope
from actors.calls.mailbox import CONTROL_RUN_MAX
from durable_rooms import Actor, CallTimeout, Limits, Overloaded, Room, command, read
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import one_after_another, one_room, outcome


class Busy(Actor):
    migrations = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",)

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    def note(self, text: str) -> None:
        self.notes.append(text[:20])

    def write(self, text: str) -> None:
        self.sql("INSERT INTO notes (text) VALUES (?)", text)

    @command(control=True)
    def ban(self, who: str) -> None:
        self.notes.append(f"ban {who}"[:20])

    @command(control=True)
    async def ban_slowly(self, who: str) -> None:
        self.notes.append(f"ban {who}")

    @command(control=True)
    def all(self) -> list[str]:
        return self.notes

    @read
    def written(self) -> int:
        return self.sql("SELECT count(*) FROM notes").scalar()


def notes(room: Room[Any], *texts: object) -> list[Callable[[], Any]]:
    return [lambda text=text: room.note(f"{text}") for text in texts]


def bans(room: Room[Any], *names: object) -> list[Callable[[], Any]]:
    return [lambda name=name: room.ban(f"{name}") for name in names]


async def refused(call: Callable[[], Any]) -> str:
    """At once, and with all that a caller may ask of it; returns what it says."""
    before = trio.current_time()
    with pytest.raises(Overloaded) as caught:
        await call()
    assert trio.current_time() == before
    error = caught.value
    assert (error.ran, error.retryable, error.overloaded) == ("no", True, True)
    assert "Nothing ran; try again later, a little longer each time" in str(error)
    return str(error)


# -- F26 ------------------------------------------------------------------------------------------------------------------
async def test_f26_ten_times_what_fits_is_refused_at_once_the_memory_stays_flat_and_the_order_is_kept(autojump_clock) -> None:
    fits, text = 100, "x" * 10_000
    async with one_room(Busy, limits=Limits(mailbox_calls_max=fits)) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10))
        order: list[int] = []

        async def post(number: int) -> None:
            await room.note(f"{number:06}{text}")
            order.append(number)

        async def overflow(first: int) -> int:
            numbers = range(first, first + 10 * fits)
            outcomes = [await outcome(lambda number=number: room.note(f"{number:06}{text}")) for number in numbers]
            return sum(type(one) is Overloaded for one in outcomes)

        await one_after_another(nursery, *[lambda number=number: post(number) for number in range(fits)])
        before = trio.current_time()
        assert await overflow(fits) == 10 * fits
        gc.collect()
        tracemalloc.start()
        try:
            base = tracemalloc.get_traced_memory()[0]
            assert await overflow(11 * fits) == 10 * fits
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - base
        finally:
            tracemalloc.stop()
        assert trio.current_time() == before, "a refusal waits for nothing"
        assert grown < 10 * fits * len(text) / 100, "a refused call leaves nothing behind"
        assert sum(isinstance(one, Envelope) for one in gc.get_objects()) <= fits + 10
        await trio.sleep(11)
        assert await room.all() == [f"{number:06}{'x' * 14}" for number in range(fits)]
    assert sorted(order) == list(range(fits))


async def test_f26_what_is_refused_anyway_is_refused_before_its_arguments_are_packed(autojump_clock, monkeypatch) -> None:
    packed: list[object] = []
    by_value = Envelope.__init__
    monkeypatch.setattr(Envelope, "__init__", lambda self, *given: (packed.append(given[1]), by_value(self, *given))[1])
    async with one_room(Busy, limits=Limits(mailbox_calls_max=1)) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), *notes(room, "waits"))
        await refused(lambda: room.note("first"))
        packed.clear()
        for _ in range(3):
            await refused(lambda: room.note("more"))
        assert packed == []
        await trio.sleep(11)
        await room.note("place again")
        assert await room.all() == ["waits", "place again"]


# -- the control lane -------------------------------------------------------------------------------------------------------
async def test_control_calls_come_first_in_their_own_order(autojump_clock) -> None:
    async with one_room(Busy) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), *notes(room, 1, 2, 3), *bans(room, "a", "b"))
        await one_after_another(nursery, lambda: room.ban_slowly("c"), *bans(room, "d"))
        await trio.sleep(11)
        assert await room.all() == ["ban a", "ban b", "ban c", "ban d", "1", "2", "3"]


async def test_a_room_that_is_full_of_commands_still_takes_control_calls_up_to_a_bound_of_their_own(autojump_clock) -> None:
    limits = Limits(mailbox_calls_max=2, control_calls_max=2)
    async with one_room(Busy, limits=limits) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), *notes(room, 1, 2))
        assert "Busy/general: its mailbox is full: 2 of mailbox_calls_max = 2 calls" in await refused(lambda: room.note("3"))
        await one_after_another(nursery, *bans(room, "a", "b"))
        said = await refused(lambda: room.ban("c"))
        assert "Busy/general: its lane of control calls is full: 2 of control_calls_max = 2 calls" in said
        await trio.sleep(11)
        assert await room.all() == ["ban a", "ban b", "1", "2"]


async def test_control_calls_never_starve_the_others(autojump_clock) -> None:
    async with one_room(Busy) as room, trio.open_nursery() as nursery:
        names = range(3 * CONTROL_RUN_MAX)
        await one_after_another(nursery, lambda: room.hold(10), *bans(room, *names), *notes(room, "one", "two", "three"))
        await trio.sleep(11)
        ran = await room.all()
    assert [ran.index(text) for text in ("one", "two", "three")] == [
        CONTROL_RUN_MAX,
        2 * CONTROL_RUN_MAX + 1,
        3 * CONTROL_RUN_MAX + 2,
    ]
    assert [text for text in ran if text.startswith("ban")] == [f"ban {name}" for name in names]


async def test_a_read_cannot_be_a_control_call() -> None:
    class Wrong(Actor):
        @command(control=True)
        @read
        def looks(self) -> int:
            return 1

    with pytest.raises(TypeError, match="looks is a @read"):
        async with open_test_runtime(Wrong):
            pass


# -- the whole runtime --------------------------------------------------------------------------------------------------------
async def test_the_calls_that_wait_in_all_rooms_have_a_bound(autojump_clock) -> None:
    limits = Limits(waiting_calls_max=2 * FAIR_CALLS)
    async with open_test_runtime(Busy, limits=limits) as runtime, trio.open_nursery() as nursery:
        rooms = [runtime.room(Busy, f"{n}") for n in range(2)]
        await one_after_another(nursery, *[lambda room=room: room.hold(10) for room in rooms])
        for room in rooms:
            await one_after_another(nursery, *notes(room, *range(FAIR_CALLS)))
        assert runtime.status().calls_waiting == 2 * FAIR_CALLS
        for room in rooms:
            said = await refused(lambda room=room: room.note("too many"))
            assert (
                f"{room.id}: this runtime is full: 32 calls wait in all rooms and 0 for the disk; waiting_calls_max is 32" in said
            )
        await trio.sleep(11)
        assert runtime.status().calls_waiting == 0
        await rooms[0].note("place again")
        waited = [f"{n}" for n in range(FAIR_CALLS)]
        assert [await room.all() for room in rooms] == [[*waited, "place again"], waited]


async def test_rooms_that_stand_still_do_not_shut_out_the_others_nor_their_moderators(autojump_clock) -> None:
    limits = Limits(waiting_calls_max=FAIR_CALLS)  # and two more
    async with open_test_runtime(Busy, limits=limits) as runtime, trio.open_nursery() as nursery:
        stuck, free = runtime.room(Busy, "stuck"), runtime.room(Busy, "free")
        await one_after_another(nursery, lambda: stuck.hold(10), *notes(stuck, *range(FAIR_CALLS)))
        await refused(lambda: stuck.note("too many"))
        for n in range(5):
            await free.note(f"{n}")
        await one_after_another(nursery, *bans(stuck, "a", "b"))
        await refused(lambda: stuck.ban("one more"))  # an eighth above the bound, and not more
        assert type(await outcome(lambda: free.note("no"))) is Overloaded
        await trio.sleep(11)
        assert await free.all() == ["0", "1", "2", "3", "4"]
        assert (await stuck.all())[:2] == ["ban a", "ban b"]


async def test_their_arguments_have_a_bound_in_bytes(autojump_clock) -> None:
    limits = Limits(waiting_bytes_max=16_000, call_bytes_max=9_000)
    async with open_test_runtime(Busy, limits=limits) as runtime, trio.open_nursery() as nursery:
        rooms = [runtime.room(Busy, name) for name in "ab"]
        await one_after_another(nursery, *[lambda room=room: room.hold(10) for room in rooms])
        await one_after_another(nursery, *[lambda room=room: room.note("x" * 7_000) for room in rooms])
        said = await refused(lambda: rooms[0].note("y" * 5_000))  # also above the eighth
        assert "14,0" in said
        assert "of waiting_bytes_max = 16,000 bytes" in said
        await one_after_another(nursery, lambda: rooms[0].note("small"))
        await trio.sleep(11)
        assert (runtime.admission.calls, runtime.admission.bytes) == (0, 0)


async def test_callers_who_have_gone_are_no_load_for_the_runtime_either(autojump_clock) -> None:
    async with open_test_runtime(Busy, limits=Limits(waiting_calls_max=8)) as runtime, trio.open_nursery() as nursery:
        stuck, other = runtime.room(Busy, "stuck"), runtime.room(Busy, "other")
        await one_after_another(nursery, lambda: stuck.hold(10), lambda: other.hold(10))
        async with trio.open_nursery() as impatient:
            await one_after_another(impatient, *notes(stuck, *range(8)))
            impatient.cancel_scope.cancel()
        await one_after_another(nursery, *notes(other, *range(9)))
        await refused(lambda: other.note("too many"))
        await trio.sleep(11)
        assert await stuck.all() == []
        assert await other.all() == [f"{n}" for n in range(9)]
        assert (runtime.admission.calls, runtime.admission.bytes) == (0, 0)


async def test_calls_whose_time_has_passed_make_place_in_a_full_mailbox(autojump_clock, monkeypatch) -> None:
    settled = Envelope.settled
    deadlines = iter([trio.current_time() + 5] * 3)

    async def with_deadline(self: Envelope) -> None:
        if self.handler.name == "note":
            self.deadline = next(deadlines, self.deadline)
        await settled(self)

    monkeypatch.setattr(Envelope, "settled", with_deadline)
    async with one_room(Busy, limits=Limits(mailbox_calls_max=3)) as room, trio.open_nursery() as nursery:
        found: list[Any] = []

        async def keep(number: int) -> None:
            found.append(await outcome(lambda: room.note(f"{number}")))

        await one_after_another(nursery, lambda: room.hold(10), *[lambda n=n: keep(n) for n in range(3)])
        await refused(lambda: room.note("too many"))
        await trio.sleep(6)
        await one_after_another(nursery, *notes(room, "a", "b", "c"))
        assert [(type(one), one.ran) for one in found] == [(CallTimeout, "no")] * 3
        await trio.sleep(5)
        assert await room.all() == ["a", "b", "c"]


async def test_the_counters_are_right_after_calls_that_left_broke_or_were_refused_by_a_stop(autojump_clock) -> None:
    found: list[Any] = []
    async with trio.open_nursery() as nursery:

        async def keep(call: Callable[[], Any]) -> None:
            found.append(await outcome(call))

        async with open_test_runtime(Busy, limits=Limits(drain_seconds_max=1)) as runtime:
            room = runtime.room(Busy, "a")
            await one_after_another(nursery, lambda: keep(lambda: room.hold(100)), lambda: keep(lambda: room.note("1")))
            await one_after_another(nursery, lambda: keep(lambda: room.ban("x")))
            assert runtime.admission.calls == 2
    assert (runtime.admission.calls, runtime.admission.bytes) == (0, 0)
    assert len(found) == 3


class SlowDisk(InlineThreads):
    """Syncs return when the test lets them."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.go.set()

    async def run(self, job: Callable[..., Any], *args: object) -> Any:
        if "sync" in getattr(job, "__name__", ""):
            await self.go.wait()
        return await super().run(job, *args)


async def test_calls_that_wait_for_a_disk_that_hangs_count_too(autojump_clock, tmp_path) -> None:
    disk = SlowDisk()
    doors = Doors(threads=disk)
    limits = Limits(waiting_calls_max=FAIR_CALLS)
    async with open_with_doors(tmp_path / "data", [Busy], replicas=[], limits=limits, doors=doors) as runtime:
        rooms = [runtime.room(Busy, f"{n}") for n in range(3)]
        for room in rooms:
            await room.write("first")
        disk.go = trio.Event()
        async with trio.open_nursery() as nursery:
            for n in range(FAIR_CALLS + FAIR_CALLS // 8):
                nursery.start_soon(rooms[n % 3].write, f"{n}")
            await wait_all_tasks_blocked()
            assert runtime.admission.held + runtime.admission.calls == FAIR_CALLS + FAIR_CALLS // 8
            said = await refused(lambda: rooms[0].write("too many"))
            assert f"{runtime.admission.held} for the disk" in said
            assert runtime.admission.held > 0
            disk.go.set()
        assert (runtime.admission.held, runtime.admission.calls) == (0, 0)
        await rooms[0].write("place again")


# -- reads --------------------------------------------------------------------------------------------------------------------
async def test_reads_beyond_the_bound_of_their_room_or_of_the_runtime_are_refused_at_once(autojump_clock) -> None:
    limits = Limits(room_reads_max=2, reads_max=3)
    async with open_test_runtime(Busy, limits=limits) as runtime:
        name = runtime.address(Busy, "a")[0]
        other = runtime.address(Busy, "b")[0]
        reads = runtime._reads
        with reads.one(name), reads.one(name):
            assert "Busy/a: 2 reads of this room are under way; room_reads_max is 2" in await refused(
                lambda: runtime.room(Busy, "a").written()
            )
            assert await runtime.room(Busy, "b").written() == 0
            with reads.one(other):
                said = await refused(lambda: runtime.room(Busy, "c").written())
                assert "Busy/c: 3 reads are under way in this runtime; reads_max is 3" in said
        assert len(reads) == 0
        assert await runtime.room(Busy, "a").written() == 0


async def test_a_full_mailbox_does_not_hinder_reads(autojump_clock) -> None:
    limits = Limits(mailbox_calls_max=1, waiting_calls_max=1)
    async with one_room(Busy, limits=limits) as room, trio.open_nursery() as nursery:
        await one_after_another(nursery, lambda: room.hold(10), *notes(room, 1))
        await refused(lambda: room.note("2"))
        assert await room.written() == 0


def test_bounds_that_could_never_let_a_call_in_are_refused() -> None:
    with pytest.raises(ValueError, match="call_bytes_max = 1048576 is over waiting_bytes_max = 1000"):
        Limits(waiting_bytes_max=1_000)


async def test_a_full_room_whose_callers_have_all_gone_is_remembered_as_full_no_more(autojump_clock) -> None:
    """Else every call of the runtime would be looked at twice from then on."""
    limits = Limits(open_rooms_max=1, mailbox_calls_max=2, waiting_calls_max=3)
    async with open_test_runtime(Busy, limits=limits) as runtime, trio.open_nursery() as nursery:
        other, room = runtime.room(Busy, "other"), runtime.room(Busy, "a")
        await one_after_another(nursery, lambda: other.hold(20))
        async with trio.open_nursery() as callers:  # of a room that waits for its place
            await one_after_another(callers, *notes(room, 1, 2))
            await refused(lambda: room.note("too many"))
            callers.cancel_scope.cancel()
        await one_after_another(nursery, *notes(other, 1, 2))
        await trio.sleep(200)
        assert (runtime.admission.full, runtime.admission.calls) == (0, 0)
