"""Rule 21: after a failed sync the kernel may drop the pages that it could not write, and the file then reads as if damaged."""

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from durable_rooms import OutcomeUnknown
from durable_rooms.simulation.faults import Fault
from tests.durability.callers import Callers, path_of, room, wal


@pytest.mark.parametrize("told", [False, True], ids=["before it is told of", "after the room broke"])
async def test_rule_21_what_a_failed_sync_took_away_is_no_damage(open_rooms, disk, threads, tasks, told):
    """A checkpoint that began before the failure reads the file after it: that must not send the room to quarantine."""
    async with open_rooms(limits=Limits(wal_bytes_max=100_000)) as runtime:
        a, b, c = room(runtime, "a"), room(runtime, "b"), room(runtime, "c")
        for one in (a, b, c):
            await one.post("0")
        callers = Callers(tasks, disk)
        disk.fail(Fault("sync", wal("a"), by="ours", evict=True))
        earlier, checkpoint = threads.hold("sync began", wal("c")), threads.hold("open", path_of("a"))
        await callers.start("c", c.post("1"))
        await callers.start("a", a.post("1", "x" * 200_000))
        await callers.start("b", b.post("1"))  # joins the round of "a", behind it
        round_of_both = threads.hold("sync began", wal("b"))
        earlier.release()
        await round_of_both.reached.wait()
        assert disk.where("evicted", wal("a"))
        for hold in (round_of_both, checkpoint) if told else (checkpoint, round_of_both):
            hold.release()
            await wait_all_tasks_blocked()
        assert isinstance(callers["a"], OutcomeUnknown)
        assert callers["b"] == 2
        assert await a.ids() == ["0"]
        assert await a.post("1") == 2
        assert disk.where("rename", wal("a") + ".rehome")
