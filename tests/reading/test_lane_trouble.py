"""A room's own answer to a read while the room, its file, the disk or the runtime is in trouble."""

from typing import Any

import apsw
import pytest
import trio
import trio.lowlevel

from durable_rooms import (
    DiskFailed,
    Limits,
    OutcomeUnknown,
    RoomQuarantined,
    RoomUnfit,
    RuntimeClosed,
    SQLiteReplica,
    StorageFull,
)
from durable_rooms.testing import open_test_runtime
from tests.reading.own import SOON, Room, file_of, make_slow, rest
from tests.rooms.faults import FailsOnce


async def test_a_read_after_a_failed_sync_sees_what_the_file_then_holds(autojump_clock):
    disk = FailsOnce()
    async with open_test_runtime(Room, disk=disk) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Room, "general")
        await room.post("ann", "durable")
        disk.fail_next()
        outcomes: list[Any] = []

        async def posts() -> None:
            try:
                outcomes.append(await room.post("ann", "perhaps"))
            except OutcomeUnknown as error:
                outcomes.append(error)

        nursery.start_soon(posts)
        answers: list[list[str]] = []
        while not outcomes:
            try:
                answers.append(await room.seen())
            except OutcomeUnknown:
                await trio.sleep(0.01)
        assert isinstance(outcomes[0], OutcomeUnknown)
        assert all(answer == ["durable"] for answer in answers), "nothing else was durable"
        assert await room.seen() in (["durable"], ["durable", "perhaps"])


async def test_a_read_in_a_thread_whose_room_breaks_meanwhile_is_not_answered_from_it(autojump_clock):
    async with open_test_runtime(Room) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Room, "general")
        await room.post("ann", "durable")
        await make_slow(runtime, room, "seen")
        seat = runtime.seat(runtime.address(Room, "general")[0])
        outcomes: list[Any] = []

        async def asks() -> None:
            try:
                outcomes.append(await room.seen())
            except RoomUnfit as error:
                outcomes.append(error)

        async with seat.lock:  # a checkpoint, say
            nursery.start_soon(asks)
            await trio.testing.wait_all_tasks_blocked()
            assert seat.activation is not None
            seat.activation.sync_failed(OSError(5, "Input/output error"))
        await trio.sleep(1)
        (outcome,) = outcomes
        assert isinstance(outcome, RoomUnfit)
        assert "ask again" in str(outcome)
        assert await room.seen() == ["durable"]


async def test_a_read_in_a_thread_whose_room_is_found_damaged_meanwhile_says_so(autojump_clock):
    async with open_test_runtime(Room) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Room, "general")
        await room.post("ann", "durable")
        await make_slow(runtime, room, "seen")
        seat = runtime.seat(runtime.address(Room, "general")[0])
        outcomes: list[Any] = []

        async def asks() -> None:
            try:
                outcomes.append(await room.seen())
            except Exception as error:
                outcomes.append(error)

        async with seat.lock:
            nursery.start_soon(asks)
            await trio.testing.wait_all_tasks_blocked()
            assert seat.activation is not None
            seat.activation.damaged(apsw.CorruptError("database disk image is malformed"))
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert len(outcomes) == 1
        assert isinstance(outcomes[0], RoomUnfit | RoomQuarantined)


@pytest.mark.parametrize("rests", [False, True], ids=["in memory", "at rest"])
async def test_a_read_that_meets_a_damaged_page_says_so_and_the_room_goes_to_quarantine(rests, autojump_clock):
    async with open_test_runtime(Room, limits=SOON) as runtime:
        room = runtime.room(Room, "general")
        for _ in range(40):
            await room.post("ann", "x" * 1_000)
        await rest(runtime)
        path = file_of(runtime)
        if not rests:
            await room.whoami()  # opens nothing: from the file
            await room.draft("in memory")
        whole = path.read_bytes()
        path.write_bytes(whole[: 8 * 4096] + b"\xff" * (len(whole) - 8 * 4096))
        if not rests:
            seat = runtime.seat(runtime.address(Room, "general")[0])
            assert seat.activation is not None
            seat.activation.rest()
        with pytest.raises((RoomUnfit, RoomQuarantined)):
            await room.seen()
        await trio.sleep(1)
        with pytest.raises(RoomQuarantined):
            await room.seen()
        with pytest.raises(RoomQuarantined):
            await room.post("ann", "y")


