"""Measures: how long the loop keeps a task waiting while 1,000 rooms are checkpointed under load. The task sleeps 1 ms, again
and again, and notes by how much it was late; p99 of that, beside the same on an idle loop and under the same load without
checkpoints. The load is 1,000 posts a second to 1,000 rooms in memory, at random moments in random rooms (open loop), the
replicator on. Checkpoints come from a bound of 64 KiB a WAL instead of 4 MiB, about 100 a second; it is measured until there
were as many as rooms.

Floor: the same load in a second runtime, whose WALs stay far below their bound.

Not measured: WALs of 4 MiB (a checkpoint of one takes a worker thread longer, the loop sees the same), other loads.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import TypeVar

import trio

from actors.storage.storage import run_checkpoint
from actors.system.doors import Doors
from actors.system.threads import WorkerThreads
from benchmarks import workload
from benchmarks.callers import Load, open_loop
from benchmarks.chat_room import ChatRoom, settle
from benchmarks.harness import Bench, percentile
from benchmarks.machine import need_descriptors
from benchmarks.posting import post_to
from benchmarks.records import CHECKPOINT_STALL_MS, Record
from benchmarks.rooms_on_disk import make_rooms, room_id, sync
from durable_rooms import Limits, Room, Runtime, SQLiteReplica
from durable_rooms.runtime import open_with_doors

T = TypeVar("T")

NAME = "checkpoint_stall"
DESCRIPTORS_PER_ROOM = 10  # five in each of two runtimes
POSTS_PER_ROOM_SECOND = 1.0
SMALL_WAL_BYTES = 64 * 1024  # about four posts
SLEEP_SECONDS = 0.001
PASSES_PER_CHECKPOINT = 2  # one beside turns, one alone
OPENERS = 64
PARTS_MAX = 10  # each as long as asked for, until there were checkpoints enough


class CountingThreads(WorkerThreads):
    """Real threads that count the checkpoints which pass through them."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    async def run(self, job: Callable[..., T], *args: object) -> T:
        if job is run_checkpoint:
            self.passes += 1
        return await super().run(job, *args)


@dataclass(slots=True)
class Side:
    runtime: Runtime
    rooms: list[Room[ChatRoom]]
    threads: CountingThreads


@dataclass(frozen=True, slots=True)
class Stall:
    late: list[float]
    checkpoints: int = 0
    load: Load | None = None

    @property
    def p99(self) -> float:
        return percentile(self.late, 99) * 1e3


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    need_descriptors(DESCRIPTORS_PER_ROOM * size.stall_rooms + 512)
    bench.progress.case(NAME, f"{size.stall_rooms:,} rooms")
    idles: list[Stall] = []
    turns: list[tuple[Stall, Stall]] = []
    async with AsyncExitStack() as stack:
        small = await stack.enter_async_context(_side(bench, "small", SMALL_WAL_BYTES))
        large = await stack.enter_async_context(_side(bench, "large", Limits().wal_bytes_max))
        for number in range(1, size.stall_turns + 1):
            bench.progress.step(f"{number} of {size.stall_turns}")
            idles.append(await _idle(size.stall_seconds / 4))
            without = await _under_load(large, size.stall_seconds)
            turns.append((await _all_checkpointed(small, size.stall_seconds), without))
    return _records(size.stall_rooms, idles, turns)


@asynccontextmanager
async def _side(bench: Bench, name: str, wal_bytes_max: int) -> AsyncGenerator[Side]:
    count = bench.size.stall_rooms
    place = bench.path / name
    await make_rooms(place, count, lambda done: bench.progress.share("making rooms", done), replicated=True)
    threads = CountingThreads()
    limits = Limits(open_rooms_max=count + 16, idle_seconds_max=3600.0, wal_bytes_max=wal_bytes_max)
    replicas = [SQLiteReplica()]
    async with open_with_doors(place, [ChatRoom], replicas=replicas, limits=limits, doors=Doors(threads=threads)) as runtime:
        rooms = [runtime.room(ChatRoom, room_id(number)) for number in range(count)]
        waiting = iter(rooms)

        async def opener() -> None:
            for room in waiting:
                await post_to(room)(0)

        async with trio.open_nursery() as nursery:
            for _ in range(OPENERS):
                nursery.start_soon(opener)
        await settle(runtime)
        await trio.to_thread.run_sync(sync, place)
        yield Side(runtime, rooms, threads)


async def _idle(seconds: float) -> Stall:
    late: list[float] = []
    with trio.move_on_after(seconds):
        await _be_late(late)
    return Stall(late)


async def _under_load(side: Side, seconds: float) -> Stall:
    late: list[float] = []
    random = Random(workload.SEED)
    calls = [post_to(room) for room in side.rooms]
    before = side.threads.passes

    async def post(number: int) -> None:
        await random.choice(calls)(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_be_late, late)
        load = await open_loop(post, POSTS_PER_ROOM_SECOND * len(calls), seconds, random)
        nursery.cancel_scope.cancel()
    checkpoints = (side.threads.passes - before) // PASSES_PER_CHECKPOINT
    await settle(side.runtime)
    return Stall(late, checkpoints, load)


async def _all_checkpointed(side: Side, seconds: float) -> Stall:
    """Load until there were as many checkpoints as rooms."""
    parts: list[Stall] = []
    while len(parts) < PARTS_MAX and sum(part.checkpoints for part in parts) < len(side.rooms):
        parts.append(await _under_load(side, seconds))
    return Stall(
        late=[late for part in parts for late in part.late],
        checkpoints=sum(part.checkpoints for part in parts),
        load=Load(
            calls=sum(part.load.calls for part in parts if part.load),
            seconds=sum(part.load.seconds for part in parts if part.load),
            latencies=[latency for part in parts if part.load for latency in part.load.latencies],
        ),
    )


async def _be_late(late: list[float]) -> None:
    while True:
        due = perf_counter() + SLEEP_SECONDS
        await trio.sleep(SLEEP_SECONDS)
        late.append(perf_counter() - due)


def _records(rooms: int, idles: list[Stall], turns: list[tuple[Stall, Stall]]) -> list[Record]:
    turn = sorted(turns, key=lambda pair: pair[0].p99)[(len(turns) - 1) // 2]
    busy, without = turn
    idle = sorted(idle.p99 for idle in idles)[(len(idles) - 1) // 2]
    assert busy.load is not None
    assert without.load is not None
    worst = [f"{max(stall.late) * 1e3:.0f}" for stall in turn]
    replies = [percentile(load.latencies, 99) * 1e3 for load in (busy.load, without.load)]
    return [
        Record(
            benchmark=NAME,
            case=f"{rooms:,} rooms are checkpointed, p99",
            value=busy.p99,
            unit="ms",
            ceiling=without.p99,
            target=CHECKPOINT_STALL_MS,
            absolute=True,
            lower_is_better=True,
            note=(
                f"{busy.checkpoints:,} checkpoints in {busy.load.seconds:.1f} s at {busy.load.per_second:,.0f} posts/s; worst "
                f"{worst[0]} ms, without ({without.checkpoints}) {worst[1]} ms; posts' p99 "
                f"{replies[0]:.1f} ms, without {replies[1]:.1f} ms"
            ),
        ),
        Record(benchmark=NAME, case="the same load without checkpoints, p99", value=without.p99, unit="ms", lower_is_better=True),
        Record(benchmark=NAME, case="an idle loop, p99", value=idle, unit="ms", lower_is_better=True),
    ]
