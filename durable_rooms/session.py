"""A session: what one person has seen, so that it never disappears again, whichever replica or room answers next."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from actors import Actor, Freshness, Room
from actors.room import Terms
from replication.reading.across import Across
from replication.reading.bookmark import Bookmark

A = TypeVar("A", bound=Actor)


class Rooms(Protocol):
    """What a session needs of the runtime."""

    def room_on(self, actor: type[A], id: str, terms: Terms) -> Room[A]: ...
    def across_with(
        self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]], fresh: Freshness | None, bookmark: Bookmark | None
    ) -> Across: ...
    def token(self, bookmark: Bookmark) -> str: ...


class Session:
    """Read-your-writes and monotonic reads over every room it touches. Holds no resource: no `with`.

    Keep `bookmark` (in a cookie, a header) and give it back to `runtime.session`, also after a restart. One session is for one
    person's requests, also beside each other; each sees what had returned before it began.
    """

    def __init__(self, rooms: Rooms, bookmark: Bookmark, fresh: Freshness | None) -> None:
        self._rooms = rooms
        self._bookmark = bookmark
        self._fresh: Freshness | None = fresh

    @property
    def bookmark(self) -> str:
        """What has been seen until now, in some 100 characters: opaque, signed. Costs 10 µs."""
        return self._rooms.token(self._bookmark)

    @property
    def terms(self) -> Terms:
        """Of its rooms, for the doors of other hosts."""
        return Terms(self._fresh, self._bookmark)

    def room(self, actor: type[A], id: str) -> Room[A]:
        """As `runtime.room`; what its calls see and do, the session has seen."""
        return self._rooms.room_on(actor, id, self.terms)

    def across(self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]]) -> Across:
        """As `runtime.across`."""
        return self._rooms.across_with(rooms, self._fresh, self._bookmark)
