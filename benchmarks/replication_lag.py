"""Measures: how long a post that was acknowledged is missing in the replica, at half of the load that saturates the runtime.
Posts arrive at random, in random rooms (open loop: hardly two share a commit); a reader of the replica's file, on a connection of
its own, looks for some of them.

Saturation is measured with the same kind of load: the rate is raised in steps until replies no longer keep up. Callers in a
closed loop post about twice as much, because those who wait for the same room share its commits; half of *that* is near the
limit of an open loop, and is shown beside it without a target.

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
FIRST_SHARE, STEP = 0.2, 1.25  # of the closed loop's rate, where the search begins; how much each step adds
KEEPS_UP_SHARE_MIN = 0.9  # of the calls that are asked for, made in time
KEEPS_UP_SECONDS_MAX = 0.1  # replies' p99 at a rate that the runtime keeps up with; beyond saturation it is seconds


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    bench.progress.case(NAME, f"{size.some_rooms} rooms")
    async with open_rooms(bench.place("rooms"), size.some_rooms) as (runtime, rooms):
        posting = Posting(runtime, rooms, size.some_callers)
        await posting.warm(size.warm_seconds)
        bench.progress.step("saturation")
        closed = await posting.measure(size.seconds)
        await posting.settle()
        saturation = await _saturation(bench, runtime, rooms, closed)
        records: list[Record] = []
        for case, rate, target in (
            ("half of saturation", saturation / 2, True),
            ("half of the closed loop's", closed / 2, False),
        ):
            bench.progress.step(f"{rate:,.0f} posts/s")
            load, lags = await _at_rate(bench, runtime, rooms, rate, size.lag_seconds)
            records += _records(f"{size.some_rooms} rooms, {case}", rate, load, lags, target=target)
    return records


def _records(case: str, rate: float, load: Load, lags: list[float], *, target: bool) -> list[Record]:
    note = (
        f"{rate:,.0f} posts/s asked for, {load.per_second:,.0f} made, replies {p50_p99_ms(load.latencies)}; "
        f"{len(lags):,} posts watched"
    )
    return [
        Record(benchmark=NAME, case=f"{case}, p50", value=percentile(lags, 50) * 1e3, unit="ms", lower_is_better=True),
        Record(
            benchmark=NAME,
            case=f"{case}, p99",
            value=percentile(lags, 99) * 1e3,
            unit="ms",
            target=REPLICATION_LAG_MS if target else None,
            lower_is_better=True,
            note=note,
        ),
    ]


async def _saturation(bench: Bench, runtime: Runtime, rooms: list[Room[ChatRoom]], closed: float) -> float:
    """The highest open-loop rate, in steps of a quarter, at which replies keep up."""
    rate = closed * FIRST_SHARE
    while rate < closed:
        load, _ = await _at_rate(bench, runtime, rooms, rate * STEP, bench.size.seconds)
        if load.per_second < KEEPS_UP_SHARE_MIN * rate * STEP or percentile(load.latencies, 99) > KEEPS_UP_SECONDS_MAX:
            break
        rate *= STEP
    return rate


async def _at_rate(
    bench: Bench, runtime: Runtime, rooms: list[Room[ChatRoom]], rate: float, seconds: float
) -> tuple[Load, list[float]]:
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
            load = await open_loop(call, rate, seconds, random)
            await runtime.replicated(timeout=120.0)
            await watcher.all_seen()
            nursery.cancel_scope.cancel()
        return load, watcher.lags
