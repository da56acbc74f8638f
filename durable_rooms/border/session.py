"""A session as a host sees it, whatever the door; the doors add how its rooms are called."""

from typing import Generic, TypeVar

from durable_rooms.border.border import Border
from durable_rooms.session import Session as TrioSession

D = TypeVar("D")


class Session(Generic[D]):
    """Read-your-writes and monotonic reads over every room it touches. Made by `runtime.session`; holds no resource."""

    def __init__(self, session: TrioSession, border: Border, desk: D) -> None:
        self._session = session
        self._border = border
        self._desk = desk

    @property
    def bookmark(self) -> str:
        """What has been seen until now: opaque, signed, for a cookie or a header. Costs 10 µs."""
        return self._session.bookmark
