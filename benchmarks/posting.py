"""Posts to rooms in a closed loop, and what else was seen: latencies, and posts per sync."""

from collections.abc import Sequence
from typing import Any

import trio

from benchmarks.callers import Call, Load, closed_loop
from benchmarks.chat_room import ChatRoom, settle
from benchmarks.harness import p50_p99_ms
from benchmarks.workload import POSTS, posts
from durable_rooms import Room, Runtime


class Posting:
    """`callers` tasks post; the i-th always to room i modulo the number of rooms, as people stay in a room."""

    def __init__(self, runtime: Runtime, rooms: Sequence[Room[ChatRoom]], callers: int) -> None:
        self._runtime = runtime
        self._calls = [post_to(rooms[index % len(rooms)]) for index in range(callers)]
        self._loads: list[Load] = []
        self._syncs = 0

    async def measure(self, seconds: float) -> float:
        """Posts per second."""
        syncs = self._runtime.status().rounds
        load = await closed_loop(self._calls, seconds)
        self._syncs += self._runtime.status().rounds - syncs
        self._loads.append(load)
        return load.per_second

    async def warm(self, seconds: float) -> None:
        """Post without keeping what was seen."""
        await closed_loop(self._calls, seconds)
        await self.settle()

    async def settle(self) -> None:
        await settle(self._runtime)

    @property
    def posts_per_sync(self) -> float:
        return sum(load.calls for load in self._loads) / max(1, self._syncs)

    @property
    def note(self) -> str:
        latencies = [latency for load in self._loads for latency in load.latencies]
        return f"{p50_p99_ms(latencies)}; {1 / self.posts_per_sync:.4f} syncs per post"


def post_to(room: Any) -> Call:
    """`room`: of the trio or of the asyncio door."""
    lines = posts()

    async def call(number: int) -> None:
        author, body = lines[number % POSTS]
        await room.post(author, body)

    return call


async def catch_up_seconds(runtime: Runtime) -> float:
    """How long the replica needs for what it has not got yet."""
    begin = trio.current_time()
    await runtime.replicated(timeout=120.0)
    return trio.current_time() - begin
