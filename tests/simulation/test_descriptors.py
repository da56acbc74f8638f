"""Who hears of a failed write: once per descriptor, per file and per file system, as measured on Linux (rule 22)."""

import errno
from contextlib import suppress

import pytest

from durable_rooms.simulation.disk import SimulatedDisk
from durable_rooms.simulation.faults import Fault


@pytest.fixture
def disk(tmp_path):
    made = SimulatedDisk(tmp_path)
    yield made
    made.forget()


@pytest.fixture
def failing(disk, tmp_path):
    """Files "a" and "b", written, with two descriptors each, and two of the file system; the next writeback of "a" fails."""
    made = {name: (disk.open(tmp_path / name, create=True), disk.open(tmp_path / name)) for name in "ab"}
    made["."] = (disk.open_directory(tmp_path), disk.open_directory(tmp_path))
    for name in "ab":
        disk.write(made[name][0], b"content")
    return made


def heard(sync, fd) -> int:
    """What a sync told: an errno, or 0."""
    try:
        sync(fd)
    except OSError as error:
        return error.errno or -1
    return 0


def fail_a_sync(disk, fd) -> None:
    disk.fail(Fault("sync", "a"))
    assert heard(disk.sync_data, fd) == errno.EIO


def test_rule_22_a_sync_that_failed_is_ok_ever_after_though_nothing_was_written_again(disk, failing):
    fail_a_sync(disk, failing["a"][0])
    assert [heard(disk.sync_data, failing["a"][0]) for _ in range(3)] == [0, 0, 0]
    assert disk.world.node(disk.world.names["a"]).durable == b""


def test_rule_22_each_old_descriptor_hears_of_it_once(disk, failing):
    fail_a_sync(disk, failing["a"][0])
    assert [heard(disk.sync_data, failing["a"][1]) for _ in range(3)] == [errno.EIO, 0, 0]


def test_rule_22_a_new_descriptor_is_told_nothing_once_somebody_has_been_told(disk, failing, tmp_path):
    fail_a_sync(disk, failing["a"][0])
    assert heard(disk.sync_data, disk.open(tmp_path / "a")) == 0


def test_rule_22_a_new_descriptor_hears_of_what_nobody_has_been_told(disk, failing, tmp_path):
    assert disk.writeback_fails("a")
    new = disk.open(tmp_path / "a")
    assert [heard(disk.sync_data, new) for _ in range(2)] == [errno.EIO, 0]
    assert heard(disk.sync_data, failing["a"][0]) == errno.EIO


def test_rule_22_an_error_of_background_writeback_reaches_old_descriptors(disk, failing):
    assert disk.writeback_fails("a", errno.ENOSPC)
    assert [heard(disk.sync_data, fd) for fd in failing["a"]] == [errno.ENOSPC, errno.ENOSPC]
    assert disk.world.node(disk.world.names["a"]).durable == b""


def test_rule_22_an_intact_file_hears_nothing(disk, failing):
    fail_a_sync(disk, failing["a"][0])
    assert heard(disk.sync_data, failing["b"][0]) == 0


def test_rule_22_a_failed_file_sync_is_told_again_by_the_next_file_system_sync_once_per_descriptor(disk, failing, tmp_path):
    fail_a_sync(disk, failing["a"][0])
    old, second = failing["."]
    assert [heard(disk.sync_file_system, old) for _ in range(2)] == [errno.EIO, 0]
    assert [heard(disk.sync_file_system, second) for _ in range(2)] == [errno.EIO, 0]
    assert heard(disk.sync_file_system, disk.open_directory(tmp_path)) == 0


