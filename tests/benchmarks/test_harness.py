"""The arithmetic of measuring: medians, percentiles, turns, loops. Nothing here depends on how fast the machine is."""

import math
from io import StringIO
from random import Random

import pytest
import trio

from benchmarks.bare_trio import round_trips
from benchmarks.callers import closed_loop, open_loop
from benchmarks.harness import Bench, Measured, beside, middle, percentile
from benchmarks.progress import Progress
from benchmarks.sizes import TINY
from benchmarks.workload import posts, rows


@pytest.fixture
def bench(tmp_path):
    return Bench(TINY, tmp_path, Progress(StringIO()))


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 5), (90, 9), (99, 10), (100, 10)])
def test_percentile_is_a_value_that_was_seen(percent, value):
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_percentile_of_nothing_is_no_number():
    assert math.isnan(percentile([], 99))


def test_middle_keeps_a_figure_and_its_ceiling_together():
    assert middle([Measured(50, 100), Measured(90, 100), Measured(10, 12)]) == Measured(10, 12)
    assert middle([Measured(90, 100), Measured(50, 100)]) == Measured(50, 100)


async def test_figure_and_ceiling_are_measured_in_turns(bench):
    calls = []

    async def figure():
        calls.append("figure")
        return 30.0

    async def ceiling():
        calls.append("ceiling")
        return 100.0 * len(calls)

    async def settle():
        calls.append("settle")

    assert await beside(bench, figure, ceiling, settle) == Measured(30.0, (200 + 500) / 2)
    assert calls == ["settle", "ceiling", "figure", "settle", "ceiling"]


async def test_closed_loop_counts_every_call_and_no_caller_overtakes_itself():
    running = set()

    def caller(name):
        async def call(_number):
            assert name not in running
            running.add(name)
            await trio.sleep(0.001)
            running.remove(name)

        return call

    load = await closed_loop([caller(name) for name in range(5)], 0.02)
    assert load.calls == len(load.latencies) >= 5
    assert load.per_second == load.calls / load.seconds


async def test_open_loop_does_not_wait_for_replies():
    most = running = 0

    async def call(_number):
        nonlocal most, running
        running += 1
        most = max(most, running)
        await trio.sleep(0.05)
        running -= 1

    load = await open_loop(call, 400, 0.1, Random(1))
    assert most > 1
    assert load.calls == len(load.latencies) > 10
    assert min(load.latencies) >= 0.05


@pytest.mark.parametrize("callers", [1, 7])
async def test_bare_tasks_all_get_their_turn_and_end(callers):
    assert await round_trips(callers, 0.01) > 0


def test_the_workload_is_seeded_and_of_the_size_it_says():
    assert posts() == posts(1)
    assert posts(2) != posts(1)
    assert 110 <= sum(len(post.body) for post in posts()) / len(posts()) <= 130
    assert [row[0] for row in rows(3, first_id=5)] == [5, 6, 7]


def test_progress_off_a_terminal_is_one_line_a_case():
    out = StringIO()
    progress = Progress(out)
    progress.case("ping", "1 caller")
    progress.step("1 of 3")
    progress.done()
    assert out.getvalue() == "measuring ping · 1 caller\n"


def test_long_work_is_a_plain_line_now_and_then(monkeypatch):
    clock = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr("benchmarks.progress.monotonic", lambda: next(clock))
    out = StringIO()
    progress = Progress(out)
    progress.case("soak", "600 s")
    for done in (0.1, 0.2, 0.3):
        progress.share("500 calls/s", done)
    assert out.getvalue() == "measuring soak · 600 s\n  soak · 600 s ·  20% 500 calls/s\n"


def test_long_work_is_a_bar_on_a_terminal():
    class Terminal(StringIO):
        def isatty(self):
            return True

    out = Terminal()
    progress = Progress(out)
    progress.share("500 calls/s", 1.0)
    assert "100% 500 calls/s" in out.getvalue()
    assert "\n" not in out.getvalue()
