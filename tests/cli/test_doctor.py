"""`durable-rooms doctor` tries out what rooms rely on, says what each finding means, and leaves no trace."""

import errno
import json
import resource
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from actors import DataDir, Disk, RoomName
from actors.system.mount import Mount, mount_of
from durable_rooms.doctor import Finding, examine
from durable_rooms.doctor.directory import directory
from durable_rooms.doctor.machine import descriptors, packer, sqlite
from durable_rooms.doctor.place import kind
from durable_rooms.doctor.syncs import Latency, of_file
from tests.cli.running import catalog, command, room, service
from tests.demo.hand_made import files

BRIEF = 0.01  # seconds of each measurement
LOCAL = Mount("/", "ext4", "/dev/sda1", frozenset({"rw"}))


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    found = {finding.name: finding for finding in findings}
    assert all(one.value and one.meaning and (one.verdict != "problem" or one.remedy) for one in found.values())
    return found


def verdicts(findings: Iterable[Finding]) -> dict[str, str]:
    return {name: finding.verdict for name, finding in by_name(findings).items()}


# -- a place that can hold rooms ------------------------------------------------------------------------------------
def test_everything_is_looked_at(tmp_path: Path):
    found = verdicts(examine(tmp_path, seconds=BRIEF))
    assert list(found) == [
        *("python", "system", "sqlite", "trio", "msgpack", "open files", "clock"),
        *("file system", "space", "rename", "lock", "WAL", "sync", *(["syncfs"] if Disk.has_syncfs else []), "directory sync"),
    ]
    assert {found[name] for name in ("python", "rename", "lock", "WAL")} == {"ok"}


def test_it_leaves_no_trace(tmp_path: Path):
    data = catalog(tmp_path / "data", [room("a")])
    before = files(data)
    list(examine(data, seconds=BRIEF))
    assert files(data) == before


def test_it_leaves_no_trace_where_it_is_cut_short(tmp_path: Path):
    class Cut(Disk):
        def sync_directory(self, path: Path) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(examine(tmp_path, disk=Cut(), seconds=BRIEF))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_yet_is_judged_by_the_one_above_and_not_made(tmp_path: Path):
    found = by_name(examine(tmp_path / "not" / "yet", seconds=BRIEF))
    assert found["place"].value == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- one that cannot --------------------------------------------------------------------------------------------------
class Granting(Disk):
    def lock(self, fd: int) -> bool:
        return True


class Lossy(Disk):
    def rename(self, old: Path, new: Path) -> None:
        old.unlink()


