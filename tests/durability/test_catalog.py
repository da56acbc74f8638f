"""Rules 17 to 20: what the catalog knows, when it knows it, and what a start does with it."""

import contextlib
import shutil
import sqlite3
from random import Random

import apsw
from trio.testing import wait_all_tasks_blocked

from actors import Limits, Position
from actors.names import RoomName
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import Callers, activation, path_of, recorded, reply_place, room, wal
from tests.durability.chat import opened
from tests.durability.test_levels import hibernate

A = path_of("a")
ONE_PLACE = Limits(open_rooms_max=1)
CATALOG_WAL = "catalog.db-wal"


def row(runtime, id="a"):
    return runtime.catalog.get(RoomName("Chat", id))


def killed(disk, path, place=None):
    """The directory as a process that is killed now (or was, at an event) leaves it, and its world."""
    world = World()
    world.play(disk.events[:place])
    write_image(image(world, Keep.ALL, Random(0)), path)
    return world


async def test_rule_17_a_rooms_row_is_durable_before_its_first_reply(open_rooms, disk):
    async with open_rooms() as runtime:
        await recorded(disk, "birth", room(runtime, "a").ids())
    written = max(place for place in disk.where("write", CATALOG_WAL) if place < reply_place(disk, "birth"))
    began = [place for place in disk.where("sync began", CATALOG_WAL, by="ours") if place > written]
    returned = [place for place in disk.where("sync returned", CATALOG_WAL, by="ours") if place > began[0]]
    assert written < began[0] < returned[0] < reply_place(disk, "birth")


