"""A busy loop lets worker threads have Python's lock, and no other loop loses time by it."""

import pytest
import trio

from actors.system.threads import WorkerThreads
from actors.system.yielding import BUSY_SECONDS_MAX, NAP_SECONDS, Yielding, yielding


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
