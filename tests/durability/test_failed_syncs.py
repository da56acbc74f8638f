"""Rules 21 to 24: a sync that fails."""

import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.names import RoomName
from actors.storage.tidying import TIDY_SECONDS
from durable_rooms import CallRefused, DiskFailed, OutcomeUnknown
from tests.durability.callers import Callers, path_of, recorded, room, wal
from tests.durability.test_levels import hibernate, make_place

A = path_of("a")
ROOMS = [str(number) for number in range(6)]  # more than a round syncs one by one
EITHER = pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])


async def make_rooms(runtime):
    for id in ROOMS:
        await room(runtime, id).post("0")


async def post_everywhere(runtime, callers, tasks, id):
    """One round for all: they all commit before the loop comes to the syncer."""
    for name in ROOMS:
        tasks.start_soon(callers._wait, name, room(runtime, name).post(id))
    await wait_all_tasks_blocked()


@EITHER
async def test_rule_21_callers_get_outcome_unknown_and_the_next_call_works(open_rooms, disk, code):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        await room(runtime, "b").post("0")
        disk.fails("sync", wal("a"), by="ours", code=code)
        with pytest.raises(OutcomeUnknown) as caught:
            await room(runtime, "a").post("1")
        assert caught.value.ran == "unknown"
        assert isinstance(caught.value.__cause__, OSError)
        assert await room(runtime, "b").post("1") == 2
        assert await room(runtime, "a").ids() in (["0"], ["0", "1"])
        assert "2" in await _posted(room(runtime, "a"), "2")
        assert runtime.status().rooms_broken == 1


async def _posted(a, id):
    await a.post(id)
    return await a.ids()


@EITHER
async def test_rule_21_the_connection_is_not_used_again_and_the_wal_is_rehomed_before_anybody_reads(open_rooms, disk, code):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        disk.fails("sync", wal("a"), by="ours", code=code)
        await recorded(disk, "unknown", room(runtime, "a").post("1"))
        await room(runtime, "a").ids()
    (failed,) = disk.where("sync failed")
    renamed = disk.where("rename", wal("a") + ".rehome")[0]
    assert not [place for place in disk.where("write", path_of("a") + "*", by="sqlite") if failed < place < renamed]
    copied = disk.where("sync returned", wal("a") + ".rehome")[0]
    named = next(place for place in disk.where("directory sync returned", A.rpartition("/")[0]) if place > renamed)
    opened_again = next(place for place in disk.where("open", A, by="sqlite") if place > failed)
    closed = next(place for place in disk.where("close", A, by="sqlite") if place > failed)
    assert failed < closed < copied < renamed < named < opened_again


