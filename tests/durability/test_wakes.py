"""When a room must be awake by itself is durable before the reply to the turn that made it so, and never known too late."""

from random import Random

import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.names import RoomName
from durable_rooms.simulation.image import Keep, image, write_image
from durable_rooms.simulation.world import World
from tests.durability.callers import Callers, recorded, reply_place
from tests.durability.chat import Chat, opened
from tests.durability.test_catalog import CATALOG_WAL

BEGAN = 1_700_000_000.0  # where the wall clock of these tests stands


class AlarmedChat(Chat):
    def remind(self, name: str, at: float) -> None:
        self.alarms.set(name, at)

    def cancel(self, name: str) -> bool:
        return self.alarms.cancel(name)

    def on_alarm(self, name: str, payload: object) -> None:
        self.post(name)


AlarmedChat.__name__ = "Chat"


def alarmed(runtime, id="a"):
    return runtime.room(AlarmedChat, id)


def wake_at(runtime):
    return runtime.catalog.get(RoomName("Chat", "a")).wake_at


def after(disk, place, keep, path):
    """The directory that a cut at an event leaves."""
    world = World()
    world.play(disk.events[:place])
    write_image(image(world, keep, Random(place)), path)


async def test_an_earlier_time_is_in_the_catalog_durably_before_the_reply(open_rooms, disk, threads, tasks):
    async with open_rooms(actor=AlarmedChat) as runtime:
        await alarmed(runtime).remind("far", BEGAN + 1_000)
        for name, seconds in (("near", 100), ("nearer", 50)):
            before = len(disk.events)
            callers = Callers(tasks, disk)
            hold = threads.hold("sync began", CATALOG_WAL)
            await callers.start(name, alarmed(runtime).remind(name, BEGAN + seconds))
            await hold.reached.wait()
            assert name not in callers, "a crash now would oversleep it"
            assert wake_at(runtime) == BEGAN + seconds
            hold.release()
            await wait_all_tasks_blocked()
            assert name in callers
            (written,) = [place for place in disk.where("write", CATALOG_WAL) if place > before][:1]
            returned = [place for place in disk.where("sync returned", CATALOG_WAL, by="ours") if place > written]
            assert written < returned[0] < reply_place(disk, name)


async def test_a_later_time_and_none_cost_the_catalog_nothing_until_the_room_closes(open_rooms, disk):
    async with open_rooms(actor=AlarmedChat) as runtime:
        await alarmed(runtime).remind("a", BEGAN + 100)
        await alarmed(runtime).post("0")  # with the room's second write the catalog calls it proven
        before = len(disk.where("write", CATALOG_WAL))
        await alarmed(runtime).remind("a", BEGAN + 200)
        await alarmed(runtime).remind("b", BEGAN + 300)
        await alarmed(runtime).cancel("a")
        await alarmed(runtime).post("1")
        await wait_all_tasks_blocked()
        assert len(disk.where("write", CATALOG_WAL)) == before
        assert wake_at(runtime) == BEGAN + 100
    async with open_rooms(actor=AlarmedChat) as runtime:
        assert wake_at(runtime) == BEGAN + 300


async def test_wherever_the_power_is_cut_what_was_acknowledged_is_in_time_and_once(open_rooms, disk, tmp_path, autojump_clock):
    """Every ninth event is a cut, with what is surely there and with anything else: an acknowledged alarm goes off after it, and
    its post is there exactly once, also where it had gone off before."""
    async with open_rooms(actor=AlarmedChat, limits=Limits(open_rooms_max=1)) as runtime:
        await recorded(disk, "far", alarmed(runtime).remind("far", BEGAN + 1e6))
        await recorded(disk, "soon", alarmed(runtime).remind("soon", BEGAN))
        await trio.sleep(0.2)
        await recorded(disk, "seen", alarmed(runtime).ids())
        await alarmed(runtime, "other").ping()  # the first one closes for it
        last = len(disk.events)
    told = {name: reply_place(disk, name) for name in ("far", "soon", "seen")}
    for number, place in enumerate(range(min(told.values()), last, 9)):
        for keep in (Keep.NOTHING, Keep.SOME):
            path = tmp_path / f"{number}-{keep.name}"
            after(disk, place, keep, path)
            async with opened(path, actor=AlarmedChat) as runtime:
                at = wake_at(runtime)
                assert at is not None
                assert at <= (BEGAN if told["soon"] < place < told["seen"] else BEGAN + 1e6)
                await trio.sleep(0.2)
                ids = await alarmed(runtime).ids()
                assert ids == ["soon"] if told["soon"] < place else ids in ([], ["soon"])
                assert await alarmed(runtime).cancel("far") is True


async def test_a_room_that_only_posts_says_nothing_of_it_to_the_catalog(open_rooms, disk):
    async with open_rooms(actor=AlarmedChat) as runtime:
        await alarmed(runtime).remind("a", BEGAN + 100)
        await alarmed(runtime).post("0")  # with the room's second write the catalog calls it proven
        before = len(disk.where("write", CATALOG_WAL))
        for number in range(1, 6):
            await alarmed(runtime).post(str(number))
        assert len(disk.where("write", CATALOG_WAL)) == before
