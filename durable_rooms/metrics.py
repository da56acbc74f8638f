"""A runtime's counters for Prometheus (extra `metrics`): `REGISTRY.register(collector(runtime))`.

Everything comes from `runtime.status()` at the moment of the scrape; nothing is counted twice or kept here. Call `collector`
where the runtime was opened: inside `trio.run` or the asyncio loop, or in any thread of a plain program. What it returns may then
be collected from any thread, `prometheus_client.start_http_server`'s included, and in the runtime's own loop, too. A scrape asks
the runtime's loop and waits for it, 0.1 ms on an idle one. A loop that stands still, or has ended, is told by
`durable_rooms_up 0` after `ANSWER_SECONDS_MAX`, not by silence. In an asyncio application scrape from a thread: in its loop, a
scrape holds it.
"""

import threading
from collections.abc import Callable, Iterator, Mapping

import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PrometheusCollector

from durable_rooms.asyncio.runtime import Runtime as AsyncioRuntime
from durable_rooms.runtime import Runtime, Status
from durable_rooms.sync.runtime import Runtime as SyncRuntime
from replication import ReplicaStatus

ANSWER_SECONDS_MAX = 2.0  # of a loop that is asked; Prometheus itself gives a scrape 10 s

ROOMS_AND_CALLS = (
    ("rooms_open", "rooms in memory"),
    ("calls_waiting", "calls in mailboxes"),
    ("calls_waiting_most", "calls in the fullest mailbox"),
    ("wals_pinned", "rooms whose WAL a reader keeps from beginning anew"),
    ("full", "1 while there is too little free space to take writes"),
)
TOTALS = (
    ("rounds", "rounds of syncs"),
    ("commits", "commits of rooms"),
    ("rooms_broken", "rooms in which a sync failed"),
    ("stalls", "times that the loop stood still"),
)
OF_REPLICA = (
    ("lag_seconds", "age of the oldest change that is not in the replica"),
    ("lag_entries", "changes that are not in the replica"),
    ("lag_rooms", "rooms with changes that are not in the replica"),
    ("wal_bytes", "size of the replica's WAL"),
)
TOTALS_OF_REPLICA = (
    ("batches", "transactions of the replica"),
    ("rows", "rows written or deleted by batches"),
    ("retries", "times that the replica was opened again after a failure"),
    ("audited", "rooms that the auditor has looked at"),
)
STATES = ("starting", "live", "retrying", "hanging", "refused")
BREAKERS = ("closed", "half open", "open")


def collector(runtime: Runtime | AsyncioRuntime | SyncRuntime) -> "Collector":
    """For a runtime of any door."""
    if isinstance(runtime, Runtime):
        return Collector(runtime, trio.lowlevel.current_trio_token())
    border = runtime._border  # pyright: ignore[reportPrivateUsage] - both doors' way to the runtime's thread
    return Collector(border.runtime, border.token)


class Collector(PrometheusCollector):
    """What a registry collects from. See the module for its threads."""

    def __init__(self, runtime: Runtime, token: trio.lowlevel.TrioToken) -> None:
        self._runtime = runtime
        self._token = token

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield gauge("up", "1 while the runtime answers", [((), 0 if status is None else 1)])
        if status is not None:
            yield from of_runtime(status)
            yield from of_replicas(status)
            yield from of_reads(status)

    def describe(self) -> list[Metric]:
        """Nothing is asked when it is registered."""
        return []

    def _status(self) -> Status | None:
        if self._token is _here():
            return self._runtime.status()
        found: list[Status] = []
        answered = threading.Event()

        def answer() -> None:
            try:
                found.append(self._runtime.status())
            finally:
                answered.set()

        try:
            self._token.run_sync_soon(answer)
        except trio.RunFinishedError:
            return None
        answered.wait(ANSWER_SECONDS_MAX)
        return found[0] if found else None


def _here() -> trio.lowlevel.TrioToken | None:
    return trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None


# -- what it tells ------------------------------------------------------------------------------------------------------
Sample = tuple[tuple[str, ...], float]


def of_runtime(status: Status) -> Iterator[Metric]:
    for name, words in ROOMS_AND_CALLS:
        yield gauge(name, words, [((), float(getattr(status, name)))])
    yield gauge("free_bytes", "free space of the data directory's file system", [((), float(status.free_bytes))])
    for name, words in TOTALS:
        yield counter(name, words, [((), float(getattr(status, name)))])


def of_replicas(status: Status) -> Iterator[Metric]:
    replicas = status.replicas

    def each(value: Callable[[ReplicaStatus], float]) -> list[Sample]:
        return [((one.name,), float(value(one))) for one in replicas]

    for name, words in OF_REPLICA:
        yield gauge(f"replica_{name}", words, each(lambda one, name=name: getattr(one, name)), "replica")
    for name, words in TOTALS_OF_REPLICA:
        yield counter(f"replica_{name}", words, each(lambda one, name=name: getattr(one, name)), "replica")
    tails = [
        ((one.name, share), lag)
        for one in replicas
        for share, lag in (("0.5", one.lag_p50_seconds), ("0.99", one.lag_p99_seconds))
    ]
    yield gauge("replica_lag_tail_seconds", "from a room's commit to the replica's, lately", tails, "replica", "quantile")
    yield gauge("replica_parked_rooms", "rooms whose rows the replica refuses", each(lambda one: len(one.parked)), "replica")
    resyncs = [((one.name, reason), float(count)) for one in replicas for reason, count in one.resyncs.items()]
    yield counter("replica_resyncs", "rooms copied whole", resyncs, "replica", "reason")
    states = [((one.name, state), float(one.state == state)) for one in replicas for state in STATES]
    yield gauge("replica_state", "1 for the state that the replica is in", states, "replica", "state")


def of_reads(status: Status) -> Iterator[Metric]:
    reads = status.reads
    yield counter("reads", "reads by where they ran", one_label(reads.by_source), "source")
    yield counter("reads_routed", "reads by why they ran there", one_label(reads.by_why), "why")
    routes = reads.replicas.items()
    breakers = [((name, state), float(route.breaker == state)) for name, route in routes for state in BREAKERS]
    yield gauge("replica_breaker", "1 for the state of the breaker of reads", breakers, "replica", "state")
    yield gauge(
        "replica_reads_waiting",
        "reads that wait for a reader",
        [((name,), float(route.waiting)) for name, route in routes],
        "replica",
    )


def one_label(counts: Mapping[str, int]) -> list[Sample]:
    return [((name,), float(count)) for name, count in counts.items()]


def gauge(name: str, words: str, samples: list[Sample], *labels: str) -> Metric:
    return filled(GaugeMetricFamily(f"durable_rooms_{name}", words, labels=labels), samples)


def counter(name: str, words: str, samples: list[Sample], *labels: str) -> Metric:
    """Prometheus puts `_total` behind the name."""
    return filled(CounterMetricFamily(f"durable_rooms_{name}", words, labels=labels), samples)


def filled(family: GaugeMetricFamily | CounterMetricFamily, samples: list[Sample]) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
