"""Jobs that stop half-way: at holds, at slow places, where the seed says; and never at the same time as the loop."""

import threading
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from durable_rooms.simulation.schedule import run_seeded
from durable_rooms.simulation.threads import Slow, SteppedThreads


@pytest.fixture
def threads():
    made = SteppedThreads()
    yield made
    made.end()


def job(threads, done, *kinds):
    for kind in kinds:
        done.append(kind)
        threads.point(kind, "rooms/a")
    return threading.current_thread()


async def test_a_job_without_stops_is_done_in_a_thread_before_anybody_else_runs(threads, autojump_clock):
    done = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, job, threads, done, "sync began", "sync returned")
        nursery.start_soon(threads.run, job, threads, done, "open")
    assert done in (["sync began", "sync returned", "open"], ["open", "sync began", "sync returned"])
    assert await threads.run(job, threads, done) is not threading.current_thread()


async def test_a_held_job_stops_at_its_place_lets_the_loop_go_on_and_finishes_when_released(threads, autojump_clock):
    done = []
    hold = threads.hold("sync began", "rooms/*")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, job, threads, done, "write", "sync began", "sync returned")
        await hold.reached.wait()
        await trio.sleep(3_600)
        assert done == ["write", "sync began"]
        assert threads.under_way == 1
        await threads.run(job, threads, [], "sync began")  # a hold takes one job
        hold.release()
    assert done == ["write", "sync began", "sync returned"]
    assert threads.under_way == 0


async def test_a_hold_is_for_its_kind_and_path(threads, autojump_clock):
    for kind, pattern in (("sync returned", "*"), ("sync began", "replica*")):
        hold = threads.hold(kind, pattern)
        await threads.run(job, threads, [], "sync began")
        assert not hold.reached.is_set()


async def test_release_all_frees_whoever_waits(threads, autojump_clock):
    async with trio.open_nursery() as nursery:
        for kind in ("write", "sync began"):
            threads.hold(kind)
            nursery.start_soon(threads.run, job, threads, [], kind)
        await wait_all_tasks_blocked()
        assert threads.under_way == 2
        threads.release_all()
    assert threads.under_way == 0


async def test_a_slow_place_takes_its_virtual_time_so_many_times(threads, autojump_clock):
    slow = Slow("sync began", "rooms/*", 2.0, times=2)
    threads.slow.append(slow)
    began = trio.current_time()
    for _ in range(3):
        await threads.run(job, threads, [], "sync began", "write")
    assert trio.current_time() - began == 4.0
    assert slow.struck == 2


async def test_a_job_that_has_begun_finishes_though_its_caller_was_cancelled(threads, autojump_clock):
    done = []
    hold = threads.hold("sync began")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, job, threads, done, "sync began", "sync returned")
        await hold.reached.wait()
        nursery.cancel_scope.cancel()
        hold.release()
    assert done == ["sync began", "sync returned"]
    assert threads.under_way == 0


async def test_what_a_job_raises_its_caller_gets_and_the_thread_serves_the_next(threads, autojump_clock):
    def fails():
        raise OSError("of the job")

    with pytest.raises(OSError, match="of the job"):
        await threads.run(fails)
    assert threads.under_way == 0
    first = await threads.run_brief(threading.current_thread)
    assert await threads.run(threading.current_thread) is first


async def test_loop_and_jobs_never_run_at_once(autojump_clock):
    threads = SteppedThreads(Random(1))
    inside = []
    overlaps = []

    def busy(name):
        for _ in range(50):
            inside.append(name)
            overlaps.append(len(inside))
            inside.pop()
            threads.point("write", "rooms/a")

    async def loop():
        for _ in range(500):
            overlaps.append(len(inside) + 1)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in ("one", "two"):
            nursery.start_soon(threads.run, busy, name)
        nursery.start_soon(loop)
    assert set(overlaps) == {1}
    threads.end()


def stops_of(seed):
    """How jobs of a seed interleave with the loop."""
    threads = SteppedThreads(Random(seed))
    order = []

    async def main():
        async def loop():
            for _ in range(60):  # not until the job is over: virtual time stands while anybody is busy
                order.append("loop")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.run, job, threads, order, *(["write"] * 20))
            nursery.start_soon(loop)

    run_seeded(str(seed), main)
    threads.end()
    return order


def test_a_seed_decides_where_jobs_stop():
    assert stops_of(1) == stops_of(1)
    assert len({tuple(stops_of(seed)) for seed in range(10)}) > 5


def test_at_the_end_no_thread_is_left():
    before = threading.active_count()
    threads = SteppedThreads()

    async def main():
        async with trio.open_nursery() as nursery:
            hold = threads.hold("write")
            nursery.start_soon(threads.run, job, threads, [], "write")
            nursery.start_soon(threads.run, job, threads, [], "open")
            await hold.reached.wait()
            hold.release()

    trio.run(main)
    assert threading.active_count() > before
    threads.end()
    assert threading.active_count() == before
