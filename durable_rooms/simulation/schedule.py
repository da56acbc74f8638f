"""One seed decides everything: the order of tasks, virtual time, SQLite's own randomness."""

import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import apsw
import trio
from trio.testing import MockClock

from durable_rooms.simulation.standstill import Standstill

T = TypeVar("T")


def _unheard() -> None:
    """Nobody ends it: the run itself does, a little later."""


def run_seeded(
    seed: str,
    function: Callable[..., Awaitable[T]],
    *args: Any,
    clock: MockClock | None = None,
    stands_still: Callable[[], None] = _unheard,
) -> T:
    """`trio.run` with virtual time that jumps when nobody is runnable, in an order of tasks that depends on the seed alone.

    `stands_still`: called where virtual time does not go on although the loop does; it is to end what is at work.
    """
    clock = clock or MockClock(autojump_threshold=0)
    standstill = Standstill(clock, stands_still)
    with _seeded(seed):
        try:
            return trio.run(function, *args, clock=clock, instruments=[standstill])
        finally:
            standstill.over()


def reseed(seed: str) -> None:
    """Inside such a run, while nothing else is in it: from here on this seed decides. A run of its own costs 0.7 ms."""
    _scheduler._r.seed(seed)
    _Randomness.chance = random.Random(f"sqlite {seed}")
    apsw.randomness(0)  # SQLite asks for a new seed at its next need


# trio's own switch, made for Hypothesis: tasks that are runnable at once are sorted, then shuffled by `_r`.
_scheduler: Any = trio._core._run  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownVariableType]


@contextmanager
def _seeded(seed: str) -> Generator[None]:
    scheduler = _scheduler
    if not (hasattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING") and hasattr(scheduler, "_r")):
        raise RuntimeError(
            f"trio {trio.__version__} has lost its private switch for a repeatable order of tasks"
            " (_ALLOW_DETERMINISTIC_SCHEDULING and _r in trio._core._run), so a seed would decide nothing;"
            " simulate with an earlier trio"
        )
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    randomness = _Randomness()
    reseed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before
        randomness.unregister()
        apsw.randomness(0)


class _Randomness(apsw.VFS):
    """The default VFS, from which SQLite takes the seed of its one generator (the salts of WALs come from there)."""

    chance = random.Random()  # of the run: there is one at a time

    def __init__(self) -> None:
        super().__init__("seeded randomness", "", makedefault=True)

    def xRandomness(self, numbytes: int) -> bytes:
        return self.chance.randbytes(numbytes)
