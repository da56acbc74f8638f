"""A call is a transaction: all of it is there or nothing, whatever ends it."""

import errno
from random import Random

import apsw
import pytest

from durable_rooms import Limits, StorageFull, TooLarge
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.image import Keep
from durable_rooms.testing import bare, open_test_runtime
from tests.conformance.stand import Notes, cut_power, fill_up, make_space, on_faulty_disk
from tests.conformance.yardstick import behaviour, statement
from tests.rooms.chat import Sorry, one_room, together

LARGE = Limits().row_bytes_max + 1


class Ledger(Notes):
    """Handlers that write more than once."""

    migrations = (*Notes.migrations, "CREATE TABLE scratch (body TEXT)")
    local_tables = frozenset({"scratch"})

    def post_pair(self, body: str) -> list[int]:
        return [self.post(f"{body} 1"), self.post(f"{body} 2")]

    def post_many(self, bodies: list[str]) -> int:
        return self.sql.many("INSERT INTO messages (body) VALUES (?)", [(body,) for body in bodies])

    def keep_many(self, values: dict[str, str]) -> None:
        for key, value in values.items():
            self.kv.set(key, value)

    def kept(self) -> dict[str, str]:
        return dict(self.kv.items())

    def keep_and_raise(self) -> None:
        self.kv.set("first", "gone")
        raise Sorry

    def outer(self) -> None:
        self.inner()
        raise Sorry

    def inner(self) -> str:
        self.post("inner")
        self.kv.set("inner", "kept")
        return "done"

    def pass_over_a_double(self, body: str) -> str:
        self.post(f"before {body}")
        try:
            self.post(body)
        except apsw.ConstraintError:
            return "there already"
        return "posted"

    def pass_over_a_full_disk(self, query: str, before: str = "before") -> str:
        self.post(before)
        try:
            self.sql(query, "x" * 100_000)
        except apsw.FullError:
            return "passed over"
        return "written"


@statement(11)
@behaviour(13)
async def test_the_writes_of_a_turn_are_one_commit_and_so_are_those_of_calls_that_wait_together(autojump_clock) -> None:
    """Given calls that write twice each, when one comes, then it is one commit; when 50 come at once, then it is still
    one."""
    async with open_test_runtime(Ledger) as runtime:
        room = runtime.room(Ledger, "a")
        await room.post("first")
        commits, rounds = runtime.status().commits, runtime.status().rounds
        await room.post_pair("a")
        assert (runtime.status().commits, runtime.status().rounds) == (commits + 1, rounds + 1)
        await together(*[lambda n=n: room.post_pair(f"{n}") for n in range(50)])
        assert (runtime.status().commits, runtime.status().rounds) == (commits + 2, rounds + 2)
        assert len(await room.bodies()) == 103


@behaviour(13)
@pytest.mark.parametrize("keep", Keep, ids=lambda keep: keep.name.lower())
async def test_a_power_cut_leaves_all_of_a_call_or_nothing_and_every_acknowledged_one(keep, tmp_path, autojump_clock) -> None:
    """Given acknowledged calls and one in flight, when the power fails and all, some or nothing of the unsynced is left,
    then the acknowledged ones are there, whole, and the other is whole or not there."""
    async with on_faulty_disk(tmp_path / "data", Ledger) as (runtime, disk):
        room = runtime.room(Ledger, "a")
        await room.post_pair("acknowledged")
        disk.fail(Fault("sync", "rooms/*", by="ours", times=float("inf")))
        with pytest.raises(Exception, match="sync"):
            await room.post_pair("in flight")
        cuts = [tmp_path / f"cut {n}" for n in range(4)]
        for n, path in enumerate(cuts):
            cut_power(disk, keep, path, Random(n))
        disk.faults.clear()
    for path in cuts:
        async with open_test_runtime(Ledger, path=path) as runtime:
            bodies = await runtime.room(Ledger, "a").bodies()
            whole = ["acknowledged 1", "acknowledged 2", "in flight 1", "in flight 2"]
            assert bodies in (whole[:2], whole)


@behaviour(13)
async def test_an_exception_keeps_nothing_of_its_call(autojump_clock) -> None:
    """Given a handler that writes and then raises, when it is called, then nothing of it stays; a Durable Object keeps
    what it wrote before."""
    async with one_room(Ledger) as room:
        with pytest.raises(Sorry):
            await room.post_and_raise("no")
        assert await room.bodies() == []


@statement(12)
def test_of_many_pairs_with_one_that_is_too_large_none_is_kept() -> None:
    """Given many rows, or keys, of which the last is over row_bytes_max, when they are written at once, then none is
    there."""

    class Small(Ledger):
        def post_large(self) -> None:
            self.post_many(["small", "x" * LARGE])

        def keep_large(self) -> None:
            self.keep_many({"small": "x", "large": "x" * LARGE})

    room = bare(Small)
    for call in (room.post_large, room.keep_large):
        with pytest.raises(TooLarge) as caught:
            call()
        assert caught.value.ran == "rolled back"
    assert (room.bodies(), room.kept()) == ([], {})


