"""The outbox while the replica is away: bounded by distinct rows, and never a gap that is none."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor, Position
from actors.follower import EpochStart
from actors.names import DataDir, RoomName
from actors.tables import capture, compaction
from actors.tables.compaction import Compaction, Superseded, search
from actors.tables.schema import read_schema
from durable_rooms import SQLiteReplica
from durable_rooms.testing import open_test_runtime
from durable_rooms.verify.room import gap
from replication.standing import Mark, judge

TABLES = (
    "CREATE TABLE counters (name TEXT PRIMARY KEY NOT NULL, n INTEGER NOT NULL)",
    "CREATE TABLE pairs (a INTEGER NOT NULL, b TEXT NOT NULL, n INTEGER, PRIMARY KEY (a, b))",
)


class Tally(Actor):
    """Some rows that change again and again."""

    migrations = list(TABLES)

    def add(self, name: str, times: int) -> None:
        for _ in range(times):
            self.sql("INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1", name)

    def all(self) -> list[tuple[str, int]]:
        return [(row["name"], row["n"]) for row in self.sql("SELECT * FROM counters ORDER BY name")]


# -- the real triggers, without a room ------------------------------------------------------------------------------
class Outbox:
    """A file with the real capture, and a replica in a dict that stands somewhere in its history."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        for statement in ("PRAGMA recursive_triggers = 1", *capture.OUTBOX_SCHEMA, *TABLES):
            self.connection.execute(statement).fetchall()
        self.schema = read_schema(self.connection, frozenset()).replicated
        capture.install(self.connection, self.schema)
        capture.mark(self.connection)  # a room's birth: it stands at 1
        self.ways = capture.extractions(self.connection, self.schema)
        self.compaction = Compaction(1)
        self.reach = 0  # what an outbox without compaction would reach back to
        self.replica: dict[tuple[str, Any], tuple[Any, ...]] = {}
        self.at = 0

    @property
    def seq(self) -> int:
        return capture.last_seq(self.connection)

    def write(self, *statements: str) -> None:
        before = self.seq
        for statement in statements:
            self.connection.execute(statement).fetchall()
        if self.seq == before:
            capture.mark(self.connection)
        self.compaction.forget(self.connection, self.seq - before)

    def trim(self, seq: int) -> None:
        capture.trim(self.connection, seq)
        self.reach = max(self.reach, seq - 1)

    def rows(self) -> dict[tuple[str, Any], tuple[Any, ...]]:
        found: dict[tuple[str, Any], tuple[Any, ...]] = {}
        for table in self.schema.tables:
            names = ", ".join(column.name for column in table.columns)
            for row in self.connection.execute(f"SELECT {names} FROM {table.name}"):
                found[table.name, row[: len(table.key)]] = row
        return found

    def judge(self, at: int) -> str | None:
        first, seq = capture.bounds(self.connection)
        return judge(Mark(Position(1, at), "", True), Position(1, seq), [EpochStart(1, 0)], first)

    def catch_up(self) -> None:
        for changes in capture.extract(self.connection, self.ways, self.at):
            key = len(changes.table.key)
            for row in changes.upserts:
                self.replica[changes.table.name, row[:key]] = row
            for gone in changes.deletes:
                self.replica.pop((changes.table.name, gone), None)
        self.at = self.seq

    def entries(self) -> int:
        return self.connection.execute("SELECT count(*) FROM _outbox").fetchall()[0][0]


NAME, NUMBER = st.sampled_from("abcd"), st.integers(0, 4)
STATEMENT = st.one_of(
    NAME.map(lambda name: f"INSERT OR REPLACE INTO counters VALUES ('{name}', abs(random()) % 100)"),
    NAME.map(lambda name: f"UPDATE counters SET n = n + 1 WHERE name <= '{name}'"),
    NAME.map(lambda name: f"DELETE FROM counters WHERE name = '{name}'"),
    st.tuples(NUMBER, NAME).map(lambda key: f"INSERT OR REPLACE INTO pairs VALUES ({key[0]}, '{key[1]}', abs(random()) % 100)"),
    NUMBER.map(lambda number: f"UPDATE OR REPLACE pairs SET a = a + 1 WHERE a = {number}"),
    NUMBER.map(lambda number: f"DELETE FROM pairs WHERE a > {number}"),
)
STEP = st.one_of(
    st.tuples(st.just("write"), st.lists(STATEMENT, min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["search", "search and forget", "catch up", "keep replica", "rewind replica"]), st.just(0)),
    st.tuples(
        st.sampled_from(["search and forget", "trim"]), st.sampled_from([3, 8, 20, 50, 10**6])
    ),  # trim: often to where it stands
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, min_size=25, max_size=80), st.integers(1, 12))
def test_compaction_never_costs_a_row_and_never_looks_like_a_gap(steps: list[tuple[str, Any]], forget: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "FORGET_ENTRIES_MIN", forget)
        patch.setattr(compaction, "COMPACT_RANGES_MAX", 3)
        live(Outbox(), steps)


