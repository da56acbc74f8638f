"""Rules 4, 5, 11 to 13 and 15: a WAL's descriptor, hibernation, `synchronous`, and checkpoints."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.names import RoomName
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import (
    Callers,
    activation,
    assert_durable_before_reply,
    commit_place,
    covering_sync,
    is_open,
    path_of,
    recorded,
    reply_place,
    room,
    wal,
)
from tests.durability.chat import opened

OFF, NORMAL = 0, 1
ONE_PLACE = Limits(open_rooms_max=1)
A, FOLDER = path_of("a"), path_of("a").rpartition("/")[0]


async def hibernate(runtime, id="a"):
    """As a room does that nobody has called for a while: with its WAL taken into the database."""
    activation(runtime, id).leave()
    while is_open(runtime, id) or runtime.status().rooms_open:
        await wait_all_tasks_blocked()


async def make_place(runtime, id="a"):
    """Call another room where there is place for one: the WAL may stay behind."""
    await room(runtime, "other").ids()
    assert not is_open(runtime, id)


def level(runtime, id="a"):
    return activation(runtime, id).storage.connection.execute("PRAGMA synchronous").fetchall()[0][0]


async def test_rule_04_the_wal_descriptor_belongs_to_one_connection(open_rooms, disk):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        for number in range(3):
            await room(runtime, "a").post(str(number))
            await hibernate(runtime)
    made = disk.where("create", wal("a"))
    assert len(made) == 3
    for place in disk.where("sync began", wal("a"), by="ours"):
        newest = max(birth for birth in made if birth < place)
        assert disk.events[place].node == disk.events[newest].node


async def test_rule_04_and_22_the_wal_descriptor_is_older_than_the_first_write(open_rooms, disk):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        for number in range(2):
            await room(runtime, "a").post(str(number))
            await hibernate(runtime)
    for birth, ours in zip(disk.where("create", wal("a")), disk.where("open", wal("a"), by="ours"), strict=True):
        first_write = next(place for place in disk.where("write", wal("a")) if place > birth)
        assert birth < ours < first_write


async def test_rule_04_a_round_owns_its_descriptors_until_it_returns(open_rooms, disk, threads, tasks):
    """The room breaks in its checkpoint while a round is in flight: its descriptors stay open until the round is back."""
    async with open_rooms(limits=Limits(wal_bytes_max=100_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        checkpoint = threads.hold("write", A)
        await a.post("1", "x" * 200_000)
        await checkpoint.reached.wait()
        disk.fails("write", A, by="sqlite")
        hold = threads.hold("sync began", wal("a"))
        await callers.start("one", a.post("2"))
        await hold.reached.wait()
        checkpoint.release()
        await wait_all_tasks_blocked()
        assert runtime.status().rooms_broken == 1
        in_flight = disk.where("sync began", wal("a"), by="ours")[-1]
        assert not [place for place in disk.where("close", wal("a"), by="ours") if place > in_flight]
        hold.release()
        await wait_all_tasks_blocked()
        assert disk.where("close", wal("a"), by="ours")
        assert "one" in callers
        assert await a.ids() in (["0", "1"], ["0", "1", "2"])


async def test_rule_05_a_room_hibernates_only_when_everything_is_durable_and_nobody_waits(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        await callers.start("write", room(runtime, "a").post("1", "body-one"))
        await callers.start("other", room(runtime, "other").ids())
        await hold.reached.wait()
        assert is_open(runtime, "a")
        assert not disk.where("close", A)
        hold.release()
        await callers.came("other")
    assert reply_place(disk, "write") < disk.where("close", A)[0]
    assert_durable_before_reply(disk, "a", "body-one", "write")


async def test_rule_11_a_newborn_is_at_off_until_its_first_round_returns_and_at_normal_from_then_on(
    open_rooms, disk, threads, tasks
):
    async with open_rooms() as runtime:
        callers = Callers(tasks, disk)
        hold = threads.hold("directory sync began", FOLDER)
        await callers.start("birth", room(runtime, "a").post("1"))
        await hold.reached.wait()
        assert level(runtime) == OFF
        hold.release()
        await wait_all_tasks_blocked()
        assert level(runtime) == NORMAL
    assert "birth" in callers


async def test_rule_11_a_wake_that_makes_its_wal_is_at_off_until_its_first_round_returns(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        await hibernate(runtime)
        await room(runtime, "a").ids()
        assert level(runtime) == OFF
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        await callers.start("write", room(runtime, "a").post("1"))
        await hold.reached.wait()
        assert level(runtime) == OFF
        assert not [
            place for place in disk.where("sync began", wal("a"), by="sqlite") if place > disk.where("create", wal("a"))[-1]
        ]
        hold.release()
        await wait_all_tasks_blocked()
        assert level(runtime) == NORMAL


async def test_rule_11_slices_of_a_running_handler_are_at_normal_after_the_first_round(open_rooms, disk, autojump_clock):
    async with open_rooms() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(room(runtime, "a").post_twice, "1", "2", 5.0)
        await trio.sleep(1)
        assert level(runtime) == NORMAL


async def test_rule_11_a_wal_that_was_there_is_written_at_normal(open_rooms, disk, data, make_disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        world = World()
        world.play(disk.events)
        write_image(image(world, Keep.ALL, None), data.parent / "killed")
    async with opened(data.parent / "killed", make_disk(data.parent / "killed", None, world)) as runtime:
        await room(runtime, "a").ids()
        assert level(runtime) == NORMAL


async def test_rule_11_the_header_of_a_restarted_wal_is_synced_before_its_frames(open_rooms, disk):
    async with open_rooms(limits=Limits(wal_bytes_max=50_000)) as runtime:
        await room(runtime, "a").post("1")
        await room(runtime, "a").post("2", "x" * 100_000)
        await wait_all_tasks_blocked()
        checkpointed = disk.where("sync returned", A, by="sqlite")[-1]
        await room(runtime, "a").post("3")
        header, *frames = (place for place in disk.where("write", wal("a")) if place > checkpointed)
        assert disk.events[header].offset == 0
        assert any(header < place < frames[0] for place in disk.where("sync returned", wal("a"), by="sqlite"))


@pytest.mark.parametrize("how", ["while open", "at close"])
async def test_rule_12_checkpoints_and_closes_sync_wal_then_database_on_a_connection_of_their_own(open_rooms, disk, how):
    async with open_rooms(limits=Limits(wal_bytes_max=50_000)) as runtime:
        await room(runtime, "a").post("1")
        ready = len(disk.events)
        if how == "while open":
            await room(runtime, "a").post("2", "x" * 100_000)
            await wait_all_tasks_blocked()
        else:
            await hibernate(runtime)
        opened_again = next(place for place in disk.where("open", A, by="sqlite") if place >= ready)
        wal_synced = next(place for place in disk.where("sync returned", wal("a"), by="sqlite") if place > opened_again)
        written = [place for place in disk.where("write", A, by="sqlite") if place >= ready]
        database_synced = next(place for place in disk.where("sync returned", A, by="sqlite") if place >= ready)
        assert opened_again < wal_synced < min(written)
        assert max(written) < database_synced
        # Only then may the WAL begin again or go.
        if how == "while open":
            await room(runtime, "a").post("3")
            gone = next(
                place for place in disk.where("write", wal("a")) if place >= wal_synced and disk.events[place].offset == 0
            )
        else:
            gone = next(place for place in disk.where("truncate", wal("a")) if place >= ready)
        assert database_synced < gone


async def test_rule_13_no_checkpoint_before_the_first_round(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=Limits(wal_bytes_max=1)) as runtime:
        callers = Callers(tasks, disk)
        hold = threads.hold("directory sync began", FOLDER)
        await callers.start("birth", room(runtime, "a").post("1", "x" * 100_000))
        await hold.reached.wait()
        await callers.start("next", room(runtime, "a").post("2", "x" * 100_000))
        assert len(disk.where("open", A, by="sqlite")) == 1  # nobody but the room's own connection
        hold.release()
        await wait_all_tasks_blocked()
        assert {"birth", "next"} <= callers.outcomes.keys()


async def test_rule_15_a_new_wals_first_round_syncs_its_directory(open_rooms, disk):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        await hibernate(runtime)
        await recorded(disk, "woken", room(runtime, "a").post("1", "body-one"))
    made = disk.where("create", wal("a"))[-1]
    assert any(made < place < reply_place(disk, "woken") for place in disk.where("directory sync returned", FOLDER))
    assert_durable_before_reply(disk, "a", "body-one", "woken")


async def test_rule_15_a_wal_whose_process_died_before_its_first_round_gets_its_name_synced(open_rooms, disk, data, make_disk):
    """The catalog calls the room closed: its row goes with the round that never began."""
    async with open_rooms(limits=ONE_PLACE) as runtime:
        await room(runtime, "a").post("0")
        await hibernate(runtime)
        await room(runtime, "other").post("x")  # the catalog's row follows with the next round
        await room(runtime, "a").post("1", "body-one")
    world = World()
    world.play(disk.events[: commit_place(disk, "a", "body-one") + 1])
    killed = data.parent / "killed"
    write_image(image(world, Keep.ALL, None), killed)
    again = make_disk(killed, None, world)
    async with opened(killed, again) as runtime:
        row = runtime.catalog.get(RoomName("Chat", "a"))
        assert not row.active
        await room(runtime, "a").post("2")
        shown = await room(runtime, "a").ids()
        world.play(again.events)
        write_image(image(world, Keep.NOTHING, None), data.parent / "cut")
    async with opened(data.parent / "cut") as runtime:
        assert await room(runtime, "a").ids() == shown


async def test_rule_16_posts_and_reads_go_on_beside_checkpoints(open_rooms, disk, threads, tasks):
    async with open_rooms(limits=Limits(wal_bytes_max=50_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("write", A)  # inside the checkpoint
        await callers.start("one", a.post("1", "x" * 100_000))
        await hold.reached.wait()
        for number in range(2, 6):
            await callers.start(str(number), a.post(str(number), f"body-{number}"))
            assert str(number) in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert await a.ids() == [str(number) for number in range(6)]
    for number in range(2, 6):
        assert_durable_before_reply(disk, "a", f"body-{number}", str(number))
    assert covering_sync(disk, A, disk.where("write", A)[-1])
