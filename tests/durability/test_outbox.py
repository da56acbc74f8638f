"""Rules 26, 28, 31, 33 and 34: what followers may read, and what the outbox keeps."""

import contextlib
import errno
import sqlite3

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from actors.names import RoomName
from durable_rooms import OutcomeUnknown, StorageFull
from tests.durability.callers import Callers, activation, path_of, recorded, room, wal
from tests.durability.chat import opened
from tests.durability.test_catalog import killed
from tests.durability.test_levels import hibernate

A = path_of("a")
NAME = RoomName("Chat", "a")
ONE_PLACE = Limits(open_rooms_max=1)


def inside(data, query):
    """What Python's own sqlite3 reads in the room's file."""
    with contextlib.closing(sqlite3.connect(data / A)) as file:
        return file.execute(query).fetchall()


async def test_rule_26_changes_wait_for_the_commit_at_which_their_rows_were_read(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        await callers.start("write", a.post("1"))
        await hold.reached.wait()
        changes = await runtime.source(NAME).collect(0)
        assert {row[0] for table in changes.tables for row in table.upserts if table.table.name == "messages"} == {"0", "1"}
        await callers.start("durable", changes.commit.durable())
        assert "durable" not in callers
        hold.release()
        await wait_all_tasks_blocked()
        assert "durable" in callers


async def test_rule_26_changes_of_an_activation_that_breaks_are_thrown_away(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        disk.fails("sync", wal("a"), by="ours")
        await callers.start("write", a.post("1"))
        await hold.reached.wait()
        changes = await runtime.source(NAME).collect(0)
        await callers.start("durable", changes.commit.durable())
        hold.release()
        await wait_all_tasks_blocked()
        assert isinstance(callers["durable"], OutcomeUnknown)


async def test_rule_26_a_resync_waits_for_what_it_read(open_rooms, disk, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        callers = Callers(tasks, disk)
        hold = threads.hold("sync began", wal("a"))
        async with runtime.source(NAME).copy() as copy:
            await callers.start("write", a.post("1"))
            await hold.reached.wait()
            with contextlib.closing(sqlite3.connect(copy.path)) as file:
                assert file.execute("SELECT count(*) FROM messages").fetchall() == [(2,)]
            await callers.start("durable", copy.commit_now().durable())
            assert "durable" not in callers
            hold.release()
            await wait_all_tasks_blocked()
            assert "durable" in callers


async def test_rule_28_the_newest_outbox_row_stays(open_rooms, data):
    async with open_rooms(limits=ONE_PLACE) as runtime:
        a = room(runtime, "a")
        for number in range(300):
            await a.post(str(number))
        seq = activation(runtime, "a").position.seq
        await hibernate(runtime)
        ((lowest, highest),) = inside(data, "SELECT min(seq), max(seq) FROM _outbox")
        assert highest == seq
        assert lowest > 1  # it was trimmed
        await a.post("more")
        assert activation(runtime, "a").position.seq > seq


async def test_rule_28_seq_never_restarts_over_an_outbox_trimmed_to_its_newest_row(open_rooms, data):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        transaction = activation(runtime, "a").storage.transaction
        transaction.begin()
        transaction.acknowledged = transaction.seq + 100
        transaction.trim()
        transaction.commit()
        seq = transaction.seq
    assert inside(data, "SELECT min(seq), max(seq) FROM _outbox") == [(seq - 1, seq)]  # the newest, and this turn's own marker
    async with open_rooms() as runtime:
        await room(runtime, "a").post("1")
        assert activation(runtime, "a").position.seq > seq


async def test_rule_31_an_epoch_joins_the_first_write_after_an_unclean_stop_and_not_before(open_rooms, disk, data, make_disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        before = activation(runtime, "a").position
        world = killed(disk, data.parent / "killed")
    again = make_disk(data.parent / "killed", None, world)
    async with opened(data.parent / "killed", again) as runtime:
        a = room(runtime, "a")
        await recorded(disk, "read", a.ids())
        assert activation(runtime, "a").position == before
        assert not again.where("write", wal("a"), by="sqlite")  # no commit and no sync of its own
        await a.post("1")
        assert activation(runtime, "a").position.epoch == before.epoch + 1
        storage = activation(runtime, "a").storage
        assert storage.connection.execute("SELECT * FROM _timeline ORDER BY epoch").fetchall() == [(1, 0), (2, before.seq)]
        await a.post("2")
        assert activation(runtime, "a").position.epoch == before.epoch + 1


async def test_rule_31_an_epoch_whose_first_write_was_rolled_back_joins_the_next(open_rooms, disk, data, make_disk):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        before = activation(runtime, "a").position
        world = killed(disk, data.parent / "killed")
    again = make_disk(data.parent / "killed", None, world)
    async with opened(data.parent / "killed", again) as runtime:
        a = room(runtime, "a")
        again.fails("write", wal("a"), code=errno.ENOSPC)
        assert isinstance(await recorded(again, "full", a.post("1")), StorageFull)
        assert activation(runtime, "a").position == before
        await a.post("1")
        assert activation(runtime, "a").position.epoch == before.epoch + 1


async def test_rule_31_a_clean_stop_begins_no_epoch(open_rooms, data):
    for number in range(3):
        async with open_rooms() as runtime:
            await room(runtime, "a").post(str(number))
    assert inside(data, "SELECT count(*) FROM _timeline") == [(1,)]


@pytest.mark.parametrize("what", ["a local table", "a schema change"])
async def test_rule_33_a_turn_without_an_outbox_entry_inserts_a_marker(open_rooms, data, what):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.draft("make the table")
        await a.post("0")
        before = activation(runtime, "a").position.seq
        if what == "a local table":
            await a.draft("text")
        else:
            await a.run("CREATE INDEX by_body ON messages (body)")
        assert activation(runtime, "a").position.seq == before + 1
    assert inside(data, "SELECT tbl, pk FROM _outbox WHERE seq = (SELECT max(seq) FROM _outbox)") == [(0, None)]


async def test_rule_33_a_turn_that_wrote_nothing_inserts_none(open_rooms, disk):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        before = activation(runtime, "a").position
        await a.ids()
        await a.run("DELETE FROM messages WHERE id = 'nobody'")
        assert activation(runtime, "a").position == before


async def test_rule_34_a_foreign_commit_counts_as_a_commit_before_it_is_shown(open_rooms, disk, data, threads, tasks):
    async with open_rooms() as runtime:
        a = room(runtime, "a")
        await a.post("0")
        with contextlib.closing(sqlite3.connect(data / A, isolation_level=None)) as foreign:
            foreign.execute("PRAGMA synchronous = OFF")
            foreign.execute("PRAGMA wal_autocheckpoint = 0")
            foreign.execute("BEGIN")
            foreign.execute("INSERT INTO messages VALUES ('foreign', '')")
            foreign.execute("UPDATE tally SET posts = posts + 1")
            foreign.execute("COMMIT")
            callers = Callers(tasks, disk)
            hold = threads.hold("sync began", wal("a"))
            await callers.start("read", a.ids())
            await hold.reached.wait()
            assert "read" not in callers
            hold.release()
            await wait_all_tasks_blocked()
            assert callers["read"] == ["0", "foreign"]


async def test_rule_34_a_foreign_commit_counts_before_it_is_collected(open_rooms, disk, data, threads, tasks):
    async with open_rooms() as runtime:
        await room(runtime, "a").post("0")
        with contextlib.closing(sqlite3.connect(data / A, isolation_level=None)) as foreign:
            foreign.execute("PRAGMA wal_autocheckpoint = 0")
            foreign.execute("INSERT INTO messages VALUES ('foreign', '')")
            hold = threads.hold("sync began", wal("a"))
            changes = await runtime.source(NAME).collect(0)
            callers = Callers(tasks, disk)
            await callers.start("durable", changes.commit.durable())
            await hold.reached.wait()
            assert "durable" not in callers
            hold.release()
            await wait_all_tasks_blocked()
            assert "durable" in callers
