"""Which room a name means, and what it costs to name one."""

import pytest

from durable_rooms import RoomIdInvalid
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Notes
from tests.conformance.yardstick import behaviour
from tests.rooms.chat import path_of, together


class Counted(Notes):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1

    def where(self) -> str:
        return self.id


class Other(Counted):
    """Another class, and so other rooms."""


@behaviour(1)
async def test_concurrent_first_calls_build_one_instance(autojump_clock) -> None:
    """Given a room that nobody has called, when 100 stubs call it at once, then one instance answers them one at a time."""
    Counted.made = 0
    async with open_test_runtime(Counted) as runtime:
        answers = await together(*[lambda: runtime.room(Counted, "a").remember("x") for _ in range(100)])
        assert sorted(map(len, answers)) == list(range(1, 101))
        assert Counted.made == 1


@behaviour(2)
async def test_a_stub_costs_nothing(tmp_path, autojump_clock) -> None:
    """Given 1,000 stubs, when none is called, then no room is in memory, none is listed, and none has a file."""
    async with open_test_runtime(Counted, path=tmp_path) as runtime:
        rooms = [runtime.room(Counted, f"{n}") for n in range(1_000)]
        assert runtime.status().rooms_open == 0
        assert runtime.list_rooms() == []
        assert not any(path_of(runtime, room).exists() for room in rooms)


@behaviour(3)
async def test_an_id_is_its_name_within_its_class_and_visible_inside(autojump_clock) -> None:
    """Given one id in two classes, when rooms are asked, then each knows its name, the same name is the same room, and
    the two are apart."""
    async with open_test_runtime(Counted, Other) as runtime:
        assert await runtime.room(Counted, "a").where() == await runtime.room(Other, "a").where() == "a"
        await runtime.room(Counted, "a").post("here")
        assert await runtime.room(Counted, "a").bodies() == ["here"]
        assert await runtime.room(Other, "a").bodies() == []


@behaviour(3)
@pytest.mark.parametrize("id", ["", "x" * 1_025, "\ud800"])
async def test_what_cannot_be_a_name_is_refused_before_anything_runs(id, autojump_clock) -> None:
    """Given text that names nothing, when a stub is made of it, then it is refused at once."""
    async with open_test_runtime(Counted) as runtime:
        with pytest.raises(RoomIdInvalid):
            runtime.room(Counted, id)
