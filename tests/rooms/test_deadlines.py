"""F24: a handler's statement is interrupted at its deadline; F41: and bounded in its size."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio

from actors import Doors, InlineThreads
from actors.limits import LIKE_PATTERN_BYTES_MAX, STATEMENT_BYTES_MAX
from durable_rooms import DeadlineExceeded, Limits, Migration, Room, TooLarge, TurnVoid, open_runtime
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import bare
from tests.rooms.chat import ChatRoom, one_room, outcome, together

NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{}) SELECT {} FROM n"
FOREVER = NUMBERS.format("", "sum(i)")
MANY = 20_000  # rows: some 300,000 steps, so that a deadline looks at such a statement many times


class Busy(ChatRoom):
    def __init__(self) -> None:
        self.remembered: list[str] = []

    def count(self, rows: int) -> int:
        return self.sql(NUMBERS.format(" WHERE i < ?", "count(*)"), rows).scalar()

    def posts(self) -> int:
        return self.sql("SELECT count(*) FROM messages").scalar()

    def count_for_ever(self) -> int:
        return self.sql(FOREVER).scalar()

    def write_for_ever(self) -> None:
        self.sql("INSERT INTO messages (body) " + NUMBERS.format("", "i"))

    def post_then_count_for_ever(self, body: str) -> None:
        self.post(body)
        self.sql(FOREVER)

    def shrug(self, body: str) -> int:
        try:
            self.sql(FOREVER)
        except DeadlineExceeded:
            return self.post(body)
        raise AssertionError("it ended")

    def shrug_at_a_write(self) -> str:
        try:
            self.write_for_ever()
        except DeadlineExceeded:
            return "all is well"
        raise AssertionError("it ended")

    def remember(self, body: str) -> list[str]:
        self.remembered.append(body)
        return self.remembered

    async def count_in_the_second_slice(self) -> None:
        self.post("first slice")
        await trio.sleep(1)
        self.post_then_count_for_ever("second slice")


@asynccontextmanager
async def hurried(second_per_look: float, actor: type[Busy] = Busy, path: Path | None = None) -> AsyncGenerator[Room[Any]]:
    """A room whose stopwatch is moved by looking at it: so each look of a deadline finds that so many seconds have passed."""
    time = [0.0]

    def stopwatch() -> float:
        time[0] += second_per_look
        return time[0]

    doors = Doors(threads=InlineThreads(), stopwatch=stopwatch)
    limits = Limits(statement_seconds_max=1, turn_seconds_max=1e9)
    with tempfile.TemporaryDirectory() as temporary, patch("actors.calls.turn.PASS_SECONDS", limits.turn_seconds_max):
        async with open_with_doors(path or temporary, [actor], replicas=[], limits=limits, doors=doors) as runtime:
            yield runtime.room(actor, "general")


async def test_f24_a_read_that_never_ends_is_interrupted_and_the_room_goes_on(autojump_clock) -> None:
    async with hurried(0.1) as room:
        await room.remember("me")
        with pytest.raises(
            DeadlineExceeded, match=r"statement_seconds_max = 1 s.*rolled back.*statement: WITH RECURSIVE"
        ) as caught:
            await room.count_for_ever()
        assert (caught.value.ran, caught.value.retryable, caught.value.room) == ("rolled back", False, "Busy/general")
        assert await room.post("after") == 1
        assert await room.remember("again") == ["me", "again"], "the same activation goes on"


async def test_f24_the_call_of_an_interrupted_read_leaves_no_trace_and_its_neighbours_stay(autojump_clock) -> None:
    async with hurried(0.1) as room:
        await room.bodies()
        found = await together(
            lambda: room.post("before"), lambda: room.post_then_count_for_ever("no"), lambda: room.post("after")
        )
        assert [type(one) for one in found] == [int, DeadlineExceeded, int]
        assert sorted(await room.bodies()) == ["after", "before"]


async def test_f24_an_interrupted_write_voids_its_turn_and_the_neighbours_are_told_that_nothing_ran(autojump_clock) -> None:
    async with hurried(0.1) as room:
        await room.post("old")
        void = 0
        for n in range(20):  # trio shuffles tasks: in some of these turns the neighbour comes first
            neighbour, guilty = await together(lambda n=n: room.post(f"new {n}"), room.write_for_ever)
            assert (type(guilty), guilty.ran) == (DeadlineExceeded, "rolled back")
            if isinstance(neighbour, Exception):
                assert (type(neighbour), neighbour.ran, neighbour.retryable) == (TurnVoid, "no", True)
                assert "DeadlineExceeded" in str(neighbour)
                void += 1
            assert (f"new {n}" in await room.bodies()) == (not isinstance(neighbour, Exception))
        assert 0 < void < 20


async def test_f24_a_handler_may_pass_over_an_interrupted_read_but_not_over_an_interrupted_write(autojump_clock) -> None:
    async with hurried(0.1) as room:
        assert await room.shrug("posted") == 1
        with pytest.raises(TurnVoid):
            await room.shrug_at_a_write()
        assert await room.bodies() == ["posted"]


async def test_f24_an_interrupted_slice_leaves_the_earlier_one(autojump_clock) -> None:
    async with hurried(0.1) as room:
        with pytest.raises(DeadlineExceeded):
            await room.count_in_the_second_slice()
        assert await room.bodies() == ["first slice"]


async def test_f24_each_statement_has_its_own_time(autojump_clock) -> None:
    class Patient(Busy):
        def count_often(self, times: int) -> int:
            return sum(self.count(1_000) for _ in range(times))  # 15 looks each

        def post_many(self, rows: int) -> int:
            return self.sql.many("INSERT INTO messages (body) VALUES (?)", [[f"{n}"] for n in range(rows)])

    async with hurried(0.01, Patient) as room:
        assert await room.count_often(100) == 100_000
        assert await room.post_many(10_000) == 10_000
        assert isinstance(await outcome(lambda: room.count(MANY)), DeadlineExceeded)


async def test_f24_a_migration_may_take_its_time(autojump_clock, tmp_path: Path) -> None:
    class Grown(Busy):
        migrations = (
            *ChatRoom.migrations,
            f"INSERT INTO messages (body) {NUMBERS.format(f' WHERE i < {MANY}', 'i')}",
            Migration(
                lambda sql: sql(
                    f"DELETE FROM messages WHERE id % 2 = ({NUMBERS.format(f' WHERE i < {MANY}', 'sum(i) - sum(i)')})"
                ),
                name="half",
            ),
        )

    Grown.__name__ = "Busy"
    async with hurried(0.1, path=tmp_path) as room:
        await room.ping()
    async with hurried(0.1, Grown, path=tmp_path) as room:
        assert await room.posts() == MANY // 2


async def test_f24_without_a_hand_on_the_clock_it_is_interrupted_too(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, [Busy], limits=Limits(statement_seconds_max=0.05)) as runtime:
        room = runtime.room(Busy, "general")
        for call in (room.count_for_ever, room.write_for_ever, room.count_for_ever):
            with pytest.raises(DeadlineExceeded):
                await call()
        assert await room.post("after") == 1


async def test_f24_a_statement_of_ordinary_length_is_never_interrupted(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, [Busy], limits=Limits(statement_seconds_max=1e-9)) as runtime:
        room = runtime.room(Busy, "general")
        for n in range(200):
            await room.post(f"{n}")
        assert len(await room.bodies()) == 200


# -- bounds of a statement itself ------------------------------------------------------------------------------------------
class Free(ChatRoom):
    def run(self, query: str, *values: Any) -> Any:
        return self.sql(query, *values)


def test_f41_a_text_over_its_bound_is_refused_with_bound_and_size() -> None:
    room = bare(Free)
    query = "SELECT '{}' AS x"
    assert room.run(query.format("x" * (STATEMENT_BYTES_MAX - len(query) + 2)))
    for letter in ("x", "ü"):
        long = query.format(letter * STATEMENT_BYTES_MAX)
        with pytest.raises(TooLarge, match=rf"may have 100,000 bytes and this one has {len(long.encode()):,}; give values by"):
            room.run(long)


def test_f41_a_like_pattern_over_its_bound_is_refused_as_no_deadline_could_interrupt_it() -> None:
    room = bare(Free)
    room.post("hello")
    query = "SELECT count(*) AS n FROM messages WHERE body LIKE ?"
    assert room.run(query, "%" + "l" * (LIKE_PATTERN_BYTES_MAX - 1)) == [{"n": 0}]
    with pytest.raises(Exception, match="LIKE or GLOB pattern too complex"):
        room.run(query, "%" + "l" * LIKE_PATTERN_BYTES_MAX)
    assert room.run(query, "%ll%") == [{"n": 1}]


async def test_f41_a_migration_may_make_wide_tables_and_a_handler_may_use_them(autojump_clock) -> None:
    """SQLite's own bound of columns (2,000) is left: a room that has more than a lower one would be unreadable."""

    class Wide(Free):
        migrations = (f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {', '.join(f'c{n} TEXT' for n in range(500))})",)

    async with one_room(Wide) as room:
        await room.run(f"INSERT INTO wide VALUES (NULL, {', '.join('?' * 500)})", *["x"] * 500)
        assert len((await room.run("SELECT * FROM wide"))[0]) == 501
