"""Measures: rooms called from asyncio, from threads and over HTTP: a call that does nothing, and durable posts to one hot room.

Ceilings: the same calls by 64 or 256 trio tasks in this process (asyncio, threads); the same FastAPI app, with an empty handler
(HTTP).

Not measured: TLS, websockets, uvloop, httptools; hosts that compute much themselves (`durable_rooms/border/DESIGN.md`).
"""

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import durable_rooms.asyncio
import durable_rooms.sync
from benchmarks import http_app
from benchmarks.asyncio_host import AsyncioHost, asyncio_host, crowd, threads_per_second
from benchmarks.callers import Call, closed_loop
from benchmarks.chat_room import ChatRoom, open_rooms, settle
from benchmarks.harness import Bench, Measured, beside, p50_p99_ms, percentile
from benchmarks.http_client import posts_per_second
from benchmarks.machine import Unfit
from benchmarks.posting import post_to
from benchmarks.process import REPOSITORY
from benchmarks.records import ASYNCIO_PING, ASYNCIO_PING_US, ASYNCIO_POSTS, HTTP_POSTS, THREADS_PING, Record
from durable_rooms import Limits, SQLiteReplica

NAME = "doors"
LIMITS = Limits(idle_seconds_max=3600.0)


async def run(bench: Bench) -> list[Record]:
    return [*await _asyncio(bench), await _threads(bench), await _http(bench)]


def ping_to(room: Any) -> Call:
    async def call(_number: int) -> None:
        await room.ping()

    return call


async def _asyncio(bench: Bench) -> list[Record]:
    size = bench.size
    opening = durable_rooms.asyncio.open_runtime(bench.place("asyncio"), [ChatRoom], replicas=[SQLiteReplica()], limits=LIMITS)
    async with (
        open_rooms(bench.place("asyncio-ceiling"), 1) as (native, [inside]),
        asyncio_host() as host,
        host.entered(opening) as runtime,
    ):
        room = runtime.room(ChatRoom, "room-0")

        async def settled() -> None:
            await settle(native)
            await host.run(lambda: runtime.replicated(120.0))

        bench.progress.case(NAME, "asyncio, ping")
        pings = await _beside_trio(bench, host, ping_to(room), ping_to(inside), size.ping_callers, settled)
        bench.progress.case(NAME, "asyncio, posts")
        durable = await _beside_trio(bench, host, post_to(room), post_to(inside), size.hot_callers, settled)
        bench.progress.case(NAME, "asyncio, one caller")
        alone = (await host.run(lambda: crowd(ping_to(room), 1, size.seconds))).latencies
    return [
        Record(
            benchmark=NAME,
            case=f"asyncio, ping, {size.ping_callers} tasks",
            unit="calls/s",
            value=pings.value,
            ceiling=pings.ceiling,
            target=ASYNCIO_PING,
        ),
        Record(
            benchmark=NAME,
            case=f"asyncio, durable posts, {size.hot_callers} tasks",
            unit="posts/s",
            value=durable.value,
            ceiling=durable.ceiling,
            target=ASYNCIO_POSTS,
        ),
        Record(
            benchmark=NAME,
            case="asyncio, ping, 1 caller, p50",
            unit="µs",
            value=percentile(alone, 50) * 1e6,
            target=ASYNCIO_PING_US,
            lower_is_better=True,
            note=p50_p99_ms(alone),
        ),
    ]


async def _beside_trio(
    bench: Bench, host: AsyncioHost, call: Call, inside: Call, callers: int, settled: Callable[[], Awaitable[None]]
) -> Measured:
    size = bench.size

    async def figure(seconds: float = size.seconds) -> float:
        return (await host.run(lambda: crowd(call, callers, seconds))).per_second

    async def ceiling(seconds: float = size.ceiling_seconds) -> float:
        return (await closed_loop([inside] * callers, seconds)).per_second

    await figure(size.warm_seconds)
    await ceiling(size.warm_seconds)
    return await beside(bench, figure, ceiling, settled)


async def _threads(bench: Bench) -> Record:
    size = bench.size
    bench.progress.case(NAME, "threads, ping")
    place = bench.place("threads")

    def threads() -> float:
        with durable_rooms.sync.open_runtime(place, [ChatRoom], replicas=[SQLiteReplica()], limits=LIMITS) as runtime:
            room = runtime.room(ChatRoom, "room-0")
            threads_per_second(room.ping, size.door_threads, size.warm_seconds)
            return threads_per_second(room.ping, size.door_threads, size.seconds)

    async with open_rooms(bench.place("threads-ceiling"), 1) as (_native, [inside]):

        async def figure() -> float:
            return await trio.to_thread.run_sync(threads)

        async def ceiling() -> float:
            return (await closed_loop([ping_to(inside)] * size.ping_callers, size.ceiling_seconds)).per_second

        found = await beside(bench, figure, ceiling)
    return Record(
        benchmark=NAME,
        case=f"threads, ping, {size.door_threads} threads",
        unit="calls/s",
        value=found.value,
        ceiling=found.ceiling,
        target=THREADS_PING,
    )


async def _http(bench: Bench) -> Record:
    size = bench.size
    bench.progress.case(NAME, "HTTP, posts")
    async with _served(bench.place("http")) as port:

        async def load(path: str, seconds: float) -> float:
            return await posts_per_second(port, path, size.door_connections, seconds)

        await load("/empty", size.warm_seconds)
        await load("/messages", size.warm_seconds)
        found = await beside(bench, lambda: load("/messages", size.seconds), lambda: load("/empty", size.seconds))
    return Record(
        benchmark=NAME,
        case=f"FastAPI on uvicorn, durable posts, {size.door_connections} connections",
        unit="posts/s",
        value=found.value,
        ceiling=found.ceiling,
        target=HTTP_POSTS,
    )


@asynccontextmanager
async def _served(place: Path) -> AsyncGenerator[int]:
    """The app in a process of its own; its port. It ends in order."""
    if not http_app.available():
        raise Unfit(f"needs {' and '.join(http_app.NEEDED)}: pip install 'durable-rooms[bench]'")
    command = [sys.executable, "-m", "benchmarks.http_app", str(place)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - once, at the start
        try:
            assert process.stdout is not None
            said = await trio.to_thread.run_sync(process.stdout.readline)
            yield http_app.port_in(said)
            process.send_signal(signal.SIGTERM)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(process.wait)
        finally:
            process.kill()
