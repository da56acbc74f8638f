"""Measures: how fast the replica gets what it missed when it comes back after an outage, while people go on posting. Outbox
entries per second, over posts per second that arrive meanwhile.

What arrives (open loop) is a quarter of what a closed loop of callers posts to as many rooms, about half of what saturates; for
one hot room an eighth, for there hardly two calls of an open loop share a turn. The backlog is posted before, as fast as it goes:
it stands for hours of outage. Every entry is a row of its own, the worst case: entries of the same row fold.

Beside it: the rate of arrival, so that the ratio is what a backlog shrinks by.

Not measured: the wait until the replica is tried again (at most 5 s, here 50 ms), rooms that have left memory meanwhile (opening
costs 1 ms each), arrival at saturation (the replica then still gains, about as fast as calls come).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import trio

import replication.replicator
from benchmarks import workload
from benchmarks.callers import open_loop
from benchmarks.chat_room import ChatRoom, open_rooms
from benchmarks.harness import Bench, Measured, middle, p50_p99_ms
from benchmarks.posting import Posting, catch_up_seconds
from benchmarks.records import CATCH_UP, Record
from durable_rooms import Room, Runtime, SQLiteReplica

NAME = "catch_up"
TRY_AGAIN_SECONDS = 0.05
FOREVER_SECONDS = 3600.0


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    many = await _case(bench, f"{size.many_rooms:,} rooms", size.many_rooms, size.many_callers, 4)
    hot = await _case(bench, "1 room", 1, size.hot_callers, 8)
    return [many, hot]


async def _case(bench: Bench, rooms: str, count: int, callers: int, slower: int) -> Record:
    size = bench.size
    case = f"{rooms}, {size.backlog_entries:,} entries behind"
    bench.progress.case(NAME, case)
    place = bench.place(f"{count}-rooms")
    (place / "replica").mkdir()
    turns: list[Measured] = []
    stalls: list[float] = []
    with _tried_again_at_once():
        async with open_rooms(place / "rooms", count, replica=SQLiteReplica(place / "replica" / "replica.db")) as (
            runtime,
            members,
        ):
            posting = Posting(runtime, members, callers)
            await posting.warm(size.warm_seconds)
            for number in range(1, size.repeats + 1):
                bench.progress.step(f"{number} of {size.repeats}")
                arrival = await posting.measure(size.seconds) / slower
                await posting.settle()
                turns.append(await _turn(runtime, members, posting, place, size.backlog_entries, arrival, stalls))
    measured = middle(turns)
    return Record(
        benchmark=NAME,
        case=case,
        unit="entries/s",
        value=measured.value,
        ceiling=measured.ceiling,
        target=CATCH_UP,
        note=f"replies meanwhile {p50_p99_ms(stalls)}",
    )


async def _turn(
    runtime: Runtime,
    rooms: list[Room[ChatRoom]],
    posting: Posting,
    place: Path,
    entries: int,
    arrival: float,
    latencies: list[float],
) -> Measured:
    """One outage; the backlog over the time that it takes, and what arrived in that time."""
    replica, gone = place / "replica", place / "gone"
    replica.rename(gone)
    while runtime.status().replicas[0].lag_entries < entries:
        await posting.measure(0.1)
    random, lines = Random(workload.SEED), workload.posts()

    async def call(number: int) -> None:
        author, body = lines[number % workload.POSTS]
        begin = trio.current_time()
        await random.choice(rooms).post(author, body)
        latencies.append(trio.current_time() - begin)

    before = len(latencies)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_loop, call, arrival, FOREVER_SECONDS, random)
        behind = runtime.status().replicas[0].lag_entries
        gone.rename(replica)
        seconds = await catch_up_seconds(runtime)
        arrived = (len(latencies) - before) / seconds
        nursery.cancel_scope.cancel()
    resyncs = runtime.status().replicas[0].resyncs
    assert resyncs == {}, f"a room was copied whole, which is no catching up: {dict(resyncs)}"
    return Measured(behind / seconds, max(arrived, arrival))


@contextmanager
def _tried_again_at_once() -> Iterator[None]:
    usual = replication.replicator.RETRY_SECONDS_MAX
    replication.replicator.RETRY_SECONDS_MAX = TRY_AGAIN_SECONDS
    try:
        yield
    finally:
        replication.replicator.RETRY_SECONDS_MAX = usual
