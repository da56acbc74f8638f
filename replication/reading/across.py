"""Questions across rooms: SQL over the tables of several classes, limited to the rooms that were named. Replicas only."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from actors import SQL, Actor, Freshness, Rows, SQLValue
from replication.reading.bookmark import Bookmark

RoomIds = Mapping[str, Sequence[str] | None]
"""By class name; None: every room of the class that the replica has."""


def view_of(actor: type[Actor], table: str) -> str:
    return f"{actor.__name__}_{table}"


class Ask(Protocol):
    """Who runs it: the router, behind the runtime's door."""

    async def __call__(self, rooms: RoomIds, run: "Run", fresh: Freshness, bookmark: Bookmark | None) -> Any: ...


class Run(Protocol):
    def __call__(self, sql: SQL, /) -> Any: ...


class Across:
    """Made by `runtime.across`; costs nothing, asks when it is called. Table `messages` of `ChatRoom` is `ChatRoom_messages`,
    with `room_id` in front of its columns; of rooms that were not named it shows nothing, whatever the SQL says."""

    def __init__(self, ask: Ask, rooms: RoomIds, fresh: Freshness, bookmark: Bookmark | None) -> None:
        self._ask = ask
        self._rooms = rooms
        self._fresh: Freshness = fresh
        self._bookmark = bookmark

    async def sql(self, query: str, /, *args: SQLValue, **named: SQLValue) -> Rows:
        """Run one SELECT; values one by one (`?`) or by name (`:name`). All rooms are seen at one moment
        of the replica.

        Raises:
          ReplicationLate: no replica is as fresh as it must be; names how far it is behind and why.
          StatementRefused: not a SELECT, or one that reaches beyond these rooms' tables; DeadlineExceeded; TooLarge.
          apsw.Error: what SQLite says of it.
        """
        return await self._ask(self._rooms, lambda sql: sql(query, *args, **named), self._fresh, self._bookmark)

    async def match(self, actor: type[Actor], table: str, words: str, *, limit: int = 50) -> Rows:
        """Rows of a class's table in which a person's words are, as `SQL.match` finds them in one room; `room_id` in front. The
        newest first: by the table's primary key, descending, over all rooms.

        Raises:
          StatementRefused: the class does not declare the table as `fulltext`. Else as `sql` and `SQL.match`.
        """
        view = view_of(actor, table)
        return await self._ask(self._rooms, lambda sql: sql.match(view, words, limit=limit), self._fresh, self._bookmark)
