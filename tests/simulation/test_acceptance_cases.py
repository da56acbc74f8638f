"""Acceptance cases over the simulator: power cuts, failing operations, a stale owner, a clock that jumps."""

import errno
import re
from dataclasses import replace
from itertools import count
from math import inf
from random import Random

import pytest
import trio
from trio.testing import MockClock

from actors import Doors, Limits
from actors.names import RoomName, room_file
from durable_rooms import DiskUnfit, OutcomeUnknown, SQLiteReplica
from durable_rooms.runtime import open_with_doors
from durable_rooms.simulation import ChatScenario, Simulation, plan_of, simulate
from durable_rooms.simulation.chat import Chat
from durable_rooms.simulation.disk import SimulatedDisk
from durable_rooms.simulation.events import Event
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.schedule import run_seeded
from durable_rooms.simulation.threads import SteppedThreads
from durable_rooms.simulation.troubles import TROUBLES
from tests.sabotage.rounds import no_sync
from tests.simulation.lives import STRUCK, FaultByHand, life, lived, nothing_lost

WAL, DATABASE = "rooms/*-wal", "rooms/*.db"


class TwoRooms(ChatScenario):
    rooms = ("a", "b")


# -- power cuts ---------------------------------------------------------------------------------------------------------------
def cut(seed: int, cuts: int):
    made = ChatScenario()
    return quietly(Simulation(made, seed, plan=replace(plan_of(seed, made.clients, made.visits), cuts=cuts)))


def test_f02_a_power_cut_at_any_event_loses_nothing():
    """A part; `make simulate` looks at 100,000 images, of 1,000 seeds. F02 counts rows and rounds of one writer; here (design.md
    §6) every promise is asked after: rooms, catalog and replica, half posts, replies in the order of `seq`."""
    found = nothing_lost(cut(seed, cuts=8) for seed in range(4, 13))
    assert len(found.images) > 120
    assert found.faults["power cut"]
    assert found.faults["kill"]
    assert found.faults["cut during recovery"]


@pytest.mark.slow
def test_f02_100_seeds_lose_nothing():
    report = simulate(ChatScenario, seeds=100, first_seed=10_001)
    assert not report.failures, report.failures[0]
    assert report.images > 8_000


def test_f04_without_syncs_the_simulator_fails_at_once(monkeypatch):
    """The harness is alive: each seed fails, by a room that nobody knows of or by what it had acknowledged. The other known-bad
    variants: tests/sabotage."""
    no_sync(monkeypatch.setattr)
    problems = [problem for seed in (1, 2, 3) for problem in cut(seed, cuts=8).failures[0].problems]
    assert any("the catalog has None, and seq" in problem for problem in problems)
    assert any("is at seq 1, and seq" in problem and "was acknowledged" in problem for problem in problems)


# -- failed syncs -------------------------------------------------------------------------------------------------------------
def run_on(disk: SimulatedDisk, function, *, seed: str = "1", limits: Limits | None = None, actors=(Chat,), clock=None):
    """One process on a simulated disk."""

    async def main():
        doors = Doors(disk=disk, threads=disk_threads(disk), wall_clock=disk.wall_clock, random=Random(seed))
        async with open_with_doors(
            disk.root, actors, replicas=[SQLiteReplica()], limits=limits or Limits(), doors=doors
        ) as runtime:
            await function(runtime)

    run_seeded(seed, main, clock=clock)
    disk_threads(disk).end()
    disk.forget()


def disk_threads(disk: SimulatedDisk) -> SteppedThreads:
    threads = disk._threads
    assert threads is not None
    return threads


def places(disk: SimulatedDisk, kind: str, path: str, by: str | None = None) -> list[int]:
    return [
        place for place, event in enumerate(disk.events) if event.kind == kind and event.path == path and by in (None, event.by)
    ]


A = f"rooms/{room_file(RoomName('Chat', 'a'))}"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_f05_a_wal_sync_that_fails_once_is_outcome_unknown_and_the_room_is_opened_again(tmp_path, code):
    """By key F05 means an idempotency key; without them (design.md §4) a read tells what happened."""
    disk = SimulatedDisk(tmp_path, SteppedThreads())

    async def calls(runtime):
        room = runtime.room(Chat, "a")
        await room.post("0")
        disk.fail(Fault("sync", f"{A}-wal", code, by="ours"))
        with pytest.raises(OutcomeUnknown) as caught:
            await room.post("1")
        assert caught.value.ran == "unknown"
        assert caught.value.__cause__.errno == code
        ids = await room.ids()
        assert ids in (["0"], ["0", "1"])
        assert await room.post("2") == len(ids) + 1
        assert await runtime.room(Chat, "b").post("0") == 1

    run_on(disk, calls)
    (failed,) = places(disk, "sync failed", f"{A}-wal")
    node = disk.events[failed].node
    assert not [event for event in disk.events[failed + 1 :] if event.kind == "sync began" and event.node == node]
    assert places(disk, "rename", f"{A}-wal.rehome")


