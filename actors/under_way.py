"""Reads under way in a runtime: a stop waits for them, and at its bound cuts them wherever they wait."""

from collections.abc import Generator
from contextlib import contextmanager

import trio


class UnderWay:
    """They wait for a reader of a replica, for a write to arrive there, for their room to open, or at its gate."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._over = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._scopes)

    @contextmanager
    def one(self) -> Generator[None]:
        """Around a read; what follows is reached only by one that was cut."""
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.discard(scope)
            if not self._scopes:
                self._over.unpark_all()

    def cut(self) -> int:
        """Returns how many there were."""
        for scope in self._scopes:
            scope.cancel()
        return len(self._scopes)

    async def until_none(self) -> None:
        while self._scopes:
            await self._over.park()
