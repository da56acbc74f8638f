"""Questions across rooms, as asyncio code asks them; see replication.reading.across."""

from actors import Actor, Rows, SQLValue
from durable_rooms.asyncio.desk import Desk
from durable_rooms.asyncio.job import ask
from durable_rooms.border.border import Border
from replication.reading.across import Across as TrioAcross


class Across:
    """Made by `runtime.across`; asks when it is called."""

    def __init__(self, across: TrioAcross, border: Border, desk: Desk) -> None:
        self._across = across
        self._border = border
        self._desk = desk

    async def sql(self, query: str, /, *args: SQLValue, **named: SQLValue) -> Rows:
        """Run one SELECT over these rooms' tables. Raises as the trio runtime's."""
        return await ask(lambda _: self._across.sql(query, *args, **named), self._border, self._desk)

    async def match(self, actor: type[Actor], table: str, words: str, *, limit: int = 50) -> Rows:
        """Rows in which a person's words are, of all these rooms. As the trio runtime's."""
        return await ask(lambda _: self._across.match(actor, table, words, limit=limit), self._border, self._desk)
