"""The status file tells what a runtime knows of itself, costs it nothing, and can do it no harm."""

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import Disk
from actors.status import RuntimeStatus
from durable_rooms import Actor, DiskFailed, Status
from durable_rooms.inspect import ground, overview
from durable_rooms.status_file import HEARTBEAT_SECONDS, STATUS_FILE, plain
from durable_rooms.testing import TEST_TIME, open_test_runtime


class Notes(Actor):
    migrations = ("CREATE TABLE notes (id INTEGER PRIMARY KEY)",)

    def add(self) -> int:
        return self.sql("INSERT INTO notes DEFAULT VALUES RETURNING id").scalar()


class CountingDisk(Disk):
    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.trouble: OSError | None = None

    def replace_unsynced(self, path: Path, aside: Path, content: bytes) -> None:
        if self.trouble is not None:
            raise self.trouble
        super().replace_unsynced(path, aside, content)
        self.said.append(json.loads(content))


def told(data: Path) -> dict[str, Any]:
    return json.loads((data / STATUS_FILE).read_text())


async def test_a_test_runtime_writes_none(autojump_clock: trio.abc.Clock, tmp_path: Path):
    async with open_test_runtime(Notes, path=tmp_path) as runtime:
        await runtime.room(Notes, "den").add()
        await trio.sleep(60)
        assert not (tmp_path / STATUS_FILE).exists()


async def test_what_changed_is_told_within_a_second(autojump_clock: trio.abc.Clock, tmp_path: Path):
    async with open_test_runtime(Notes, path=tmp_path) as runtime:
        runtime.keep_status()
        await trio.sleep(0.5)
        for _ in range(3):
            await runtime.room(Notes, "den").add()
        await trio.sleep(1)
        said = told(tmp_path)
        assert (said["status"]["commits"], said["status"]["rooms_open"]) == (runtime.status().commits, 1)
        assert said["commits_per_second"] == runtime.status().commits >= 3
        assert said["rounds_per_second"] == runtime.status().rounds
        await trio.sleep(1)
        assert told(tmp_path)["commits_per_second"] == 0


async def test_without_news_there_is_a_sign_of_life_every_few_seconds_and_no_more(autojump_clock: trio.abc.Clock, tmp_path: Path):
    disk = CountingDisk()
    async with open_test_runtime(Notes, path=tmp_path, disk=disk) as runtime:
        runtime.keep_status()
        await trio.sleep(10 * HEARTBEAT_SECONDS + 0.5)
        assert [said["written"] - TEST_TIME for said in disk.said] == [HEARTBEAT_SECONDS * beat for beat in range(11)]


async def test_every_field_of_the_status_is_told(autojump_clock: trio.abc.Clock, tmp_path: Path):
    async with open_test_runtime(Notes, path=tmp_path) as runtime:
        runtime.keep_status()
        await trio.sleep(0.5)
        assert set(told(tmp_path)["status"]) == {field.name for field in fields(Status)} > {f.name for f in fields(RuntimeStatus)}
        assert told(tmp_path)["limits"]["blocked_seconds_max"] is None  # infinity


async def test_a_disk_that_takes_no_status_file_is_told_once_and_rooms_go_on(
    autojump_clock: trio.abc.Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    disk = CountingDisk()
    disk.trouble = OSError(28, "No space left on device")
    with caplog.at_level(logging.WARNING, "durable_rooms"):
        async with open_test_runtime(Notes, path=tmp_path, disk=disk) as runtime:
            runtime.keep_status()
            for number in range(5):
                assert await runtime.room(Notes, "den").add() == number + 1
                await trio.sleep(2)
            assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1
            disk.trouble = None
            await trio.sleep(HEARTBEAT_SECONDS)
            assert told(tmp_path)["status"]["rooms_open"] == 1


async def test_it_is_gone_after_an_orderly_stop(autojump_clock: trio.abc.Clock, tmp_path: Path):
    async with open_test_runtime(Notes, path=tmp_path) as runtime:
        runtime.keep_status()
        await trio.sleep(0.5)
        assert (tmp_path / STATUS_FILE).exists()
    assert not (tmp_path / STATUS_FILE).exists()


async def test_its_last_words_stay_after_a_failure(autojump_clock: trio.abc.Clock, tmp_path: Path):
    with pytest.raises(DiskFailed):
        async with open_test_runtime(Notes, path=tmp_path) as runtime:
            runtime.keep_status()
            await trio.sleep(0.5)
            runtime.fail(DiskFailed("the disk is the problem"))
            await trio.sleep_forever()
    assert told(tmp_path)["failure"] == "the disk is the problem"
    found = overview(tmp_path, ground(tmp_path))
    assert found.last_stop == "unclean"
    assert "stopped itself (the disk is the problem)" in found.attention[0]


async def test_it_is_never_synced(autojump_clock: trio.abc.Clock, tmp_path: Path):
    class Unsynced(CountingDisk):
        def sync_data(self, fd: int) -> None:
            assert self.quiet is False
            super().sync_data(fd)

        quiet = False

        def sync_directory(self, path: Path) -> None:
            assert self.quiet is False
            super().sync_directory(path)

        def sync_file_system(self, fd: int) -> None:
            assert self.quiet is False
            super().sync_file_system(fd)

    disk = Unsynced()
    async with open_test_runtime(Notes, path=tmp_path, disk=disk) as runtime:
        disk.quiet = True
        runtime.keep_status()
        await trio.sleep(20)
        disk.quiet = False
        assert len(disk.said) == 4


def test_what_json_cannot_have_becomes_text():
    assert plain({1: (Path("x"), float("nan"), {2}, None, True)}) == {"1": ["x", None, [2], None, True]}
