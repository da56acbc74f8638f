"""Opening a runtime, and every way to leave it."""

import sqlite3
from pathlib import Path

import pytest
import trio

from durable_rooms import Limits, OutcomeUnknown, RuntimeClosed, open_runtime
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, Sorry, one_after_another, outcome


class Slow(ChatRoom):
    async def post_slowly(self, body: str, seconds: float) -> int:
        await trio.sleep(seconds)
        return self.post(body)


def left_cleanly(path: Path) -> bool:
    return (path / "clean-stop").exists() and not list(path.rglob("*-wal"))


@pytest.mark.parametrize("error", [Sorry("x"), ExceptionGroup("g", [Sorry()]), KeyboardInterrupt(), SystemExit(3)])
async def test_what_the_body_raises_leaves_as_it_is_and_the_stop_is_clean(
    error: BaseException, tmp_path: Path, autojump_clock
) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
            await runtime.room(ChatRoom, "a").post("kept")
            raise error
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert left_cleanly(tmp_path)


async def test_what_a_call_raises_leaves_the_body_as_it_is(tmp_path: Path, autojump_clock) -> None:
    with pytest.raises(Sorry):
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
            await runtime.room(ChatRoom, "a").post_and_raise("x")
    assert left_cleanly(tmp_path)


async def test_a_cancelled_body_drains_and_leaves_cleanly(tmp_path: Path, autojump_clock) -> None:
    """What a server does at SIGTERM: cancel the body, and wait."""
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep(call) -> None:
            found.append(await outcome(call))

        with trio.CancelScope() as scope:
            async with open_test_runtime(Slow, path=tmp_path) as runtime:
                room = runtime.room(Slow, "a")
                await one_after_another(
                    nursery, lambda: keep(lambda: room.post_slowly("slow", 5)), lambda: keep(lambda: room.post("quick"))
                )
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert left_cleanly(tmp_path)
    assert sorted(found) == [1, 2]
    async with open_test_runtime(Slow, path=tmp_path) as runtime:
        assert await runtime.room(Slow, "a").bodies() == ["quick", "slow"]


async def test_calls_that_have_come_are_finished_and_new_ones_refused_during_a_stop(autojump_clock) -> None:
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep(call) -> None:
            found.append(await outcome(call))

        async def come_later() -> None:
            await trio.sleep(2)
            await keep(lambda: room.post("too late"))

        async with open_test_runtime(Slow) as runtime:
            room = runtime.room(Slow, "a")
            await one_after_another(nursery, lambda: keep(lambda: room.post_slowly("in time", 5)), come_later)
    refused, done = found
    assert type(refused) is RuntimeClosed
    assert refused.ran == "no"
    assert done == 1


async def test_a_handler_longer_than_the_drain_is_cut_short(autojump_clock) -> None:
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def keep(call) -> None:
            found.append(await outcome(call))

        async with open_test_runtime(Slow, limits=Limits(drain_seconds_max=10)) as runtime:
            await one_after_another(nursery, lambda: keep(lambda: runtime.room(Slow, "a").post_slowly("x", 3_600)))
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(10, abs=1)
    assert [type(one) for one in found] == [OutcomeUnknown]


async def test_calls_after_the_end_are_refused(autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        room = runtime.room(ChatRoom, "a")
    with pytest.raises(RuntimeClosed, match="ChatRoom/a") as caught:
        await room.post("x")
    assert caught.value.ran == "no"


async def test_the_directory_and_its_parents_are_made(tmp_path: Path, autojump_clock) -> None:
    path = tmp_path / "a" / "b" / "c"
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        await runtime.room(ChatRoom, "a").post("x")
    assert left_cleanly(path)


async def test_rooms_live_from_runtime_to_runtime(tmp_path: Path, autojump_clock) -> None:
    for n in range(5):
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
            room = runtime.room(ChatRoom, "a")
            assert await room.bodies() == [f"{m}" for m in range(n)]
            await room.post(f"{n}")


async def test_the_files_are_plain_sqlite(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
        await runtime.room(ChatRoom, "a").post("x")
    (file,) = (tmp_path / "rooms").rglob("*.db")
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT body FROM messages").fetchall() == [("x",)]
    assert connection.execute("SELECT actor, id FROM _room").fetchall() == [("ChatRoom", "a")]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_an_empty_body_is_fine(tmp_path: Path, autojump_clock) -> None:
    for _ in range(2):
        async with open_test_runtime(ChatRoom, path=tmp_path) as runtime:
            assert runtime.status().rooms_open == 0
    assert left_cleanly(tmp_path)


async def test_it_works_with_real_threads_and_real_time(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, [ChatRoom]) as runtime:
        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(runtime.room(ChatRoom, f"{n % 20}").post, f"{n}")
        assert sorted(await runtime.room(ChatRoom, "7").bodies(), key=int) == [f"{n}" for n in range(7, 200, 20)]
    assert left_cleanly(tmp_path)


async def test_two_directories_are_two_worlds(tmp_path: Path, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path / "a") as a, open_test_runtime(ChatRoom, path=tmp_path / "b") as b:
        await a.room(ChatRoom, "x").post("in a")
        assert await b.room(ChatRoom, "x").bodies() == []
