"""Rule 14: checkpoint, close, re-home and read lane of a room exclude each other."""

import contextlib
from types import SimpleNamespace

import apsw
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.calls import serving
from actors.names import RoomName
from durable_rooms import OutcomeUnknown
from tests.durability.callers import Callers, activation, is_open, path_of, room, wal
from tests.durability.chat import Chat

A = path_of("a")


async def test_rule_14_a_room_broken_during_its_checkpoint_is_rehomed_after_it(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=Limits(wal_bytes_max=50_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("write", A)
        await callers.start("one", a.post("1", "x" * 100_000))
        await hold.reached.wait()
        disk.fails("sync", wal("a"), by="ours")
        await callers.start("two", a.post("2"))
        assert isinstance(callers["two"], OutcomeUnknown)
        assert not disk.where("rename", wal("a") + ".rehome")
        await callers.start("three", a.post("3"))
        assert "three" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert callers["three"] in (3, 4)
        assert {"0", "1", "3"} <= set(await a.ids())
    (rehomed,) = disk.where("rename", wal("a") + ".rehome")[:1]
    under_way = [place for place in disk.where("write", A) if disk.where("sync failed", wal("a"))[0] < place]
    between = [place for place in under_way if place < rehomed]
    checkpoint_closed = [place for place in disk.where("close", A, by="sqlite") if place < rehomed]
    assert not between or max(between) < max(checkpoint_closed)
    assert len(checkpoint_closed) == len([place for place in disk.where("open", A, by="sqlite") if place < rehomed])  # alone


async def test_rule_14_a_close_waits_for_a_reader_that_holds_the_file(open_rooms, disk, tasks):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        await room(runtime, "a").post("0")
        callers = Callers(tasks, disk)
        async with runtime.source(RoomName("Chat", "a")).copy():
            await callers.start("other", room(runtime, "other").ids())
            assert "other" not in callers
            assert is_open(runtime, "a")
        await callers.came("other")


async def test_rule_14_a_rehome_waits_for_a_reader_that_holds_the_file(open_rooms, disk, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        async with runtime.source(RoomName("Chat", "a")).copy():
            disk.fails("sync", wal("a"), by="ours")
            await callers.start("unknown", a.post("1"))
            assert isinstance(callers["unknown"], OutcomeUnknown)
            await callers.start("next", a.post("2"))
            assert not disk.where("rename", wal("a") + ".rehome")
        await wait_all_tasks_blocked()
        assert disk.where("rename", wal("a") + ".rehome")
        assert "next" in callers


async def test_rule_14_a_checkpoint_waits_for_a_reader_that_holds_the_file(open_rooms, disk, tasks):
    async with open_rooms(limits=Limits(wal_bytes_max=50_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        written = len(disk.where("write", A))
        callers = Callers(tasks, disk)
        async with runtime.source(RoomName("Chat", "a")).copy():
            await callers.start("one", a.post("1", "x" * 100_000))
            await callers.start("two", a.post("2"))
            assert callers["two"] == 3
            assert len(disk.where("write", A)) == written
        await wait_all_tasks_blocked()
        assert len(disk.where("write", A)) > written


async def test_rule_14_the_room_is_not_opened_while_it_is_closed(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=Limits(open_rooms_max=1)) as runtime:
        await room(runtime, "a").post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", A)  # the close's checkpoint
        await callers.start("other", room(runtime, "other").ids())
        await hold.reached.wait()
        opens = len(disk.where("open", A))
        await callers.start("again", room(runtime, "a").post("1"))
        with trio.move_on_after(0):
            await wait_all_tasks_blocked()
        assert len(disk.where("open", A)) == opens
        hold.release()
        await wait_all_tasks_blocked()
        assert callers["again"] == 2


class Voids(Chat):
    def void(self) -> None:
        self.sql("INSERT OR ROLLBACK INTO tally VALUES (1, 0)")


Voids.__name__ = "Chat"


async def test_calls_behind_a_void_turn_run_as_soon_as_the_reader_of_the_file_has_ended(open_rooms, disk, tasks):
    async with open_rooms(actor=Voids) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        async with runtime.source(RoomName("Chat", "a")).copy():
            await callers.start("void", a.void())
            await callers.start("behind", a.post("1"))
            assert "behind" not in callers
        await wait_all_tasks_blocked()
        assert callers["behind"] == 2


async def test_a_room_that_breaks_while_a_turn_waits_for_another_programs_lock_opens_again(open_rooms, disk, data, monkeypatch):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        with contextlib.closing(apsw.Connection(str(data / A))) as outside:
            outside.execute("BEGIN IMMEDIATE").fetchall()

            async def break_meanwhile(_: float) -> None:
                """The timer and the failed round come in the same pass of the loop."""
                if outside.in_transaction:
                    outside.execute("ROLLBACK").fetchall()
                    activation(runtime, "a").break_(OSError("its disk"))

            monkeypatch.setattr(serving, "trio", SimpleNamespace(**{**vars(trio), "sleep": break_meanwhile}))
            assert await room(runtime, "a").post("1") == 2


async def test_rule_21_no_checkpoint_begins_between_a_failed_sync_and_its_telling(open_rooms, disk, threads, tasks):
    """Its descriptors would be younger than the error, so its own sync of the WAL would return in peace (rule 22)."""
    async with open_rooms(limits=Limits(wal_bytes_max=50_000)) as runtime:
        await room(runtime, "a").post("0")
        callers = Callers(tasks, disk)
        disk.fails("sync", wal("a"), by="ours")
        hold = threads.hold("sync failed", wal("a"))  # the thread has been told, the loop not yet
        await callers.start("unknown", room(runtime, "a").post("1", "x" * 100_000))
        await hold.reached.wait()
        await wait_all_tasks_blocked()
        failed = disk.where("sync failed", wal("a"))[0]
        assert not [place for place in disk.where("write", A, by="sqlite") if place > failed]
        hold.release()
        await callers.came("unknown")
        assert isinstance(callers["unknown"], OutcomeUnknown)
        rehomed = disk.where("rename", wal("a") + ".rehome")
        assert not [place for place in disk.where("write", A, by="sqlite") if failed < place < (*rehomed, len(disk.events))[0]]
