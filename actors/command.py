"""`@command(…)`: how a handler is to be run, where it is not as any other. Plain methods need no mark."""

import math
from collections.abc import Callable
from inspect import iscoroutinefunction, isfunction
from typing import ParamSpec, TypeVar

from actors.calls.handlers import MANNER, Manner

P = ParamSpec("P")
R = TypeVar("R")


def command(
    *, offload: bool = False, control: bool = False, timeout: float | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Options of a command.

    Args:
      offload: run it in a worker thread, still one at a time in its room: slow SQL of this room then does not hold up others.
        A hop costs 0.2 ms. It is for SQL: what it does in Python shares Python's lock with the loop, and Python that never ends
        cannot be interrupted.
      control: it comes before the other commands that wait for its room, and has a bound of its own (`control_calls_max`), so
        that it gets through when the room is full: moderation. In order among themselves; the others still get one place in nine.
      timeout: seconds from its beginning, after which it is interrupted where it runs SQL, and what it wrote is rolled back
        (DeadlineExceeded). At most `offload_seconds_max` for an offloaded one.
    """
    if timeout is not None and not (type(timeout) in (int, float) and math.isfinite(timeout) and timeout > 0):
        raise ValueError(f"a timeout is seconds greater than zero, not {timeout!r}")

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        if not isfunction(method):
            raise TypeError(f"@command marks a method, and {method!r} is none")
        if offload and iscoroutinefunction(method):
            raise TypeError(
                f"{method.__name__}: offload=True runs a plain `def` method in a thread; an async one waits by itself"
            )
        vars(method)[MANNER] = Manner(offload, control, math.inf if timeout is None else float(timeout))
        return method

    return mark