async def test_a_quarantined_room_refuses_its_own_reads_and_the_replica_still_answers(tmp_path, autojump_clock):
    async with open_test_runtime(Room, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        await runtime.room(Room, "general").post("ann", "hello")
        await runtime.replicated()
        path = file_of(runtime)
    path.write_bytes(b"\xff" * path.stat().st_size)
    async with open_test_runtime(Room, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Room, "general")
        with pytest.raises((RoomUnfit, RoomQuarantined)):
            await room.post("ann", "more")
        with pytest.raises(RoomQuarantined):
            await room.seen()
        assert await room.bodies_somehow() == ["hello"]


async def test_a_full_disk_refuses_the_birth_of_a_room_to_a_read_and_answers_for_all_others(autojump_clock):
    async with open_test_runtime(Room, limits=SOON) as runtime:
        for id in ("in memory", "at rest"):
            await runtime.room(Room, id).post("ann", "hello")
        await rest(runtime)
        await runtime.room(Room, "in memory").post("ann", "again")
        runtime.space.full = True
        assert await runtime.room(Room, "at rest").seen() == ["hello"]
        assert await runtime.room(Room, "in memory").seen() == ["hello", "again"]
        with pytest.raises(StorageFull):
            await runtime.room(Room, "new").seen()
        runtime.space.full = False


async def test_reads_go_on_beside_a_checkpoint_and_a_hibernation(autojump_clock):
    async with open_test_runtime(Room, limits=Limits(idle_seconds_max=0.5)) as runtime:
        room = runtime.room(Room, "general")
        for n in range(30):
            await room.post("ann", "x" * 100_000)
            assert len(await room.seen()) == n + 1
            await trio.sleep(n % 3)
            assert len(await room.seen()) == n + 1


async def asks(room: Any, outcomes: list[Any]) -> None:
    try:
        outcomes.append(await room.seen())
    except Exception as error:
        outcomes.append(error)


async def holds(room: Any) -> None:
    """Keeps its room's place until the runtime ends."""
    with pytest.raises(OutcomeUnknown):
        await room.waits_alone(3_600)


async def test_a_read_that_waits_when_the_disk_fails_is_told(autojump_clock):
    """The runtime fails while reads wait for their room to open."""
    outcomes: list[Any] = []

    async with trio.open_nursery() as nursery:
        with pytest.raises(DiskFailed):
            async with open_test_runtime(Room, limits=Limits(open_rooms_max=1)) as runtime:
                nursery.start_soon(holds, runtime.room(Room, "other"))
                await trio.sleep(1)
                nursery.start_soon(asks, runtime.room(Room, "new"), outcomes)
                await trio.sleep(1)
                runtime.fail(DiskFailed("the disk is gone"))
                await trio.sleep(3_600)
        with trio.fail_after(5):
            while not outcomes:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.1)
        assert isinstance(outcomes[0], RuntimeClosed)
        nursery.cancel_scope.cancel()


async def test_reads_that_wait_for_a_room_to_open_are_told_at_the_stop_within_its_bound(autojump_clock):
    outcomes: list[Any] = []

    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            async with open_test_runtime(Room, limits=Limits(open_rooms_max=1, drain_seconds_max=5)) as runtime:
                nursery.start_soon(holds, runtime.room(Room, "other"))
                await trio.sleep(1)
                nursery.start_soon(asks, runtime.room(Room, "new"), outcomes)
                await trio.sleep(1)
            await trio.lowlevel.checkpoint()
        with trio.fail_after(1):
            while not outcomes:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.1)
        assert isinstance(outcomes[0], RuntimeClosed)
