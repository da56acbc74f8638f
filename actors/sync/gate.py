"""The gate of one activation: nothing that the outside can see leaves before everything it may have seen is durable.

Each commit is counted. A reply (a read's, an exception's, too) notes the count it may have seen and leaves when a round that
*began* at that count or later has returned. The gate counts commits, not `seq`, which a commit may leave unchanged.
A broken gate stays broken: its activation is thrown away.
"""

from collections import deque
from collections.abc import Collection
from typing import Protocol

from actors.errors import OutcomeUnknown
from actors.system.wakeup import Wakeup


class Held(Protocol):
    """Something that waits at the gate."""

    def release(self) -> None: ...
    def refuse(self, error: BaseException) -> None: ...


class Tally(Protocol):
    held: int  # that wait at the gates of all rooms


class _Untold:
    held = 0


class Gate:
    __slots__ = ("_held", "_tally", "broken", "committed", "durable")

    def __init__(self, tally: "Tally | None" = None) -> None:
        self._tally = tally or _Untold()
        self.committed = 0  # commits of this activation
        self.durable = 0  # of these, how many a returned round certifies
        self.broken: OutcomeUnknown | None = None
        self._held: deque[tuple[int, Collection[Held]]] = deque()

    @property
    def clear(self) -> bool:
        """Everything is durable and nobody waits (rule 5)."""
        return self.durable == self.committed and not self._held

    def hold(self, waiting: Collection[Held]) -> None:
        """Let `waiting` out as soon as what is committed now is durable."""
        if self.broken is not None:
            for one in waiting:
                one.refuse(self.broken)
        elif self.committed <= self.durable:
            for one in waiting:
                one.release()
        else:
            self._held.append((self.committed, waiting))
            self._tally.held += len(waiting)

    def certify(self, count: int) -> None:
        """A round that began when `count` commits were made has returned (rule 1)."""
        if count > self.durable:
            self.durable = count
        held = self._held
        while held and held[0][0] <= self.durable:
            waiting = held.popleft()[1]
            self._tally.held -= len(waiting)
            for one in waiting:
                one.release()

    def break_(self, error: OutcomeUnknown) -> None:
        """Nothing beyond `durable` will ever be certified: its outcome is unknown."""
        if self.broken is None:
            self.broken = error
        while self._held:
            waiting = self._held.popleft()[1]
            self._tally.held -= len(waiting)
            for one in waiting:
                one.refuse(self.broken)


class GateCommit:
    """The newest commit of an activation, for a follower that must wait for it (rule 26). See follower.Commit."""

    __slots__ = ("_count", "_gate")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._count = gate.committed

    async def durable(self) -> None:
        gate = self._gate
        if gate.broken is not None:  # whatever was read there may hold what no count tells of (rule 26)
            raise gate.broken
        if gate.durable >= self._count:
            return
        waiter = _Waiter()
        gate.hold((waiter,))  # holds at today's count, which is this one or later
        await waiter.wakeup.wait()
        if waiter.error is not None:
            raise waiter.error


class _Waiter:
    def __init__(self) -> None:
        self.wakeup = Wakeup()
        self.error: BaseException | None = None

    def release(self) -> None:
        self.wakeup.set()

    def refuse(self, error: BaseException) -> None:
        self.error = error
        self.wakeup.set()


class _Durable:
    async def durable(self) -> None:
        pass


DURABLE = _Durable()
"""The commit of a room that was closed in order (rule 5)."""


class _Never:
    async def durable(self) -> None:
        raise AssertionError("changes were used before their commit was known")


NEVER = _Never()
"""Stands for the commit of changes that are still being read."""
