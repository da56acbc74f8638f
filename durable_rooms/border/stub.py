"""What the rooms of both doors share: their name, their way to the border, their terms."""

from typing import Generic, Self, TypeVar

from actors.actor import Actor
from actors.handlers import Handlers
from actors.names import RoomName
from durable_rooms.border.border import Border
from durable_rooms.border.crossing import checked

A = TypeVar("A", bound=Actor)
D = TypeVar("D")  # the door's desk


class Stub(Generic[A, D]):
    """One room as a host sees it; each door adds its own way of waiting."""

    __slots__ = ("_border", "_desk", "_handlers", "_name", "_timeout", "actor", "id")

    def __init__(
        self, actor: type[A], name: RoomName, handlers: Handlers, border: Border, desk: D, timeout: float | None = None
    ) -> None:
        self.id = name.id
        self.actor = actor
        self._name = name
        self._handlers = handlers
        self._border = border
        self._desk = desk
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<room {self._name}>"

    def _with_timeout(self, timeout: float | None) -> Self:
        return type(self)(self.actor, self._name, self._handlers, self._border, self._desk, checked(timeout))
