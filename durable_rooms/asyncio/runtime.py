"""A runtime as asyncio code sees it. Only `room` answers by itself; whatever asks the runtime's thread is awaited."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeVar

from actors.actor import Actor
from actors.directory.catalog import PAGE_ROOMS_MAX
from actors.directory.listing import RoomInfo
from actors.reads.read import Freshness
from durable_rooms.asyncio.across import Across
from durable_rooms.asyncio.desk import Desk
from durable_rooms.asyncio.job import ask
from durable_rooms.asyncio.room import Room
from durable_rooms.asyncio.session import Session
from durable_rooms.border.border import Border
from durable_rooms.border.job import at_once
from durable_rooms.dumping import Dumped
from durable_rooms.runtime import Runtime as TrioRuntime
from durable_rooms.runtime import Status

A = TypeVar("A", bound=Actor)
T = TypeVar("T")


class Runtime:
    """Rooms of one data directory, and their replica. Made by `open_runtime`."""

    def __init__(self, border: Border, desk: Desk) -> None:
        self._border = border
        self._desk = desk

    def room(self, actor: type[A], id: str) -> Room[A]:
        """Your end of a room; nothing is opened or made before the first call.

        Raises:
          RoomIdInvalid, or BadArguments for a class that this runtime was not opened with.
        """
        return Room(actor, *self._border.runtime.address(actor, id), self._border, self._desk)

    def session(self, bookmark: str | None = None, *, fresh: Freshness | None = None) -> Session:
        """What one person sees: their own writes, and nothing they saw disappears. Arguments and errors as the trio runtime's."""
        return Session(self._border.runtime.session(bookmark, fresh=fresh), self._border, self._desk)

    def across(self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]], *, fresh: Freshness | None = None) -> Across:
        """Ask many rooms at once, in the replica. Arguments and errors as the trio runtime's."""
        return Across(self._border.runtime.across(rooms, fresh=fresh), self._border, self._desk)

    async def status(self) -> Status:
        """Counters of the runtime and of its replicas, at one moment."""
        return await self._ask(at_once(lambda runtime: runtime.status()))

    async def replicated(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the deadline is part of the error's text
        """Wait until everything acknowledged so far is in the replica. Returns at once without replicas.

        Raises:
          ReplicationLate: not within `timeout` seconds; the message says how far behind and why.
        """
        await self._ask(lambda runtime: runtime.replicated(timeout))

    async def list_rooms(
        self,
        actor: type[Actor] | None = None,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = PAGE_ROOMS_MAX,
        resident: bool | None = None,
        sick: bool | None = None,
        deleted: bool = False,
    ) -> list[RoomInfo]:
        """Rooms of one class by id, from the first behind `after`; none is opened. At most 1,000 a call. Arguments as the trio
        runtime's."""
        return await self._ask(
            at_once(
                lambda runtime: runtime.list_rooms(
                    actor, prefix=prefix, after=after, limit=limit, resident=resident, sick=sick, deleted=deleted
                )
            )
        )

    async def describe(self, room: Room[Any]) -> RoomInfo | None:
        """One room as the catalog has it; None if it was never called. Opens nothing."""
        return await self._ask(at_once(lambda runtime: runtime.describe(runtime.room(room.actor, room.id))))

    async def dump(self, room: Room[Any], path: str | PathLike[str]) -> Dumped:
        """Copy a room, as it is at one moment, into a new SQLite file. Raises as the trio runtime's `dump`."""
        return await self._ask(lambda runtime: runtime.dump(runtime.room(room.actor, room.id), path))

    async def evict(self, room: Room[Any]) -> bool:
        """Let a room leave memory now. Returns and raises as the trio runtime's `evict`."""
        return await self._ask(lambda runtime: runtime.evict(runtime.room(room.actor, room.id)))

    async def abort(self, room: Room[Any], reason: str = "") -> bool:
        """Throw away a room's memory, cutting short its async handlers. Returns and raises as the trio runtime's `abort`."""
        return await self._ask(lambda runtime: runtime.abort(runtime.room(room.actor, room.id), reason))

    async def delete(self, room: Room[Any]) -> bool:
        """Delete a room, durably, and its rows in every replica. Returns and raises as the trio runtime's `delete`."""
        return await self._ask(lambda runtime: runtime.delete(runtime.room(room.actor, room.id)))

    async def load(self, room: Room[Any], path: str | PathLike[str], *, replace: bool = False) -> None:
        """Make a room from a file that `dump` made. Raises as the trio runtime's `load`."""
        await self._ask(lambda runtime: runtime.load(runtime.room(room.actor, room.id), path, replace=replace))

    async def _ask(self, work: Callable[[TrioRuntime], Awaitable[T]]) -> T:
        return await ask(work, self._border, self._desk)