async def test_rule_17_a_room_is_active_before_the_first_reply_to_a_write_of_an_activation(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        await hibernate(runtime)
        await room(runtime, "other").post("x")
        assert not row(runtime).active
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", CATALOG_WAL)
        await callers.start("write", room(runtime, "a").post("1"))
        await hold.reached.wait()
        assert "write" not in callers
        assert row(runtime).active
        hold.release()
        await wait_all_tasks_blocked()
        assert "write" in callers


async def test_rule_17_a_wake_that_only_reads_a_known_room_writes_nothing_and_waits_for_nothing(open_rooms, disk):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        await hibernate(runtime)
        await room(runtime, "other").post("x")
        await wait_all_tasks_blocked()
    async with open_rooms() as runtime:
        before = len(disk.events)
        assert await room(runtime, "a").ids() == ["0"]
        assert {event.kind for event in disk.events[before:]} <= {"open", "create", "close"}


async def test_rule_18_at_close_the_row_holds_the_files_position(open_rooms, disk, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        position = activation(runtime, "a").position
        await hibernate(runtime)
        assert not row(runtime).active
        assert row(runtime).position == position
    with sqlite3.connect(data / "catalog.db") as catalog:
        assert catalog.execute("SELECT epoch, seq FROM rooms WHERE id = 'a' AND NOT active").fetchall() == [tuple(position)]
    catalog.close()


async def test_rule_18_at_a_start_after_a_kill_active_rooms_are_candidates_and_closed_ones_have_their_position(
    open_rooms, disk, data
):
    async with open_rooms(limits=Limits(open_rooms_max=2)) as runtime:
        for id in ("a", "b", "c"):  # the third takes the first one's place
            await room(runtime, id).post("0")
        await room(runtime, "b").post("1")
        closed = row(runtime)
        killed(disk, data.parent / "killed")
    async with opened(data.parent / "killed") as runtime:
        found = {name.id: (position, active) for name, position, active in runtime.positions()}
        assert {id for id, (_, active) in found.items() if active} == {"b", "c"}
        assert found["a"] == (closed.position, False)


async def test_rule_19_after_an_unclean_stop_the_catalog_is_rehomed_before_it_is_read(open_rooms, disk, data, make_disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        world = killed(disk, data.parent / "killed")
    again = make_disk(data.parent / "killed", None, world)
    async with opened(data.parent / "killed", again):
        read = again.where("open", "catalog.db", by="sqlite")[0]
        for path in ("catalog.db", CATALOG_WAL):
            renamed = again.where("rename", path + ".rehome")[0]
            assert again.where("sync returned", path + ".rehome")[0] < renamed
            assert any(renamed < place < read for place in again.where("directory sync returned", "."))


async def test_rule_19_after_an_unclean_stop_an_active_room_is_rehomed_before_it_is_read(open_rooms, disk, data, make_disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        await room(runtime, "a").post("1")  # by now the room is proven
        world = killed(disk, data.parent / "killed")
    again = make_disk(data.parent / "killed", None, world)
    async with opened(data.parent / "killed", again) as runtime:
        assert await room(runtime, "a").ids() == ["0", "1"]
        renamed = again.where("rename", wal("a") + ".rehome")[0]
        assert renamed < again.where("open", A, by="sqlite")[0]
        assert not again.where("rename", A + ".rehome")


async def test_rule_19_a_closed_room_is_not_rehomed(open_rooms, disk, data, make_disk):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        await hibernate(runtime)
        await room(runtime, "other").post("x")
        world = killed(disk, data.parent / "killed")
    again = make_disk(data.parent / "killed", None, world)
    async with opened(data.parent / "killed", again) as runtime:
        assert await room(runtime, "a").ids() == ["0"]
        assert not again.where("rename", wal("a") + ".rehome")


async def test_rule_19_after_a_clean_stop_nothing_is_rehomed(open_rooms, disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
    async with open_rooms() as runtime:
        assert await room(runtime, "a").ids() == ["0"]
    assert not disk.where("rename")


async def test_rule_20_a_file_ahead_of_its_row_is_active_in_a_round_before_anything_is_shown(
    open_rooms, disk, data, threads, tasks
):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
    with sqlite3.connect(data / A) as foreign:
        foreign.execute("INSERT INTO messages VALUES ('foreign', '')")
        foreign.execute("UPDATE tally SET posts = posts + 1")
    foreign.close()
    async with open_rooms() as runtime:
        assert not row(runtime).active
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", CATALOG_WAL)
        await callers.start("read", room(runtime, "a").ids())
        await hold.reached.wait()
        assert "read" not in callers
        assert row(runtime).active
        hold.release()
        await wait_all_tasks_blocked()
        assert callers["read"] == ["0", "foreign"]


async def test_rule_20_a_file_ahead_of_its_row_is_rehomed_since_a_sync_may_find_nothing_to_write(
    open_rooms, disk, make_disk, tmp_path
):
    """Killed between a commit and the catalog's row, and the kernel failed to write the WAL back before or after: its pages are
    clean, a sync of them returns at once, and a power cut takes away what was shown."""
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        committed = disk.where("write", wal("a"))[-1]
        row_written = next(place for place in disk.where("write", CATALOG_WAL) if place > committed)
    world = killed(disk, tmp_path / "killed", row_written)
    world.node(world.names[wal("a")]).sync_failed(row_written)
    again = make_disk(tmp_path / "killed", None, world)
    async with opened(tmp_path / "killed", again) as runtime:
        assert not row(runtime).active
        assert await recorded(again, "shown", room(runtime, "a").ids()) == ["0", "1"]
        world.play(again.events)
    write_image(image(world, Keep.NOTHING, Random(0)), tmp_path / "cut")
    async with opened(tmp_path / "cut") as runtime:
        assert await room(runtime, "a").ids() == ["0", "1"]


async def test_rule_20_a_file_behind_its_row_begins_a_new_epoch_before_the_first_reply(open_rooms, disk, data, threads, tasks):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
    shutil.copy(data / A, data.parent / "old.db")
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
    shutil.copy(data.parent / "old.db", data / A)
    async with open_rooms() as runtime:
        before = row(runtime).position
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        await callers.start("read", room(runtime, "a").ids())
        await hold.reached.wait()
        assert "read" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert callers["read"] == ["0"]
        assert activation(runtime, "a").position > before
        assert isinstance(before, Position)
    with sqlite3.connect(data / A) as file:
        assert file.execute("SELECT max(epoch) FROM _timeline").fetchall() == [(before.epoch + 1,)]
    file.close()


async def test_rule_17_a_room_that_the_catalog_does_not_know_is_shown_after_its_row_is_durable(
    open_rooms, disk, make_disk, tmp_path
):
    """A kill between a birth and the catalog's write leaves a whole file that the next process finds."""
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        born = disk.where("write", wal("a"))[0]
        row = next(place for place in disk.where("write", "catalog.db-wal") if place > born)
    world = World()
    world.play(disk.events[:row])
    write_image(image(world, Keep.ALL, Random(0)), tmp_path / "killed")
    again = make_disk(tmp_path / "killed", None, world)
    async with opened(tmp_path / "killed", again) as runtime:
        assert runtime.catalog.get(RoomName("Chat", "a")) is None
        assert await recorded(again, "shown", room(runtime, "a").ids()) == ["1"]
        world.play(again.events)
    write_image(image(world, Keep.NOTHING, Random(0)), tmp_path / "cut")
    async with opened(tmp_path / "cut") as runtime:
        assert [name.id for name, _, _ in runtime.positions()] == ["a"]


async def test_another_program_that_locks_the_catalog_is_waited_for(open_rooms, disk, data, tasks):
    """Nothing may be acknowledged without its row (rule 17), and nothing is lost by waiting."""
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        callers = Callers(tasks, disk)
        with contextlib.closing(apsw.Connection(str(data / "catalog.db"))) as outside:
            outside.execute("BEGIN IMMEDIATE").fetchall()
            await callers.start("birth", room(runtime, "b").post("1"))
            assert "birth" not in callers
            outside.execute("ROLLBACK").fetchall()
        await callers.came("birth")
        assert callers["birth"] == 1
        assert not runtime.status().full
