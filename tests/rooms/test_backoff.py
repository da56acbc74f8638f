"""A room that its class cannot take into use refuses calls with the reason, and is tried again after a while."""

from itertools import pairwise

import pytest
import trio

from actors.names import RoomName
from actors.system import backoff
from durable_rooms import Actor, ActorFailed, Migration, MigrationFailed, RoomUnfit
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom


def counting_actor(broken: list[bool], tries: list[float]) -> type[Actor]:
    def step(sql) -> None:
        tries.append(trio.current_time())
        if broken:
            raise LookupError("not yet")

    class Late(Actor):
        migrations = ("CREATE TABLE t (id INTEGER PRIMARY KEY)", Migration(step, name="step"))

        def ping(self) -> str:
            return "here"

    return Late


async def test_f21_a_failing_migration_is_tried_again_after_a_while_and_not_by_each_call(tmp_path, autojump_clock):
    broken, tries = [True], []
    late = counting_actor(broken, tries)
    async with open_test_runtime(late, ChatRoom, path=tmp_path) as runtime:
        room = runtime.room(late, "a")
        for _ in range(50):
            with pytest.raises(MigrationFailed, match=r"^Late/a: migration 2 \(step\) raised LookupError: not yet"):
                await room.ping()
        assert len(tries) == 1
        assert await runtime.room(ChatRoom, "other").post("lives") == 1
        with pytest.raises(MigrationFailed, match=r"tries again"):
            await room.ping()
        for _ in range(300):
            with pytest.raises(MigrationFailed):
                await room.ping()
            await trio.sleep(1)
        waits = [later - earlier for earlier, later in pairwise(tries)]
        assert 1 <= waits[0] <= 3
        assert 54 <= waits[-1] <= 68
        broken.clear()
        await trio.sleep(70)
        assert await room.ping() == "here"
        assert len(runtime.backoff) == 0


async def test_f21_a_failing_constructor_backs_off_too(tmp_path, autojump_clock):
    tries = []

    class Broken(Actor):
        def __init__(self) -> None:
            tries.append(trio.current_time())
            raise LookupError("no such thing")

        def ping(self) -> None: ...

    async with open_test_runtime(Broken, path=tmp_path) as runtime:
        for _ in range(10):
            with pytest.raises(ActorFailed, match=r"Broken\(\) raised LookupError: no such thing"):
                await runtime.room(Broken, "a").ping()
        assert len(tries) == 1
        await trio.sleep(1.2)
        with pytest.raises(RoomUnfit):
            await runtime.room(Broken, "a").ping()
        assert len(tries) == 2


async def test_f21_a_follower_gets_the_same_refusal(tmp_path, autojump_clock):
    broken, tries = [True], []
    late = counting_actor(broken, tries)
    async with open_test_runtime(late, path=tmp_path) as runtime:
        source = runtime.source(RoomName("Late", "a"))
        for _ in range(3):
            with pytest.raises(MigrationFailed):
                await source.collect(0)
        assert len(tries) == 1


async def test_only_so_many_rooms_are_remembered(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr(backoff, "ROOMS_REMEMBERED_MAX", 3)
    late = counting_actor([True], [])
    async with open_test_runtime(late, path=tmp_path) as runtime:
        for number in range(10):
            with pytest.raises(MigrationFailed):
                await runtime.room(late, str(number)).ping()
        assert len(runtime.backoff) == 3
