"""Code of one kind that uses another kind's door is told which door is its own, and nothing runs."""

import asyncio
import sys

import pytest
import trio

import durable_rooms
import durable_rooms.asyncio
import durable_rooms.sync
from durable_rooms import WrongDoor
from tests.doors.chat import ChatRoom

TRIO = r"durable_rooms\.open_runtime \(async with, in trio"
ASYNCIO = r"durable_rooms\.asyncio\.open_runtime \(async with"
SYNC = r"durable_rooms\.sync\.open_runtime \(with"


def test_the_trio_door_from_plain_code(tmp_path):
    with pytest.raises(WrongDoor, match=SYNC), durable_rooms.open_runtime(tmp_path, [ChatRoom]):
        raise AssertionError("opened")


def test_the_trio_door_from_asyncio(tmp_path):
    async def main():
        with pytest.raises(WrongDoor, match=ASYNCIO):
            async with durable_rooms.open_runtime(tmp_path, [ChatRoom]):
                raise AssertionError("opened")

    asyncio.run(main())


async def test_the_asyncio_door_from_trio(tmp_path):
    with pytest.raises(WrongDoor, match=TRIO):
        async with durable_rooms.asyncio.open_runtime(tmp_path, [ChatRoom]):
            raise AssertionError("opened")


def test_the_asyncio_door_from_plain_code(tmp_path):
    with pytest.raises(WrongDoor, match=SYNC), durable_rooms.asyncio.open_runtime(tmp_path, [ChatRoom]):
        raise AssertionError("opened")


async def test_the_plain_door_from_trio(tmp_path):
    with pytest.raises(WrongDoor, match=TRIO), durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]):
        raise AssertionError("opened")
    with pytest.raises(WrongDoor, match=TRIO):
        async with durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]):
            raise AssertionError("opened")


def test_the_plain_door_from_asyncio(tmp_path):
    async def main():
        with pytest.raises(WrongDoor, match=ASYNCIO), durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]):
            raise AssertionError("opened")

    asyncio.run(main())


async def test_a_trio_room_called_from_asyncio_or_plain_code(tmp_path):
    async with durable_rooms.open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")

        async def calling(call):
            with pytest.raises(WrongDoor, match=ASYNCIO):
                await call()

        await trio.to_thread.run_sync(asyncio.run, calling(lambda: room.post("no")))
        await trio.to_thread.run_sync(asyncio.run, calling(lambda: room.call(ChatRoom.post, "no")))

        def plainly():
            with pytest.raises(WrongDoor, match=SYNC):
                room.post("no").send(None)

        await trio.to_thread.run_sync(plainly)
        assert await room.bodies() == []


def test_a_plain_room_called_from_asyncio_or_trio(tmp_path):
    with durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]) as runtime:
        room = runtime.room(ChatRoom, "general")

        async def view(door):
            with pytest.raises(WrongDoor, match=door):
                room.post("no")

        asyncio.run(view(ASYNCIO))
        trio.run(view, TRIO)
        assert room.bodies() == []


def test_a_notebooks_cell_may_block_its_loop(tmp_path, monkeypatch):
    async def cell():
        with durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]) as runtime:
            return runtime.room(ChatRoom, "general").post("from a cell")

    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert asyncio.run(cell()) == 1


def test_an_asyncio_room_called_from_trio(tmp_path):
    async def calling(room):
        with pytest.raises(WrongDoor, match=TRIO):
            await room.post("no")

    async def main():
        async with durable_rooms.asyncio.open_runtime(tmp_path, [ChatRoom]) as runtime:
            room = runtime.room(ChatRoom, "general")
            await asyncio.to_thread(trio.run, calling, room)
            assert await room.bodies() == []

    asyncio.run(main())


def test_a_wrong_door_says_that_nothing_ran(tmp_path):
    with pytest.raises(WrongDoor, match="Nothing ran") as caught, durable_rooms.open_runtime(tmp_path, [ChatRoom]):
        raise AssertionError("opened")
    assert caught.value.ran == "no"
    assert not any(tmp_path.iterdir())
