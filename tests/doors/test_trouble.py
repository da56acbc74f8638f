"""The runtime fails, or the host goes: every waiting caller is told, nothing hangs, nothing is left."""

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors import Disk
from durable_rooms import DiskFailed, Limits, OutcomeUnknown, Overloaded, RuntimeClosed
from durable_rooms.border import border as border_module
from durable_rooms.border.border import Border
from tests.doors.chat import ChatRoom, for_asyncio, for_threads, gate

ONE_IS_ENOUGH = Limits(broken_rooms_max=1)


class FailsWhenTold(Disk):
    has_syncfs = False
    failing = False

    def sync_data(self, fd):
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")


@pytest.fixture(autouse=True)
def syncs_take_no_time(monkeypatch):
    for sync in ("sync_data", "sync_directory", "sync_file_system"):
        monkeypatch.setattr(Disk, sync, lambda self, what: None)


def test_a_disk_that_fails_ends_the_asyncio_body_and_tells_every_caller(tmp_path):
    disk = FailsWhenTold()

    async def main():
        outcomes = []

        async def caller(room, number):
            try:
                outcomes.append(await room.post(str(number)))
            except Exception as error:
                outcomes.append(error)

        tasks = []
        with pytest.raises(DiskFailed):
            async with for_asyncio(tmp_path, disk=disk, limits=ONE_IS_ENOUGH) as runtime:
                room = runtime.room(ChatRoom, "general")
                await room.post("durable")
                disk.failing = True
                tasks += [asyncio.ensure_future(caller(room, number)) for number in range(20)]
                await asyncio.sleep(3600)  # until the body is cancelled
        await asyncio.gather(*tasks)
        assert len(outcomes) == 20
        assert {type(one) for one in outcomes} <= {OutcomeUnknown, RuntimeClosed}
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0, "the cancellation was ours, and is used up"
        with pytest.raises(RuntimeClosed, match="the runtime has ended: a sync of"):
            await room.ping()

    asyncio.run(main())


def test_a_disk_that_fails_is_told_to_every_thread_and_at_the_end_of_the_body(tmp_path):
    disk = FailsWhenTold()
    with (
        ThreadPoolExecutor(8) as pool,
        pytest.raises(DiskFailed),
        for_threads(tmp_path, disk=disk, limits=ONE_IS_ENOUGH) as runtime,
    ):
        room = runtime.room(ChatRoom, "general")
        room.post("durable")
        disk.failing = True
        errors = [one.exception(30) for one in [pool.submit(room.post, str(number)) for number in range(20)]]
        assert {type(one) for one in errors} <= {OutcomeUnknown, RuntimeClosed}
    with for_threads(tmp_path) as runtime:
        assert "durable" in runtime.room(ChatRoom, "general").bodies()


def test_a_border_whose_runtime_stands_still_is_full_at_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(border_module, "INBOX_ITEMS_MAX", 3)
    started, opened = gate("still")
    with for_threads(tmp_path) as runtime, ThreadPoolExecutor(8) as pool:
        room = runtime.room(ChatRoom, "general")
        held = pool.submit(room.held_up, "still")
        assert started.wait(30)
        waiting = [pool.submit(room.post, str(number)) for number in range(3)]
        while len(runtime._border._inbox) < 3:
            pass
        with pytest.raises(Overloaded, match="INBOX_ITEMS_MAX"):
            room.post("one too many")
        opened.set()
        assert sorted(one.result(30) for one in waiting) == [1, 2, 3]
        held.result(30)


def test_a_call_that_comes_after_the_last_look_is_turned_away(tmp_path):
    """The window between a caller's check and his append, when the loop ends in it."""
    with for_threads(tmp_path) as runtime:
        room = runtime.room(ChatRoom, "general")
        room.ping()
    border: Border = runtime._border
    why, border.over = border.over, ""

    class Late(list):
        def append(self, item):
            super().append(item)
            border.over = why

        def popleft(self):
            return self.pop(0)

    border._inbox = Late()
    with pytest.raises(RuntimeClosed):
        room.ping()
