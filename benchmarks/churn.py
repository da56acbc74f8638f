"""Measures: p99 of a post to 5,000 rooms in use through 500 places, divided by p99 of the same load with all 5,000 in memory. Two
runtimes in one process, each with a directory of its own and the replicator on, take turns. Each post goes to a room that a law
picks: uniform (nine posts of ten find their room closed and, before it may open, another one has to be closed), or like Zipf (the
i-th room with weight 1/i, as people use rooms).

The target stands on an open loop of 200 posts a second, a little more than 10,000 rooms used in a minute: people post as often as
they do, however long it takes. Under both laws, as they are hard in different ways: uniform asks more of the few places, like
Zipf, posts to open rooms are quick, and the divisor is small. The third case, without a target, is 64 callers as fast as they
can: what one second can carry, rather than what one post waits. Where the limit of open files is too low for 5,000 rooms, fewer
rooms are used, a tenth as many places, and the case says so.

Ceilings: none; the other runtime's p99 is in the note.

Not measured: rooms with large files, more places than callers can fill, idle rooms that leave before their place is needed.
"""

import gc
import resource
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import trio

from benchmarks import workload
from benchmarks.callers import Call, Load, closed_loop, open_loop
from benchmarks.chat_room import ChatRoom, settle
from benchmarks.harness import Bench, percentile
from benchmarks.machine import Unfit
from benchmarks.records import CHURN, Record
from benchmarks.rooms_on_disk import make_rooms, room_id, sync
from durable_rooms import Limits, Runtime, SQLiteReplica, open_runtime

NAME = "churn"
PLACES_SHARE = 10
POSTS_PER_SECOND = 200.0  # 12,000 a minute
FULL_SPEED = "uniform, 64 callers as fast as they can"
DESCRIPTORS_PER_ROOM = 5  # what the runtime reckons with
DESCRIPTORS_KEPT = 1_024
ROUND_ROOMS = 100  # where fewer rooms fit, a round number of them

Pick = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Turn:
    tight: Load
    roomy: Load

    @property
    def ratio(self) -> float:
        return percentile(self.tight.latencies, 99) / percentile(self.roomy.latencies, 99)


async def run(bench: Bench) -> list[Record]:
    rooms = rooms_that_fit(bench.size.churn_rooms, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    places = max(1, rooms // PLACES_SHARE)
    bench.progress.case(NAME, f"{rooms:,} rooms through {places} places")
    random = Random(workload.SEED)
    weights = list(accumulate(1 / rank for rank in range(1, rooms + 1)))
    laws: dict[str, Pick] = {
        "uniform": lambda: random.randrange(rooms),
        "like Zipf": lambda: random.choices(range(rooms), cum_weights=weights)[0],
    }
    turns: dict[str, list[Turn]] = {law: [] for law in (*laws, FULL_SPEED)}
    async with AsyncExitStack() as stack:
        roomy = await stack.enter_async_context(_runtime(bench, "all open", rooms, rooms + 16))
        tight = await stack.enter_async_context(_runtime(bench, "few places", rooms, places))
        await _open_all(bench, roomy, rooms)
        for number in range(1, bench.size.churn_turns + 1):
            for law, pick in laws.items():
                bench.progress.step(f"{law}, {number} of {bench.size.churn_turns}")
                loads = [await _measure(bench, runtime, pick, random) for runtime in (tight, roomy)]
                turns[law].append(Turn(*loads))
            bench.progress.step(f"as fast as they can, {number} of {bench.size.churn_turns}")
            loads = [await _measure(bench, runtime, laws["uniform"]) for runtime in (tight, roomy)]
            turns[FULL_SPEED].append(Turn(*loads))
    return [_record(rooms, places, law, measured) for law, measured in turns.items()]


def rooms_that_fit(rooms: int, limit: int) -> int:
    """As many rooms as both runtimes may have open; raises Unfit where that is next to nothing."""
    if limit == resource.RLIM_INFINITY:
        return rooms
    most = (limit - DESCRIPTORS_KEPT) * PLACES_SHARE // (DESCRIPTORS_PER_ROOM * (PLACES_SHARE + 1))
    if rooms <= most:
        return rooms
    fitting = most // ROUND_ROOMS * ROUND_ROOMS
    if fitting <= 0:
        raise Unfit(f"needs 6,000 open files at least, and the hard limit of this process is {limit:,} (ulimit -Hn)")
    return fitting


@asynccontextmanager
async def _runtime(bench: Bench, name: str, rooms: int, places: int) -> AsyncGenerator[Runtime]:
    place = bench.path / name.replace(" ", "-")
    await make_rooms(place, rooms, lambda done: bench.progress.share(f"making rooms ({name})", done), replicated=True)
    limits = Limits(open_rooms_max=places, idle_seconds_max=3600.0)
    async with open_runtime(place, [ChatRoom], replicas=[SQLiteReplica()], limits=limits) as runtime:
        if runtime.limits.open_rooms_max < places:
            raise Unfit(f"needs {places:,} places and the limit of open files leaves {runtime.limits.open_rooms_max:,}")
        yield runtime


async def _open_all(bench: Bench, runtime: Runtime, rooms: int) -> None:
    """Everything in memory, and posted to once: no room's first round falls into a measurement."""
    waiting = iter(range(rooms))

    async def opener() -> None:
        for number in waiting:
            await post_to_some(runtime, lambda: number)(number)  # noqa: B023 - it is awaited before the next
            bench.progress.share("opening", number / rooms)

    async with trio.open_nursery() as nursery:
        for _ in range(bench.size.churn_callers):
            nursery.start_soon(opener)
    await settle(runtime)
    await trio.to_thread.run_sync(sync, runtime.path)


async def _measure(bench: Bench, runtime: Runtime, pick: Pick, arrivals: Random | None = None) -> Load:
    """Posts that arrive at random, or by callers as fast as they can."""
    call = post_to_some(runtime, pick)
    calls = [call] * bench.size.churn_callers
    await closed_loop(calls, bench.size.churn_seconds / 2)  # the places hold what this law keeps in them
    await settle(runtime)
    await trio.to_thread.run_sync(sync, runtime.path)
    gc.collect()  # 0.2 s with 3,400 rooms open: each window begins at the same distance from the next one
    if arrivals is None:
        load = await closed_loop(calls, bench.size.churn_seconds)
    else:
        load = await open_loop(call, POSTS_PER_SECOND, bench.size.churn_seconds, arrivals)
    await settle(runtime)
    await trio.to_thread.run_sync(sync, runtime.path)  # or the other side's rounds would write what this one left behind
    return load


def post_to_some(runtime: Runtime, pick: Pick) -> Call:
    lines = workload.posts()

    async def call(number: int) -> None:
        author, body = lines[number % workload.POSTS]
        await runtime.room(ChatRoom, room_id(pick())).call(ChatRoom.post, author, body)

    return call


def _record(rooms: int, places: int, law: str, turns: list[Turn]) -> Record:
    middle = sorted(turns, key=lambda turn: turn.ratio)[(len(turns) - 1) // 2]

    def words(load: Load) -> str:
        p50, p99 = (percentile(load.latencies, percent) * 1e3 for percent in (50, 99))
        return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms at {load.per_second:,.0f} posts/s"

    return Record(
        benchmark=NAME,
        case=f"{rooms:,} rooms through {places} places, {law}",
        value=middle.ratio,
        unit="× p99",
        target=None if law == FULL_SPEED else CHURN,
        lower_is_better=True,
        note=f"{words(middle.tight)}; with all open {words(middle.roomy)}; {len(turns)} turns, the median one",
    )
