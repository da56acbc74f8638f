"""Reads through the asyncio and the plain door: their terms, their sessions, their ends, a thousand random ones of them."""

import asyncio
import gc
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from actors import Doors
from durable_rooms import CallTimeout, OutcomeUnknown, RuntimeClosed, SQLiteReplica, read
from durable_rooms.asyncio.opening import Opening as AsyncioOpening
from durable_rooms.runtime import open_with_doors
from durable_rooms.sync.opening import Opening as SyncOpening
from tests.doors.chat import GATES, ChatRoom, gate

RUNTIMES = 10
CANCELLED = 30  # a runtime
CALLERS = 8


class Sorry(Exception):
    """What a read raises here on purpose."""


class ReadRoom(ChatRoom):
    @read
    def texts(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @read
    def held(self, gate: str) -> str:
        """Blocks a reader's thread until the test opens the gate."""
        started, opened = GATES[gate]
        started.set()
        assert opened.wait(30)
        return gate

    @read
    def sorry(self) -> None:
        raise Sorry

    @read
    def leaves(self) -> None:
        raise SystemExit(3)


def opener(path: Any) -> Any:
    return lambda: open_with_doors(path, [ReadRoom], replicas=[SQLiteReplica()], limits=None, doors=Doors())


def for_asyncio(path: Any) -> AsyncioOpening:
    return AsyncioOpening(opener(path))


def for_threads(path: Any) -> SyncOpening:
    return SyncOpening(opener(path))


async def in_thread(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


# -- terms ---------------------------------------------------------------------------------------------------------------
def test_reads_and_their_terms_in_asyncio(tmp_path):
    async def main():
        async with for_asyncio(tmp_path) as runtime:
            room = runtime.room(ReadRoom, "general")
            await room.post("one")
            assert await room.texts() == await room.call(ReadRoom.texts) == ["one"]
            assert (await room.options(fresh="room").ask(ReadRoom.texts)).source == "room"
            await runtime.replicated()
            assert (await room.options(fresh=60).ask(ReadRoom.texts)).source == "replica"
            assert (await room.options(timeout=30).options(fresh="room").ask(ReadRoom.texts)).source == "room"
            with pytest.raises(ValueError, match="fresh is"):
                room.options(fresh="soon")
            with pytest.raises(Sorry):
                await room.sorry()
            rows = await runtime.across({ReadRoom: ["general"]}).sql("SELECT room_id, body FROM ReadRoom_messages")
            assert rows.dicts() == [{"room_id": "general", "body": "one"}]

    asyncio.run(main())


def test_reads_and_their_terms_in_threads(tmp_path):
    with for_threads(tmp_path) as runtime:
        room = runtime.room(ReadRoom, "general")
        room.post("one")
        assert room.texts() == room.call(ReadRoom.texts) == ["one"]
        assert room.options(fresh="room").ask(ReadRoom.texts).source == "room"
        runtime.replicated()
        assert room.options(fresh=60).ask(ReadRoom.texts).source == "replica"
        with pytest.raises(Sorry):
            room.sorry()
        rows = runtime.across({ReadRoom: "all"}).sql("SELECT count(*) AS n FROM ReadRoom_messages")
        assert rows.dicts() == [{"n": 1}]


@pytest.mark.parametrize("fresh", ["room", "acknowledged"])
def test_a_read_that_leaves_python_ends_its_caller_and_not_the_runtime(fresh, tmp_path):
    with for_threads(tmp_path) as runtime:
        room = runtime.room(ReadRoom, "general").options(fresh=fresh)
        room.post("one")
        runtime.replicated()
        with pytest.raises(SystemExit):
            room.leaves()
        assert room.texts() == ["one"]


def test_a_runtime_whose_reads_go_to_rooms_still_asks_across_them(tmp_path):
    opening = SyncOpening(
        lambda: open_with_doors(tmp_path, [ReadRoom], replicas=[SQLiteReplica()], limits=None, doors=Doors(), fresh="room")
    )
    with opening as runtime:
        runtime.room(ReadRoom, "general").post("one")
        assert len(runtime.across({ReadRoom: "all"}).sql("SELECT * FROM ReadRoom_messages")) == 1


# -- sessions ----------------------------------------------------------------------------------------------------------------
def test_a_session_of_many_threads_sees_in_each_what_had_returned(tmp_path):
    stop = threading.Event()
    with for_threads(tmp_path) as runtime, ThreadPoolExecutor(6) as pool:
        session = runtime.session(fresh="any")

        def posts(name: str) -> int:
            room = session.room(ReadRoom, name)
            for n in range(60):
                room.post(f"{n}")
                assert room.texts()[-1] == f"{n}"
                again = runtime.session(session.bookmark, fresh="any")
                assert again.room(ReadRoom, name).texts()[-1] == f"{n}", "its bookmark carries what had returned"
            return 60

        def looks() -> int:
            looked = 0
            while not stop.is_set():
                runtime.session(session.bookmark)
                looked += 1
            return looked

        looking = pool.submit(looks)
        assert [one.result(60) for one in [pool.submit(posts, f"room-{n}") for n in range(4)]] == [60] * 4
        stop.set()
        assert looking.result(30) > 0


def test_a_session_of_asyncio_survives_a_restart_and_another_door(tmp_path):
    async def main():
        async with for_asyncio(tmp_path) as runtime:
            session = runtime.session(fresh="any")
            room = session.room(ReadRoom, "general")
            await asyncio.gather(*[room.post(f"{n}") for n in range(20)])
            assert len(await room.texts()) == 20
            assert len(await session.across({ReadRoom: "all"}).sql("SELECT * FROM ReadRoom_messages")) == 20
            return session.bookmark

    bookmark = asyncio.run(main())
    with for_threads(tmp_path) as runtime:
        assert len(runtime.session(bookmark, fresh="any").room(ReadRoom, "general").texts()) == 20


# -- ends ---------------------------------------------------------------------------------------------------------------------
def test_a_read_times_out_and_its_place_is_free_again(tmp_path):
    started, opened = gate("read")
    with for_threads(tmp_path) as runtime:
        (route,) = runtime._border.runtime.router.routes
        route.readers._connect_here = None  # else the first of its kind would hold the loop
        room = runtime.room(ReadRoom, "general")
        room.post("one")
        runtime.replicated()
        with pytest.raises(CallTimeout, match="A read changes nothing; ask again") as caught:
            room.options(timeout=0.05).held("read")
        assert caught.value.ran == "no"
        assert started.wait(30)
        assert room.texts() == ["one"], "another reader answers meanwhile"
        opened.set()
    assert not runtime._border.under_way


def test_a_read_that_its_caller_gave_up_ends_in_the_runtime_too(tmp_path):
    """It waits for a room that another program's lock keeps from opening: nobody would ever hear its answer."""
    with for_threads(tmp_path) as runtime:
        room = runtime.room(ReadRoom, "general")
        room.post("one")
        inner = runtime._border.runtime
        waits = threading.Event()

        async def for_ever(call: Any) -> Any:
            waits.set()
            await trio.sleep_forever()

        inner.lane.read = for_ever
        for _ in range(10):
            with pytest.raises(CallTimeout):
                room.options(timeout=0.01, fresh="room").texts()
        assert waits.wait(30)
        runtime.status()  # behind them in the line
        while len(inner._reads):
            runtime.status()


@pytest.mark.parametrize("door", ["asyncio", "threads"])
def test_a_read_under_way_is_answered_during_the_stop(door, tmp_path):
    started, opened = gate("stop")

    async def main():
        async with for_asyncio(tmp_path) as runtime:
            room = runtime.room(ReadRoom, "general")
            await room.post("one")
            await runtime.replicated()
            reading = asyncio.ensure_future(room.held("stop"))
            await in_thread(started)
            threading.Timer(0.2, opened.set).start()
        assert await reading == "stop"
        with pytest.raises(RuntimeClosed):
            await room.texts()
        with pytest.raises(RuntimeClosed):
            await runtime.across({ReadRoom: "all"}).sql("SELECT 1")

    if door == "asyncio":
        asyncio.run(main())
        return
    with ThreadPoolExecutor(1) as pool:
        with for_threads(tmp_path) as runtime:
            room = runtime.room(ReadRoom, "general")
            room.post("one")
            runtime.replicated()
            reading = pool.submit(room.held, "stop")
            assert started.wait(30)
            threading.Timer(0.2, opened.set).start()
        assert reading.result(30) == "stop"
        with pytest.raises(RuntimeClosed):
            room.texts()


# -- a thousand -----------------------------------------------------------------------------------------------------------------
ENDS = (OutcomeUnknown, RuntimeClosed)


async def reads(runtime: Any, session: Any, dice: random.Random, ledger: dict[str, int]) -> None:
    while True:
        name = f"room-{dice.randrange(3)}"
        ledger["waiting"] += 1
        try:
            match dice.randrange(6):
                case 0:
                    await session.room(ReadRoom, name).post("x")
                case 1:
                    await runtime.across({ReadRoom: "all"}, fresh="any").sql("SELECT count(*) FROM ReadRoom_messages")
                case 2:
                    await session.room(ReadRoom, name).texts()
                case 3:
                    await runtime.room(ReadRoom, name).options(fresh="room").texts()
                case 4:
                    await runtime.room(ReadRoom, name).options(timeout=dice.choice((1e-6, 1e-3)), fresh="any").texts()
                case _:
                    await runtime.room(ReadRoom, name).texts()
            ledger["answered"] += 1
        except CallTimeout:
            ledger["timed out"] += 1
        except ENDS:
            return
        finally:
            ledger["waiting"] -= 1


async def one_runtime(path: Any, seed: int, ledger: dict[str, int]) -> None:
    dice, tasks, cancelled = random.Random(seed), [], 0
    async with for_asyncio(path) as runtime:
        session = runtime.session(fresh="any")
        while cancelled < CANCELLED:
            while len(tasks) < CALLERS:
                tasks.append(asyncio.ensure_future(reads(runtime, session, dice, ledger)))
            for _ in range(dice.randrange(30)):
                await asyncio.sleep(0)
            if dice.random() < 0.3:
                await asyncio.sleep(0.002)
            dice.choice(tasks).cancel()
            cancelled += 1
            tasks[:] = [task for task in tasks if not task.done()]
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    assert not runtime._border.under_way
    assert not len(runtime._border.runtime._reads)


def test_random_cancellations_of_reads_and_shutdowns_leave_nothing_open(tmp_path):
    ledger = {"waiting": 0, "answered": 0, "timed out": 0}

    async def main():
        for seed in range(RUNTIMES):
            await one_runtime(tmp_path, seed, ledger)
            assert ledger["waiting"] == 0
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    gc.collect()  # a task or coroutine that nobody awaited would complain
    assert ledger["answered"]


async def test_a_trio_read_cancelled_at_any_moment_leaves_nothing_open(tmp_path):
    """The scope ends after so many passes of the loop: each await of a read is met."""
    async with open_with_doors(tmp_path, [ReadRoom], replicas=[SQLiteReplica()], limits=None, doors=Doors()) as runtime:
        answered = 0
        for passes in range(60):
            room = runtime.room(ReadRoom, f"room-{passes % 7}")
            await room.post("x")
            for fresh in ("acknowledged", "room", "any"):
                async with trio.open_nursery() as nursery:

                    async def later(scope: trio.CancelScope, passes: int = passes) -> None:
                        for _ in range(passes):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(later, nursery.cancel_scope)
                    assert (await room.options(fresh=fresh).texts())[-1] == "x"
                    answered += 1
        assert answered
        assert not len(runtime._reads)
        assert all(not seat.borrowers for seat in runtime._seats.values())
        assert all(seat.activation is None or not seat.activation.pins for seat in runtime._seats.values())
        assert runtime.router.routes[0].arrivals.collector.readers == 0
        assert not runtime.router.routes[0].readers._asked
