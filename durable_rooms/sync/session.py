"""A session as plain code sees it; see durable_rooms.session."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from actors.actor import Actor
from durable_rooms.border import session
from durable_rooms.sync.across import Across
from durable_rooms.sync.desk import Desk
from durable_rooms.sync.room import Room

A = TypeVar("A", bound=Actor)


class Session(session.Session[Desk]):
    __doc__ = session.Session.__doc__

    def room(self, actor: type[A], id: str) -> Room[A]:
        """As `runtime.room`; what its calls see and do, the session has seen."""
        return Room(actor, *self._border.runtime.address(actor, id), self._border, self._desk, self._session.terms)

    def across(self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]]) -> Across:
        """As `runtime.across`."""
        return Across(self._session.across(rooms), self._border, self._desk)