def test_rule_22_a_file_system_sync_that_failed_leaves_each_failed_file_to_tell_its_own(disk, failing):
    disk.fail(Fault("file system sync"))
    assert heard(disk.sync_file_system, failing["."][0]) == errno.EIO
    assert heard(disk.sync_file_system, failing["."][0]) == 0
    told = {name: [heard(disk.sync_data, fd) for fd in failing[name]] for name in "ab"}
    assert told == {"a": [errno.EIO, errno.EIO], "b": [0, 0]}
    durable = {name: bytes(disk.world.node(disk.world.names[name]).durable) for name in "ab"}
    assert durable == {"a": b"", "b": b"content"}, "those that told nothing are durable, those that failed are not"


def test_a_second_error_is_told_to_those_who_had_heard_of_the_first(disk, failing):
    for _ in range(2):
        assert heard(disk.sync_data, failing["a"][0]) == 0
        disk.write(failing["a"][0], b"more")
        assert disk.writeback_fails("a")
        assert heard(disk.sync_data, failing["a"][0]) == errno.EIO
    assert heard(disk.sync_data, failing["a"][1]) == errno.EIO


def test_a_writeback_of_nothing_cannot_fail(disk, failing):
    disk.sync_data(failing["a"][0])
    assert not disk.writeback_fails("a")
    assert not disk.writeback_fails("missing")


def test_a_failed_sync_with_eviction_lets_reads_find_what_the_disk_has(disk, failing, tmp_path):
    disk.sync_data(failing["a"][0])
    disk.write(failing["a"][0], b"CON")
    assert (tmp_path / "a").read_bytes() == b"CONtent"
    disk.fail(Fault("sync", "a", evict=True))
    assert heard(disk.sync_data, failing["a"][0]) == errno.EIO
    assert (tmp_path / "a").read_bytes() == b"content"
    assert disk.world.node(disk.world.names["a"]).now() == b"content"


def test_the_world_reads_as_the_files_do_whatever_fails(disk, failing, tmp_path):
    """Writes, failed syncs and evictions: the model and the real files never disagree."""
    fd, _ = failing["a"]
    for number in range(12):
        disk.write(fd, bytes([65 + number]) * (number + 1))
        if number % 3 == 0:
            disk.fail(Fault("sync", "a", evict=number % 2 == 0))
        with suppress(OSError):
            disk.sync_data(fd)
        assert (tmp_path / "a").read_bytes() == disk.world.node(disk.world.names["a"]).now()


@pytest.mark.parametrize("way", ["background", "sync", "file system sync"])
def test_a_sync_in_the_midst_of_a_failure_never_finds_clean_pages_and_hears_nothing(disk, failing, monkeypatch, way):
    """A job may stop at any event. Once one did between a file's loss and its error, and a checkpoint trusted a lost WAL."""
    told, note = [], disk.note

    def noted(kind, *rest, **named):
        note(kind, *rest, **named)
        if kind in ("writeback failed", "sync failed"):
            told.append(heard(disk.sync_data, failing["a"][1]))

    monkeypatch.setattr(disk, "note", noted)
    if way == "background":
        disk.writeback_fails("a")
    elif way == "sync":
        fail_a_sync(disk, failing["a"][0])
    else:
        disk.fail(Fault("file system sync", "*"))
        assert heard(disk.sync_file_system, failing["."][0]) == errno.EIO
    assert told == [errno.EIO]


def test_a_name_that_goes_in_the_midst_of_a_failure_leaves_its_file_to_fail(disk, failing, tmp_path, monkeypatch):
    """Seed 616: a replica was deleted between two files of a failed file system sync."""
    fd = disk.open(tmp_path / "c", create=True)
    disk.write(fd, b"content")
    note = disk.note

    def noted(kind, path="", **named):
        note(kind, path, **named)
        if (kind, path) == ("writeback failed", "a"):
            disk.unlink(tmp_path / "c")

    monkeypatch.setattr(disk, "note", noted)
    disk.fail(Fault("file system sync", "*"))
    assert heard(disk.sync_file_system, failing["."][0]) == errno.EIO
    assert heard(disk.sync_data, fd) == errno.EIO
