"""Deleting and loading rooms, with the power failing at every moment: a room is whole or gone, and what is gone stays gone."""

from math import inf
from random import Random

import apsw
import pytest
import trio

from actors import Limits
from actors.names import RoomName
from durable_rooms import DiskFailed, OutcomeUnknown, RoomUnfit
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import path_of, recorded, reply_place, room, wal
from tests.durability.chat import opened

A = path_of("a")
FOLDER = A.rpartition("/")[0]
PARTS = 12  # that the places of one record are dealt to, so that each test opens a handful of images


def cuts(disk, since, part, tmp_path, before=None):
    """Images of every so-many-th place after `since`, with that place."""
    for place in range(since + 1 + part, len(disk.events) + 1, PARTS):
        chance = Random(place)
        world = World() if before is None else before.copy()
        world.play(disk.events[:place])
        keep = chance.choice([Keep.NOTHING, Keep.SOME, Keep.SOME, Keep.ALL])
        target = tmp_path / f"cut-{place}"
        write_image(image(world, keep, chance), target)
        yield place, target


async def lives_on(path, body):
    """The room takes calls, goes to sleep, and wakes as it was."""
    async with opened(path) as runtime:
        before = await room(runtime, "a").ids()
        await room(runtime, "a").post(body)
    async with opened(path) as runtime:
        assert await room(runtime, "a").ids() == sorted([*before, body])


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("how", ["in memory", "at rest", "just born"])
async def test_after_any_power_cut_a_room_is_whole_or_gone_and_a_new_one_never_shows_the_old(
    open_rooms, disk, tmp_path, how, part
):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("1")
        if how != "just born":
            await a.post("2")
        if how == "at rest":
            await runtime.evict(a)
        old = ["1"] if how == "just born" else ["1", "2"]
        began = len(disk.events)
        assert await recorded(disk, "delete", runtime.delete(a))
        assert await recorded(disk, "new", a.post("new")) == 1
        ended = len(disk.events)
        await runtime.evict(a)
    del disk.events[ended + PARTS :]  # what follows is any room's closing
    deleted, new = reply_place(disk, "delete"), reply_place(disk, "new")
    for place, cut in cuts(disk, began, part, tmp_path):
        async with opened(cut) as runtime:
            found = await room(runtime, "a").ids()
        if place <= deleted:
            assert found in (old, []), place
        elif place <= new:
            assert found in ([], ["new"]), place
        else:
            assert found == ["new"], place
    await lives_on(cut, "3")


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_power_cut_while_a_start_finishes_a_delete_brings_nothing_back(open_rooms, disk, tmp_path, make_disk, part):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        began = len(disk.events)
        await recorded(disk, "delete", runtime.delete(room(runtime, "a")))
    world = World()
    world.play(disk.events[: next(place for place in disk.where("unlink", A) if place >= began)])  # nothing was removed yet
    write_image(image(world, Keep.ALL, Random(0)), tmp_path / "killed")
    assert (tmp_path / "killed" / A).exists()
    again = make_disk(tmp_path / "killed", None, world)
    async with opened(tmp_path / "killed", again) as runtime:
        assert not (tmp_path / "killed" / A).exists()
        assert runtime.list_rooms() == []
        assert await recorded(again, "new", room(runtime, "a").post("new")) == 1
    for place, cut in cuts(again, 0, part, tmp_path, before=world):
        async with opened(cut) as runtime:
            assert await room(runtime, "a").ids() in (["new"], []) if place <= reply_place(again, "new") else (["new"],)