@statement(30)
@behaviour(15)
async def test_kv_works_after_the_call_that_first_used_it_was_rolled_back(autojump_clock) -> None:
    """Given a room without kv, when the first call that sets a key raises, then its table is gone with it, and the next
    set works."""
    async with one_room(Ledger) as room:
        with pytest.raises(Sorry):
            await room.keep_and_raise()
        await room.keep_many({"second": "kept"})
        assert await room.kept() == {"second": "kept"}


@statement(32)
@behaviour(15)
async def test_an_inner_call_that_was_done_vanishes_with_the_outer_one(autojump_clock) -> None:
    """Given a handler that calls another of its methods, when it raises after that has returned, then neither leaves
    anything."""
    async with one_room(Ledger) as room:
        with pytest.raises(Sorry):
            await room.outer()
        assert (await room.bodies(), await room.kept()) == ([], {})
        assert await room.inner() == "done"
        assert (await room.bodies(), await room.kept()) == (["inner"], {"inner": "kept"})


@behaviour(16)
async def test_a_constraint_that_a_handler_catches_resets_nothing(autojump_clock) -> None:
    """Given a handler that catches a violated constraint, when it goes on, then what it wrote before stays, and so does
    the room's memory."""
    async with one_room(Ledger) as room:
        await room.post("a")
        await room.remember("kept")
        assert await room.pass_over_a_double("a") == "there already"
        assert await room.bodies() == ["a", "before a"]
        assert await room.remember("too") == ["kept", "too"]


@statement(33)
@behaviour(14, 16, 17)
async def test_a_full_disk_reaches_the_caller_though_the_handler_passed_over_it(autojump_clock) -> None:
    """Given a disk that is full in the middle of a call, when the handler catches that and returns, then its caller is
    told that nothing ran; memory is fresh, committed rows are there, and the same stub works when there is space."""
    async with open_test_runtime(Ledger) as runtime:
        room = runtime.room(Ledger, "a")
        await room.post("committed")
        await room.remember("forgotten with the turn")
        fill_up(runtime, room)
        with pytest.raises(StorageFull) as caught:
            await room.pass_over_a_full_disk("INSERT INTO scratch VALUES (?)")
        assert (caught.value.ran, caught.value.retryable) == ("no", True)
        assert await room.bodies() == ["committed"]
        assert await room.remember("fresh") == ["fresh"]
        make_space(runtime, room)
        assert await room.pass_over_a_full_disk("INSERT INTO scratch VALUES (?)") == "written"


@statement(33)
async def test_a_full_disk_that_costs_a_statement_alone_is_an_error_like_any_other(autojump_clock) -> None:
    """Given a statement that SQLite undoes by itself when the disk is full, when the handler passes over it, then what it
    wrote before stays, and nobody is reset."""
    async with open_test_runtime(Ledger) as runtime:
        room = runtime.room(Ledger, "a")
        await room.remember("kept")
        fill_up(runtime, room)
        assert await room.pass_over_a_full_disk("INSERT INTO messages (body) VALUES (?)") == "passed over"
        assert await room.bodies() == ["before"]
        assert await room.remember("still") == ["kept", "still"]


@behaviour(14)
async def test_a_commit_that_fails_leaves_the_last_one_and_tells_each_caller_of_the_turn(tmp_path, autojump_clock) -> None:
    """Given calls that share a turn, when its COMMIT meets a full disk, then each is told that nothing ran, nothing of it
    is to be seen, and a repeat works."""
    async with on_faulty_disk(tmp_path, Ledger) as (runtime, disk):
        room = runtime.room(Ledger, "a")
        await room.post("committed")
        disk.fail(Fault("write", "rooms/*-wal", errno.ENOSPC, by="sqlite"))
        outcomes = await together(*[lambda n=n: room.post_pair(f"{n}") for n in range(3)])
        assert [(type(error), error.ran) for error in outcomes] == [(StorageFull, "no")] * 3
        assert await room.bodies() == ["committed"]
        assert await room.post_pair("repeat") == [2, 3]


@statement(34)
@behaviour(17)
async def test_a_deferred_key_that_does_not_hold_fails_its_call_alone(autojump_clock) -> None:
    """Given calls that share a turn, when one leaves a deferred foreign key unmet, then that one is rolled back and told
    so, its neighbours commit, and the stub works on."""
    async with one_room(Ledger) as room:
        await room.remember("kept")
        before, broken, after = await together(
            lambda: room.post("before"), lambda: room.reply_to(1_000), lambda: room.post("after")
        )
        assert isinstance(broken, apsw.ConstraintError)
        assert {before, after} == {1, 2}
        assert await room.run("SELECT * FROM replies") == []
        assert await room.remember("still") == ["kept", "still"]