def live(outbox: Outbox, steps: list[tuple[str, Any]]) -> None:
    kept = (0, dict(outbox.replica))
    for what, detail in steps:
        if what == "write":
            outbox.write(*detail)
        elif what.startswith("search"):
            outbox.compaction.found(search(outbox.connection))
            while what == "search and forget" and outbox.compaction._ranges:
                outbox.compaction.forget(outbox.connection, 100)
        elif what == "trim":
            outbox.trim(min(detail, outbox.at, outbox.seq))
        elif what == "keep replica":
            kept = (outbox.at, dict(outbox.replica))
        elif what == "rewind replica":
            outbox.at, outbox.replica = kept[0], dict(kept[1])
        reached = outbox.at >= outbox.reach
        assert outbox.judge(outbox.at) == (None if reached or outbox.at == outbox.seq else "gap")
        if what == "catch up":
            if not reached:
                outbox.replica = outbox.rows()  # a resync
            outbox.catch_up()
            assert outbox.replica == outbox.rows()
        assert outbox.entries() >= 1
    seq = outbox.seq
    outbox.write("DELETE FROM counters WHERE name = 'nobody'")
    assert outbox.seq == seq + 1


def test_a_compacted_outbox_has_an_entry_a_row_and_the_lowest_one() -> None:
    outbox = Outbox()
    for n in range(2_000):
        outbox.write(f"INSERT OR REPLACE INTO counters VALUES ('{n % 3}', {n})")
    lowest = capture.bounds(outbox.connection)[0]
    while (found := search(outbox.connection)).ranges:
        outbox.compaction.found(found)
        outbox.compaction.forget(outbox.connection, 10_000)
    assert outbox.entries() == 3 + 1
    assert capture.bounds(outbox.connection) == (lowest, outbox.seq)
    outbox.catch_up()
    assert outbox.replica == outbox.rows()


def test_trimming_between_search_and_forgetting_leaves_the_lowest_entry() -> None:
    outbox = Outbox()
    for n in range(100):
        outbox.write(f"INSERT OR REPLACE INTO counters VALUES ('a', {n})")
    found = search(outbox.connection)
    outbox.trim(50)
    outbox.compaction.found(found)
    outbox.compaction.forget(outbox.connection, 1_000)
    assert capture.bounds(outbox.connection)[0] == 50
    assert outbox.judge(50) is None
    assert outbox.judge(48) == "gap"


def test_trimming_to_a_forgotten_entry_leaves_a_marker_there() -> None:
    outbox = Outbox()
    for n in range(100):
        outbox.write(f"INSERT OR REPLACE INTO counters VALUES ('a', {n})")
    outbox.compaction.found(search(outbox.connection))
    outbox.compaction.forget(outbox.connection, 1_000)
    outbox.trim(50)
    assert capture.bounds(outbox.connection)[0] == 50
    assert outbox.judge(50) is None
    assert outbox.judge(48) == "gap"


def test_trimming_never_fills_a_hole_that_followers_must_see() -> None:
    outbox = Outbox()
    outbox.write("INSERT INTO counters VALUES ('a', 1)")
    at = outbox.seq
    capture.break_continuity(outbox.connection)
    capture.trim(outbox.connection, at)
    assert outbox.judge(at) == "gap"


def test_a_search_is_due_when_the_outbox_has_doubled_and_nobody_acknowledges() -> None:
    least = compaction.COMPACT_ENTRIES_MIN
    state = Compaction(1)
    assert not state.due(least, 0)
    assert not state.due(10 * least, 9 * least)  # a healthy follower
    assert state.due(least + 1, 0)
    state.found(Superseded([], more=False, left=3 * least, until=4 * least))
    assert not state.due(7 * least, 0)
    assert state.due(7 * least + 1, 0)
    assert state.due(6 * least + 1, 5 * least)  # what was left is acknowledged
    state.found(Superseded([(2, 9)], more=True, left=least, until=8 * least))
    assert not state.due(20 * least, 0)  # while there is something to forget
    assert Compaction(None).due(0, 0) is False


