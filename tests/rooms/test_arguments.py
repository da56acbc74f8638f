"""What crosses between caller and room, and what is refused before anything runs."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_rooms import Actor, BadArguments, CallFailed, Limits, TooLarge
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, one_room


class Echo(Actor):
    migrations = ("CREATE TABLE kept (id INTEGER PRIMARY KEY, what TEXT)",)

    def __init__(self) -> None:
        self.memory: list[Any] = []
        self.runs = 0

    def echo(self, value: Any = None) -> Any:
        self.runs += 1
        return value

    def runs_so_far(self) -> int:
        return self.runs

    def remember(self, value: Any) -> Any:
        self.memory.append(value)
        return self.memory

    def recall(self) -> Any:
        return self.memory

    def named(self, a: int, /, b: int = 2, *rest: int, c: int, d: int = 4, **more: int) -> list[Any]:
        return [a, b, rest, c, d, more]

    def nothing(self) -> None: ...

    def make(self, what: str) -> Any:
        self.sql("INSERT INTO kept (what) VALUES (?)", what)
        return bad_values()[what]

    def kept(self) -> int:
        return self.sql("SELECT count(*) FROM kept").scalar()

    def size(self, count: int) -> str:
        self.sql("INSERT INTO kept (what) VALUES ('size')")
        return "x" * count

    def row(self, value: Any) -> None:
        self.sql("INSERT INTO kept (what) VALUES (?)", value)

    def grow(self) -> Any:
        return self.sql("SELECT hex(zeroblob(?)) AS big", 3_000_000)


def bad_values() -> dict[str, Any]:
    """By what must be said of each."""
    itself: list[Any] = []
    itself.append(itself)
    deep: Any = None
    for _ in range(2_000):
        deep = [deep]

    class Rude:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    return {
        "set": {1, 2},
        "set has no order": frozenset({1}),
        "time zone": datetime(2024, 1, 1),  # noqa: DTZ001 - naive on purpose
        "64 bits": 1 << 64,
        "64 bits ": -(1 << 63) - 1,
        "surrogate": "\ud800",
        "object": object(),
        "complex": 1j,
        "function": bad_values,
        "nests too deep": itself,
        "nests too deep ": deep,
        "unhashable": {(1, 2): 3},
        "generator": (n for n in ()),
        "Rude": Rude(),
    }


async def test_an_argument_that_cannot_cross_is_refused_before_anything_runs(autojump_clock) -> None:
    async with open_test_runtime(Echo) as runtime:
        room = runtime.room(Echo, "general")
        for what, bad in bad_values().items():
            for call in (lambda bad=bad: room.echo(bad), lambda bad=bad: room.echo(value={"in": [bad]})):
                with pytest.raises(BadArguments, match=what.strip()) as caught:
                    await call()
                assert caught.value.ran == "no"
                assert "echo" in str(caught.value)
                assert "Echo/general" in str(caught.value)
        assert runtime.status().rooms_open == 0
        assert await room.runs_so_far() == 0


async def test_a_result_that_cannot_cross_rolls_its_call_back(autojump_clock) -> None:
    async with one_room(Echo) as room:
        for what in bad_values():
            with pytest.raises(CallFailed, match=what.strip()) as caught:
                await room.make(what)
            assert caught.value.ran == "rolled back"
            assert caught.value.room == "Echo/general"
        assert await room.kept() == 0


CROSSING: list[tuple[Any, Any]] = [
    ((1, (2, 3)), [1, [2, 3]]),
    ({"a": (1,)}, {"a": [1]}),
    ({1: "int keys"}, {1: "int keys"}),
    (bytearray(b"x"), b"x"),
    (True, True),
    (-(1 << 63), -(1 << 63)),
    ((1 << 64) - 1, (1 << 64) - 1),
    ("a\0b \u202e \U0001f600", "a\0b \u202e \U0001f600"),
    (datetime(2024, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC), datetime(2024, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC)),
    (datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)),
    (float("inf"), float("inf")),
]


async def test_values_cross_as_msgpack_carries_them(autojump_clock) -> None:
    async with one_room(Echo) as room:
        for sent, arrives in CROSSING:
            got = await room.echo(sent)
            assert got == arrives
            assert type(got) is type(arrives)


async def test_neither_side_reaches_into_the_others_memory(autojump_clock) -> None:
    async with one_room(Echo) as room:
        mine = {"list": [1]}
        theirs = await room.remember(mine)
        mine["list"].append(2)
        theirs[0]["list"].append(3)
        theirs.append("more")
        assert await room.recall() == [{"list": [1]}]


async def test_rows_arrive_as_plain_dicts_at_any_depth(autojump_clock) -> None:
    class Rooms(ChatRoom):
        def rows(self) -> Any:
            rows = self.sql("SELECT id, body FROM messages")
            return {"all": rows, "one": rows.one(), "listed": [rows], "top": None}

        def top(self) -> Any:
            return self.sql("SELECT id, body FROM messages")

        def row(self) -> Any:
            return self.sql("SELECT id, body FROM messages").one()

    async with one_room(Rooms) as room:
        await room.post("hi")
        plain = {"id": 1, "body": "hi"}
        got = await room.rows()
        assert got == {"all": [plain], "one": plain, "listed": [[plain]], "top": None}
        assert type(got["one"]) is type(got["all"][0]) is dict
        assert type(await room.top()) is list
        assert type(await room.row()) is dict


async def test_arguments_bind_as_in_python(autojump_clock) -> None:
    async with one_room(Echo) as room:
        assert await room.named(1, c=3) == [1, 2, [], 3, 4, {}]
        assert await room.named(1, 5, 6, 7, c=3, d=8, e=9) == [1, 5, [6, 7], 3, 8, {"e": 9}]
        assert await room.call(Echo.named, 1, b=0, c=0) == [1, 0, [], 0, 4, {}]
        assert await room.echo() is None


UNFIT: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("nothing", (1,), {}),
    ("nothing", (), {"x": 1}),
    ("echo", (1, 2), {}),
    ("echo", (1,), {"value": 2}),
    ("remember", (), {}),
    ("named", (1,), {}),
    ("named", (), {"a": 1, "c": 2}),
]


async def test_arguments_that_do_not_fit_are_refused_with_the_signature(autojump_clock) -> None:
    async with open_test_runtime(Echo) as runtime:
        room = runtime.room(Echo, "general")
        for handler, args, kwargs in UNFIT:
            with pytest.raises(BadArguments, match=rf"{handler}\(.*\).*Nothing ran") as caught:
                await getattr(room, handler)(*args, **kwargs)
            assert isinstance(caught.value, TypeError)
        assert runtime.status().rooms_open == 0


async def test_f41_too_large_arguments_name_limit_and_size(autojump_clock) -> None:
    async with one_room(Echo, limits=Limits(call_bytes_max=1_000)) as room:
        assert await room.echo("x" * 900) == "x" * 900
        with pytest.raises(TooLarge, match=r"1,0\d\d bytes; call_bytes_max is 1,000") as caught:
            await room.echo("x" * 1_000)
        assert caught.value.ran == "no"
        assert await room.runs_so_far() == 1


async def test_f41_a_too_large_result_names_limit_and_size_and_rolls_back(autojump_clock) -> None:
    async with one_room(Echo, limits=Limits(result_bytes_max=1_000)) as room:
        with pytest.raises(TooLarge, match=r"2,003 bytes; result_bytes_max is 1,000") as caught:
            await room.size(2_000)
        assert caught.value.ran == "rolled back"
        assert await room.kept() == 0
        assert len(await room.size(900)) == 900


async def test_f41_a_too_large_row_names_limit_and_size_and_rolls_back(autojump_clock) -> None:
    """F41 has a bound for a whole room, too; design.md has none. What ends its growth is `free_bytes_min` (F10)."""
    async with one_room(Echo, limits=Limits(row_bytes_max=10_000)) as room:
        with pytest.raises(TooLarge, match=r"20,000 bytes is over row_bytes_max = 10,000.*INSERT INTO kept") as caught:
            await room.row("ü" * 10_000)
        assert caught.value.ran == "rolled back"
        assert caught.value.room == "Echo/general"
        with pytest.raises(TooLarge, match=r"made by the statement.*row_bytes_max = 10,000"):
            await room.grow()
        assert await room.kept() == 0


def test_limits_must_make_sense() -> None:
    with pytest.raises(ValueError, match="open_rooms_max must be greater than zero"):
        Limits(open_rooms_max=0)
    with pytest.raises(ValueError, match=r"call_bytes_max = 2000 is over mailbox_bytes_max = 1000"):
        Limits(call_bytes_max=2_000, mailbox_bytes_max=1_000)
