"""Measures: a room's handler that calls another room, both in memory, one call after the other: stub, the end of its slice, the
other room's mailbox, turn, gate, reply.

Ceiling: a ping of that room from outside, by one caller.

Not measured: a call behind a write that is not durable yet, which waits for a round; a call that has to open its room.
"""

from time import perf_counter

from benchmarks.harness import Bench, beside
from benchmarks.records import ROOM_CALLS, Record
from durable_rooms import Actor, Limits, open_runtime

NAME = "room_calls"
CALLS_AT_ONCE = 64  # of one handler, so that the call that starts it does not count


class Peer(Actor):
    def ping(self) -> str:
        return "pong"

    async def ping_other(self, times: int) -> None:
        other = self.room(Peer, "other")
        for _ in range(times):
            await other.ping()


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    async with open_runtime(bench.place("rooms"), [Peer], limits=Limits(idle_seconds_max=3600.0)) as runtime:
        caller, other = runtime.room(Peer, "caller"), runtime.room(Peer, "other")

        async def inside(seconds: float) -> float:
            calls, began = 0, perf_counter()
            while (now := perf_counter()) < began + seconds:
                await caller.call(Peer.ping_other, CALLS_AT_ONCE)
                calls += CALLS_AT_ONCE
            return calls / (now - began)

        async def outside(seconds: float) -> float:
            calls, began = 0, perf_counter()
            while (now := perf_counter()) < began + seconds:
                for _ in range(CALLS_AT_ONCE):
                    await other.ping()
                calls += CALLS_AT_ONCE
            return calls / (now - began)

        bench.progress.case(NAME, "one after the other")
        await inside(size.warm_seconds)
        measured = await beside(bench, lambda: inside(size.seconds), lambda: outside(size.ceiling_seconds))
    return [
        Record(
            benchmark=NAME,
            case="one after the other",
            unit="calls/s",
            value=measured.value,
            ceiling=measured.ceiling,
            target=ROOM_CALLS,
        )
    ]
