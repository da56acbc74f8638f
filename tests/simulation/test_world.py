"""What a power cut leaves of a disk: contents by file syncs, names by directory syncs, both by file system syncs."""

from itertools import count
from random import Random

import pytest

from durable_rooms.simulation.events import Event
from durable_rooms.simulation.image import Keep, image
from durable_rooms.simulation.world import DIRECTORY, World, world_of


class Disk:
    """Events by hand."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self._tokens = count(1)

    def do(self, kind, path="", node=0, **values):
        self.world.apply(Event(kind, path, node=node, **values))

    def create(self, path, node):
        self.do("create", path, node)

    def write(self, node, data, offset=0):
        self.do("write", node=node, data=data, offset=offset)

    def begin(self, kind="sync", node=0, path=""):
        token = next(self._tokens)
        self.do(f"{kind} began", path, node, token=token)
        return lambda end="returned": self.do(f"{kind} {end}", path, node, token=token)

    def sync(self, node, end="returned"):
        self.begin("sync", node)(end)

    def sync_directory(self, path="."):
        self.begin("directory sync", path=path)()

    def sync_file_system(self):
        self.begin("file system sync", path=".")()

    def left(self, keep=Keep.NOTHING):
        return image(self.world, keep, Random(1))


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def named(disk):
    """A disk with one file, whose name is durable."""
    disk.create("a", 1)
    disk.sync_directory()
    return disk


def test_a_file_sync_makes_contents_durable_and_not_the_name(disk):
    disk.create("a", 1)
    disk.write(1, b"hello")
    disk.sync(1)
    assert disk.left() == {}
    disk.sync_directory()
    assert disk.left() == {"a": b"hello"}


def test_a_directory_sync_makes_names_durable_and_not_the_contents(named):
    named.write(1, b"hello")
    assert named.left() == {"a": b""}
    assert named.left(Keep.ALL) == {"a": b"hello"}


def test_a_directory_sync_is_for_the_names_of_that_directory_alone(disk):
    disk.do("mkdir", "folder", DIRECTORY)
    disk.create("folder/a", 1)
    disk.create("b", 2)
    disk.sync_directory("folder")
    assert disk.left() == {}, "the folder's own name is its parent's"
    disk.sync_directory(".")
    assert disk.left() == {"folder": None, "folder/a": b"", "b": b""}


def test_a_file_system_sync_makes_all_of_it_durable(disk):
    disk.do("mkdir", "folder", DIRECTORY)
    disk.create("folder/a", 1)
    disk.create("b", 2)
    disk.write(1, b"one")
    disk.write(2, b"two")
    disk.sync_file_system()
    assert disk.left() == {"folder": None, "folder/a": b"one", "b": b"two"}


def test_only_what_happened_before_a_file_sync_began_is_durable_when_it_returns(named):
    named.write(1, b"early")
    returned = named.begin("sync", 1)
    named.write(1, b"late!")
    returned()
    assert named.left() == {"a": b"early"}
    assert named.left(Keep.ALL) == {"a": b"late!"}


def test_only_names_from_before_a_directory_sync_began_are_durable_when_it_returns(disk):
    disk.create("early", 1)
    returned = disk.begin("directory sync", path=".")
    disk.create("late", 2)
    returned()
    assert set(disk.left()) == {"early"}


def test_only_what_happened_before_a_file_system_sync_began_is_durable_when_it_returns(named):
    named.write(1, b"early")
    returned = named.begin("file system sync", path=".")
    named.write(1, b"late!")
    named.create("late", 2)
    returned()
    assert named.left() == {"a": b"early"}


def test_two_syncs_in_flight_each_answer_for_what_was_before_them(named):
    named.write(1, b"1")
    first = named.begin("sync", 1)
    named.write(1, b"2", offset=1)
    second = named.begin("sync", 1)
    named.write(1, b"3", offset=2)
    second()
    assert named.left() == {"a": b"12"}
    first()
    assert named.left() == {"a": b"12"}


def test_a_sync_is_for_its_file_alone(named):
    named.create("b", 2)
    named.sync_directory()
    named.write(1, b"a")
    named.write(2, b"b")
    named.sync(2)
    assert named.left() == {"a": b"", "b": b"b"}


def test_a_rename_is_durable_with_its_directory(named):
    named.write(1, b"x")
    named.sync(1)
    named.do("rename", "a", 1, other="b")
    assert named.left() == {"a": b"x"}
    assert named.left(Keep.ALL) == {"b": b"x"}
    named.sync_directory()
    assert named.left() == {"b": b"x"}


def test_an_unlinked_file_is_back_until_its_directory_is_synced(named):
    named.write(1, b"x")
    named.sync(1)
    named.do("unlink", "a", 1)
    assert named.left() == {"a": b"x"}
    named.sync_directory()
    assert named.left() == {}


def test_a_new_file_of_an_old_name_never_has_the_old_ones_contents(named):
    named.write(1, b"old")
    named.sync(1)
    named.do("unlink", "a", 1)
    named.create("a", 2)
    assert named.left() == {"a": b"old"}
    named.sync_directory()
    assert named.left() == {"a": b""}


def test_a_truncate_is_a_change_like_a_write(named):
    named.write(1, b"hello")
    named.sync(1)
    named.do("truncate", node=1, offset=2)
    assert named.left() == {"a": b"hello"}
    assert named.left(Keep.ALL) == {"a": b"he"}
    named.sync(1)
    assert named.left() == {"a": b"he"}


def test_a_write_behind_the_end_leaves_zeros_before_it(named):
    named.write(1, b"x", offset=3)
    named.sync(1)
    assert named.left() == {"a": b"\0\0\0x"}


# -- failed syncs -----------------------------------------------------------------------------------------------------------
def test_what_a_failed_sync_lost_is_read_but_never_made_durable_by_a_later_sync(named):
    named.write(1, b"lost")
    named.sync(1, "failed")
    assert named.world.node(1).now() == b"lost"
    named.sync(1)
    named.sync_file_system()
    assert named.left() == {"a": b""}
    assert named.left(Keep.ALL) == {"a": b"lost"}, "a killed process leaves the page cache as it is"


def test_what_is_written_after_a_failed_sync_is_durable_with_the_next_one(named):
    named.write(1, b"lost")
    named.sync(1, "failed")
    named.write(1, b"kept", offset=4)
    named.sync(1)
    assert named.left() == {"a": b"\0\0\0\0kept"}


def test_what_was_lost_and_is_written_again_is_durable_with_the_next_sync(named):
    named.write(1, b"lost")
    named.sync(1, "failed")
    named.write(1, b"lost")
    named.sync(1)
    assert named.left() == {"a": b"lost"}
    assert not named.world.node(1).lost


def test_what_was_written_while_a_sync_failed_is_not_lost(named):
    named.write(1, b"lost")
    failed = named.begin("sync", 1)
    named.write(1, b"kept", offset=4)
    failed("failed")
    named.sync(1)
    assert named.left() == {"a": b"\0\0\0\0kept"}


def test_after_an_eviction_reads_find_what_the_disk_has(named):
    named.write(1, b"durable")
    named.sync(1)
    named.write(1, b"LOST")
    named.sync(1, "failed")
    assert named.world.node(1).now() == b"LOSTble"
    named.do("evicted", "a", 1)
    assert named.world.node(1).now() == b"durable"
    assert named.left(Keep.ALL) == {"a": b"durable"}


def test_a_background_writeback_that_fails_loses_what_was_unsynced_without_a_sync(named):
    named.write(1, b"lost")
    named.do("writeback failed", "a", 1)
    named.sync(1)
    assert named.left() == {"a": b""}


def test_what_is_written_over_a_part_of_what_was_lost_leaves_the_rest_lost(named):
    named.write(1, b"......")
    named.sync(1)
    named.write(1, b"LOSTLY")
    named.sync(1, "failed")
    named.write(1, b"xx", offset=2)
    named.sync(1)
    assert named.left() == {"a": b"..xx.."}
    assert named.left(Keep.ALL) == {"a": b"LOxxLY"}


def test_a_failed_sync_loses_writes_and_no_truncate(named):
    """A size is the journal's: the next sync has it, and it never cuts what was written after it."""
    named.write(1, b"durable")
    named.sync(1)
    named.do("truncate", node=1, offset=0)
    named.sync(1, "failed")
    named.write(1, b"new")
    assert named.left(Keep.ALL) == {"a": b"new"}
    named.sync(1)
    assert named.left() == named.left(Keep.ALL) == {"a": b"new"}


