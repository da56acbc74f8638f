"""Rules 6 to 10: a room's birth, the litter of an unfinished one, and what is proven."""

import contextlib
import shutil
import sqlite3
from random import Random

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Disk, Doors, Limits
from actors.names import RoomName
from durable_rooms import OutcomeUnknown, RoomUnfit
from durable_rooms.runtime import open_with_doors
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import Callers, path_of, recorded, reply_place, room, wal
from tests.durability.chat import opened
from tests.durability.recording import RecordingDisk
from tests.rooms.chat import ChatRoom

A = path_of("a")
FOLDER = A.rpartition("/")[0]


def durable_before(disk: RecordingDisk, kind: str, path: str, since: int, reply: str) -> bool:
    """Whether a sync of this kind began after `since` and returned before the reply."""
    began = {event.token: place for place, event in enumerate(disk.events) if event.kind == f"{kind} began"}
    return any(
        event.kind == f"{kind} returned"
        and event.path == path
        and since < began[event.token]
        and place < reply_place(disk, reply)
        for place, event in enumerate(disk.events)
    )


async def test_rule_06_the_first_round_covers_database_wal_directory_and_catalog(open_rooms, disk):
    async with open_rooms() as runtime:
        await recorded(disk, "birth", room(runtime, "a").post("1"))
    born = reply_place(disk, "birth")
    last_database_write = max(place for place in disk.where("write", A) if place < born)
    last_wal_write = max(place for place in disk.where("write", wal("a")) if place < born)
    assert durable_before(disk, "sync", A, last_database_write, "birth")
    assert durable_before(disk, "sync", wal("a"), last_wal_write, "birth")
    assert durable_before(disk, "directory sync", FOLDER, disk.where("create", wal("a"))[0], "birth")
    catalog_row = disk.where("write", "catalog.db-wal", holding=b"Chat")[0]
    assert durable_before(disk, "sync", "catalog.db-wal", catalog_row, "birth")


async def test_rule_06_a_birth_that_only_reads_waits_for_its_first_round_too(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        callers = Callers(tasks, disk)
        hold = threads.hold("directory sync began", FOLDER)
        await callers.start("read", room(runtime, "a").ids())
        await hold.reached.wait()
        assert "read" not in callers
        hold.release()


async def test_rule_06_every_parent_is_synced_before_any_room_is_born(open_rooms, disk):
    async with open_rooms():
        pass
    made = disk.where("mkdir", "rooms") + disk.where("mkdir", "rooms/*")
    assert len(made) == 257
    assert disk.where("directory sync returned", "rooms")[0] > max(made)
    assert [place for place in disk.where("directory sync returned", ".") if place > disk.where("mkdir", "rooms")[0]]


async def test_rule_06_a_start_cut_short_after_making_the_directory_is_made_good_by_the_next(data, disk, open_rooms):
    disk.fails("directory sync", "..")
    with pytest.raises(Exception, match="cannot hold rooms"):
        async with open_rooms():
            pass
    before = len(disk.events)
    async with open_rooms():
        pass
    assert any(event.kind == "directory sync returned" and event.path == ".." for event in disk.events[before:])


async def test_rule_07_the_descriptor_of_a_newborn_database_is_older_and_younger_than_sqlites_own(open_rooms, disk):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        await room(runtime, "a").post("1")
        await room(runtime, "other").post("1")  # "a" hibernates
    opens = disk.where("open", A)
    assert disk.events[opens[0]].by == "ours"
    (closed,) = disk.where("close", A, by="ours")
    by_sqlite = [[place for place in disk.where(kind, A, by="sqlite") if place < closed] for kind in ("open", "close")]
    assert len(by_sqlite[0]) == len(by_sqlite[1]) >= 1


async def test_rule_07_no_live_database_is_ever_opened_and_closed_by_us(open_rooms, disk):
    """Closing any descriptor of a file drops the process's locks on it, SQLite's too."""
    async with open_rooms(limits=Limits(open_rooms_max=1, wal_bytes_max=20_000)) as runtime:
        for number in range(5):
            await room(runtime, "a").post(str(number), "x" * 9_000)
            await room(runtime, "b").post(str(number), "x" * 9_000)
    for id in ("a", "b"):
        open_by_sqlite = 0
        for event in disk.events:
            if event.path != path_of(id):
                continue
            if event.by == "sqlite":
                open_by_sqlite += {"open": 1, "close": -1}.get(event.kind, 0)
            elif event.kind in ("open", "close"):
                assert open_by_sqlite == 0, event.kind


async def test_rule_08_a_newborn_that_breaks_before_its_first_round_is_deleted(open_rooms, disk, data):
    async with open_rooms() as runtime:
        disk.fails("sync", A, by="ours")
        assert isinstance(await recorded(disk, "birth", room(runtime, "a").post("1")), OutcomeUnknown)
        await wait_all_tasks_blocked()
        assert not (data / A).exists()
        assert not (data / wal("a")).exists()
        gone = disk.where("unlink", A)[0]
        synced = next(place for place in disk.where("directory sync returned", FOLDER) if place > gone)
        assert synced < disk.where("unlink", wal("a"))[0]  # rule 10: database, directory sync, then WAL
        assert await room(runtime, "a").ids() == []
        await room(runtime, "a").post("2")
    async with open_rooms() as runtime:
        assert await room(runtime, "a").ids() == ["2"]


async def test_rule_08_a_newborn_never_leaves_memory_before_its_first_round(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", A)
        await callers.start("a", room(runtime, "a").ids())
        await hold.reached.wait()
        await callers.start("b", room(runtime, "b").ids())  # needs the place
        assert not disk.where("close", A)
        hold.release()
        await callers.came("a", "b")


@pytest.mark.parametrize("seed", range(12))
async def test_rule_09_a_power_cut_during_a_birth_leaves_litter_or_a_whole_room(open_rooms, disk, tmp_path, seed):
    async with open_rooms() as runtime:
        await recorded(disk, "birth", room(runtime, "a").post("1"))
    chance = Random(seed)
    first, last = disk.where("create", A)[0], reply_place(disk, "birth")
    place = chance.randrange(first, last + 1)
    world = World()
    world.play(disk.events[:place])
    write_image(image(world, Keep.SOME, chance), tmp_path / "cut")
    async with opened(tmp_path / "cut") as runtime:
        assert await room(runtime, "a").ids() in ([], ["1"])
        await room(runtime, "a").post("2")
    async with opened(tmp_path / "cut") as runtime:
        assert "2" in await room(runtime, "a").ids()


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"half of a page"], ids=["empty", "zeros", "torn"])
async def test_rule_09_litter_is_moved_aside_and_its_room_is_absent(data, content):
    async with opened(data):
        pass
    (data / "clean-stop").unlink()
    (data / A).write_bytes(content)
    (data / wal("a")).write_bytes(b"not a WAL")
    async with opened(data) as runtime:
        assert await room(runtime, "a").ids() == []
        if content:
            assert [path.read_bytes() for path in (data / "litter").glob("*.db")] == [content]


