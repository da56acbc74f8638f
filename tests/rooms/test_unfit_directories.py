"""F50: a directory that cannot keep the promises is refused at the start, in one line with cause and remedy."""

import errno
import os

import pytest

from actors import Disk, Limits
from actors.system.mount import Mount
from durable_rooms import DiskUnfit
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom


class Elsewhere(Disk):
    def __init__(self, type: str, options: frozenset[str] = frozenset({"rw"})) -> None:
        self._mount = Mount("/mnt/far", type, "far:/export", options)

    def mount(self, path):
        return self._mount


class ReadOnly(Disk):
    def __init__(self, code: int) -> None:
        self._code = code

    def make_directory(self, path):
        raise OSError(self._code, os.strerror(self._code), str(path))

    def open(self, path, *, create=False):
        raise OSError(self._code, os.strerror(self._code), str(path))


async def refused(path, disk=None, limits=None) -> str:
    with pytest.raises(DiskUnfit) as caught:
        async with open_test_runtime(ChatRoom, path=path, disk=disk, limits=limits):
            pass
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("type", ["nfs4", "cifs", "9p", "fuse.sshfs", "ceph"])
async def test_f50_a_network_file_system_is_refused_and_nothing_is_made_there(tmp_path, autojump_clock, type):
    text = await refused(tmp_path / "data", Elsewhere(type))
    assert f"lies on {type}, mounted at /mnt/far" in text
    assert "local disk" in text
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("type", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"])
async def test_a_local_file_system_is_taken(tmp_path, autojump_clock, type):
    async with open_test_runtime(ChatRoom, path=tmp_path / "data", disk=Elsewhere(type)) as runtime:
        assert await runtime.room(ChatRoom, "a").post("hello") == 1


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("there", [False, True])
async def test_f50_a_read_only_file_system_or_directory_is_refused_with_its_path(tmp_path, autojump_clock, code, there):
    data = tmp_path / "data"
    if there:
        async with open_test_runtime(ChatRoom, path=data) as runtime:
            assert await runtime.room(ChatRoom, "a").post("hello") == 1
    text = await refused(data, ReadOnly(code))
    assert os.strerror(code) in text
    assert str(data) in text
    assert "Choose a directory on a local disk that this user may write to" in text


async def test_f37_a_limit_of_open_files_that_leaves_no_rooms_is_refused(tmp_path, autojump_clock):
    class Few(Disk):
        def raise_descriptor_limit(self, needed):
            return 40

    text = await refused(tmp_path / "data", Few())
    assert "40 open files" in text
    assert "ulimit -n" in text
    assert not (tmp_path / "data").exists()


async def test_f37_rooms_that_fit_into_a_small_limit_are_fewer_and_it_is_said(tmp_path, autojump_clock, caplog):
    class Some(Disk):
        def raise_descriptor_limit(self, needed):
            return 256

    async with open_test_runtime(ChatRoom, path=tmp_path, disk=Some(), limits=Limits(open_rooms_max=1_000)) as runtime:
        assert runtime.limits.open_rooms_max == (256 - 64) // 5
    assert "allows 256 open files" in caplog.text
