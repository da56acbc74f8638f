"""Rooms that tell one another, and what the tests of tells ask of them."""

from typing import Any, ClassVar

import trio

from actors.names import RoomName
from actors.statements.sql import internal
from actors.tables.annex import TELLS
from durable_rooms import Actor, Runtime, command
from tests.rooms.chat import Sorry
from tests.rooms.faults import Mute


class Board(Actor):
    """A room that is told things; what it is told can go wrong on demand."""

    migrations: ClassVar = [
        "CREATE TABLE seen (id INTEGER PRIMARY KEY, sender TEXT NOT NULL, number INTEGER NOT NULL)",
        "CREATE TABLE strict (id INTEGER PRIMARY KEY CHECK (id > 0))",
    ]
    failing: ClassVar[set[Any]] = set()  # numbers that raise, until they are taken out
    tries: ClassVar[list[Any]] = []

    def note(self, sender: str, number: int, *, padding: str = "") -> None:
        Board.tries.append(number)
        self.sql("INSERT INTO seen (sender, number) VALUES (?, ?)", sender, number)
        if number in Board.failing:
            raise Sorry(f"number {number}")

    async def note_slowly(self, sender: str, number: int) -> None:
        await trio.sleep(1)
        self.note(sender, number)

    @command(offload=True)
    def note_apart(self, sender: str, number: int) -> None:
        self.note(sender, number)

    def note_and_pass_over_a_rollback(self, sender: str, number: int) -> None:
        self.note(sender, number)
        try:
            self.sql("INSERT OR ROLLBACK INTO strict VALUES (?)", -number)
        except Exception:
            return

    def fail_without_words(self, sender: str, number: int) -> None:
        raise Mute if number == 1 else Sorry("\ud800" * 2_000)

    def seen(self, sender: str = "") -> list[int]:
        return self.sql("SELECT number FROM seen WHERE ? IN ('', sender) ORDER BY id", sender).scalars()

    def void(self) -> None:
        self.sql("INSERT OR ROLLBACK INTO strict VALUES (-1)")

    def tell_back(self, sender: str, rounds: int) -> None:
        self.note(sender, rounds)
        if rounds:
            self.tell(Board, sender, Board.tell_back, self.id, rounds - 1)


class Desk(Actor):
    """A room that tells; it keeps a row of its own for each tell, in the same call."""

    migrations: ClassVar = ["CREATE TABLE told (number INTEGER PRIMARY KEY, board TEXT NOT NULL)"]

    def tell_board(self, *numbers: int, board: str = "main", method: str = "note", **more: Any) -> None:
        for number in numbers:
            self.sql("INSERT INTO told VALUES (?, ?)", number, board)
            self.tell(Board, board, getattr(Board, method), self.id, number, **more)

    def tell_many(self, boards: int, each: int = 1) -> None:
        for number in range(each):
            for board in range(boards):
                self.tell(Board, f"b{board}", Board.note, self.id, number)

    def tell_and_raise(self, number: int) -> None:
        self.tell_board(number)
        raise Sorry(number)

    def tell_and_roll_back(self, number: int) -> None:
        self.tell_board(number)
        self.sql("INSERT OR ROLLBACK INTO told VALUES (?, 'x')", number)

    async def tell_in_slices(self, *numbers: int) -> None:
        for number in numbers:
            self.tell_board(number)
            await trio.sleep(1)
        raise Sorry("after the last slice")

    def tell_anything(self, actor: Any, id: Any, method: Any, args: list[Any]) -> None:
        self.tell(actor, id, method, *args)

    def told(self) -> list[int]:
        return self.sql("SELECT number FROM told ORDER BY number").scalars()

    def dead(self) -> list[Any]:
        return list(self.dead_tells)

    def again(self, number: int) -> bool:
        return self.dead_tells.again(number)

    def forget(self, number: int) -> bool:
        return self.dead_tells.forget(number)

    def ping(self) -> None:
        pass


def stored(runtime: Runtime, actor: type[Actor], id: str) -> list[int]:
    """The numbers of the tells that a room in memory has not forgotten."""
    activation = runtime.seated(RoomName(actor.__name__, id))
    assert activation is not None
    if TELLS not in activation.storage.transaction.annexes:
        return []
    query = "SELECT number FROM _tells WHERE actor IS NOT NULL ORDER BY number"
    return [number for (number,) in internal(activation.storage.connection, query)]
