"""The line itself: many threads hand items over, the runtime's thread takes them in batches, one wake-up for each batch."""

import os
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio

from actors.errors import Overloaded, RuntimeClosed
from durable_rooms.border.crossing import Item
from durable_rooms.runtime import Runtime

INBOX_ITEMS_MAX = 65_536
"""Items that may wait at the border while the runtime's loop stands still; 64 full mailboxes, taken over in 0.1 s."""

FORKED = (
    "this process was forked from the one that opened the runtime, and the runtime stayed behind there: open it after the fork"
)


class Border:
    def __init__(self) -> None:
        self.runtime: Runtime
        self.nursery: trio.Nursery | None = None
        self.under_way: set[Item] = set()
        self.over = ""  # why nothing crosses any more
        self._inbox: deque[Item] = deque()
        self._told = False  # the runtime's thread will look into the inbox
        self._token: trio.lowlevel.TrioToken
        _alive.add(self)

    def open(self, runtime: Runtime, nursery: trio.Nursery) -> None:
        """In the runtime's thread, before anybody sends."""
        self._token = trio.lowlevel.current_trio_token()
        self.nursery = nursery
        self.runtime = runtime

    @property
    def forked(self) -> bool:
        return self.over == FORKED

    @property
    def token(self) -> trio.lowlevel.TrioToken:
        """Of the runtime's loop."""
        return self._token

    @property
    def opened(self) -> bool:
        return hasattr(self, "runtime")

    # -- from any thread --------------------------------------------------------------------------------------------------
    def check(self, what: str) -> None:
        """Raises RuntimeClosed where nothing crosses any more."""
        if self.over:
            raise RuntimeClosed(f"{what}: {self.over}. Nothing ran.", room=what)

    def send(self, item: Item) -> None:
        """Hand an item over; its outcome comes to its desk, whatever happens.

        Raises:
          Overloaded: the runtime's loop stands still and too many items wait.
        """
        if len(self._inbox) >= INBOX_ITEMS_MAX:
            raise Overloaded(f"{len(self._inbox)} calls wait at the border; INBOX_ITEMS_MAX is {INBOX_ITEMS_MAX}. Nothing ran.")
        try:
            self._hand_over(item)
        except BaseException:  # Ctrl-C in a main thread that blocks: the caller leaves, and it may be on its way already
            self.abandon(item)
            raise
        if self.over:  # it ended between the caller's check and our append, and may not have seen this item
            self._turn_away_waiting()

    def tell(self, what: Callable[[], object]) -> None:
        """Let the runtime's thread call `what` soon, if there still is one."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(what)

    def abandon(self, item: Item) -> None:
        """Nobody waits for it any more. A call that has not begun by now never runs."""
        item.abandoned = True
        if not self.over:
            self._hand_over(item)  # a second time: to be forgotten

    def _hand_over(self, item: Item) -> None:
        self._inbox.append(item)
        if not self._told:
            self._told = True
            try:
                self.tell(self._take)
            except BaseException:  # Ctrl-C in the middle of it: else nobody would ever tell again
                self._told = False
                raise

    # -- in the runtime's thread ------------------------------------------------------------------------------------------
    def _take(self) -> None:
        self._told = False  # first: what comes from now on tells again
        inbox = self._inbox
        while inbox:
            inbox.popleft().begin(self)

    def close(self, why: str) -> None:
        """The loop has ended: whoever still waits is told, and nobody can come to wait."""
        self.over = why
        under_way, self.under_way = self.under_way, set()
        for item in under_way:
            item.turn_away(why)
        self._turn_away_waiting()

    def _turn_away_waiting(self) -> None:
        """From several threads at once, perhaps: each item is popped by one of them."""
        while True:
            try:
                item = self._inbox.popleft()
            except IndexError:
                return
            if not item.abandoned:
                item.turn_away(self.over)


_alive: weakref.WeakSet[Border] = weakref.WeakSet()


def _forked() -> None:
    """In a child: the runtime's thread is not here, and never will be."""
    for border in _alive:
        border.over = FORKED


os.register_at_fork(after_in_child=_forked)
