"""Measures: a hundred rooms that tell one, all in memory. Each call inserts a row and tells; the told room inserts a row for each
tell. Callers call again as soon as their call is durable, and the clock runs until the last tell has run and is durable in the
told room: once with one tell a call, once with sixteen. Then how long a tell is under way, from its call to the first line of its
method, at a steady rate.

Ceiling: apsw alone, one file a room, WAL, synchronous=NORMAL (not durable): sixteen tells are stored in one transaction of the
sender, run in one of the receiver with a receipt each, and are forgotten in another one of the sender.

Not measured: rooms that must be opened first, receivers that fail, large arguments, several receivers.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, ClassVar

import apsw
import trio

from benchmarks import bare_sqlite, workload
from benchmarks.callers import closed_loop, open_loop
from benchmarks.harness import Bench, beside, p50_p99_ms, percentile
from benchmarks.records import TELLS, Record
from durable_rooms import Actor, Limits, Room, Runtime, open_runtime

NAME = "tells"
TOGETHER = 16  # tells of a call that tells many
STEADY_PER_SECOND = 500  # of the open loop: a tenth of what must be reached
POLL_SECONDS = 0.001


class Directory(Actor):
    """What is told. Its process measures on one clock, so what it hears says how long it was under way."""

    migrations = (workload.SCHEMA,)
    heard: ClassVar[int] = 0
    under_way: ClassVar[list[float]] = []

    def note(self, author: str, body: str, told_at: float) -> None:
        self.sql(workload.INSERT, author, body, told_at)
        Directory.heard += 1
        Directory.under_way.append(perf_counter() - told_at)


class Desk(Actor):
    migrations = (workload.SCHEMA,)

    def post(self, author: str, body: str, tells: int) -> None:
        self.sql(workload.INSERT, author, body, self.now())
        for _ in range(tells):
            self.tell(Directory, "main", Directory.note, author, body, perf_counter())


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    bare = Bare(bench.place("bare"), size.some_rooms)
    records: list[Record] = []
    try:
        async with open_desks(bench.place("rooms"), size.some_rooms) as (runtime, desks):
            for each in (1, TOGETHER):
                case = f"{size.some_rooms} rooms to one, {each} a call"
                bench.progress.case(NAME, case)
                telling = Telling(runtime, desks, size.some_callers, each)
                await telling.measure(size.warm_seconds)

                async def floor() -> float:
                    return bare.tell(size.ceiling_seconds)

                found = await beside(bench, lambda telling=telling: telling.measure(size.seconds), floor)
                records.append(
                    Record(
                        benchmark=NAME,
                        case=case,
                        unit="tells/s",
                        value=found.value,
                        ceiling=found.ceiling,
                        target=TELLS,
                        absolute=True,
                    )
                )
            bench.progress.case(NAME, "under way")
            Directory.under_way.clear()
            calls = [post_to(desk, 1) for desk in desks]
            await open_loop(lambda number: calls[number % len(calls)](number), STEADY_PER_SECOND, size.seconds, Random(1))
            await all_heard(runtime)
            seconds = list(Directory.under_way)
            records.append(
                Record(
                    benchmark=NAME,
                    case=f"under way at {STEADY_PER_SECOND} tells/s",
                    unit="ms (p99)",
                    value=percentile(seconds, 99) * 1e3,
                    lower_is_better=True,
                    note=p50_p99_ms(seconds),
                )
            )
    finally:
        bare.close()
    return records


@asynccontextmanager
async def open_desks(path: Path, count: int) -> AsyncGenerator[tuple[Runtime, list[Room[Desk]]]]:
    limits = Limits(open_rooms_max=count + 16, idle_seconds_max=3600.0)
    async with open_runtime(path, [Desk, Directory], limits=limits) as runtime:
        desks = [runtime.room(Desk, f"desk-{number}") for number in range(count)]
        for desk in desks:
            await desk.post("ann", "hello", 1)
        await all_heard(runtime)
        yield runtime, desks


def post_to(desk: Room[Desk], tells: int) -> Callable[[int], Awaitable[Any]]:
    lines = workload.posts()

    async def call(number: int) -> None:
        post = lines[number % len(lines)]
        await desk.post(post.author, post.body, tells)

    return call


async def all_heard(runtime: Runtime) -> None:
    """Until every tell has run and what it did is durable."""
    while runtime.courier.pending:  # noqa: ASYNC110 - nobody tells a benchmark
        await trio.sleep(POLL_SECONDS)


class Telling:
    """Callers that post; the i-th always to room i modulo the number of rooms."""

    def __init__(self, runtime: Runtime, desks: Sequence[Room[Desk]], callers: int, each: int) -> None:
        self._runtime = runtime
        self._calls = [post_to(desks[index % len(desks)], each) for index in range(callers)]

    async def measure(self, seconds: float) -> float:
        """Tells delivered per second."""
        before, begin = self._runtime.courier.delivered, perf_counter()
        await closed_loop(self._calls, seconds)
        await all_heard(self._runtime)
        return (self._runtime.courier.delivered - before) / (perf_counter() - begin)


class Bare:
    """The ceiling's side: the same statements, in the same shares, without a runtime."""

    def __init__(self, path: Path, senders: int) -> None:
        self._senders = bare_sqlite.connect_many(path, senders)
        self._receiver = bare_sqlite.connect(path / "receiver.db", "NORMAL")
        for connection in self._senders:
            connection.execute("CREATE TABLE tells (number INTEGER PRIMARY KEY, id TEXT, method TEXT, arguments BLOB)").fetchall()
        self._receiver.execute("CREATE TABLE told (id TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID").fetchall()

    def tell(self, seconds: float) -> float:
        tells = 0
        senders = cycle(enumerate(self._senders))
        lines = cycle(workload.posts())
        begin = perf_counter()
        while (now := perf_counter()) - begin < seconds:
            number, sender = next(senders)
            posts = [next(lines) for _ in range(TOGETHER)]
            with transaction(sender):
                for post in posts:
                    sender.execute(workload.INSERT, (*post, now)).fetchall()
                    store = "INSERT INTO tells (id, method, arguments) VALUES (?, ?, ?)"
                    sender.execute(store, ("main", "note", post.body.encode())).fetchall()
            with transaction(self._receiver):
                for at, post in enumerate(posts):
                    self._receiver.execute("SELECT number FROM told WHERE id = ?", (str(number),)).fetchall()
                    self._receiver.execute(workload.INSERT, (*post, now)).fetchall()
                    keep = "INSERT INTO told VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET number = excluded.number"
                    self._receiver.execute(keep, (str(number), tells + at)).fetchall()
            with transaction(sender):
                sender.execute("DELETE FROM tells").fetchall()
            tells += TOGETHER
        return tells / (now - begin)

    def close(self) -> None:
        bare_sqlite.close([*self._senders, self._receiver])


class transaction:
    """BEGIN IMMEDIATE to COMMIT; apsw's own `with connection` is a savepoint."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE").fetchall()

    def __exit__(self, *_: object) -> None:
        self._connection.execute("COMMIT").fetchall()