async def test_rule_21_nothing_is_retried(open_rooms, disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        disk.fails("sync", wal("a"), by="ours")
        await recorded(disk, "unknown", room(runtime, "a").post("1"))
        await wait_all_tasks_blocked()
        (failed,) = disk.where("sync failed")
        assert not [place for place in disk.where("sync began", wal("a")) if place > failed]


async def test_rule_21_other_rooms_of_the_round_are_not_affected(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        await room(runtime, "b").post("0")
        callers = Callers(tasks, disk)
        disk.fails("sync", wal("a"), by="ours")
        tasks.start_soon(callers._wait, "a", room(runtime, "a").post("1"))
        await callers.start("b", room(runtime, "b").post("1"))
        assert isinstance(callers["a"], OutcomeUnknown)
        assert callers["b"] == 2


async def test_rule_21_a_handler_that_is_suspended_when_its_room_breaks_is_unknown(open_rooms, disk, tasks, autojump_clock):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post_twice("0", "1", 0.1)
        callers = Callers(tasks, disk)
        await callers.start("slow", a.post_twice("2", "3", 5.0))
        await trio.sleep(1)
        disk.fails("sync", wal("a"), by="ours")
        await callers.start("breaks it", a.post("4"))
        assert isinstance(callers["slow"], OutcomeUnknown)
        assert isinstance(callers["breaks it"], OutcomeUnknown)
        assert set(await a.ids()) - {"4"} == {"0", "1", "2"}


@pytest.mark.parametrize("path", [A, wal("a")], ids=["of the database", "of the WAL"])
async def test_rule_21_a_failed_sync_inside_a_checkpoint_breaks_the_room_and_loses_nothing(open_rooms, disk, path):
    async with open_rooms(limits=Limits(wal_bytes_max=100_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        disk.fails("sync", path, by="sqlite")
        await a.post("1", "x" * 200_000)
        await wait_all_tasks_blocked()
        assert runtime.status().rooms_broken == 1
        assert disk.where("rename", wal("a") + ".rehome")
        assert await a.ids() == ["0", "1"]


async def test_rule_21_a_failed_sync_inside_a_close_breaks_the_room_and_loses_nothing(open_rooms, disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        disk.fails("sync", A, by="sqlite")
        await hibernate(runtime)
        assert runtime.status().rooms_broken == 1
        assert disk.where("rename", wal("a") + ".rehome")
        assert await room(runtime, "a").ids() == ["0"]


async def test_rule_21_a_failed_sync_while_a_left_wal_is_taken_in_loses_nothing(open_rooms, disk, autojump_clock):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        await room(runtime, "a").post("0")
        await make_place(runtime)
        disk.fails("sync", A, by="sqlite")
        await trio.sleep(2 * TIDY_SECONDS)
        assert runtime.status().rooms_broken == 1
        assert runtime.catalog.get(RoomName("Chat", "a")).active
        assert await room(runtime, "a").ids() == ["0"]
        renamed = disk.where("rename", wal("a") + ".rehome")
        assert renamed
        assert renamed[0] < disk.where("open", A, by="sqlite")[-1]


async def test_rule_21_a_room_that_could_not_be_put_right_is_rehomed_by_its_next_opening(open_rooms, disk):
    """Even if it broke before its activation had written anything, so that the catalog called it closed."""
    async with open_rooms(limits=Limits(open_rooms_max=1, wal_bytes_max=100_000)) as runtime:
        await room(runtime, "a").post("0")
        await room(runtime, "b").post("0")  # "a" hibernates
        await room(runtime, "b").post("1")
        assert await room(runtime, "a").ids() == ["0"]
        disk.fails("write", wal("a"), code=errno.EROFS)  # neither full nor a plain write error: COMMIT's outcome is unknown
        disk.fails("copy", wal("a"))
        disk.faults[0].code = errno.EIO
        raised = await _fail_commit_as_a_sync(runtime, disk)
        assert isinstance(raised, OutcomeUnknown)
        await wait_all_tasks_blocked()
        assert not disk.where("rename", wal("a") + ".rehome")
        disk.repair()
        assert await room(runtime, "a").ids() in (["0"], ["0", "1"])
        renamed = disk.where("rename", wal("a") + ".rehome")
        assert renamed
        assert renamed[0] < disk.where("open", A, by="sqlite")[-1]


async def _fail_commit_as_a_sync(runtime, disk):
    """A COMMIT that raises what a header's sync would."""
    import apsw

    from durable_rooms.simulation import vfs

    error_of = vfs.error_of
    vfs.error_of = lambda code, extended: error_of(code, apsw.SQLITE_IOERR_FSYNC)
    try:
        return await recorded(disk, "unknown", room(runtime, "a").post("1"))
    finally:
        vfs.error_of = error_of


async def test_rule_22_one_descriptor_for_syncfs_is_older_than_every_write_and_kept_for_life(open_rooms, disk, monkeypatch):
    used = set()
    sync_file_system = disk.sync_file_system
    monkeypatch.setattr(disk, "sync_file_system", lambda fd: (used.add(fd), sync_file_system(fd)))
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        async with trio.open_nursery() as nursery:
            for id in ROOMS:
                nursery.start_soon(room(runtime, id).post, "1")
        assert disk.where("file system sync returned")
    assert len(used) == 1
    assert disk.where("open", ".")[0] < disk.where("write", "*.db*")[0]
    assert disk.where("close", ".")[0] > disk.where("write", "*.db*")[-1]


async def test_rule_23_a_failed_syncfs_asks_every_file_and_breaks_only_those_that_fail(open_rooms, disk, tasks):
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        await room(runtime, "idle").post("0")
        callers = Callers(tasks, disk)
        disk.fails("file system sync")
        disk.fails("sync", wal("3"), by="ours")
        await post_everywhere(runtime, callers, tasks, "1")
        assert [id for id in ROOMS if isinstance(callers[id], OutcomeUnknown)] == ["3"]
        assert [callers[id] for id in ROOMS if id != "3"] == [2] * 5
        (failed,) = disk.where("file system sync failed")
        asked = {event.path for event in disk.events[failed:] if event.kind == "sync began" and event.by == "ours"}
        assert asked >= {wal(id) for id in [*ROOMS, "idle"]} | {"catalog.db-wal"}
        assert runtime.status().rooms_broken == 1
        assert set(await room(runtime, "3").ids()) >= {"0"}


async def test_rule_23_a_room_that_committed_after_the_round_began_is_asked_too(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        await room(runtime, "late").post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("file system sync began")
        disk.fails("file system sync")
        await post_everywhere(runtime, callers, tasks, "1")
        await hold.reached.wait()
        await callers.start("late", room(runtime, "late").post("1"))
        disk.fails("sync", wal("late"), by="ours")
        hold.release()
        await wait_all_tasks_blocked()
        assert [callers[id] for id in ROOMS] == [2] * 6
        assert isinstance(callers["late"], OutcomeUnknown)


async def test_rule_23_a_newborn_without_a_commit_of_its_own_is_asked_with_its_database(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        callers = Callers(tasks, disk)
        hold = threads.hold("file system sync began")
        disk.fails("file system sync")
        await post_everywhere(runtime, callers, tasks, "1")
        await hold.reached.wait()
        await callers.start("newborn", room(runtime, "newborn").ids())
        disk.fails("sync", path_of("newborn"), by="ours")
        hold.release()
        await wait_all_tasks_blocked()
        assert isinstance(callers["newborn"], OutcomeUnknown)
        assert disk.where("unlink", path_of("newborn"))
        assert await room(runtime, "newborn").ids() == []


async def test_rule_23_a_room_that_is_being_opened_while_a_syncfs_fails_asks_its_own_files(open_rooms, disk, threads, tasks):
    """The error of its file has gone with that syncfs; another one would say that all is well."""
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        callers = Callers(tasks, disk)
        birth = threads.hold("open", wal("opening"))
        await callers.start("opening", room(runtime, "opening").post("1"))
        await birth.reached.wait()
        disk.fails("file system sync")
        disk.fails("sync", path_of("opening"), by="ours")
        await post_everywhere(runtime, callers, tasks, "1")
        birth.release()
        await post_everywhere(runtime, callers, tasks, "2")
        assert isinstance(callers["opening"], OutcomeUnknown)
        assert await room(runtime, "opening").ids() == []


async def test_rule_23_the_echo_at_the_next_syncfs_breaks_nobody(open_rooms, disk, tasks):
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        callers = Callers(tasks, disk)
        disk.fails("file system sync", times=2)
        disk.fails("sync", wal("3"), by="ours")
        for id in ("1", "2"):
            await post_everywhere(runtime, callers, tasks, id)
        assert [type(callers[id]) for id in ROOMS] == [int] * 6
        assert runtime.status().rooms_broken == 1


@EITHER
async def test_rule_24_a_failed_sync_of_the_catalog_ends_the_runtime_and_nobody_hangs(open_rooms, disk, threads, tasks, code):
    callers = Callers(tasks, disk)
    with pytest.raises(DiskFailed, match="catalog"):
        async with open_rooms() as runtime:
            await make_rooms(runtime)
            disk.fails("sync", "catalog.db-wal", by="ours", code=code)
            hold = threads.hold("sync began", "catalog.db-wal")
            await callers.start("birth", room(runtime, "new").post("1"))
            await hold.reached.wait()
            await callers.start("queued", room(runtime, "another").post("1"))
            await callers.start("known", room(runtime, "1").post("1"))
            hold.release()
            await trio.sleep_forever()
    await wait_all_tasks_blocked()
    assert len(callers.outcomes) == 3
    assert all(isinstance(outcome, OutcomeUnknown | CallRefused) for outcome in callers.outcomes.values())


async def test_rule_24_the_catalog_is_among_the_files_that_a_failed_syncfs_asks(open_rooms, disk, tasks):
    callers = Callers(tasks, disk)
    with pytest.raises(DiskFailed, match="catalog"):
        async with open_rooms() as runtime:
            await make_rooms(runtime)
            disk.fails("file system sync")
            disk.fails("sync", "catalog.db-wal", by="ours")
            await post_everywhere(runtime, callers, tasks, "1")
            await trio.sleep_forever()
    await wait_all_tasks_blocked()
    assert [type(callers[id]) for id in ROOMS] == [OutcomeUnknown] * 6


async def test_rule_24_after_a_failed_sync_the_catalog_is_not_checkpointed_and_the_stop_is_not_clean(open_rooms, disk, data):
    with pytest.raises(DiskFailed):
        async with open_rooms() as runtime:
            disk.fails("sync", "catalog.db-wal", by="ours")
            await recorded(disk, "unknown", room(runtime, "a").post("1"))
            await trio.sleep_forever()
    (failed,) = disk.where("sync failed")
    assert not [place for place in disk.where("write", "catalog.db") if place > failed]
    assert not (data / "clean-stop").exists()
    async with open_rooms() as runtime:
        assert await room(runtime, "a").ids() in ([], ["1"])
    assert disk.where("rename", "catalog.db-wal.rehome")


async def test_rule_24_a_failed_checkpoint_of_the_catalog_ends_the_runtime(open_rooms, disk, monkeypatch):
    monkeypatch.setattr("actors.directory.catalog.WAL_BYTES_MAX", 1)
    with pytest.raises(DiskFailed, match="catalog"):
        async with open_rooms() as runtime:
            disk.fails("sync", "catalog.db", by="sqlite")
            await recorded(disk, "birth", room(runtime, "a").post("1"))
            await trio.sleep_forever()
    (failed,) = disk.where("sync failed")
    assert not [place for place in disk.where("write", "catalog.db") if place > failed]


async def test_rule_24_several_broken_rooms_in_a_minute_stop_the_runtime(open_rooms, disk, tasks, data):
    callers = Callers(tasks, disk)
    with pytest.raises(DiskFailed, match="3 rooms"):
        async with open_rooms() as runtime:
            await make_rooms(runtime)
            for id in ("0", "1", "2"):
                disk.fails("sync", wal(id), by="ours")
            await post_everywhere(runtime, callers, tasks, "1")
            await post_everywhere(runtime, callers, tasks, "2")
            for id in ("0", "1", "2"):
                await callers.start(f"one more {id}", room(runtime, id).post("3"))
            await trio.sleep_forever()
    await wait_all_tasks_blocked()
    assert len(callers.outcomes) == 9
    failed = disk.where("sync failed")
    for id in ("0", "1", "2"):
        assert not [place for place in disk.where("write", path_of(id), by="sqlite") if place > failed[0]]
    disk.repair()
    async with open_rooms() as runtime:
        for id in ROOMS:
            assert (await room(runtime, id).ids())[0] == "0"


async def test_rule_24_broken_rooms_spread_over_more_than_a_minute_do_not_stop_the_runtime(open_rooms, disk, autojump_clock):
    async with open_rooms() as runtime:
        await make_rooms(runtime)
        for id in ("0", "1", "2"):
            disk.fails("sync", wal(id), by="ours")
            assert isinstance(await recorded(disk, id, room(runtime, id).post("1")), OutcomeUnknown)
            await trio.sleep(40)
        assert await room(runtime, "0").post("2") in (2, 3)


async def test_rule_04_a_runtime_that_fails_beside_a_round_closes_no_descriptor_of_it(open_rooms, disk, threads, tasks):
    callers = Callers(tasks, disk)
    with pytest.raises(DiskFailed):
        async with open_rooms(limits=Limits(broken_rooms_max=1, wal_bytes_max=100_000)) as runtime:
            await room(runtime, "a").post("0")
            await room(runtime, "b").post("0")
            hold = threads.hold("sync began", wal("a"))
            disk.fails("sync", path_of("b"), by="sqlite")
            await callers.start("checkpoint", room(runtime, "b").post("1", "x" * 200_000))
            assert not disk.where("sync failed")
            tasks.start_soon(_release_later, hold, disk, callers, runtime)
            await trio.sleep_forever()
    in_flight = disk.where("sync began", wal("a"), by="ours")[-1]
    returned = next(place for place in disk.where("sync returned", wal("a"), by="ours") if place > in_flight)
    assert not [place for place in disk.where("close", wal("a"), by="ours") if in_flight < place < returned]


async def _release_later(hold, disk, callers, runtime):
    await callers.start("in flight", room(runtime, "a").post("1"))
    hold.release()
