"""Measures: full text search over all messages of all rooms, as one person waits for it: rare words and common ones.

Ceilings: none. Beside it: the same words in one room.

Not measured: many searches at once, cold pages, what an index costs a post (half as much again) and replication.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from benchmarks.harness import Bench, p50_p99_ms, percentile
from benchmarks.reading_room import SearchedRoom, open_reading
from benchmarks.records import SEARCH_MS, Record

NAME = "search"
ASKED = ("deploy", "lunch tomorrow", "the merge", '"server queue"', "chan*", "lunch tomorrow replica", "nowhere", "room thanks")


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    each = max(1, size.search_rows // size.some_rooms)
    total = each * size.some_rooms
    bench.progress.case(NAME, f"{total:,} messages")
    async with open_reading(bench.place("rooms"), size.some_rooms, each, SearchedRoom) as (runtime, [room, *_]):
        across = runtime.across({SearchedRoom: "all"})
        everywhere = await _timed(lambda words: across.match(SearchedRoom, "messages", words), size.repeats)
        in_one = await _timed(lambda words: room.call(SearchedRoom.find, words), size.repeats)
    return [
        Record(
            benchmark=NAME,
            case=f"{total:,} messages of {size.some_rooms} rooms, p50 of {len(ASKED)} searches",
            unit="ms",
            value=percentile(everywhere, 50) * 1e3,
            target=SEARCH_MS,
            lower_is_better=True,
            note=f"{p50_p99_ms(everywhere)}; in one room {p50_p99_ms(in_one)}",
        )
    ]


async def _timed(search: Callable[[str], Awaitable[Any]], repeats: int) -> list[float]:
    took: list[float] = []
    for _ in range(repeats + 1):
        for words in ASKED:
            begin = perf_counter()
            await search(words)
            took.append(perf_counter() - begin)
    return took[len(ASKED) :]  # the first of each opens what it needs