async def test_rule_09_a_proven_room_that_is_damaged_is_refused_and_never_made_again(data):
    async with opened(data) as runtime:
        await room(runtime, "a").post("1")
    (data / "clean-stop").unlink()
    (data / A).write_bytes(b"\0" * 8192)
    async with opened(data) as runtime:
        with pytest.raises(RoomUnfit):
            await room(runtime, "a").ids()
    assert [path.read_bytes() for path in (data / "quarantine").glob("*.db")] == [b"\0" * 8192]
    assert not (data / A).exists()


async def test_rule_09_a_proven_room_that_is_missing_is_refused_and_never_made_again(data):
    async with opened(data) as runtime:
        await room(runtime, "a").post("1")
    (data / "clean-stop").unlink()
    (data / A).rename(data / "away")
    async with opened(data) as runtime:
        with pytest.raises(RoomUnfit, match="missing"):
            await room(runtime, "a").ids()
    assert not (data / A).exists()
    (data / "away").rename(data / A)
    async with opened(data) as runtime:
        assert await room(runtime, "a").ids() == ["1"]


async def test_rule_09_proven_is_written_by_a_later_catalog_write_than_the_first_round(open_rooms, disk):
    async with open_rooms() as runtime:
        await recorded(disk, "birth", room(runtime, "a").post("1"))
        entry = runtime.catalog.get(RoomName("Chat", "a"))
        assert entry.proven
        rows = runtime.catalog._connection.execute("SELECT active, proven FROM rooms").fetchall()
        assert rows == [(1, 0)]
        await room(runtime, "a").post("2")
        assert runtime.catalog._connection.execute("SELECT active, proven FROM rooms").fetchall() == [(1, 1)]


