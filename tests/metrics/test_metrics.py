"""What Prometheus scrapes is what the runtime says of itself, by whatever door and from whatever thread."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

import durable_rooms.asyncio
import durable_rooms.metrics
import durable_rooms.sync
from durable_rooms import SQLiteReplica
from durable_rooms.metrics import collector
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def registry_of(runtime: object) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector(runtime))  # pyright: ignore[reportArgumentType]
    return registry


def parsed(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def scraped(registry: CollectorRegistry) -> Samples:
    return parsed(generate_latest(registry).decode())


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"durable_rooms_{name}", tuple(sorted(labels.items()))]


async def in_a_thread(registry: CollectorRegistry) -> Samples:
    return await trio.to_thread.run_sync(scraped, registry)


@pytest.mark.parametrize("scrape", [in_a_thread, None], ids=["in a thread", "in the runtime's loop"])
async def test_a_scrape_tells_rooms_replica_and_reads(tmp_path: Path, scrape: Callable[..., object] | None) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica(name="near")]) as runtime:
        registry = registry_of(runtime)
        for number in range(3):
            await runtime.room(ChatRoom, f"{number}").post("hello")
        await runtime.replicated()
        samples: Samples = scraped(registry) if scrape is None else await scrape(registry)  # pyright: ignore[reportGeneralTypeIssues]
        status = runtime.status()
    replica = status.replicas[0]
    assert value(samples, "up") == 1
    assert value(samples, "rooms_open") == 3
    assert value(samples, "commits_total") == status.commits > 0
    assert value(samples, "rounds_total") == status.rounds
    assert value(samples, "calls_waiting") == 0
    assert value(samples, "replica_lag_seconds", replica="near") == 0
    assert value(samples, "replica_batches_total", replica="near") == replica.batches > 0
    assert value(samples, "replica_rows_total", replica="near") == replica.rows == 3
    assert value(samples, "replica_retries_total", replica="near") == 0
    assert value(samples, "replica_state", replica="near", state="live") == 1
    assert value(samples, "replica_state", replica="near", state="hanging") == 0
    assert value(samples, "replica_breaker", replica="near", state="closed") == 1
    assert value(samples, "replica_lag_tail_seconds", replica="near", quantile="0.99") == replica.lag_p99_seconds


async def test_resyncs_are_told_by_reason(tmp_path: Path) -> None:
    async with open_test_runtime(ChatRoom, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        registry = registry_of(runtime)
        await runtime.room(ChatRoom, "general").post("hello")
        await runtime.replicated()
        (replicator,) = runtime.replicators
        await replicator.recopy(runtime.catalog.page("ChatRoom")[0].name, "repair")
        assert value(scraped(registry), "replica_resyncs_total", replica="replica", reason="repair") == 1


def test_a_loop_that_does_not_answer_or_has_ended_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_rooms.metrics, "ANSWER_SECONDS_MAX", 0.05)
    with durable_rooms.sync.open_runtime(tmp_path, [ChatRoom]) as runtime:
        registry = registry_of(runtime)
        stands, goes_on = threading.Event(), threading.Event()

        def stand_still() -> None:
            stands.set()
            goes_on.wait()

        runtime._border.tell(stand_still)
        stands.wait()
        try:
            assert scraped(registry) == {("durable_rooms_up", ()): 0.0}
        finally:
            goes_on.set()
    assert scraped(registry) == {("durable_rooms_up", ()): 0.0}


def test_the_plain_door_is_scraped_over_http(tmp_path: Path) -> None:
    with durable_rooms.sync.open_runtime(tmp_path, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        runtime.room(ChatRoom, "general").post("hello")
        server, thread = start_http_server(0, "127.0.0.1", registry_of(runtime))
        try:
            with urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as reply:
                samples = parsed(reply.read().decode())
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    assert value(samples, "up") == 1
    assert value(samples, "rooms_open") == 1


def test_the_asyncio_door_is_scraped_from_its_loop_and_from_a_thread(tmp_path: Path) -> None:
    async def main() -> list[Samples]:
        async with durable_rooms.asyncio.open_runtime(tmp_path, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
            await runtime.room(ChatRoom, "general").post("hello")
            registry = registry_of(runtime)
            return [scraped(registry), await asyncio.to_thread(scraped, registry)]

    for samples in asyncio.run(main()):
        assert value(samples, "up") == 1
        assert value(samples, "rooms_open") == 1
