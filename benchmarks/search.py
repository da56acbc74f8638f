"""Measures: full text search over all messages of all rooms, as one person waits for it: rare words and common ones.

The words are as common as those of people. In 207,658 lines of IRC the commonest is in 28 % of the lines, the 10th in 9.8 %, the
100th in 1.5 %, the 1,000th in 0.11 %; in lines of ten words that are drawn by Mandelbrot's law they are 27, 8.8, 1.1 and 0.12 %.
(The other benchmarks' posts have 40 words, each of them in 37 % of the posts: as if people searched for "the" and "to".)

Ceilings: none. Beside it: the same words in one room; the commonest word alone.

Not measured: many searches at once, cold pages, what an index costs a post (half as much again) and replication.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import Any

from benchmarks import workload
from benchmarks.harness import Bench, p50_p99_ms, percentile
from benchmarks.reading_room import Lines, SearchedRoom, open_reading
from benchmarks.records import SEARCH_MS, Record

NAME = "search"

WORDS = 20_000  # that are known; "w1" is the commonest
WORDS_OF_A_LINE = 10
FLATTENED = 2.7  # Mandelbrot's constant: the first few words are less unlike than Zipf's law has them
WEIGHTS = list(accumulate(1 / (rank + FLATTENED) for rank in range(1, WORDS + 1)))

COMMONEST = "w1"
ASKED = (COMMONEST, "w10", "w100", "w1000", "w10000", "w20 w200", '"w2 w15"', "w77*", "nowhere")


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    each = max(1, size.search_rows // size.some_rooms)
    total = each * size.some_rooms
    bench.progress.case(NAME, f"{total:,} messages")
    async with open_reading(bench.place("rooms"), size.some_rooms, each, SearchedRoom, _lines) as (runtime, [room, *_]):
        across = runtime.across({SearchedRoom: "all"})
        search = partial(across.match, SearchedRoom, "messages")
        everywhere = await _timed(search, ASKED, size.repeats)
        commonest = await _timed(search, [COMMONEST], size.repeats)
        in_one = await _timed(lambda words: room.call(SearchedRoom.find, words), ASKED, size.repeats)
    return [
        Record(
            benchmark=NAME,
            case=f"{total:,} messages of {size.some_rooms} rooms, p50 of {len(ASKED)} searches",
            unit="ms",
            value=percentile(everywhere, 50) * 1e3,
            target=SEARCH_MS,
            lower_is_better=True,
            note=f"{p50_p99_ms(everywhere)}; the commonest word {percentile(commonest, 50) * 1e3:.1f} ms; "
            f"in one room {p50_p99_ms(in_one)}",
        )
    ]


def _lines(rows: int, room: int) -> Lines:
    """Of one room; the same seed gives the same lines."""
    random, written = Random(workload.SEED * 1_000_003 + room), workload.rows(rows)
    ranks = random.choices(range(1, WORDS + 1), cum_weights=WEIGHTS, k=WORDS_OF_A_LINE * rows)
    drawn = iter([f"w{rank}" for rank in ranks])
    return [(id, author, " ".join(next(drawn) for _ in range(WORDS_OF_A_LINE)), at) for id, author, _, at in written]


async def _timed(search: Callable[[str], Awaitable[Any]], asked: Sequence[str], repeats: int) -> list[float]:
    took: list[float] = []
    for _ in range(repeats + 1):
        for words in asked:
            begin = perf_counter()
            await search(words)
            took.append(perf_counter() - begin)
    return took[len(asked) :]  # the first of each opens what it needs
