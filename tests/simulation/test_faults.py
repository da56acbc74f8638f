"""Faults strike the n-th operation that matches, so often as they say, and are counted where they strike."""

import errno
from math import inf

import apsw
import pytest

from durable_rooms.simulation.disk import SimulatedDisk
from durable_rooms.simulation.faults import Fault


@pytest.fixture
def disk(tmp_path):
    made = SimulatedDisk(tmp_path)
    yield made
    made.forget()


def struck(fault: Fault, count: int, kind: str = "write", path: str = "rooms/a", by: str = "ours") -> list[int]:
    return [number for number in range(1, count + 1) if fault.strikes(kind, path, by)]


def test_a_fault_strikes_the_first_operation_and_no_other():
    assert struck(Fault("write"), 5) == [1]


def test_a_fault_strikes_the_nth_operation():
    assert struck(Fault("write", first=3), 6) == [3]


def test_a_fault_strikes_so_many_times_from_the_nth_on():
    assert struck(Fault("write", first=3, times=2), 6) == [3, 4]


def test_a_fault_from_then_on_never_stops():
    assert struck(Fault("write", first=3, times=inf), 6) == [3, 4, 5, 6]


def test_operations_of_another_kind_path_or_hand_are_not_counted():
    fault = Fault("write", "rooms/*", by="sqlite", first=2)
    assert not struck(fault, 3, kind="sync", by="sqlite")
    assert not struck(fault, 3, path="replica.db", by="sqlite")
    assert not struck(fault, 3, by="ours")
    assert fault.seen == 0
    assert struck(fault, 3, by="sqlite") == [2]
    assert (fault.seen, fault.struck) == (3, 1)


def test_any_is_every_operation_that_changes_the_disk():
    fault = Fault("any", first=4)
    kinds = ("sync", "read", "directory sync", "file system sync", "write", "truncate", "open")
    assert [kind for kind in kinds if fault.strikes(kind, "x", "ours")] == ["write"]


def test_a_fault_says_what_it_is():
    assert str(Fault("sync", "rooms/*", errno.ENOSPC, "sqlite", first=3, times=inf, evict=True)) == (
        "sync number 3 of SQLite's on rooms/*: ENOSPC and eviction and every later one"
    )
    assert str(Fault("write", short=True, times=2)) == "write number 1 on *: EIO after half of it, 2 times"


# -- on a disk --------------------------------------------------------------------------------------------------------------
def test_a_failing_write_of_ours_writes_nothing_and_a_short_one_half(disk, tmp_path):
    fd = disk.open(tmp_path / "a", create=True)
    disk.fail(Fault("write", "a", errno.ENOSPC))
    with pytest.raises(OSError, match="No space") as caught:
        disk.write(fd, b"12345678")
    assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "a").read_bytes() == b""
    disk.fail(Fault("write", "a", short=True))
    with pytest.raises(OSError, match="Input/output"):
        disk.write(fd, b"12345678")
    assert (tmp_path / "a").read_bytes() == b"1234" == disk.world.node(disk.world.names["a"]).now()


@pytest.mark.parametrize(("code", "raised"), [(errno.EIO, apsw.IOError), (errno.ENOSPC, apsw.FullError)])
@pytest.mark.parametrize("kind", ["write", "sync", "open"])
def test_sqlite_meets_faults_as_its_own_errors_and_goes_on_afterwards(disk, tmp_path, kind, code, raised):
    connection = disk.connect(tmp_path / "a.db", create=True)
    connection.execute("CREATE TABLE t (x)").fetchall()
    fault = disk.fail(Fault(kind, "a.db*", code, by="sqlite"))
    if kind == "open" and code == errno.EIO:
        raised = apsw.CantOpenError
    if kind == "sync":
        raised = apsw.IOError  # whatever the kernel said of a sync, SQLite says IOERR_FSYNC
    with pytest.raises(raised):
        connection.execute("INSERT INTO t VALUES (1)").fetchall()
    assert fault.struck == 1
    assert connection.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    connection.execute("INSERT INTO t VALUES (2)").fetchall()
    assert connection.execute("SELECT x FROM t").fetchall() == [(2,)]
    connection.close()


def test_a_failed_close_is_as_silent_as_sqlites(disk, tmp_path):
    connection = disk.connect(tmp_path / "a.db", create=True)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t (x)").fetchall()
    fault = disk.fail(Fault("sync", "a.db", by="sqlite"))
    connection.close()
    assert fault.struck == 1
    assert not disk.open_files


@pytest.mark.parametrize("kind", ["rename", "unlink", "open", "copy"])
def test_a_failing_operation_on_names_has_no_effect(disk, tmp_path, kind):
    disk.write_synced(tmp_path / "a", b"x")
    disk.fail(Fault(kind, "a"))
    operations = {
        "rename": lambda: disk.rename(tmp_path / "a", tmp_path / "b"),
        "unlink": lambda: disk.unlink(tmp_path / "a"),
        "open": lambda: disk.open(tmp_path / "a"),
        "copy": lambda: disk.copy_synced(tmp_path / "a", tmp_path / "b"),
    }
    names = dict(disk.world.names)
    with pytest.raises(OSError, match="Input/output"):
        operations[kind]()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert disk.world.names == names
    operations[kind]()


def test_every_fault_that_strikes_is_in_the_trace(disk, tmp_path):
    disk.fail(Fault("sync", "a"))
    with pytest.raises(OSError, match="Input/output"):
        disk.write_synced(tmp_path / "a", b"x")
    kinds = [event.kind for event in disk.events]
    assert kinds == ["create", "truncate", "write", "sync began", "fault", "sync failed"]