def sync_fails_then_kill_then_cut(seed: int):
    fault = FaultByHand("sync", WAL, (errno.EIO, errno.ENOSPC)[seed % 2], "ours", first=1 + seed % 17, evict=seed % 3 == 0)
    return lived(seed, life("killed", fault), life("cut"), cuts=4)


def test_f06_a_failed_sync_then_a_kill_a_restart_and_a_power_cut_lose_nothing():
    found = nothing_lost(map(sync_fails_then_kill_then_cut, range(1, 9)))
    assert found.faults[STRUCK] >= 6


@pytest.mark.slow
def test_f06_200_seeds_lose_nothing():
    found = nothing_lost(map(sync_fails_then_kill_then_cut, range(1_001, 1_201)))
    assert found.faults[STRUCK] >= 150


@pytest.mark.parametrize("path", [A, f"{A}-wal"], ids=["of the database", "of the WAL"])
def test_f07_a_sync_that_fails_in_a_checkpoint_breaks_the_room_and_the_wal_is_kept(tmp_path, path):
    """Nobody's call is unknown for it: all of them were durable before (design.md §4)."""
    disk = SimulatedDisk(tmp_path, SteppedThreads())

    async def calls(runtime):
        room = runtime.room(Chat, "a")
        await room.post("0")
        disk.fail(Fault("sync", path, by="sqlite"))
        await room.post("1", "x" * 200_000)
        await trio.testing.wait_all_tasks_blocked()
        assert runtime.status().rooms_broken == 1
        assert await room.ids() == ["0", "1"]

    run_on(disk, calls, limits=Limits(wal_bytes_max=100_000))
    (failed,) = places(disk, "sync failed", path, by="sqlite")
    renamed = places(disk, "rename", f"{A}-wal.rehome")[0]
    assert failed < renamed
    gone = [place for place in places(disk, "unlink", f"{A}-wal") if failed < place < renamed]
    assert not gone, "the WAL is the only copy until it is copied"


def test_f07_checkpoints_whose_syncs_fail_and_power_cuts_after_them_lose_nothing():
    faults = [FaultByHand("sync", pattern, by="sqlite", first=1 + n) for n in range(3) for pattern in (DATABASE, WAL)]
    found = nothing_lost(lived(seed, life("cut", fault), life("cut"), cuts=4) for seed, fault in enumerate(faults, 1))
    assert found.faults[STRUCK] >= 4


# -- every operation ------------------------------------------------------------------------------------------------------------
WAYS = [
    {"code": errno.EIO},
    {"code": errno.EIO, "for_ever": True},
    {"code": errno.ENOSPC},
    {"code": errno.ENOSPC, "for_ever": True},
    {"kind": "write", "short": True},
    {"kind": "write", "code": errno.ENOSPC, "short": True, "for_ever": True},
]


async def space_again(life, chance) -> bool:
    """Calls wait for space as long as there is none (F09): after a minute somebody makes some."""
    for fault in life.disk.faults:
        if fault.code == errno.ENOSPC:
            fault.times = 0
    return True


@pytest.fixture
def minute_without_space(monkeypatch):
    monkeypatch.setitem(TROUBLES, "space again", space_again)


def fail_the_nth(n: int, way: dict):
    """A small life from its birth to its stop, killed or cut somewhere, then looked at; the n-th operation of it fails."""
    fault = FaultByHand(**{"kind": "any", "first": n} | way)
    end = ("killed", "cut")[n % 2]
    first = life(end, fault, clients=2, visits=3, troubles=[("space again", 60.0)])
    return lived(5, first, life("cut", clients=2, visits=1), cuts=2, scenario=TwoRooms())


