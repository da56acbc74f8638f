"""What the rooms of both doors share: their name, their way to the border, their terms."""

from copy import copy
from types import EllipsisType
from typing import Any, Generic, Self, TypeVar

from actors.actor import Actor
from actors.calls.envelope import seal
from actors.calls.handlers import Handler, Handlers
from actors.names import RoomName
from actors.reads.read import Freshness
from actors.room import DEFAULT_TERMS, Reply, Terms
from durable_rooms.border.border import Border
from durable_rooms.border.crossing import Crossing

A = TypeVar("A", bound=Actor)
D = TypeVar("D")  # the door's desk


class Stub(Generic[A, D]):
    """One room as a host sees it; each door adds its own way of waiting."""

    __slots__ = ("_border", "_desk", "_handlers", "_name", "_terms", "actor", "id")

    def __init__(
        self, actor: type[A], name: RoomName, handlers: Handlers, border: Border, desk: D, terms: Terms = DEFAULT_TERMS
    ) -> None:
        self.id = name.id
        self.actor = actor
        self._name = name
        self._handlers = handlers
        self._border = border
        self._desk = desk
        self._terms = terms

    def __repr__(self) -> str:
        return f"<room {self._name}>"

    def options(
        self,
        *,
        key: str | EllipsisType | None = ...,
        timeout: float | EllipsisType | None = ...,
        fresh: Freshness | EllipsisType | None = ...,
    ) -> Self:
        """The same room with other terms; what is left out stays as it is, and None takes it back.

        Args:
          key: the call runs once; repeats under the same key get the reply of the first.
          timeout: seconds from the call to its reply. A call that has not begun by then never runs, one that runs is rolled back;
            CallTimeout and DeadlineExceeded say what became of it (`asyncio.timeout` cannot).
          fresh: how new what its @read methods see must be; see `Freshness`.
        Raises as the trio room's `options`.
        """
        other = copy(self)
        other._terms = self._terms.refined(key, timeout, fresh)
        return other

    def _sealed(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], waiter: Any) -> Crossing:
        crossing = seal(Crossing, handler, args, kwargs, self._border.runtime.limits, self._name)
        crossing.to(self.actor, self._name, self._terms, self._desk, waiter)  # pyright: ignore[reportArgumentType] - a desk of the door
        return crossing

    def _reply(self, crossing: Crossing) -> Reply[Any]:
        bookmark = self._border.runtime.bookmark(self._name, crossing.position, self._terms.witness)
        return Reply(crossing.value, crossing.position.seq, crossing.source, bookmark)
