"""Where outcomes come out in asyncio: collected, and handed to their futures by one callback of the loop for each batch."""

import asyncio
from collections import deque
from typing import Any

from actors.system.host import wrong_door
from durable_rooms.border.crossing import Item


class Desk:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outbox: deque[Item] = deque()
        self._told = False  # the loop will look into the outbox
        self._closed = False

    # -- in the loop's thread ---------------------------------------------------------------------------------------------
    def waiter(self, what: str) -> asyncio.Future[None]:
        """Raises WrongDoor outside the loop that opened the runtime."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            raise wrong_door(what, "asyncio") from None
        if here is not self._loop:
            raise wrong_door(what, "asyncio")
        return here.create_future()

    def _deliver(self) -> None:
        self._told = False  # first: what comes from now on tells again
        outbox = self._outbox
        while outbox:
            waiter: asyncio.Future[None] = outbox.popleft().waiter
            if not waiter.done():
                waiter.set_result(None)  # an error is raised by whoever waits: a future could not carry every one

    # -- in the runtime's thread ------------------------------------------------------------------------------------------
    def put(self, item: Item) -> None:
        if self._closed:
            return
        self._outbox.append(item)
        if not self._told:
            self._told = True
            self.tell(self._deliver)

    def tell(self, what: Any) -> None:
        """Let the loop call `what` soon. A loop that was closed underneath has nobody left who waits."""
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            self._closed = True
            self._outbox.clear()

    def loop_closed(self) -> bool:
        return self._loop.is_closed()
