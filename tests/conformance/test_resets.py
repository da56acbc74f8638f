"""What begins a room anew: how it starts, and what a section that fails leaves."""

import trio

from durable_rooms import Limits, RoomsError
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Callers, Notes, on_still_disk
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import Sorry, one_room, outcome


class Sections(Notes):
    async def fail_inside(self) -> None:
        self.memory.append("forgotten")
        self.post("before")
        async with self.exclusive():
            self.post("first slice")
            await trio.sleep(1)
            self.post("second slice")
            raise Sorry("inside")

    async def wait(self, seconds: float) -> str:
        await trio.sleep(seconds)
        return "done"

    async def hold(self, seconds: float) -> None:
        async with self.exclusive():
            await trio.sleep(seconds)

    async def nest(self, depth: int) -> int:
        """How deep it came."""
        if depth == 0:
            return 0
        try:
            async with self.exclusive():
                return 1 + await self.nest(depth - 1)
        except RoomsError:
            return 0

    async def children(self) -> list[str]:
        async with self.exclusive():
            async with trio.open_nursery() as nursery:
                for n in (2, 1):
                    nursery.start_soon(self.child, n)
            self.post(",".join(self.memory))
        return self.memory

    async def section(self, name: str, seconds: float) -> None:
        async with self.exclusive():
            self.memory.append(f"{name} in")
            await trio.sleep(seconds)
            self.memory.append(f"{name} out")

    async def sections_of_children(self) -> None:
        async with trio.open_nursery() as nursery:
            for begins, name, patience in ((1, "first", 100), (2, "gone", 1), (3, "second", 100)):
                nursery.start_soon(self.section_of_child, begins, name, patience)

    async def section_of_child(self, begins: float, name: str, patience: float) -> None:
        await trio.sleep(begins)
        with trio.move_on_after(patience):
            await self.section(name, 1)

    async def child(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.memory.append(f"child {seconds}")


class Caller(Notes):
    async def post_and_forward(self, body: str) -> int:
        self.post(body)
        return await self.room(type(self), "callee").post(body)


@statement(6)
@behaviour(5)
async def test_a_section_that_raises_resets_its_room(autojump_clock) -> None:
    """Given a section that raises, when others are under way and wait, then those under way are cut short and told that
    they may be repeated, those who wait meet a fresh activation, and the database keeps every slice that was committed."""
    async with one_room(Sections) as room, trio.open_nursery() as nursery:
        callers = Callers(nursery)
        await callers.start("under way", room.wait, 60)
        await callers.start("fails", room.fail_inside)
        await callers.start("waits", room.remember, "fresh")
        await trio.sleep(2)
        assert type(callers.outcomes["fails"]) is Sorry
        cut = callers.outcomes["under way"]
        assert isinstance(cut, RoomsError)
        assert cut.retryable
        assert callers.outcomes["waits"] == ["fresh"]
        assert await room.bodies() == ["before", "first slice"]


@behaviour(5)
async def test_a_section_that_lasts_too_long_resets_its_room(autojump_clock) -> None:
    """Given a section that does not end, when exclusive_seconds_max has passed, then its handler is cut short, and the
    calls that waited are served by a fresh activation."""
    limits = Limits(exclusive_seconds_max=30)
    async with open_test_runtime(Sections, limits=limits) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Sections, "a"), Callers(nursery)
        await room.remember("forgotten")
        await callers.start("endless", room.hold, 1_000_000)
        await callers.start("waits", room.remember, "fresh")
        await trio.sleep(29)
        assert callers.outcomes == {}
        await trio.sleep(3)
        assert isinstance(callers.outcomes["endless"], RoomsError)
        assert callers.outcomes["waits"] == ["fresh"]


@statement(7)
@behaviour(5)
async def test_nesting_is_bounded_and_one_section_too_many_breaks_nothing(autojump_clock) -> None:
    """Given a handler that nests sections, when it comes to the 65th, then that one is refused with an error that it may
    catch, and the room goes on with its memory."""
    async with one_room(Sections) as room:
        await room.remember("kept")
        assert await room.nest(10) == 10
        assert await room.nest(1_000) == 64
        assert await room.remember("still") == ["kept", "still"]


@statement(1)
@behaviour(8)
async def test_waiting_sections_come_first_in_order_and_one_that_gave_up_is_skipped(autojump_clock) -> None:
    """Given a section that is held, when tasks of another handler wait for sections of their own, one of them gives up, and a
    call is queued, then the section's end lets in the first that waits, then the next, and then the call."""
    async with one_room(Sections) as room, trio.open_nursery() as nursery:
        callers = Callers(nursery)
        await callers.start("children", room.sections_of_children)
        await callers.start("holder", room.section, "holder", 5)
        await callers.start("call", room.remember, "call")
        await trio.sleep(10)
        order = [f"{name} {step}" for name in ("holder", "first", "second") for step in ("in", "out")]
        assert callers.outcomes["call"] == [*order, "call"]