class Failing(Disk):
    def sync_data(self, fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(("disk", "name"), [(Granting(), "lock"), (Lossy(), "rename"), (Failing(), "sync")])
def test_what_does_not_work_is_a_problem(tmp_path: Path, disk: Disk, name: str):
    finding = by_name(examine(tmp_path, disk=disk, seconds=BRIEF))[name]
    assert (finding.verdict, finding.value.startswith("fails: ")) == ("problem", True)


def test_a_directory_that_cannot_be_written_to_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(prefix: str, dir: Path) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    finding = by_name(examine(tmp_path, seconds=BRIEF))["writing"]
    assert (finding.verdict, finding.value) == ("problem", "refused: Read-only file system")


@pytest.mark.parametrize(
    ("p50", "mount", "verdict", "words"),
    [
        (0.000_002, LOCAL, "problem", "probably"),
        (0.000_002, None, "problem", "probably"),
        (0.000_002, Mount("/tmp", "tmpfs", "tmpfs", frozenset()), "notice", "tmpfs is memory"),
        (0.000_2, LOCAL, "ok", "5,000 posts/s"),
        (0.02, LOCAL, "notice", "50 posts/s"),
    ],
)
def test_a_sync_that_is_too_fast_lies_and_a_slow_one_says_what_to_expect(
    p50: float, mount: Mount | None, verdict: str, words: str
):
    finding = of_file(Latency(p50, p50, 1_000), mount)
    assert (finding.verdict, words in finding.meaning) == (verdict, True)


@pytest.mark.parametrize(
    ("type", "options", "expected"),
    [
        ("ext4", "rw", {"file system": "ok"}),
        ("nfs4", "rw", {"file system": "problem"}),
        ("fuse.sshfs", "rw", {"file system": "problem"}),
        ("fuse.mergerfs", "rw", {"file system": "notice"}),
        ("overlay", "rw", {"file system": "notice"}),
        ("tmpfs", "rw", {"file system": "problem"}),
        ("ext4", "rw,nobarrier", {"file system": "ok", "mount options": "problem"}),
        ("ext4", "rw,data=writeback", {"file system": "ok", "mount options": "notice"}),
        ("xfs", "ro", {"file system": "ok", "mount options": "problem"}),
    ],
)
def test_the_file_system_and_its_options_are_judged(type: str, options: str, expected: dict[str, str]):
    assert verdicts(kind(Mount("/", type, "x", frozenset(options.split(","))), wanted=True)) == expected


def test_memory_is_no_problem_where_no_rooms_are_to_live():
    assert verdicts(kind(Mount("/tmp", "tmpfs", "tmpfs", frozenset()), wanted=False)) == {"file system": "notice"}


def test_the_mount_of_a_path_is_the_deepest_and_latest(tmp_path: Path):
    table = f"""\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:40 / {tmp_path}/my\\040data rw - nfs4 server:/x rw,vers=4.2
31 30 8:2 / {tmp_path}/my\\040data ro,noatime shared:7 master:2 - xfs /dev/sdb1 rw,nobarrier
nonsense
"""
    inner, outer = mount_of(tmp_path / "my data" / "rooms", table), mount_of(tmp_path / "my", table)
    assert inner is not None
    assert (inner.type, inner.device, inner.options) == ("xfs", "/dev/sdb1", {"ro", "noatime", "nobarrier"})
    assert outer is not None
    assert (outer.point, outer.type) == ("/", "ext4")


@pytest.mark.parametrize(
    ("release", "options", "verdict"),
    [
        ((3, 54, 1), ("THREADSAFE=1",), "ok"),
        ((3, 51, 3), (), "ok"),
        ((3, 51, 2), (), "problem"),
        ((3, 50, 7), (), "ok"),
        ((3, 50, 4), (), "problem"),
        ((3, 54, 1), ("OMIT_WAL",), "problem"),
        ((3, 54, 1), ("THREADSAFE=0",), "problem"),
    ],
)
def test_an_sqlite_that_damages_or_lacks_something_is_a_problem(release: tuple[int, ...], options: tuple[str, ...], verdict: str):
    assert sqlite(release, options).verdict == verdict


def test_a_low_hard_limit_of_open_files_says_how_many_rooms_fit():
    assert descriptors(256, 1_048_576, 1_000).verdict == "ok"
    assert descriptors(256, resource.RLIM_INFINITY, 1_000).verdict == "ok"
    few = descriptors(256, 4_096, 1_000)
    assert (few.verdict, "only 768 are open" in few.meaning) == ("notice", True)
    assert descriptors(256, 256, 1_000).verdict == "problem"


def test_msgpack_in_python_is_noticed():
    assert packer("msgpack.fallback").verdict == "notice"
    assert packer("msgpack._cmsgpack").verdict == "ok"


# -- what is there already --------------------------------------------------------------------------------------------
def a_file_of(data: Path, id: str) -> None:
    path = DataDir.at(data).room(RoomName("ChatRoom", id))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_sick_rooms_and_rooms_without_a_file_are_named(tmp_path: Path):
    data = catalog(tmp_path / "data", [room("well"), room("hurt", sick="CorruptError"), room("gone\x1b")])
    a_file_of(data, "well")
    found = by_name(directory(data))
    assert (found["sick rooms"].value, found["lost files"].value) == ("1: ChatRoom/hurt", "1: ChatRoom/gone\\x1b")
    assert found["rooms"].value == "3"


def test_a_damaged_catalog_is_a_problem(tmp_path: Path):
    data = catalog(tmp_path / "data", [room(f"{n:04}") for n in range(2_000)])
    with (data / "catalog.db").open("r+b") as file:
        file.seek(3 * 4_096)
        file.write(b"\xaa" * 40_960)
    assert by_name(directory(data))["catalog"].verdict == "problem"


def test_a_missing_catalog_is_a_problem_with_a_remedy(tmp_path: Path):
    (tmp_path / "rooms").mkdir()
    assert by_name(directory(tmp_path))["catalog"].value == "missing"


def test_leftovers_are_counted(tmp_path: Path):
    data = catalog(tmp_path / "data", [])
    for name in ("litter/ab.1.db", "quarantine/ab.1.db", "rooms/ab/cd.db-wal.rehome", "replica.db.damaged-1"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"")
    found = by_name(directory(data))
    assert all((found[name].value, found[name].verdict) == ("1 file", "notice") for name in ("litter", "quarantine", "copies"))
    assert found["old replicas"].value == "1 file"


def test_a_foreign_replica_is_a_problem_and_a_damaged_one_is_made_anew(tmp_path: Path):
    data = catalog(tmp_path / "data", [])
    (data / "replica.db").write_bytes((data / "catalog.db").read_bytes())
    assert by_name(directory(data))["replica"].verdict == "problem"
    (data / "replica.db").write_bytes(b"nonsense" * 1_000)
    assert by_name(directory(data))["replica"].verdict == "notice"


# -- as a command -----------------------------------------------------------------------------------------------------
def test_beside_a_running_process_it_finds_it_well_and_does_it_no_harm(tmp_path: Path):
    data = tmp_path / "data"
    with service(data) as process:
        found = {one["name"]: one for one in json.loads(command("doctor", data, "--json", code=None).stdout)["findings"]}
        assert found["process"]["value"] == f"pid {process.pid} runs here"
        assert found["replica"]["verdict"] == found["catalog"]["verdict"] == "ok"
        process.terminate()
        assert process.wait() == 0


def test_a_problem_ends_it_with_1_and_tells_what_to_do(tmp_path: Path):
    data = catalog(tmp_path / "data", [room("hurt", sick="CorruptError")])
    said = command("doctor", data, code=1).stdout
    assert "problem  sick rooms: 1: ChatRoom/hurt" in said
    assert "→ `durable-rooms recover`" in said
    assert " problem" in said.rstrip().splitlines()[-1]


def test_a_file_is_no_directory(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "is a file" in command("doctor", tmp_path / "file", code=2).stderr
