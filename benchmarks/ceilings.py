"""Measures: what the parts can do without the runtime: apsw in each setting that is a ceiling elsewhere, trio's wake-ups,
msgpack, and how long the disk takes to make 4 KiB durable.

Ceilings: none; these are the ceilings, and the latencies that everything durable waits for.

Not measured: a disk that lies about having written, other file systems than that of the data directory.
"""

from itertools import cycle
from time import perf_counter

import msgpack

from benchmarks import bare_sqlite, bare_trio
from benchmarks.bare_disk import sync_latencies
from benchmarks.harness import Bench, percentile
from benchmarks.machine import need_descriptors
from benchmarks.records import Record
from benchmarks.workload import ROWS_PER_TRANSACTION, posts

NAME = "ceilings"


async def run(bench: Bench) -> list[Record]:
    return [*_sqlite(bench), *await _trio(bench), *_msgpack(bench), *_disk(bench)]


def _record(case: str, value: float, unit: str, *, lower_is_better: bool = False) -> Record:
    return Record(benchmark=NAME, case=case, value=value, unit=unit, lower_is_better=lower_is_better)


def _sqlite(bench: Bench) -> list[Record]:
    size, place = bench.size, bench.place("bare")
    need_descriptors(4 * size.many_rooms + 256)
    records: list[Record] = []
    settings: list[tuple[bare_sqlite.Synchronous, int]] = [("OFF", ROWS_PER_TRANSACTION), ("FULL", 1)]
    for synchronous, rows in settings:
        case = f"apsw {synchronous}, {rows} row{'s' if rows > 1 else ''} a transaction"
        bench.progress.case(NAME, case)
        connection = bare_sqlite.connect(place / f"{synchronous}.db", synchronous)
        records.append(_record(case, bare_sqlite.insert_batches(connection, size.ceiling_seconds, rows), "rows/s"))
        bare_sqlite.close([connection])
    for files in (size.some_rooms, size.many_rooms):
        case = f"apsw NORMAL, 1 row a transaction, {files:,} files"
        bench.progress.case(NAME, case)
        connections = bare_sqlite.connect_many(bench.place(f"files-{files}"), files)
        records.append(_record(case, bare_sqlite.insert_round_robin(connections, size.ceiling_seconds), "rows/s"))
        bare_sqlite.close(connections)
    case = f"apsw, {size.history_limit} rows to dicts and msgpack"
    bench.progress.case(NAME, case)
    connection = bare_sqlite.connect(place / "history.db", "NORMAL")
    bare_sqlite.fill(connection, size.history_rows)
    records.append(_record(case, bare_sqlite.read_history(connection, size.ceiling_seconds, size.history_limit), "reads/s"))
    bare_sqlite.close([connection])
    return records


async def _trio(bench: Bench) -> list[Record]:
    records: list[Record] = []
    for callers in (1, bench.size.ping_callers):
        case = f"trio, {callers} task{'s' if callers > 1 else ''} and a server"
        bench.progress.case(NAME, case)
        records.append(_record(case, await bare_trio.round_trips(callers, bench.size.ceiling_seconds), "round trips/s"))
    return records


def _msgpack(bench: Bench) -> list[Record]:
    case = "msgpack, a post packed and unpacked"
    bench.progress.case(NAME, case)
    return [_record(case, _pack_posts(bench.size.ceiling_seconds), "posts/s")]


def _disk(bench: Bench) -> list[Record]:
    bench.progress.case(NAME, "syncs")
    records: list[Record] = []
    for name, latencies in sync_latencies(bench.place("disk"), bench.size.sync_samples).items():
        for percent in (50, 99):
            case = f"{name} of a 4 KiB write, p{percent}"
            records.append(_record(case, percentile(latencies, percent) * 1e3, "ms", lower_is_better=True))
    return records


def _pack_posts(seconds: float) -> float:
    """Posts per second that msgpack packs and unpacks."""
    lines = cycle(posts())
    pack, unpack = msgpack.Packer().pack, msgpack.unpackb
    count = 0
    begin = perf_counter()
    while (now := perf_counter()) - begin < seconds:
        for _ in range(100):
            author, body = next(lines)
            unpack(pack(["post", [author, body], {}]))
        count += 100
    return count / (now - begin)