# -- a room -----------------------------------------------------------------------------------------------------------
def outbox_of(data: Path, id: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(DataDir.at(data).room(RoomName("Tally", id)))) as file:
        return file.execute("SELECT seq, tbl, pk FROM _outbox ORDER BY seq").fetchall()


async def test_f29_the_outbox_of_a_hot_row_stays_short_while_the_replica_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """F29: hours of outage do not fill the disk, and the replica catches up without copying a room."""
    monkeypatch.setattr(compaction, "COMPACT_ENTRIES_MIN", 200)
    data, away = tmp_path / "data", tmp_path / "away"
    away.mkdir()
    replica = SQLiteReplica(away / "replica.db")
    async with open_test_runtime(Tally, path=data, replicas=[replica]) as runtime:
        room = runtime.room(Tally, "a")
        await room.add("x", 1)
        await runtime.replicated()
        away.rename(tmp_path / "elsewhere")  # the disk of the replica is gone
        for n in range(200):
            await room.add("xyz"[n % 3], 50)
        assert runtime.status().replicas[0].state == "retrying"
        assert len(outbox_of(data, "a")) <= 3 + 1 + 2 * 200
        seqs = [seq for seq, _, _ in outbox_of(data, "a")]
        assert seqs[-1] > 10_000
        (tmp_path / "elsewhere").rename(away)
        await runtime.replicated(timeout=30)
        assert runtime.status().replicas[0].resyncs == {}
        with contextlib.closing(sqlite3.connect(away / "replica.db")) as file:
            rows = file.execute("SELECT name, n FROM Tally_counters WHERE room_id = 'a' ORDER BY name").fetchall()
        assert rows == [tuple(row) for row in await room.all()]


async def test_a_room_compacts_what_former_activations_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    replica = SQLiteReplica(tmp_path / "nowhere" / "replica.db")
    async with open_test_runtime(Tally, path=tmp_path / "data", replicas=[replica]) as runtime:
        await runtime.room(Tally, "a").add("x", 1_000)
    assert len(outbox_of(tmp_path / "data", "a")) > 1_000
    monkeypatch.setattr(compaction, "COMPACT_ENTRIES_MIN", 200)
    async with open_test_runtime(Tally, path=tmp_path / "data", replicas=[replica]) as runtime:
        for _ in range(10):
            await runtime.room(Tally, "a").add("x", 1)
            await trio.sleep(0.01)
        assert len(outbox_of(tmp_path / "data", "a")) < 20


async def test_a_room_without_a_follower_trims_and_never_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_ENTRIES_MIN", 200)
    searched: list[Path] = []
    monkeypatch.setattr(compaction, "find", lambda disk, path: searched.append(path))
    async with open_test_runtime(Tally, path=tmp_path) as runtime:
        for _ in range(100):
            await runtime.room(Tally, "a").add("x", 50)
        assert len(outbox_of(tmp_path, "a")) <= 400
    assert searched == []


async def test_an_outbox_that_cannot_be_searched_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_ENTRIES_MIN", 200)

    def fails(disk: object, path: Path) -> Superseded:
        raise apsw.CantOpenError("unable to open database file")

    monkeypatch.setattr(compaction, "find", fails)
    replica = SQLiteReplica(tmp_path / "nowhere" / "replica.db")
    async with open_test_runtime(Tally, path=tmp_path / "data", replicas=[replica]) as runtime:
        for _ in range(20):
            await runtime.room(Tally, "a").add("x", 50)
        assert len(outbox_of(tmp_path / "data", "a")) > 1_000
    assert 1 <= sum("could not be compacted" in record.getMessage() for record in caplog.records) <= 5


def test_verify_knows_a_gap_from_what_was_compacted() -> None:
    source = sqlite3.connect(":memory:")
    source.execute("CREATE TABLE _outbox (seq INTEGER PRIMARY KEY, tbl, pk)")
    assert not gap(source, 0)
    source.executemany("INSERT INTO _outbox VALUES (?, 1, 1)", [(10,), (14,), (20,)])
    assert [at for at in range(8, 22) if gap(source, at)] == [8]
    source.close()