def test_what_was_lost_behind_a_later_end_is_gone(named):
    named.write(1, b"LOSTLY")
    named.sync(1, "failed")
    named.do("truncate", node=1, offset=2)
    named.sync(1)
    named.write(1, b"x", offset=5)
    assert named.left(Keep.ALL) == {"a": b"LO\0\0\0x"}


# -- worlds after worlds ----------------------------------------------------------------------------------------------------
def test_a_world_that_begins_with_an_image_holds_exactly_it_and_all_of_it_is_durable():
    before = {"folder": None, "folder/a": b"one", "b": b"", "b-shm": b"of no process"}
    disk = Disk(world_of(before))
    for keep in Keep:
        assert disk.left(keep) == {"folder": None, "folder/a": b"one", "b": b""}
    assert disk.world.last_node >= max(disk.world.names.values())


def test_a_copy_of_a_world_goes_its_own_way(named):
    named.write(1, b"both")
    returned = named.begin("sync", 1)
    copy = Disk(named.world.copy())
    copy.write(1, b"copy")
    copy.create("b", 2)
    copy.sync_file_system()
    returned()
    assert copy.left() == {"a": b"copy", "b": b""}
    assert named.left() == {"a": b"both"}
    assert named.left(Keep.ALL) == {"a": b"both"}
