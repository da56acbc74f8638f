"""The readers of one replica: brief reads on the loop, all others in a few worker threads.

Each of those is a task with a connection of its own. It takes what waits into a thread, reads one after another for at most a
millisecond or one heavy query, and comes back: a hop serves many.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import apsw
import trio

from actors import Overloaded, RuntimeClosed, Threads
from actors.system.threads import BRIEF_SECONDS_MAX, Brevity
from actors.system.wakeup import Wakeup

READERS = 2  # per replica: as many heavy queries at once as a small machine has processors
HERE_SECONDS_MAX = 2 * BRIEF_SECONDS_MAX  # of a read on the loop, where every room waits; then it is done again in a thread
BATCH_SECONDS = 0.001  # then a reader delivers what it has; a read of 50 rows takes 0.1 ms
BATCH_READS_MAX = 32  # the same where the clock stands still
WAITING_READS_MAX = 4_096  # 0.4 s of work; more would only age in the queue

ANSWER_SECONDS_MAX = 5.0  # statements end within statement_seconds_max, so a reader that is silent for so long hangs
LOOK_SECONDS = 1.0  # between two looks for reads that wait for longer: a timer for each would cost a tenth of a read

R = TypeVar("R")


class NoAnswer(Exception):
    """The readers were silent for ANSWER_SECONDS_MAX: the file system hangs."""


class Connection(Protocol):
    """What a reader reads with: blocks, used by one thread at a time."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Connection)


class _Read(Generic[C]):
    __slots__ = ("abandoned", "batches", "done", "error", "since", "value", "what")

    def __init__(self, what: Callable[[C], Any], since: float, batches: int) -> None:
        self.what = what
        self.since = since
        self.batches = batches  # that the readers had delivered then
        self.value: Any = None
        self.error: BaseException | None = None
        self.abandoned = False
        self.done = Wakeup()

    def run(self, connection: C) -> None:
        try:
            self.value = self.what(connection)
        except BaseException as error:  # each is its caller's, also a SystemExit: those read beside it want their answers
            self.error = error


class Readers(Generic[C]):
    def __init__(
        self,
        connect: Callable[[], C],
        threads: Threads,
        stopwatch: Callable[[], float],
        count: int = READERS,
        connect_here: Callable[[], C] | None = None,
    ) -> None:
        """`connect_here`: what to read with on the loop; it interrupts a read after HERE_SECONDS_MAX."""
        self._connect_here = connect_here
        self._here: C | None = None
        self._interrupted: set[Hashable] = set()  # kinds whose last read `here` was, and has not been asked for again
        self._brevities = defaultdict[Hashable, Brevity](lambda: Brevity(forgiving=True))
        self._connect = connect
        self._threads = threads
        self._stopwatch = stopwatch
        self._count = count
        self._waiting: deque[_Read[C]] = deque()
        self._asked: dict[_Read[C], None] = {}  # without an answer yet, the oldest first
        self._calm = trio.lowlevel.ParkingLot()  # until somebody asks
        self._idle = trio.lowlevel.ParkingLot()
        self._ended = False
        self._batches = 0  # delivered

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def run(self) -> None:
        """Read until cancelled; who waits then is told."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look_for_silence)
                for _ in range(self._count):
                    nursery.start_soon(self._read)
        finally:
            if self._here is not None:
                self._here.close()
            for read in [read for read in self._asked if not read.abandoned]:
                read.abandoned, read.error = True, _closed()
                read.done.set()

    async def ask(self, what: Callable[[C], R], kind: Hashable = None) -> R:
        """Let one of the readers do it, in a thread; or do it `here`. Cancelled, it may still be done. Who asks has had its
        checkpoint.

        Raises:
          What it raises; Overloaded, RuntimeClosed: nothing ran. NoAnswer.
        """
        if self._ended:
            raise _closed()
        if kind is not None and self._connect_here is not None:
            brevity = self._brevities[kind]
            if kind in self._interrupted:  # this very read, a moment ago
                self._interrupted.discard(kind)
            elif brevity.on_loop():
                try:
                    return self._do_here(what, brevity)
                except apsw.InterruptError:
                    pass
        return await self._ask_thread(what)

    def here(self, what: Callable[[C], R], kind: Hashable) -> R | None:
        """Do it at once, on the loop; None: that is not for now. Only while reads of its `kind` are brief: what takes longer is
        interrupted, and `ask` takes it to a thread. Raises what it raises."""
        if self._ended or self._connect_here is None or self._brevities[kind].hops_left:
            return None
        try:
            return self._do_here(what, self._brevities[kind])
        except apsw.InterruptError:
            self._interrupted.add(kind)
            return None

    def _do_here(self, what: Callable[[C], R], brevity: Brevity) -> R:
        began = self._stopwatch()
        try:
            if self._here is None:
                assert self._connect_here is not None, "somebody asked whether it may be done here"
                self._here = self._connect_here()
            return what(self._here)
        finally:
            brevity.took(self._stopwatch() - began)

    async def _ask_thread(self, what: Callable[[C], R]) -> R:
        if len(self._waiting) >= WAITING_READS_MAX:
            raise Overloaded(f"{WAITING_READS_MAX:,} reads wait for the replica's readers. Nothing ran; try again, or shed load.")
        read = _Read(what, trio.current_time(), self._batches)
        self._waiting.append(read)
        self._asked[read] = None
        self._idle.unpark()
        if len(self._asked) == 1:
            self._calm.unpark_all()
        try:
            await read.done.wait()
        except BaseException:
            read.abandoned = True
            raise
        finally:
            del self._asked[read]
        if read.error is not None:
            raise read.error
        return read.value

    async def _look_for_silence(self) -> None:
        while True:
            while not self._asked:
                await self._calm.park()
            await trio.sleep(LOOK_SECONDS)
            latest = trio.current_time() - ANSWER_SECONDS_MAX
            for read in [read for read in self._asked if read.since <= latest and not read.abandoned]:
                read.abandoned, read.error = True, self._silence(read)
                read.done.set()

    def _silence(self, read: _Read[C]) -> Exception:
        """Why a read has no answer: only readers that never came back meanwhile say something about the replica."""
        if self._batches == read.batches:
            return NoAnswer(f"no answer within {ANSWER_SECONDS_MAX:g} s")
        return Overloaded(
            f"a read waited {ANSWER_SECONDS_MAX:g} s for the replica's busy readers. Nothing was written; ask again."
        )

    async def _read(self) -> None:
        connection = self._connect()
        at_work = False
        try:
            while True:
                while not self._waiting:
                    await self._idle.park()
                at_work = True
                done = await self._threads.run_apart(self._batch, connection)
                at_work = False
                self._batches += 1
                for read in done:
                    if not read.abandoned:
                        read.done.set()
        finally:
            self._ended = True
            if not at_work:  # else its thread closes it, should it ever come back
                with trio.CancelScope(shield=True):
                    await self._threads.run(connection.close)

    def _batch(self, connection: C) -> list[_Read[C]]:
        """In a thread, beside the other readers' and the loop that goes on adding."""
        done: list[_Read[C]] = []
        until = self._stopwatch() + BATCH_SECONDS
        while len(done) < BATCH_READS_MAX:
            try:
                read = self._waiting.popleft()
            except IndexError:
                break
            if read.abandoned:
                continue
            read.run(connection)
            done.append(read)
            if self._stopwatch() >= until:
                break
        if self._ended:
            connection.close()
        return done


def _closed() -> RuntimeClosed:
    return RuntimeClosed("the runtime is stopping or has stopped. Nothing ran.")