@behaviour(5)
async def test_what_a_section_itself_waits_for_is_delivered(autojump_clock) -> None:
    """Given a section whose own child tasks sleep, when they are done, then it goes on: only others are kept out."""
    async with one_room(Sections) as room:
        assert await room.children() == ["child 1", "child 2"]
        assert await room.bodies() == ["child 1,child 2"]


@behaviour(9)
async def test_a_call_to_another_room_leaves_when_what_the_caller_wrote_is_durable(tmp_path, autojump_clock) -> None:
    """Given a handler that writes and then calls another room, when its own sync is in flight, then the other room has
    not been called; when it has returned, then it is."""
    called: list[str] = []

    class Watched(Caller):
        def post(self, body: str) -> int:
            called.append(self.id)
            return super().post(body)

    async with on_still_disk(tmp_path, Watched) as (runtime, disk, callers):
        caller, callee = runtime.room(Watched, "caller"), runtime.room(Watched, "callee")
        await caller.post("old")
        await callee.post("old")
        disk.still = True
        await callers.start("call", caller.post_and_forward, "new")
        assert called == ["caller", "callee", "caller"]
        await disk.finish_one()
        assert called == ["caller", "callee", "caller", "callee"]
        assert callers.outcomes == {}
        await disk.move()
        assert callers.outcomes == {"call": 2}


@behaviour(19)
async def test_an_error_of_an_inner_call_says_of_the_outer_one_whether_anything_of_it_stays(autojump_clock) -> None:
    """Given a handler that calls another room, when that one refuses, then the outer caller is not told that nothing ran where
    an earlier slice is committed; where nothing was, then it was rolled back."""

    class Careless(Caller):
        async def forward_wrongly(self, body: str, before: bool) -> None:
            self.post(body)
            if before:
                await trio.sleep(1)
            await self.room(type(self), "callee").post()

    async with open_test_runtime(Careless) as runtime:
        room = runtime.room(Careless, "caller")
        outcomes = [await outcome(lambda stays=stays: room.forward_wrongly(f"{stays}", stays)) for stays in (True, False)]
        assert [error.ran for error in outcomes] == ["unknown", "rolled back"]
        assert await room.bodies() == ["True"]


@behaviour(4)
async def test_on_start_runs_before_any_call_and_alone(autojump_clock) -> None:
    """Given a room whose on_start takes its time, when calls wait for it, then none begins before it is done; it runs
    once for each activation, and once only."""

    class Starts(Notes):
        async def on_start(self) -> None:
            self.memory.append("starts")
            await trio.sleep(10)
            self.memory.append("started")

    async with open_test_runtime(Starts, limits=Limits(idle_seconds_max=60)) as runtime, trio.open_nursery() as nursery:
        room, callers = runtime.room(Starts, "a"), Callers(nursery)
        await callers.start("first", room.remember, "call")
        assert await room.remember("call") == ["starts", "started", "call", "call"]
        assert (await callers.settle())["first"] == ["starts", "started", "call"]
        await trio.sleep(200)
        assert runtime.status().rooms_open == 0
        assert await room.remember("call") == ["starts", "started", "call"]


@behaviour(4)
async def test_on_start_that_raises_leaves_nothing_and_is_tried_again(autojump_clock) -> None:
    """Given an on_start that writes and raises, when calls come, then they are refused with its reason, nothing it wrote
    is there, and a later call tries again with a fresh activation."""

    class Fails(Notes):
        tries = 0

        def on_start(self) -> None:
            self.post(f"try {type(self).tries}")
            type(self).tries += 1
            if type(self).tries == 1:
                raise Sorry("not today")

    async with one_room(Fails) as room:
        error = await outcome(room.bodies)
        assert isinstance(error, RoomsError)
        assert "not today" in str(error)
        assert error.ran == "no"
        await trio.sleep(5)
        assert await room.bodies() == ["try 1"]


@behaviour(5)
async def test_a_stop_does_not_wait_for_ever_for_a_section(autojump_clock) -> None:
    """Given a section that does not end, when the runtime stops, then it does so within its bound, and the caller is
    told."""
    async with trio.open_nursery() as nursery:
        callers = Callers(nursery)
        async with open_test_runtime(Sections) as runtime:
            await callers.start("endless", runtime.room(Sections, "a").hold, 1_000_000)
        assert isinstance((await callers.settle())["endless"], RoomsError)
