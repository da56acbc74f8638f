"""Rule 25: a COMMIT that raises."""

import errno
import sqlite3

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from durable_rooms import OutcomeUnknown, StorageFull, TurnVoid
from tests.durability.callers import Callers, activation, path_of, room, wal

A = path_of("a")


@pytest.mark.parametrize(("code", "refusal"), [(errno.ENOSPC, StorageFull), (errno.EIO, TurnVoid)], ids=["full", "write error"])
async def test_rule_25_after_a_write_error_nothing_ran_and_the_room_goes_on(open_rooms, disk, data, code, refusal):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        disk.fails("write", wal("a"), code=code)
        with pytest.raises(refusal) as caught:
            await a.post("1")
        assert caught.value.ran == "no"
        assert caught.value.retryable
        assert await a.ids() == ["0"]
        assert await a.post("1") == 2
        assert runtime.status().rooms_broken == 0
    async with open_rooms() as runtime:
        assert await room(runtime, "a").ids() == ["0", "1"]


async def test_rule_25_every_call_of_the_turn_is_told_and_calls_before_it_keep_theirs(open_rooms, disk, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        disk.fails("write", wal("a"), code=errno.ENOSPC)
        for id in ("1", "2", "3"):
            tasks.start_soon(callers._wait, id, a.post(id))
        await wait_all_tasks_blocked()
        assert [type(callers[id]) for id in ("1", "2", "3")] == [StorageFull] * 3
        assert await a.ids() == ["0"]


async def test_rule_25_a_disk_that_stays_full_can_still_be_read_and_costs_no_epoch(open_rooms, disk, data):
    """The position in the catalog is the committed one, so the room that opens again is not taken for a rewound file."""
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        before = activation(runtime, "a").position
        disk.fails("write", "rooms/*", code=errno.ENOSPC, times=float("inf"), by="sqlite")
        for _ in range(3):
            with pytest.raises(StorageFull):
                await a.post("1")
            assert await a.ids() == ["0"]
        assert activation(runtime, "a").position == before
        disk.repair()
        assert await a.post("1") == 2
        assert activation(runtime, "a").position.epoch == before.epoch


async def test_rule_25_a_failed_header_sync_makes_the_outcome_unknown_and_the_room_broken(open_rooms, disk):
    async with open_rooms(limits=Limits(wal_bytes_max=100_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        await a.post("1", "x" * 200_000)
        await wait_all_tasks_blocked()
        assert disk.where(
            "sync returned", A, by="sqlite"
        )  # checkpointed: the next COMMIT begins the WAL again and syncs its header
        disk.fails("sync", wal("a"), by="sqlite")
        with pytest.raises(OutcomeUnknown):
            await a.post("2")
        assert runtime.status().rooms_broken == 1
        assert {"0", "1"} <= set(await a.ids())
        assert disk.where("rename", wal("a") + ".rehome")


async def test_rule_25_an_unknown_commit_beside_a_newborns_round_leaves_no_proven_row_without_a_file(
    open_rooms, disk, threads, tasks, data
):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        await callers.start("birth", a.post("0"))
        await hold.reached.wait()
        activation(runtime, "a").commit_unknown(OSError(errno.EIO, "a COMMIT of unknown outcome"))
        await wait_all_tasks_blocked()
        assert isinstance(callers["birth"], OutcomeUnknown)
        hold.release()
        await wait_all_tasks_blocked()
        assert await a.ids() == []
        assert await a.post("1") == 1
    with sqlite3.connect(data / A) as file:
        assert file.execute("SELECT id FROM messages").fetchall() == [("1",)]
    file.close()


async def test_rule_25_a_full_disk_neither_breaks_nor_stops_rooms_that_checkpoint_or_close(open_rooms, disk, data):
    async with open_rooms(limits=Limits(open_rooms_max=1, wal_bytes_max=100_000)) as runtime:
        for id in ("a", "b", "c", "d"):
            await room(runtime, id).post("0")
        disk.fails("write", "rooms/*.db", code=errno.ENOSPC, times=float("inf"), by="sqlite")
        for id in ("a", "b", "c", "d"):
            await room(runtime, id).post("1", "x" * 200_000)
            await wait_all_tasks_blocked()
        for id in ("a", "b", "c", "d"):
            assert await room(runtime, id).post("2") == 3
        assert runtime.status().rooms_broken == 0
    disk.repair()
    async with open_rooms() as runtime:
        for id in ("a", "b", "c", "d"):
            assert await room(runtime, id).ids() == ["0", "1", "2"]
