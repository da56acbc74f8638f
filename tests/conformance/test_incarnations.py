"""What becomes of alarms, tells and keys when their room is deleted, aborted or loaded: nothing of a life that ended goes on."""

from typing import Any

import trio

from actors.command import command
from durable_rooms import RoomsError
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Callers, Notes, on_still_disk
from tests.conformance.yardstick import behaviour, statement


class Timed(Notes):
    def set_alarm(self, name: str, seconds: float) -> None:
        self.alarms.set(name, self.now() + seconds)

    async def on_alarm(self, name: str, payload: Any) -> None:
        self.post(f"{name} begins")
        await trio.sleep(100)
        self.post(f"{name} ends")


@statement(28)
@behaviour(28)
async def test_a_deleted_rooms_alarms_never_fire_and_make_no_room(tmp_path, autojump_clock) -> None:
    """Given a room with alarms, when it is deleted, and again after a restart, then none of them fires, and their times make
    no room of it."""
    async with open_test_runtime(Timed, path=tmp_path) as runtime:
        room = runtime.room(Timed, "a")
        await room.set_alarm("soon", 60)
        await room.set_alarm("later", 3_600)
        await runtime.delete(room)
        await trio.sleep(120)
        assert (runtime.list_rooms(), runtime.status().rooms_open) == ([], 0)
    async with open_test_runtime(Timed, path=tmp_path) as runtime:
        await trio.sleep(7_200)
        assert (runtime.list_rooms(), runtime.status().rooms_open) == ([], 0)
        assert await runtime.room(Timed, "a").bodies() == []


@behaviour(22)
async def test_an_alarm_that_an_abort_cut_short_is_retried(autojump_clock) -> None:
    """Given an alarm whose handler is between two slices, when the room is aborted, then the alarm is still set and goes off
    again, without being counted as failed."""
    async with open_test_runtime(Timed) as runtime:
        room = runtime.room(Timed, "a")
        await room.set_alarm("alarm", 10)
        await trio.sleep(50)
        assert await room.bodies() == ["alarm begins"]
        await runtime.abort(room)
        await room.run("DELETE FROM messages")
        await trio.sleep(300)
        assert await room.bodies() == ["alarm begins", "alarm ends"]


@behaviour(29)
async def test_a_load_brings_the_alarms_of_the_dump_and_no_others(tmp_path, autojump_clock) -> None:
    """Given a dump with an alarm, when it is loaded over a room with another one, then the dump's alarm goes off though nobody
    calls, and the other does not."""
    async with open_test_runtime(Timed, path=tmp_path / "data") as runtime:
        source, room = runtime.room(Timed, "source"), runtime.room(Timed, "a")
        await source.set_alarm("of the dump", 600)
        await runtime.dump(source, tmp_path / "dump.db")
        await runtime.delete(source)
        await room.set_alarm("of the room", 300)
        await runtime.load(room, tmp_path / "dump.db", replace=True)
        await runtime.evict(room)
        await trio.sleep(1_000)
        assert await room.bodies() == ["of the dump begins", "of the dump ends"]


class Teller(Notes):
    def post_and_tell(self, body: str) -> None:
        self.post(body)
        self.tell(Teller, "told", Teller.post, f"told {body}")

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)


@statement(28)
@behaviour(28)
async def test_a_deleted_receiver_gets_what_it_is_told_from_then_on(autojump_clock) -> None:
    """Given a room that was told something, when it is deleted and told more, then the new one has exactly what came
    later."""
    async with open_test_runtime(Teller) as runtime:
        sender, told = runtime.room(Teller, "a"), runtime.room(Teller, "told")
        for body in "abc":
            await sender.post_and_tell(body)
        await trio.sleep(5)
        await runtime.delete(told)
        for body in "de":
            await sender.post_and_tell(body)
        await trio.sleep(60)
        assert await told.bodies() == ["told d", "told e"]


