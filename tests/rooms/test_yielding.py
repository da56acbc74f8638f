"""A busy loop lets worker threads have Python's lock, and no other loop loses time by it."""

import sys
import threading

import pytest
import trio

from actors.system.threads import WorkerThreads
from actors.system.yielding import BUSY_SECONDS_MAX, NAP_SECONDS, WANTED_SECONDS_MIN, Yielding, give_way, lock_is_wanted, yielding


class Loop:
    """What a loop does, as its instruments are told; `at_work` jobs are in threads."""

    def __init__(self, at_work: int = 1) -> None:
        self.at_work = at_work
        self.now = 0.0
        self.naps: list[float] = []
        self.instrument = Yielding(lambda: self.at_work, lambda: self.now, self.naps.append)

    def passes(self, seconds: float, *, waits: float = 0.0) -> None:
        """One round of its tasks, and a look at what is ready."""
        self.now += seconds
        self.instrument.before_io_wait(waits)
        self.now += waits
        self.instrument.after_io_wait(waits)


def test_a_loop_that_is_always_busy_naps_now_and_then() -> None:
    loop = Loop()
    for _ in range(40):
        loop.passes(BUSY_SECONDS_MAX / 8)
    assert loop.naps == [NAP_SECONDS] * 5


def test_a_loop_that_waits_by_itself_does_not_nap() -> None:
    loop = Loop()
    for _ in range(40):
        loop.passes(BUSY_SECONDS_MAX / 2, waits=0.0001)
        loop.passes(BUSY_SECONDS_MAX / 4)
    assert not loop.naps


def test_a_loop_without_anybody_in_threads_does_not_nap() -> None:
    loop = Loop(at_work=0)
    for _ in range(40):
        loop.passes(BUSY_SECONDS_MAX)
    assert not loop.naps


def test_a_loop_is_busy_that_has_not_waited_for_a_while_and_not_while_it_waits() -> None:
    loop = Loop()
    loop.passes(WANTED_SECONDS_MIN / 2)
    assert not loop.instrument.busy, "it may be that it has no processor"
    loop.passes(WANTED_SECONDS_MIN)
    assert loop.instrument.busy, "also where it has just had a nap"
    loop.instrument.before_io_wait(1.0)
    loop.now += 0.5
    assert not loop.instrument.busy
    loop.instrument.after_io_wait(1.0)
    assert not loop.instrument.busy


async def test_the_lock_is_wanted_while_a_loop_of_the_process_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    with yielding(WorkerThreads()):
        monkeypatch.setattr(Yielding, "busy", True)
        assert lock_is_wanted()
        monkeypatch.setattr(Yielding, "busy", False)
        assert not lock_is_wanted()
        monkeypatch.setattr(Yielding, "busy", True)
    assert not lock_is_wanted(), "it has ended"


def test_giving_way_lets_another_thread_have_the_lock() -> None:
    """As os.sched_yield does not, before Python 3.12."""
    start, had_it, passes = threading.Lock(), threading.Event(), 0

    def other() -> None:
        with start:
            had_it.set()

    start.acquire()
    thread = threading.Thread(target=other)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000.0)  # so that nobody else makes this thread let go of it
    try:
        start.release()
        assert not had_it.is_set()
        while not had_it.is_set() and passes < 1_000_000:
            passes += 1
            give_way()
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert passes < 1_000_000


async def test_jobs_are_counted_while_they_are_in_threads_however_they_end() -> None:
    threads, seen = WorkerThreads(), []

    def job() -> None:
        seen.append(threads.at_work)
        _ = 1 / 0

    for run in (threads.run, threads.run_apart):
        with pytest.raises(ZeroDivisionError):
            await run(job)
    assert (seen, threads.at_work) == ([1, 1], 0)


async def test_nothing_of_it_stays_on_the_loop_when_a_runtime_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[trio.abc.Instrument] = []
    add = trio.lowlevel.add_instrument

    def note(instrument: trio.abc.Instrument) -> None:
        added.append(instrument)
        add(instrument)

    monkeypatch.setattr(trio.lowlevel, "add_instrument", note)
    with yielding(WorkerThreads()):
        assert [type(one) for one in added] == [Yielding]
    with pytest.raises(KeyError):
        trio.lowlevel.remove_instrument(added[0])
