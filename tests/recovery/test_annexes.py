"""What only a room's own file has comes back, too: keys, receipts, and tells that were not delivered yet."""

import trio

from actors import DataDir, RoomName
from durable_rooms import SQLiteReplica
from durable_rooms.recovery import recover
from durable_rooms.testing import open_test_runtime
from tests.recovery.test_recover import PAGE, rows_of
from tests.rooms.telling import Board, Desk

NAME = RoomName("Busy", "a")


class Busy(Desk, Board):
    migrations = (*Desk.migrations, *Board.migrations)

    def fill(self) -> None:
        for number in range(100, 2_000):
            self.sql("INSERT INTO told VALUES (?, ?)", number, "x" * 20)
        self.kv.set("topic", "tea")

    def topic(self) -> str:
        return self.kv.get("topic")

    def tell_self(self, number: int) -> None:
        self.tell(Busy, "a", Busy.note, "a", number)


async def test_keys_receipts_and_pending_tells_survive_a_recovery(tmp_path, autojump_clock):
    Board.failing.clear()
    Board.tries.clear()
    async with open_test_runtime(Busy, Board, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Busy, "a")
        await room.fill()
        await room.tell_self(1)
        await trio.sleep(5)
        Board.failing.add(7)
        await room.tell_board(7, 8)
        await runtime.replicated()
    path = DataDir.at(tmp_path).room(NAME)
    query = "SELECT pageno FROM dbstat WHERE name = 'told' AND pagetype = 'leaf' ORDER BY path"
    content = bytearray(path.read_bytes())
    number = rows_of(path, query)[2][0]
    content[(number - 1) * PAGE : number * PAGE] = b"\xa5" * PAGE
    path.write_bytes(content)
    report = recover(tmp_path, NAME)
    assert report.complete, report
    own = {table.name: table.from_file for table in report.tables if table.name.startswith("_")}
    assert (own["_kv"], own["_told"]) == (1, 1)
    assert own["_tells"] >= 2
    Board.failing.clear()
    async with open_test_runtime(Busy, Board, path=tmp_path) as runtime:
        await trio.sleep(30)  # nobody calls
        assert await runtime.room(Board, "main").seen() == [7, 8]
        assert await runtime.room(Busy, "a").topic() == "tea"
        assert await runtime.room(Busy, "a").seen() == [1]
