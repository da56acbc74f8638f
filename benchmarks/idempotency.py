"""Measures: posts to one room by many callers at once, each under an idempotency key of its own, as clients send them that repeat
what they did not hear of. Key and reply are kept in the post's transaction. Keys in order of time (UUID version 7, ULID), keys
at random (version 4; each dirties a page of the index), and repeats of posts that have run.

Ceiling: the same posts of the same callers to another room of the same runtime, without keys, in the same run.

Not measured: async handlers; a room that holds a day's keys and must forget as many as come; replies of more than a few bytes.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from benchmarks.callers import Call, Load, closed_loop
from benchmarks.chat_room import ChatRoom, open_rooms, settle
from benchmarks.harness import Bench, beside, p50_p99_ms
from benchmarks.posting import post_to
from benchmarks.records import IDEMPOTENCY, IDEMPOTENCY_RANDOM, Record, Target
from benchmarks.workload import POSTS, posts
from durable_rooms import Room

NAME = "idempotency"


async def run(bench: Bench) -> list[Record]:
    size = bench.size
    records: list[Record] = []
    async with open_rooms(bench.place("rooms"), 4) as (runtime, (ordered, random, repeated, plain)):

        async def quiet() -> None:
            await settle(runtime)

        async def measured(what: str, call: Call, target: Target | None) -> Record:
            case = f"{size.hot_callers:,} callers, {what}"
            bench.progress.case(NAME, case)
            loads: list[Load] = []

            async def with_keys() -> float:
                loads.append(await closed_loop(callers(call), size.seconds))
                return loads[-1].per_second

            async def without() -> float:
                return (await closed_loop(callers(post_to(plain)), size.seconds)).per_second

            await closed_loop(callers(call), size.warm_seconds)
            await closed_loop(callers(post_to(plain)), size.warm_seconds)
            found = await beside(bench, with_keys, without, quiet)
            note = p50_p99_ms([latency for load in loads for latency in load.latencies])
            return Record(
                benchmark=NAME, case=case, unit="calls/s", value=found.value, ceiling=found.ceiling, target=target, note=note
            )

        def callers(call: Call) -> Sequence[Call]:
            return [call] * size.hot_callers

        records.append(await measured("keys in order of time", under_keys(ordered, in_order), IDEMPOTENCY))
        records.append(await measured("keys at random", under_keys(random, at_random), IDEMPOTENCY_RANDOM))
        records.append(await measured("repeats", repeating(repeated), None))
    return records


def under_keys(room: Room[ChatRoom], key: Callable[[int], str]) -> Call:
    """Posts, each under a key that was never used."""
    lines, used = posts(), count()

    async def call(number: int) -> None:
        author, body = lines[number % POSTS]
        under: Any = room.options(key=key(next(used)))
        await under.post(author, body)

    return call


def in_order(number: int) -> str:
    """As a UUID of version 7, or a ULID: what is made later comes later."""
    return f"018f3c5a-{number:012x}"


def at_random(number: int) -> str:
    """As a UUID of version 4: each lands on another page of the index."""
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}-4"


def repeating(room: Room[ChatRoom]) -> Call:
    """Posts of which all but the first run have run already."""
    lines = posts()

    async def call(number: int) -> None:
        author, body = lines[number % POSTS]
        under: Any = room.options(key=f"repeat-{number % POSTS}")
        await under.post(author, body)

    return call
