"""Measures: posts per second to a hot room in which 100,000 alarms are pending ÷ to one without, two runtimes in one process,
measured in turns; then alarms that go off a second, all of them due at once: in one room, and one in each of many closed rooms,
which are opened for it and leave again.

Ceiling: of the posts, the room without alarms. The others have none.

Not measured: setting alarms (6 µs each, like any row with an index), rooms that are called while their alarms go off.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, time

import trio

from benchmarks.chat_room import ChatRoom
from benchmarks.harness import Bench, beside
from benchmarks.posting import Posting
from benchmarks.records import ALARMS_PENDING, Record
from durable_rooms import Limits, Runtime, open_runtime

NAME = "alarms"
SET_AT_ONCE = 2_000  # alarms a call
FAR_SECONDS = 1e6
PLACES = 256
PATIENCE_SECONDS = 120.0


class AlarmedRoom(ChatRoom):
    def remind(self, first: int, count: int, at: float) -> None:
        for number in range(first, first + count):
            self.alarms.set(f"{number:08}", at, number)

    def on_alarm(self, name: str, payload: int) -> None:
        self.post(name, str(payload))


async def run(bench: Bench) -> list[Record]:
    return [await _pending(bench), await _in_one_room(bench), await _in_many_rooms(bench)]


async def _pending(bench: Bench) -> Record:
    size = bench.size
    case = f"{size.alarms_pending:,} pending, {size.hot_callers} callers"
    bench.progress.case(NAME, case)
    place = bench.place("pending")
    async with _opened(place / "with") as with_alarms, _opened(place / "without") as without_alarms:
        await _set(with_alarms, size.alarms_pending, time() + FAR_SECONDS)
        with_them = Posting(with_alarms, [with_alarms.room(AlarmedRoom, "one")], size.hot_callers)
        without = Posting(without_alarms, [without_alarms.room(AlarmedRoom, "one")], size.hot_callers)
        await with_them.warm(size.warm_seconds)
        await without.warm(size.warm_seconds)
        measured = await beside(bench, lambda: with_them.measure(size.seconds), lambda: without.measure(size.seconds))
    return Record(
        benchmark=NAME,
        case=case,
        unit="posts/s",
        value=measured.value,
        ceiling=measured.ceiling,
        target=ALARMS_PENDING,
        note=f"cost {measured.ceiling / measured.value:.3f} of a post without",
    )


async def _in_one_room(bench: Bench) -> Record:
    count = bench.size.alarms_due
    case = f"{count:,} due in one room"
    bench.progress.case(NAME, case)
    path = bench.place("one") / "rooms"
    async with _opened(path) as runtime:
        runtime.waker.stop()  # they are due at once, and go off after the next start
        await _set(runtime, count, time())
    return await _gone_off(path, case, count)


async def _in_many_rooms(bench: Bench) -> Record:
    count = bench.size.alarmed_rooms
    case = f"one due in each of {count:,} closed rooms"
    bench.progress.case(NAME, case)
    path = bench.place("many") / "rooms"
    async with _opened(path) as runtime:
        runtime.waker.stop()
        for first in range(0, count, PLACES):
            async with trio.open_nursery() as nursery:
                for number in range(first, min(first + PLACES, count)):
                    nursery.start_soon(runtime.room(AlarmedRoom, f"{number}").remind, 0, 1, time())
    return await _gone_off(path, case, count)


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[Runtime]:
    async with open_runtime(path, [AlarmedRoom], limits=Limits(open_rooms_max=PLACES, idle_seconds_max=3600.0)) as runtime:
        yield runtime


async def _set(runtime: Runtime, count: int, at: float) -> None:
    room = runtime.room(AlarmedRoom, "one")
    await room.post("ann", "born")
    for first in range(0, count, SET_AT_ONCE):
        await room.remind(first, min(SET_AT_ONCE, count - first), at)


async def _gone_off(path: Path, case: str, count: int) -> Record:
    """From the start of a runtime until all have gone off."""
    async with _opened(path) as runtime:
        begin = perf_counter()
        with trio.fail_after(PATIENCE_SECONDS):
            while runtime.status().alarms_fired < count:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.002)
        seconds, rounds = perf_counter() - begin, runtime.status().rounds
    return Record(benchmark=NAME, case=case, unit="alarms/s", value=count / seconds, note=f"{rounds:,} syncs")