@statement(28)
@behaviour(28)
async def test_a_deleted_sender_does_not_come_back_by_its_tells_and_its_successor_is_heard(tmp_path, autojump_clock) -> None:
    """Given a room whose tells are under way, when it is deleted, then neither their delivery nor a restart makes a room of
    that name again; when it is called later, then what the new one tells is not taken for a repeat."""
    async with open_test_runtime(Teller, path=tmp_path) as runtime, trio.open_nursery() as nursery:
        sender, told, callers = runtime.room(Teller, "a"), runtime.room(Teller, "told"), Callers(nursery)
        await callers.start("busy", told.hold, 20)
        for body in "abc":
            await sender.post_and_tell(body)
        await trio.sleep(1)
        await runtime.delete(sender)
        await trio.sleep(600)
        assert [info.id for info in runtime.list_rooms()] == ["told"]
    async with open_test_runtime(Teller, path=tmp_path) as runtime:
        await trio.sleep(600)
        assert [info.id for info in runtime.list_rooms()] == ["told"]
        await runtime.room(Teller, "a").post_and_tell("successor")
        await trio.sleep(60)
        assert (await runtime.room(Teller, "told").bodies())[-1] == "told successor"


@behaviour(22)
async def test_tells_survive_aborts_of_both_ends(autojump_clock) -> None:
    """Given tells that wait for a busy room, when it and the sender are aborted again and again, then in the end each has run
    once, in order."""
    async with open_test_runtime(Teller) as runtime, trio.open_nursery() as nursery:
        sender, told, callers = runtime.room(Teller, "a"), runtime.room(Teller, "told"), Callers(nursery)
        await callers.start("busy", told.hold, 20)
        for body in "abc":
            await sender.post_and_tell(body)
        for _ in range(10):
            await trio.sleep(1)
            await runtime.abort(told)
            await runtime.abort(sender)
            await callers.start("busy", told.hold, 20)
        await runtime.abort(told)
        await trio.sleep(600)
        assert await told.bodies() == ["told a", "told b", "told c"]


@behaviour(29)
async def test_a_sender_that_was_loaded_from_an_older_dump_repeats_nothing_and_is_heard(tmp_path, autojump_clock) -> None:
    """Given a dump with tells that wait, when it is loaded after they were delivered, then none runs twice, and what the room
    tells next is not taken for a repeat."""
    async with open_test_runtime(Teller, path=tmp_path / "data") as runtime, trio.open_nursery() as nursery:
        sender, told, callers = runtime.room(Teller, "a"), runtime.room(Teller, "told"), Callers(nursery)
        await callers.start("busy", told.hold, 20)
        await sender.post_and_tell("a")
        await trio.sleep(1)
        await runtime.dump(sender, tmp_path / "dump.db")
        await trio.sleep(100)
        await sender.post_and_tell("b")
        await trio.sleep(100)
        await runtime.load(sender, tmp_path / "dump.db", replace=True)
        await trio.sleep(600)
        assert await told.bodies() == ["told a", "told b"]
        await sender.post_and_tell("c")
        await trio.sleep(100)
        assert await told.bodies() == ["told a", "told b", "told c"]


@statement(28)
@behaviour(28)
async def test_a_key_of_a_deleted_room_runs_again_in_the_new_one(autojump_clock) -> None:
    """Given a call that ran under a key, when its room is deleted and the call repeated, then it runs in the new room: its
    reply went with the old one."""
    async with open_test_runtime(Teller) as runtime:
        room = runtime.room(Teller, "a")
        await room.post("first")
        assert await room.options(key="k").post("second") == 2
        await runtime.delete(room)
        assert await room.options(key="k").post("second") == 1
        assert await room.options(key="k").post("second") == 1
        assert await room.bodies() == ["second"]


class Heavy(Notes):
    @command(offload=True)
    def post_heavily(self, body: str) -> int:
        self.memory.append("heavy")
        return self.post(body)


@behaviour(22)
async def test_an_abort_undoes_an_offloaded_handler_and_waits_for_its_thread(tmp_path, autojump_clock) -> None:
    """Given an offloaded handler in its thread and a call that waits, when the room is aborted, then the one that waits is
    refused at once, the other is rolled back as its thread comes back, and the next call meets a fresh activation."""
    async with on_still_disk(tmp_path, Heavy) as (runtime, disk, callers):
        room = runtime.room(Heavy, "a")
        await room.post("old")
        disk.still = True
        await callers.start("heavy", room.post_heavily, "new")
        await callers.start("waits", room.post, "never")
        await callers.start("abort", runtime.abort, room)
        assert callers.outcomes.keys() == {"waits"}
        await disk.move()
        heavy, waits = (await callers.settle())["heavy"], callers.outcomes["waits"]
        assert isinstance(heavy, RoomsError)
        assert isinstance(waits, RoomsError)
        assert (heavy.ran in ("no", "rolled back"), waits.ran) == (True, "no")
        assert await room.bodies() == ["old"]
        assert await room.remember("fresh") == ["fresh"]
