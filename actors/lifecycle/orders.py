"""Orders: what is done to a room from outside, by its seat's own task and while the room is out of memory: no turn, no follower
and no other order is at work on it then.

    evict    what has begun ends, then the room leaves memory; queued calls open it again
    abort    as at once as may be: async handlers are cut short, queued calls refused; what was committed becomes durable as ever
    delete   the same, then its tombstone and its files (`deletion`)
    load     the same, then another file in its place (`loading`)

Whoever gave an order and leaves does not undo it.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from actors.errors import RoomsError
from actors.system.wakeup import Wakeup

T = TypeVar("T")


class Stay(Protocol):
    """What an order needs of an activation."""

    def leave(self, *, hurried: bool = False) -> None: ...
    def cut(self, why: str, refusal: RoomsError | None) -> None: ...


class Order(Generic[T]):
    """One order. `cut` is "" for one that lets calls under way end; `refusal`: what calls are told that have not begun."""

    def __init__(self, work: Callable[[], Awaitable[T]], *, cut: str = "", refusal: RoomsError | None = None) -> None:
        self._work = work
        self._cut = cut
        self.refusal = refusal
        self._done = Wakeup()
        self._value: T
        self._error: BaseException | None = None

    def stop(self, stay: Stay) -> None:
        """Let the room leave memory."""
        if self._cut:
            stay.cut(self._cut, self.refusal)
        else:
            stay.leave()

    async def carry_out(self) -> None:
        """By the seat's task. Never raises what is the caller's."""
        try:
            self._value = await self._work()
        except Exception as error:
            self._error = error
        self._done.set()

    def fail(self, error: RoomsError) -> None:
        """The runtime has ended before it was done."""
        self._error = error
        self._done.set()

    async def done(self) -> T:
        """Wait for it; raises what went wrong. Cancellable: it is carried out all the same."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class Orders:
    """Those of one seat, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Order[object]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, order: "Order[object]") -> None:
        self._waiting.append(order)

    def stop(self, stay: Stay) -> None:
        """The room has just been opened: it leaves again."""
        for order in self._waiting:
            order.stop(stay)

    async def carry_out(self) -> None:
        """All of them."""
        while self._waiting:
            await self._waiting[0].carry_out()
            self._waiting.popleft()

    def fail(self, error: RoomsError) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)
