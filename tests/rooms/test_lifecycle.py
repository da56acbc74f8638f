"""The life of rooms from outside: evict, abort, delete, load, and what is listed."""

import gc
import weakref

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import RoomName
from actors.lifecycle.loading import prepare
from durable_rooms import (
    Limits,
    RoomAborted,
    RoomDeleted,
    RoomExists,
    RoomQuarantined,
    RoomReset,
    RoomUnfit,
    RuntimeClosed,
    SchemaTooNew,
)
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_after_another, one_room, outcome, path_of


class Memory(ChatRoom):
    """Remembers in memory, and takes its time."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def post(self, body: str) -> int:
        self.seen.append(body)
        return super().post(body)

    def remembered(self) -> list[str]:
        return self.seen

    async def post_slowly(self, body: str, seconds: float) -> int:
        super().post(body)
        await trio.sleep(seconds)
        return super().post(f"{body}, again")

    async def hold(self, seconds: float) -> str:
        async with self.exclusive():
            await trio.sleep(seconds)
        return "held"


# -- evict --------------------------------------------------------------------------------------------------------------
async def test_an_evicted_room_is_out_of_memory_and_its_file_is_closed(autojump_clock):
    async with open_test_runtime(Memory) as runtime:
        room = runtime.room(Memory, "a")
        await room.post("1")
        assert await runtime.evict(room)
        assert runtime.status().rooms_open == 0
        assert not path_of(runtime, room).with_name(path_of(runtime, room).name + "-wal").exists()
        assert await room.remembered() == []
        assert await room.bodies() == ["1"]


async def test_evicting_a_room_that_is_not_in_memory_does_nothing(autojump_clock):
    async with open_test_runtime(Memory) as runtime:
        assert not await runtime.evict(runtime.room(Memory, "never"))
        assert runtime.list_rooms() == []
        assert runtime._seats == {}


async def test_evict_waits_for_calls_under_way_and_those_that_wait_open_the_room_again(autojump_clock):
    async with open_test_runtime(Memory) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Memory, "a")
        told: list[object] = []

        async def tell(call):
            told.append(await outcome(call))

        await room.post("0")
        await one_after_another(
            nursery,
            lambda: tell(lambda: room.post_slowly("1", 5)),
            lambda: tell(lambda: runtime.evict(room)),
            lambda: tell(room.remembered),
        )
        assert told == []
        await trio.sleep(6)
        await wait_all_tasks_blocked()
        assert told == [3, True, []]


async def test_evicts_of_one_room_at_once_are_one(autojump_clock):
    async with open_test_runtime(Memory) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Memory, "a")
        await room.post("1")
        told: list[bool] = []

        async def evict():
            told.append(await runtime.evict(room))

        for _ in range(5):
            nursery.start_soon(evict)
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        assert told == [True] * 5
        assert runtime.status().rooms_open == 0


# -- abort --------------------------------------------------------------------------------------------------------------
async def test_an_aborted_room_loses_its_memory_and_nothing_that_was_committed(autojump_clock):
    async with open_test_runtime(Memory) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Memory, "a")
        told: list[object] = []

        async def tell(call):
            told.append(await outcome(call))

        await room.post("1")
        await one_after_another(
            nursery,
            lambda: tell(lambda: room.post_slowly("2", 1000)),
            lambda: tell(lambda: room.hold(1000)),
            lambda: tell(room.ping),
        )
        began = trio.current_time()
        assert await runtime.abort(room, "it hangs")
        await wait_all_tasks_blocked()
        assert trio.current_time() - began < 1
        kinds = [type(one) for one in told]
        assert sorted(kind.__name__ for kind in kinds) == ["OutcomeUnknown", "RoomAborted", "RoomReset"]
        refused = next(one for one in told if isinstance(one, RoomAborted))
        assert (refused.ran, refused.retryable) == ("no", True)
        assert "aborted: it hangs" in str(refused)
        reset = next(one for one in told if isinstance(one, RoomReset))
        assert (reset.ran, reset.retryable) == ("rolled back", True)
        assert all("aborted: it hangs" in str(one) for one in told)
        assert await room.bodies() == ["1", "2"]
        assert await room.remembered() == []


async def test_an_aborted_actor_is_not_kept_alive(autojump_clock):
    async with open_test_runtime(Memory) as runtime:
        room = runtime.room(Memory, "a")
        await room.post("1")
        actor = weakref.ref(runtime.seated(RoomName("Memory", "a"))._actor)
        await runtime.abort(room)
        gc.collect()
        assert actor() is None
        assert not await runtime.abort(room)


# -- delete -------------------------------------------------------------------------------------------------------------
async def test_a_deleted_room_is_gone_and_called_again_it_is_a_new_one(autojump_clock):
    async with open_test_runtime(Memory) as runtime:
        room = runtime.room(Memory, "a")
        await room.post("old")
        before = runtime.describe(room)
        assert await runtime.delete(room)
        path = path_of(runtime, room)
        assert not list(path.parent.iterdir())
        assert runtime.describe(room) is None
        assert runtime.list_rooms() == []
        assert await room.bodies() == []
        after = runtime.describe(room)
        assert after.epoch > before.epoch
        await room.post("new")
    # and after a restart


async def test_a_new_incarnation_stands_above_the_old_one_over_restarts(tmp_path, autojump_clock):
    epochs: list[int] = []
    for number in range(4):
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
            room = runtime.room(ChatRoom, "a")
            assert await room.bodies() == []
            await room.post(str(number))
            epochs.append(runtime.describe(room).epoch)
            assert await runtime.delete(room)
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
            assert runtime.list_rooms() == []
            assert not await runtime.delete(runtime.room(ChatRoom, "a"))
    assert epochs == sorted(set(epochs))


async def test_deleting_a_room_that_was_never_called_does_nothing(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        assert not await runtime.delete(runtime.room(ChatRoom, "never"))
        assert runtime.list_rooms(deleted=True) == []
        assert runtime._seats == {}


async def test_calls_that_wait_for_a_deleted_room_are_refused_and_those_that_come_later_make_it_anew(autojump_clock):
    async with open_test_runtime(Memory) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Memory, "a")
        told: dict[str, object] = {}

        async def tell(name, call):
            told[name] = await outcome(call)

        await room.post("old")
        await one_after_another(
            nursery,
            lambda: tell("holds", lambda: room.hold(1000)),
            lambda: tell("waits", lambda: room.post("waits")),
            lambda: tell("delete", lambda: runtime.delete(room)),
            lambda: tell("later", lambda: room.post("later")),
        )
        await trio.sleep(1)
        assert told["delete"] is True
        assert isinstance(told["holds"], RoomReset)
        assert (told["holds"].ran, told["holds"].retryable) == ("rolled back", False)
        assert isinstance(told["waits"], RoomDeleted)
        assert (told["waits"].ran, told["waits"].retryable) == ("no", False)
        assert told["later"] == 1
        assert await room.bodies() == ["later"]


async def test_who_leaves_while_a_room_is_deleted_does_not_undo_it(autojump_clock):
    async with open_test_runtime(Memory) as runtime:
        room = runtime.room(Memory, "a")
        await room.post("old")
        with trio.CancelScope() as scope:
            scope.cancel()
            await runtime.delete(room)
        assert await room.bodies() == []


async def test_deletes_of_one_room_at_once_delete_one_room(autojump_clock):
    async with open_test_runtime(Memory) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Memory, "a")
        await room.post("old")
        told: list[bool] = []

        async def delete():
            told.append(await runtime.delete(room))

        for _ in range(3):
            nursery.start_soon(delete)
        await trio.sleep(1)
        assert sorted(told) == [False, False, True]


async def test_a_dump_makes_no_room_of_one_that_is_deleted_meanwhile(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path / "data") as runtime, trio.open_nursery() as nursery:
        room = runtime.room(ChatRoom, "a")
        await room.post("old")
        await runtime.evict(room)
        told: list[object] = []

        async def dump(number):
            told.append(await outcome(lambda: runtime.dump(room, tmp_path / f"{number}.db")))

        nursery.start_soon(runtime.delete, room)
        for number in range(4):
            nursery.start_soon(dump, number)
            await trio.lowlevel.checkpoint()
        await trio.sleep(1)
        assert {type(one) for one in told} <= {RoomDeleted, RoomUnfit}
        assert not list(tmp_path.glob("*.db"))
        assert runtime.list_rooms() == []


async def test_a_sick_room_can_be_deleted_and_its_damaged_file_is_kept(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("old")
        path = path_of(runtime, room)
    path.write_bytes(b"\0" * 8192)
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        with pytest.raises(RoomQuarantined):
            await room.bodies()
        assert await runtime.delete(room)
        assert [file.read_bytes() for file in (tmp_path / "quarantine").glob("*.db")] == [b"\0" * 8192]
        assert await room.bodies() == []
        await room.post("new")
    for catalog in tmp_path.glob("catalog.db*"):
        catalog.unlink()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:  # a catalog that is made again takes it for nobody's
        assert [(room.id, room.sick) for room in runtime.list_rooms()] == [("a", None)]
        assert await runtime.room(ChatRoom, "a").bodies() == ["new"]


async def test_a_room_whose_file_is_missing_can_be_deleted(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("old")
        path = path_of(runtime, room)
    path.unlink()
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        with pytest.raises(RoomUnfit, match="missing"):
            await room.bodies()
        assert await runtime.delete(room)
        assert await room.bodies() == []


async def test_a_file_put_in_the_place_of_a_deleted_room_is_moved_aside_and_not_read(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("old")
        await runtime.evict(room)
        path = path_of(runtime, room)
        content = path.read_bytes()
        await runtime.delete(room)
        path.write_bytes(content)
        assert await room.bodies() == []
    assert [file.read_bytes() for file in (tmp_path / "litter").glob("*.db")] == [content]


async def test_nothing_is_done_to_rooms_of_a_runtime_that_has_stopped(autojump_clock):
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "a")
    for verb in (runtime.delete, runtime.evict, runtime.abort):
        with pytest.raises(RuntimeClosed):
            await verb(room)


@pytest.mark.parametrize("verb", ["evict", "abort", "delete"])
async def test_a_room_that_waits_for_a_place_is_ordered_about_at_once(autojump_clock, verb):
    async with open_test_runtime(Memory, limits=Limits(open_rooms_max=1)) as runtime, trio.open_nursery() as nursery:
        room, told = runtime.room(Memory, "a"), []
        await room.post("old")

        async def tell(call):
            told.append(await outcome(call))

        nursery.start_soon(tell, lambda: runtime.room(Memory, "other").post_slowly("1", 1_000))
        await trio.sleep(1)  # it has the place
        await one_after_another(nursery, lambda: tell(lambda: room.post("new")))
        began = trio.current_time()
        await getattr(runtime, verb)(room)
        await wait_all_tasks_blocked()
        assert trio.current_time() - began < 1
        assert [type(one) for one in told] == {"evict": [], "abort": [RoomAborted], "delete": [RoomDeleted]}[verb]
        assert await room.bodies() == {"evict": ["old", "new"], "abort": ["old"], "delete": []}[verb]


# -- load ---------------------------------------------------------------------------------------------------------------
class Grown(ChatRoom):
    migrations = [*ChatRoom.migrations, "ALTER TABLE messages ADD COLUMN likes INTEGER NOT NULL DEFAULT 0"]


Grown.__name__ = "ChatRoom"


async def test_a_dump_is_loaded_as_another_room_and_the_file_stays_as_it_was(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path / "data") as runtime:
        one, other = runtime.room(ChatRoom, "one"), runtime.room(ChatRoom, "other")
        await one.post("hello")
        await runtime.dump(one, tmp_path / "dump.db")
        before = (tmp_path / "dump.db").read_bytes()
        await one.post("later")
        await runtime.load(other, tmp_path / "dump.db")
        assert (tmp_path / "dump.db").read_bytes() == before
        assert await other.bodies() == ["hello"]
        assert await other.post("more") == 2
        assert await one.bodies() == ["hello", "later"]
        assert not list((tmp_path / "data" / "rooms").rglob("*.loading*"))
    async with open_test_runtime(ChatRoom, path=tmp_path / "data") as runtime:
        assert await runtime.room(ChatRoom, "other").bodies() == ["hello", "more"]


async def test_a_room_is_replaced_only_where_that_is_asked_for(tmp_path, autojump_clock):
    async with open_test_runtime(Memory, path=tmp_path / "data") as runtime:
        room = runtime.room(Memory, "a")
        await room.post("dumped")
        await runtime.dump(room, tmp_path / "dump.db")
        await room.post("later")
        epoch = runtime.describe(room).epoch
        with pytest.raises(RoomExists):
            await runtime.load(room, tmp_path / "dump.db")
        assert await room.bodies() == ["dumped", "later"]
        await runtime.load(room, tmp_path / "dump.db", replace=True)
        assert await room.bodies() == ["dumped"]
        assert await room.remembered() == []
        assert runtime.describe(room).epoch > epoch


async def test_a_deleted_room_is_brought_back_by_its_dump(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path / "data") as runtime:
        room = runtime.room(ChatRoom, "a")
        await room.post("dumped")
        await runtime.dump(room, tmp_path / "dump.db")
        await runtime.delete(room)
        await runtime.load(room, tmp_path / "dump.db")
        assert await room.bodies() == ["dumped"]
        assert runtime.list_rooms(deleted=True) == []


async def test_a_dump_of_an_older_schema_is_migrated_and_one_of_a_newer_refused(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path / "old") as runtime:
        await runtime.room(ChatRoom, "a").post("hello")
        await runtime.dump(runtime.room(ChatRoom, "a"), tmp_path / "old.db")
    async with open_test_runtime(Grown, path=tmp_path / "new") as runtime:
        await runtime.load(runtime.room(Grown, "a"), tmp_path / "old.db")
        assert await runtime.room(Grown, "a").bodies() == ["hello"]
        await runtime.dump(runtime.room(Grown, "a"), tmp_path / "new.db")
    async with open_test_runtime(ChatRoom, path=tmp_path / "old") as runtime:
        with pytest.raises(SchemaTooNew):
            await runtime.load(runtime.room(ChatRoom, "b"), tmp_path / "new.db")
        assert [room.id for room in runtime.list_rooms()] == ["a"]


@pytest.mark.parametrize("what", ["garbage", "empty", "another program's", "torn", "missing", "a live room's"])
async def test_what_is_no_sound_room_is_not_loaded_and_nothing_is_left_of_it(what, tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path / "data") as runtime:
        room = runtime.room(ChatRoom, "a")
        for number in range(50):
            await room.post(f"{number} " + "x" * 400)
        file = tmp_path / "dump.db"
        await runtime.dump(room, file)
        if what == "garbage":
            file.write_bytes(b"no database at all")
        elif what == "empty":
            file.write_bytes(b"")
        elif what == "another program's":
            file.unlink()
            connection = apsw.Connection(str(file))
            connection.execute("CREATE TABLE t (a)")
            connection.close()
        elif what == "torn":
            content = bytearray(file.read_bytes())
            content[4096 : len(content)] = b"\xff" * (len(content) - 4096)
            file.write_bytes(content)
        elif what == "missing":
            file.unlink()
        else:
            file = path_of(runtime, room)
        with pytest.raises(FileNotFoundError if what == "missing" else RoomUnfit):
            await runtime.load(runtime.room(ChatRoom, "b"), file)
        with pytest.raises(FileNotFoundError if what == "missing" else RoomUnfit):
            await runtime.load(room, file, replace=True)
        assert len(await room.bodies()) == 50
        assert [one.id for one in runtime.list_rooms()] == ["a"]
        assert not list((tmp_path / "data" / "rooms").rglob("*.loading*"))


async def test_a_dump_of_another_class_is_refused(tmp_path, autojump_clock):
    async with one_room(Memory, path=tmp_path / "m") as room:
        await room.post("hello")
    async with open_test_runtime(Memory, path=tmp_path / "m") as runtime:
        await runtime.dump(runtime.room(Memory, "general"), tmp_path / "dump.db")
    async with open_test_runtime(ChatRoom, path=tmp_path / "c") as runtime:
        with pytest.raises(RoomUnfit, match="class Memory"):
            await runtime.load(runtime.room(ChatRoom, "a"), tmp_path / "dump.db")


async def test_a_load_that_finds_a_room_made_meanwhile_does_nothing_to_it(tmp_path, autojump_clock, monkeypatch):
    """It is called for the first time while the file is copied."""
    async with open_test_runtime(Memory, path=tmp_path / "data") as runtime, trio.open_nursery() as nursery:
        await runtime.room(Memory, "b").post("dumped")
        await runtime.dump(runtime.room(Memory, "b"), tmp_path / "dump.db")
        room, told, run = runtime.room(Memory, "a"), [], runtime.doors.threads.run

        async def hold():
            told.append(await outcome(lambda: room.hold(10)))

        async def run_slowly(what, *args):
            done = await run(what, *args)
            if what is prepare:
                nursery.start_soon(hold)
                await trio.sleep(1)
            return done

        monkeypatch.setattr(runtime.doors.threads, "run", run_slowly)
        with pytest.raises(RoomExists):
            await runtime.load(room, tmp_path / "dump.db")
        await trio.sleep(20)
        assert told == ["held"]
        assert await room.bodies() == []
        assert not list((tmp_path / "data" / "rooms").rglob("*.loading*"))


async def test_a_load_that_is_refused_by_a_stop_leaves_no_copy_behind(tmp_path, autojump_clock, monkeypatch):
    async with trio.open_nursery() as nursery:
        async with open_test_runtime(Memory, path=tmp_path / "data") as runtime:
            await runtime.room(Memory, "b").post("dumped")
            await runtime.dump(runtime.room(Memory, "b"), tmp_path / "dump.db")
            run, copied, told = runtime.doors.threads.run, trio.Event(), []

            async def run_slowly(what, *args):
                done = await run(what, *args)
                if what is prepare:
                    copied.set()
                    await trio.sleep(1)
                return done

            async def load():
                told.append(await outcome(lambda: runtime.load(runtime.room(Memory, "a"), tmp_path / "dump.db")))

            monkeypatch.setattr(runtime.doors.threads, "run", run_slowly)
            nursery.start_soon(load)
            await copied.wait()
        await trio.sleep(2)
    assert isinstance(told[0], RuntimeClosed)
    assert not list((tmp_path / "data" / "rooms").rglob("*.loading*"))


# -- listing ------------------------------------------------------------------------------------------------------------
async def test_deleted_rooms_are_listed_only_where_they_are_asked_for(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for id in ("a", "b", "c", "d"):
            await runtime.room(ChatRoom, id).post("hello")
        for id in ("b", "d"):
            await runtime.delete(runtime.room(ChatRoom, id))
        assert [room.id for room in runtime.list_rooms()] == ["a", "c"]
        gone = runtime.list_rooms(ChatRoom, deleted=True)
        assert [room.id for room in gone] == ["b", "d"]
        assert all(room.deleted and room.deleted > 1_600_000_000 for room in gone)
        assert [room.id for room in runtime.list_rooms(deleted=True, after="b", limit=1)] == ["d"]
        await runtime.room(ChatRoom, "b").post("again")
        await runtime.room(ChatRoom, "b").post("and again")
        assert [room.id for room in runtime.list_rooms(deleted=True)] == ["d"]
        assert [room.id for room in runtime.list_rooms(limit=2)] == ["a", "b"]


async def test_rooms_in_memory_and_sick_rooms_are_listed_page_by_page(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for number in range(12):
            await runtime.room(ChatRoom, f"{number:02}").post("hello")
        sick = {f"{number:02}": path_of(runtime, runtime.room(ChatRoom, f"{number:02}")) for number in (1, 6, 11)}
    for path in sick.values():
        path.write_bytes(b"\0" * 4096)
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for id in sick:
            with pytest.raises(RoomQuarantined):
                await runtime.room(ChatRoom, id).bodies()
        for id in ("03", "04", "09"):
            await runtime.room(ChatRoom, id).bodies()
        await runtime.room(ChatRoom, "new").post("one round, for the catalog")

        def paged(**filters):
            found, after = [], ""
            while page := runtime.list_rooms(ChatRoom, after=after, limit=2, **filters):
                found += [room.id for room in page]
                after = page[-1].id
            return found

        assert paged(sick=True) == sorted(sick)
        assert paged(resident=True) == ["03", "04", "09", "new"]
        assert paged(resident=False, sick=False) == ["00", "02", "05", "07", "08", "10"]
        assert paged(prefix="0", resident=True) == ["03", "04", "09"]


async def test_paging_stays_exact_while_rooms_are_deleted(tmp_path, autojump_clock):
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        for number in range(8):
            await runtime.room(ChatRoom, str(number)).post("hello")
        for number in range(5):
            runtime.catalog.forget(RoomName("ChatRoom", str(number)))  # as a delete does before its round
        assert [room.id for room in runtime.list_rooms(limit=2)] == ["5", "6"]
        for number in range(5):
            runtime.catalog._forgotten.clear()


async def test_a_page_of_nothing_is_empty(autojump_clock):
    async with open_test_runtime(ChatRoom) as runtime:
        await runtime.room(ChatRoom, "a").post("hello")
        await runtime.room(ChatRoom, "b").post("hello")
        await runtime.delete(runtime.room(ChatRoom, "b"))
        for limit in (0, -1):
            assert runtime.list_rooms(limit=limit) == []
            assert runtime.list_rooms(limit=limit, resident=True) == []
            assert runtime.list_rooms(limit=limit, deleted=True) == []


async def test_a_stop_lets_a_delete_that_has_begun_end(tmp_path, autojump_clock):
    told: list[object] = []
    async with trio.open_nursery() as nursery:
        async with open_test_runtime(Memory, path=tmp_path) as runtime:
            room = runtime.room(Memory, "a")
            await room.post("old")
            nursery.start_soon(outcome, lambda: room.hold(1000))
            await wait_all_tasks_blocked()

            async def delete():
                told.append(await outcome(lambda: runtime.delete(room)))

            nursery.start_soon(delete)
            for _ in range(2):  # after the first one trio may let the stop go on before the delete
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert told == [True]
    async with open_test_runtime(Memory, path=tmp_path) as runtime:
        assert runtime.list_rooms() == []
