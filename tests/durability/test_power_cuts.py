"""Nothing acknowledged or shown is lost, whenever the power fails; and known-bad variants are caught, or this proves nothing."""

import contextlib
import sqlite3
from random import Random

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import Limits, opening, storage, syncer
from actors.activation import Activation
from actors.catalog import Catalog
from actors.gate import Gate
from actors.storage import Storage
from tests.durability.callers import Callers, path_of, room, wal
from tests.durability.chat import opened
from tests.durability.power import live_and_cut
from tests.durability.world import Keep, World, write_image


def test_nothing_acknowledged_is_lost_at_any_power_cut(tmp_path):
    images = 0
    for seed in range(6):
        (folder := tmp_path / str(seed)).mkdir()
        verdict = live_and_cut(folder, seed, cuts=8)
        assert verdict.problems == []
        images += verdict.images
    assert images > 6 * 3 * 6  # some places are drawn twice


def test_nothing_acknowledged_is_lost_when_syncs_and_writes_fail_before_the_power_does(tmp_path):
    for seed in range(100, 106):
        (folder := tmp_path / str(seed)).mkdir()
        assert live_and_cut(folder, seed, cuts=8, faults=True).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("faults", [False, True], ids=["", "with failing syncs"])
@pytest.mark.parametrize("start", range(1_000, 1_400, 50))
def test_nothing_acknowledged_is_lost_in_many_lives(tmp_path, start, faults):
    for seed in range(start, start + 50):
        (folder := tmp_path / str(seed)).mkdir()
        assert live_and_cut(folder, seed, cuts=15, faults=faults).problems == []


# -- known-bad variants ---------------------------------------------------------------------------------------------------
def release_before_the_round(monkeypatch):
    def hold(self, waiting):
        for one in waiting:
            one.release()

    monkeypatch.setattr(Gate, "hold", hold)


def certify_at_the_end_of_the_round(monkeypatch):
    certified = Activation.certified
    monkeypatch.setattr(Activation, "certified", lambda self, count: certified(self, self.gate.committed))


def no_directory_in_the_round(monkeypatch):
    in_thread = syncer.Syncer._sync_in_thread
    monkeypatch.setattr(syncer, "SYNC_EACH_MAX", 1_000)  # a syncfs would cover the names
    monkeypatch.setattr(
        syncer.Syncer,
        "_sync_in_thread",
        lambda self, work, catalog: in_thread(self, [(target, fds, None) for target, fds, _ in work], catalog),
    )


def no_newborn_database_in_the_round(monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_EACH_MAX", 1_000)
    monkeypatch.setattr(Storage, "descriptors", lambda self: [self.wal_fd])


def catalog_not_in_the_round(monkeypatch):
    commit = Catalog.commit
    monkeypatch.setattr(syncer, "SYNC_EACH_MAX", 1_000)
    monkeypatch.setattr(Catalog, "commit", lambda self: commit(self) and False)


@pytest.mark.parametrize(
    "known_bad",
    [
        release_before_the_round,
        certify_at_the_end_of_the_round,
        no_directory_in_the_round,
        no_newborn_database_in_the_round,
        catalog_not_in_the_round,
    ],
    ids=lambda known_bad: known_bad.__name__,
)
def test_a_known_bad_variant_is_caught(tmp_path, monkeypatch, known_bad):
    known_bad(monkeypatch)
    for seed in range(20):
        (folder := tmp_path / str(seed)).mkdir()
        if live_and_cut(folder, seed, cuts=10).problems:
            return
    pytest.fail("no image of 20 lives shows it")


# -- narrow windows, on purpose ---------------------------------------------------------------------------------------------
def synchronous_off_for_life(monkeypatch):
    set_pragmas = storage.set_pragmas
    monkeypatch.setattr(Storage, "raise_level", lambda self: setattr(self, "level_off", False))
    monkeypatch.setattr(opening, "set_pragmas", lambda connection, synchronous: set_pragmas(connection, synchronous="OFF"))


async def bad_images_after_a_restarted_wal(open_rooms, disk, threads, tasks, path, count=300):
    """Posts, a complete checkpoint, one more post whose round is in flight, then the power fails: images that lost a post."""
    async with open_rooms(limits=Limits(wal_bytes_max=150_000)) as runtime:
        a = room(runtime, "a")
        for number in range(3):
            await a.post(str(number), "x" * 100)
        await a.post("3", "x" * 200_000)
        await wait_all_tasks_blocked()
        assert disk.where("sync returned", path_of("a"), by="sqlite")
        hold = threads.hold("sync began", wal("a"))
        await Callers(tasks, disk).start("in flight", a.post("4", "x" * 60_000))
        await hold.reached.wait()
        world = World()
        world.play(disk.events)
        hold.release()
    chance = Random(1)
    bad = 0
    for number in range(count):
        image = world.image(Keep.SOME, chance)
        write_image(
            {name: content for name, content in image.items() if path_of("a").startswith(name) or name == wal("a")}, path / "cut"
        )
        bad += not _is_whole(path / "cut" / path_of("a"), {"0", "1", "2", "3"})
    return bad


def _is_whole(file, acknowledged):
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            found = {id for (id,) in connection.execute("SELECT id FROM messages")}
            return acknowledged <= found and connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


async def test_rule_11_a_wal_that_begins_again_after_a_checkpoint_loses_nothing(open_rooms, disk, threads, tasks, tmp_path):
    assert await bad_images_after_a_restarted_wal(open_rooms, disk, threads, tasks, tmp_path) == 0


async def test_rule_11_synchronous_off_for_life_is_caught(open_rooms, disk, threads, tasks, tmp_path, monkeypatch):
    synchronous_off_for_life(monkeypatch)
    assert await bad_images_after_a_restarted_wal(open_rooms, disk, threads, tasks, tmp_path) > 0


async def lost_after_a_kill_and_a_cut(open_rooms, disk, threads, tasks, make_disk, path):
    """A post whose sync is in flight, a kill, a restart that shows it, a power cut: what was shown and is gone."""
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        await room(runtime, "a").post("1")
        hold = threads.hold("sync began", wal("a"))
        await Callers(tasks, disk).start("unknown", room(runtime, "a").post("2"))
        await hold.reached.wait()
        world = World()
        world.play(disk.events)
        hold.release()
    write_image(world.image(Keep.ALL, Random(0)), path / "killed")
    again = make_disk(path / "killed", None, world)
    async with opened(path / "killed", again) as runtime:
        shown = await room(runtime, "a").ids()
        assert shown == ["0", "1", "2"]
        world.play(again.events)
    write_image(world.image(Keep.NOTHING, Random(0)), path / "cut")
    async with opened(path / "cut") as runtime:
        return set(shown) - set(await room(runtime, "a").ids())


async def test_rule_19_what_a_kill_left_unsynced_is_durable_before_it_is_shown(
    open_rooms, disk, threads, tasks, make_disk, tmp_path
):
    assert await lost_after_a_kill_and_a_cut(open_rooms, disk, threads, tasks, make_disk, tmp_path) == set()


async def test_rule_19_showing_it_without_rehoming_is_caught(open_rooms, disk, threads, tasks, make_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "rehome_wal", lambda disk, path: None)
    # A clean stop of the second process would make it durable after all; the power fails before.
    monkeypatch.setattr(Storage, "close", Storage.abandon)
    assert await lost_after_a_kill_and_a_cut(open_rooms, disk, threads, tasks, make_disk, tmp_path) == {"2"}