async def test_rule_09_an_unproven_file_is_rehomed_with_its_database_before_it_is_judged(open_rooms, disk, data, make_disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        world = World()
        world.play(disk.events)
        write_image(image(world, Keep.ALL, Random(0)), data.parent / "killed")
    again = make_disk(data.parent / "killed", None, world)
    async with opened(data.parent / "killed", again) as runtime:
        assert await room(runtime, "a").ids() == ["1"]
        first_read = again.where("open", A, by="sqlite")[0]
        assert again.where("rename", A + ".rehome")[0] < first_read
        assert again.where("rename", wal("a") + ".rehome")[0] < first_read
        assert again.where("directory sync returned", FOLDER)[0] < first_read
        assert again.where("directory sync returned", "rooms")[0] < first_read


async def test_rule_10_a_stale_wal_is_removed_durably_before_a_birth(open_rooms, disk, data):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("old")
        stale = (data / wal("a")).read_bytes()
    (data / A).unlink()
    for catalog in data.glob("catalog.db*"):
        catalog.unlink()
    (data / wal("a")).write_bytes(stale)
    (data / (A + "-journal")).write_bytes(b"stale")
    before = len(disk.events)
    async with open_rooms() as runtime:
        assert await room(runtime, "a").ids() == []
    removed = next(place for place in disk.where("unlink", wal("a")) if place > before)
    made = next(place for place in disk.where("create", A) if place > before)
    assert removed < made
    assert any(removed < place < made for place in disk.where("directory sync returned", FOLDER))


async def test_a_birth_that_fails_leaves_nothing(open_rooms, disk, data, autojump_clock):
    async with open_rooms() as runtime:
        disk.fails("write", A, code=28)
        with pytest.raises(Exception, match="full"):
            await room(runtime, "a").post("1")
        assert not (data / A).exists()
        disk.repair()
        await trio.sleep(1)
        assert await room(runtime, "a").post("1") == 1


@pytest.mark.parametrize("lost", ["everything", "the last page", "the first page", "the middle"])
async def test_rule_09_a_template_that_did_not_reach_the_disk_is_litter(data, lost):
    """The names came through, the pages not: a birth that nobody was told of begins anew."""
    async with opened(data) as runtime:
        await room(runtime, "a").post("1")
        whole = (data / A).read_bytes()
        shutil.copytree(data, data.parent / "cut")
    cut = data.parent / "cut"
    pages = [whole[at : at + 4096] for at in range(0, len(whole), 4096)]
    torn = {"everything": range(len(pages)), "the last page": [-1], "the first page": [0], "the middle": range(2, len(pages) - 2)}
    for page in torn[lost]:
        pages[page] = bytes(4096)
    (cut / A).write_bytes(b"".join(pages))
    (cut / wal("a")).write_bytes(b"")
    with contextlib.closing(sqlite3.connect(cut / "catalog.db")) as catalog, catalog:
        assert catalog.execute("SELECT proven FROM rooms").fetchall() == [(0,)]
    async with opened(cut) as runtime:
        assert await room(runtime, "a").ids() == []
    assert len(list((cut / "litter").glob("*.db"))) == 1


class CannotOpen(Disk):
    """SQLite finds no descriptor for a room's file, once."""

    def __init__(self):
        self.left = 1

    def connect(self, path, **options):
        if A.endswith(path.name) and self.left:
            self.left -= 1
            raise apsw.CantOpenError("unable to open database file")
        return super().connect(path, **options)


async def test_rule_09_an_unproven_file_that_cannot_be_opened_now_is_not_taken_for_litter(data):
    """Its birth may have been acknowledged: `proven` is written by a later round."""
    killed = data.parent / "killed"
    async with opened(data) as runtime:
        await room(runtime, "a").post("1")
        shutil.copytree(data, killed)
    async with opened(killed, CannotOpen()) as runtime:
        with pytest.raises(RoomUnfit, match="could not be opened"):
            await room(runtime, "a").ids()
        assert await room(runtime, "a").ids() == ["1"]


class ForgetsOnce(Disk):
    """Its kernel could not write the first file that is written, dropped its pages, and tells nobody before a sync."""

    def __init__(self, kept: int) -> None:
        self.kept: int | None = kept

    def write(self, fd: int, content: bytes) -> None:
        if self.kept is not None:
            content, self.kept = content[: self.kept] + bytes(len(content) - self.kept), None
        super().write(fd, content)


@pytest.mark.parametrize("kept", [0, 100])
async def test_a_birth_whose_file_does_not_read_back_makes_no_sick_room(kept, tmp_path, autojump_clock) -> None:
    """Found by the simulator: such a room was sick for ever, with a durable row, and nothing in quarantine."""
    doors = Doors(disk=ForgetsOnce(kept), random=Random(0))
    async with open_with_doors(tmp_path, [ChatRoom], replicas=[], limits=Limits(), doors=doors) as runtime:
        room = runtime.room(ChatRoom, "general")
        with pytest.raises(RoomUnfit, match=r"ChatRoom/general: the file of its birth did not read back"):
            await room.post("hello")
        assert not list(runtime.list_rooms())
        assert not list((tmp_path / "rooms").rglob("*.db*"))
        await trio.sleep(60)
        assert await room.post("hello") == 1
    async with open_with_doors(tmp_path, [ChatRoom], replicas=[], limits=Limits(), doors=Doors()) as runtime:
        assert await runtime.room(ChatRoom, "general").bodies() == ["hello"]
