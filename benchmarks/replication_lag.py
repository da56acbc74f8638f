"""Measures: how long a post that was acknowledged is missing in the replica, at half of the load that saturates the runtime
(callers in a closed loop, replicator on). Posts arrive at random, in random rooms (open loop, so that hardly two share a commit:
more work each than at saturation); a reader of the replica's file, on a connection of its own, looks for some of them.

Ceilings: none; the replica's window is 50 ms, so that half of it is the least that a mean can be.

Not measured: lag beside heavy readers, right after a start, or at saturation (the replica then falls behind until load ends).
"""

from random import Random

import trio

from benchmarks import workload
from benchmarks.callers import Load, open_loop
from benchmarks.chat_room import ChatRoom, open_rooms
from benchmarks.harness import Bench, p50_p99_ms, percentile
from benchmarks.posting import Posting
from benchmarks.records import REPLICATION_LAG_MS, Record
from benchmarks.watcher import Watcher
from durable_rooms import Room, Runtime

NAME = "replication_lag"
WATCHED_PER_SECOND = 200  # posts that are looked for: enough for a p99, too few to weigh


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    bench.progress.case(NAME, f"{size.some_rooms} rooms")
    async with open_rooms(bench.place("rooms"), size.some_rooms) as (runtime, rooms):
        posting = Posting(runtime, rooms, size.some_callers)
        await posting.warm(size.warm_seconds)
        bench.progress.step("saturation")
        half = await posting.measure(size.seconds) / 2
        await posting.settle()
        bench.progress.step(f"{half:,.0f} posts/s")
        load, lags = await _at_rate(bench, runtime, rooms, half)
        status = runtime.status().replicas[0]
    case = f"{size.some_rooms} rooms, half of saturation"
    note = (
        f"{half:,.0f} posts/s asked for, {load.per_second:,.0f} made, replies {p50_p99_ms(load.latencies)}; "
        f"{len(lags):,} posts watched; from commit to commit the replicator says "
        f"p50 {status.lag_p50_seconds * 1e3:.0f} ms, p99 {status.lag_p99_seconds * 1e3:.0f} ms"
    )
    return [
        Record(benchmark=NAME, case=f"{case}, p50", value=percentile(lags, 50) * 1e3, unit="ms", lower_is_better=True),
        Record(
            benchmark=NAME,
            case=f"{case}, p99",
            value=percentile(lags, 99) * 1e3,
            unit="ms",
            target=REPLICATION_LAG_MS,
            lower_is_better=True,
            note=note,
        ),
    ]


async def _at_rate(bench: Bench, runtime: Runtime, rooms: list[Room[ChatRoom]], rate: float) -> tuple[Load, list[float]]:
    random = Random(workload.SEED)
    lines = workload.posts()
    every = max(1, round(rate / WATCHED_PER_SECOND))
    with Watcher(bench.path / "rooms" / "replica.db") as watcher:

        async def call(number: int) -> None:
            room = random.choice(rooms)
            author, body = lines[number % workload.POSTS]
            id = await room.post(author, body)
            if number % every == 0:
                watcher.look_for(room.id, id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            load = await open_loop(call, rate, bench.size.lag_seconds, random)
            await runtime.replicated(timeout=120.0)
            await watcher.all_seen()
            nursery.cancel_scope.cancel()
        return load, watcher.lags