async def test_the_tombstone_is_durable_before_the_first_file_is_removed(open_rooms, disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        await runtime.evict(room(runtime, "a"))
        began = len(disk.events)
        await recorded(disk, "delete", runtime.delete(room(runtime, "a")))
    row = next(place for place in disk.where("write", "catalog.db-wal", holding=b"remove") if place >= began)
    synced = next(
        place
        for place, event in enumerate(disk.events)
        if place > row and (event.kind, event.path) in (("sync returned", "catalog.db-wal"), ("file system sync returned", "."))
    )
    assert synced < next(place for place in disk.where("unlink", A) if place >= began)


async def test_rule_10_a_delete_removes_the_database_syncs_its_directory_and_then_removes_the_wal(open_rooms, disk):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        await room(runtime, "a").post("1")
        await room(runtime, "other").post("1")  # "a" leaves its WAL behind
        await trio.lowlevel.checkpoint()
        began = len(disk.events)
        await recorded(disk, "delete", runtime.delete(room(runtime, "a")))
    gone = next(place for place in disk.where("unlink", A) if place >= began)
    wal_gone = next(place for place in disk.where("unlink", wal("a")) if place >= began)
    synced = [place for place in disk.where("directory sync returned", FOLDER) if place > gone]
    assert gone < synced[0] < wal_gone
    assert any(wal_gone < place < reply_place(disk, "delete") for place in synced)


async def test_a_delete_whose_files_cannot_be_removed_says_so_and_is_finished_by_the_next_call(open_rooms, disk, data):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("1")
        await runtime.evict(a)
        disk.fails("unlink", A, times=inf)
        with pytest.raises(OutcomeUnknown, match="is deleted, durably, but its files could not be removed"):
            await runtime.delete(a)
        assert runtime.list_rooms() == []
        with pytest.raises(RoomUnfit, match="former incarnation"):
            await a.ids()
        disk.repair()
        assert await a.ids() == []


async def test_a_delete_whose_files_could_not_be_removed_is_finished_by_the_next_start(open_rooms, disk, data):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("1")
        disk.fails("unlink", A, times=inf)
        with pytest.raises(OutcomeUnknown):
            await runtime.delete(a)
    assert (data / A).exists()
    disk.repair()
    async with open_rooms() as runtime:
        assert not (data / A).exists()
        assert [one.id for one in runtime.list_rooms(deleted=True)] == ["a"]


async def test_a_delete_whose_tombstone_cannot_be_synced_is_unknown_and_the_room_is_whole_or_gone(open_rooms, disk, data):
    with pytest.raises(DiskFailed):
        async with open_rooms() as runtime:
            a = room(runtime, "a")
            await a.post("1")
            await runtime.evict(a)
            disk.fails("sync", "catalog.db-wal")
            await runtime.delete(a)
    assert (data / A).exists()  # nothing is removed before the tombstone is durable
    disk.repair()
    async with open_rooms() as runtime:
        assert await room(runtime, "a").ids() in (["1"], [])


# -- load ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("replace", [False, True], ids=["a new room", "in the place of one"])
async def test_after_any_power_cut_a_room_is_as_it_was_or_as_the_file_has_it(open_rooms, disk, data, tmp_path, replace, part):
    async with opened(tmp_path / "elsewhere") as runtime:
        await room(runtime, "b").post("loaded")
        await runtime.dump(room(runtime, "b"), tmp_path / "dump.db")
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        if replace:
            await a.post("old")
        (data / "dump.db").write_bytes((tmp_path / "dump.db").read_bytes())
        began = len(disk.events)
        assert await recorded(disk, "load", runtime.load(a, data / "dump.db", replace=replace)) is None
        await recorded(disk, "post", a.post("more"))
        ended = len(disk.events)
        await runtime.evict(a)
    del disk.events[ended + PARTS :]
    for place, cut in cuts(disk, began, part, tmp_path):
        async with opened(cut) as runtime:
            found = await room(runtime, "a").ids()
        if place <= reply_place(disk, "load"):
            assert found in (["old"] if replace else [], ["loaded"]), place
        elif place <= reply_place(disk, "post"):
            assert found in (["loaded"], ["loaded", "more"]), place
        else:
            assert found == ["loaded", "more"], place
    await lives_on(cut, "x3")


async def test_a_load_that_was_never_decided_is_taken_for_no_later_one(open_rooms, disk, data, tmp_path):
    """Its copy lies beside the room's place when the process dies; the room goes on, and is not replaced by it."""
    async with opened(tmp_path / "elsewhere") as runtime:
        await room(runtime, "b").post("loaded")
        await runtime.dump(room(runtime, "b"), tmp_path / "dump.db")
    async with opened(data) as runtime:
        a = room(runtime, "a")
        await a.post("old")
        await runtime.load(a, tmp_path / "dump.db", replace=True)
        stone = runtime.catalog.tombstones.get(RoomName("Chat", "a"))
        await a.post("more")
        assert stone is None
        path = data / A
        path.with_name(f"{path.name}.99.loading").write_bytes((tmp_path / "dump.db").read_bytes())
    async with opened(data) as runtime:
        assert await room(runtime, "a").ids() == ["loaded", "more"]
        await runtime.delete(room(runtime, "a"))
        assert not list(path.parent.iterdir())


async def test_what_is_loaded_can_be_read_by_any_sqlite_and_has_one_name(data, tmp_path):
    async with opened(data) as runtime:
        await room(runtime, "b").post("loaded")
        await runtime.dump(room(runtime, "b"), tmp_path / "dump.db")
        await runtime.load(room(runtime, "a"), tmp_path / "dump.db")
    connection = apsw.Connection(str(data / A))
    try:
        assert connection.execute("SELECT id FROM _room").fetchall() == [("a",)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()
