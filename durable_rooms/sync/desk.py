"""Where outcomes come out for plain threads: each waits on a lock of its own, which its outcome opens."""

import sys
from _thread import LockType, allocate_lock

from actors.system.host import host, wrong_door
from durable_rooms.border.crossing import Item


class Desk:
    def waiter(self, what: str) -> LockType:
        """Raises WrongDoor in an event loop's thread, which would stand still. But a notebook's cells block its loop anyway."""
        here = host()
        if here == "trio" or (here == "asyncio" and "ipykernel" not in sys.modules):
            raise wrong_door(what, "plain")
        waiter = allocate_lock()
        waiter.acquire()
        return waiter

    def put(self, item: Item) -> None:
        item.waiter.release()
