"""Reads from a replica: what one person has seen does not disappear."""

import pytest

from durable_rooms import SQLiteReplica, StatementRefused, read
from durable_rooms.testing import open_test_runtime
from tests.conformance.stand import Notes
from tests.conformance.yardstick import behaviour
from tests.rooms.chat import other_program


class Shown(Notes):
    @read(fresh="any")
    def shown(self) -> list[str]:
        return self.sql("SELECT body FROM messages ORDER BY id").scalars()

    @read
    def writes(self) -> None:
        self.sql("INSERT INTO messages (body) VALUES ('by a read')")


@behaviour(30)
async def test_a_session_never_goes_back_though_the_replica_lags(tmp_path, autojump_clock) -> None:
    """Given a replica that stands still, when one person writes and reads, then they see their write; whoever brings no
    bookmark sees the replica as it is; whoever brings theirs sees at least as much."""
    async with open_test_runtime(Shown, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Shown, "a")
        await room.post("replicated")
        await runtime.replicated()
        with other_program(tmp_path / "replica.db") as connection:
            connection.execute("BEGIN IMMEDIATE")
            session = runtime.session()
            await session.room(Shown, "a").post("new")
            assert await room.shown() == ["replicated"]
            assert await session.room(Shown, "a").shown() == ["replicated", "new"]
            assert await runtime.session(session.bookmark).room(Shown, "a").shown() == ["replicated", "new"]
            connection.execute("ROLLBACK")
        await runtime.replicated()
        assert await room.shown() == ["replicated", "new"]


@behaviour(30)
@pytest.mark.parametrize("fresh", ["any", "room"])
async def test_a_read_writes_nowhere(fresh, autojump_clock) -> None:
    """Given a @read that writes, when it runs in the room or on the replica, then it is refused, and nothing is there."""
    async with open_test_runtime(Shown, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Shown, "a")
        await room.post("there")
        await runtime.replicated()
        with pytest.raises(StatementRefused):
            await room.options(fresh=fresh).writes()
        assert await room.bodies() == ["there"]