@pytest.mark.usefixtures("minute_without_space")
def test_f08_whichever_operation_fails_nothing_is_wrong_and_nobody_hangs():
    """Every 17th of them, in every way by turns, until the n-th is never reached; the slow test takes all."""
    for turn in count():
        found = nothing_lost([fail_the_nth(1 + 17 * turn, WAYS[0] if turn % 2 else WAYS[turn // 2 % 4])])
        if STRUCK not in found.faults:
            break
    assert turn > 15
    short = nothing_lost(fail_the_nth(n, WAYS[4 + n % 2]) for n in range(1, 80, 13))
    assert short.faults[STRUCK] == 7


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_f08_whichever_write_of_the_catalog_fails_at_a_start_it_is_refused_as_unfit(tmp_path, code):
    """A first start writes its tables, then where its classes were found: that raised SQLite's own error."""

    async def note(runtime):
        started.append(runtime)

    started: list[object] = []
    for n in count(1):
        disk = SimulatedDisk(tmp_path / str(n), SteppedThreads())
        disk.fail(Fault("write", "catalog.db*", code, by="sqlite", first=n, times=inf))
        words = ""
        try:
            run_on(disk, note)
        except DiskUnfit as error:
            words = str(error)
        if started:
            break
        assert re.search(r"catalog\.db cannot be (opened|written) \(injected: .*\)\. ", words)
        assert not disk.open_descriptors
    assert n > 8


def test_f08_a_start_on_a_full_disk_writes_nothing_that_is_known_already(tmp_path):
    """So that rooms can be read there, and emptied."""

    async def post(runtime):
        await runtime.room(Chat, "a").post("0")

    async def read(runtime):
        assert await runtime.room(Chat, "a").ids() == ["0"]

    run_on(before := SimulatedDisk(tmp_path, SteppedThreads()), post)
    disk = SimulatedDisk(tmp_path, SteppedThreads(), before.world)
    fault = disk.fail(Fault("write", "catalog.db*", errno.ENOSPC, by="sqlite", times=inf))
    run_on(disk, read)
    assert not fault.struck


@pytest.mark.slow
@pytest.mark.usefixtures("minute_without_space")
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_f08_every_nth_operation_until_it_is_never_reached(way):
    for n in count(1):
        if STRUCK not in nothing_lost([fail_the_nth(n, way)]).faults:
            break
    assert n > 60


# -- owners and callers --------------------------------------------------------------------------------------------------------
def test_f19_a_thousand_tasks_that_wake_a_room_at_once_meet_one_actor(tmp_path):
    """While its opening stops half-way in a thread, in several orders of the tasks."""
    made: list[object] = []

    class Counted(Chat):
        def __init__(self) -> None:
            made.append(self)

        def who(self) -> int:
            return id(self)

    met: list[int] = []

    async def caller(runtime):
        met.append(await runtime.room(Counted, "a").who())

    async def calls(runtime):
        async with trio.open_nursery() as nursery:
            for _ in range(1_000):
                nursery.start_soon(caller, runtime)

    for seed in ("1", "2", "3"):
        made.clear()
        met.clear()
        run_on(SimulatedDisk(tmp_path / seed, SteppedThreads(Random(seed))), calls, seed=seed, actors=(Counted,))
        assert met == [id(made[0])] * 1_000
        assert len(made) == 1


def test_f25_callers_that_are_cancelled_at_any_moment_leave_all_or_nothing():
    """Cancelled before, during and after their calls: tests/rooms/test_calls.py; here at moments of the seed, with power cuts."""
    troubles = [("caller cancelled", place * 0.02) for place in range(40)]
    found = nothing_lost(lived(seed, life("killed", troubles=troubles), life("cut", troubles=troubles)) for seed in range(1, 7))
    assert found.faults["caller cancelled"] >= 20


# -- the replica, the clock ------------------------------------------------------------------------------------------------------
class CutInTheReplica(Simulation):
    """Cuts between the first write of the replica's transaction and the sync after it: its rows and its cursor are one."""

    def _places(self, events: list[Event]) -> list[int]:
        anywhere = [place for place, event in enumerate(events) if event.path.startswith("replica.db") and event.kind != "open"]
        return sorted(self._chance.choice(anywhere) for _ in range(self.plan.cuts)) if anywhere else []


def test_f32_a_crash_between_the_replicas_rows_and_its_cursor_leaves_both_or_none():
    """They are one transaction (design.md §5), so there is no moment between; each look compares every row with the rooms."""
    found = nothing_lost(lived(seed, life("killed"), life("cut"), cuts=16, of=CutInTheReplica) for seed in range(1, 6))
    assert len(found.images) > 60


@pytest.mark.parametrize("jump", [-3_600.0, 86_400.0], ids=["an hour back", "a day on"])
def test_f34_a_wall_clock_that_jumps_moves_nothing_but_itself(tmp_path, jump):
    """Order is `seq`'s and time is trio's; a room leaves when it has been idle, and no duration is negative. (No alarms yet.)"""
    clock = MockClock(autojump_threshold=0)
    began, offset = clock.current_time(), 0.0
    disk = SimulatedDisk(
        tmp_path,
        SteppedThreads(),
        now=clock.current_time,
        wall_clock=lambda: 1_700_000_000 + clock.current_time() - began + offset,
    )

    async def calls(runtime):
        nonlocal offset
        room, seqs = runtime.room(Chat, "a"), []
        for number in range(6):
            if number == 3:
                offset = jump
            seqs.append((await room.ask(Chat.post, str(number))).seq)
            await trio.sleep(5)
            assert runtime.status().rooms_open == 1, "5 s idle, whatever the wall clock says"
        assert seqs == sorted(set(seqs))
        await runtime.replicated(60)
        assert min(replica.lag_seconds for replica in runtime.status().replicas) >= 0
        await trio.sleep(200)
        assert runtime.status().rooms_open == 0
        assert await room.ids() == list("012345")

    run_on(disk, calls, clock=clock)


def test_f34_clocks_that_jump_all_the_time_and_power_cuts_lose_nothing():
    troubles = [("clock jump", place * 0.03) for place in range(20)]
    found = nothing_lost(lived(seed, life("killed", troubles=troubles), life("cut", troubles=troubles)) for seed in range(1, 4))
    assert found.faults["clock jump"] >= 30
