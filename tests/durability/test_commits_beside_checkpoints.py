"""Rule 16: commits go on beside a checkpoint, and the WAL begins again all the same."""

from trio.testing import wait_all_tasks_blocked

from actors import Limits
from tests.durability.callers import Callers, path_of, room, wal


async def test_rule_16_what_was_committed_beside_a_checkpoint_is_taken_in_alone(open_rooms, disk, threads, tasks):
    """Or the WAL of a room that is always busy never begins again, and its database waits for a sync as long."""
    async with open_rooms(limits=Limits(wal_bytes_max=100_000)) as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        half_way = threads.hold("write", path_of("a"))
        await callers.start("1", a.post("1", "x" * 200_000))
        await half_way.reached.wait()
        await callers.start("2", a.post("2"))
        assert callers["2"] == 3
        half_way.release()
        await wait_all_tasks_blocked()
        written = disk.where("write", path_of("a"), by="sqlite")[-1]
        assert [place for place in disk.where("sync returned", path_of("a"), by="sqlite") if place > written]
        end = len(disk.events)
        await a.post("3")
        assert [event for event in disk.events[end:] if (event.kind, event.path, event.offset) == ("write", wal("a"), 0)]
