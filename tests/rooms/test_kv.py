"""`self.kv`: values by key, in the room's own transaction."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, Limits
from actors.tables.annex import KV
from durable_rooms import BadArguments, CallFailed, SQLiteReplica, StatementRefused, StorageFull, TooLarge, read
from durable_rooms.testing import bare, open_test_runtime


class Keeper(Actor):
    migrations = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)",)

    def put(self, key, value):
        self.kv.set(key, value)

    def get(self, key, default=None):
        return self.kv.get(key, default)

    def drop(self, key):
        return self.kv.delete(key)

    def listed(self, prefix=""):
        return list(self.kv.items(prefix))

    def put_and_raise(self, key, value):
        self.kv.set(key, value)
        raise ValueError(self.kv.get(key))

    def note_and_put(self, text):
        self.sql("INSERT INTO notes (text) VALUES (?)", text)
        self.kv.set("last", text)

    def touch(self):
        return self.sql("SELECT * FROM _kv")

    def both_ways(self, key, value):
        self.kv.set(key, value)
        seen = self.kv.get(key)
        self.kv.set(key, None)
        return seen, self.kv.get(key), self.kv.delete(key), self.kv.delete(key), self.kv.get(key, "gone")

    def rewrite_while_listing(self):
        seen = []
        for key, value in self.kv.items():
            self.kv.delete(key)
            seen.append(value)
        return seen

    @read
    def peek(self):
        return self.kv.get("a")


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(0, 9), inner, max_size=4),
    max_leaves=10,
)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), VALUES)
def test_what_was_set_is_what_is_got(key, value):
    room = bare(Keeper)
    assert room.both_ways(key, value) == [value, None, True, False, "gone"]


@given(st.lists(st.text("ab\U0010ffff", min_size=1, max_size=3), max_size=12), st.text("ab\U0010ffff", max_size=2))
def test_listing_shows_each_key_with_the_prefix_in_order(keys, prefix):
    room = bare(Keeper)
    for key in keys:
        room.put(key, key)
    assert room.listed(prefix) == [[key, key] for key in sorted(set(keys)) if key.startswith(prefix)]


def test_a_listing_of_several_pages_may_delete_as_it_goes():
    room = bare(Keeper)
    for number in range(600):
        room.put(f"{number:04}", number)
    assert len(room.rewrite_while_listing()) == 600
    assert room.listed() == []


async def test_kv_lives_and_dies_with_the_call(autojump_clock, tmp_path):
    async with open_test_runtime(Keeper, path=tmp_path) as runtime:
        room = runtime.room(Keeper, "a")
        assert await room.get("topic", "none") == "none"
        with pytest.raises(ValueError, match="tea"):
            await room.put_and_raise("topic", "tea")
        assert await room.get("topic") is None, "the table went with the call that had made it"
        await room.put("topic", {"name": "tea", "at": datetime(2026, 1, 1, tzinfo=UTC)})
        with pytest.raises(ValueError, match="coffee"):
            await room.put_and_raise("topic", "coffee")
    async with open_test_runtime(Keeper, path=tmp_path) as runtime:
        assert await runtime.room(Keeper, "a").get("topic") == {"name": "tea", "at": datetime(2026, 1, 1, tzinfo=UTC)}


async def test_a_room_without_keys_has_no_table_for_them(autojump_clock, tmp_path):
    async with open_test_runtime(Keeper, path=tmp_path) as runtime:
        room = runtime.room(Keeper, "a")
        await room.get("topic")
        transaction = runtime.seated(room._name).storage.transaction
        assert KV not in transaction.annexes
        await room.put("topic", 1)
        assert KV in transaction.annexes
        assert transaction.connection.execute("SELECT format FROM _room").get == 2


@pytest.mark.parametrize("key", ["", "x" * 1025, 7, None, "\ud800"])
def test_a_key_that_is_none_is_refused(key):
    room = bare(Keeper)
    with pytest.raises((CallFailed, BadArguments)):  # a lone surrogate cannot even cross as an argument
        room.put(key, 1)
    assert room.listed() == []


def test_a_value_that_is_too_large_names_its_limit():
    room = bare(Keeper)

    class Big(Keeper):
        def put_much(self):
            self.kv.set("a", b"x" * Limits().row_bytes_max)

    room = bare(Big)
    with pytest.raises(TooLarge, match="row_bytes_max"):
        room.put_much()
    assert room.listed() == []


def test_sql_cannot_touch_the_table_and_a_read_has_none():
    room = bare(Keeper)
    room.put("a", 1)
    with pytest.raises(StatementRefused, match="_kv"):
        room.touch()
    with pytest.raises(StatementRefused, match=r"a @read may not use self\.kv"):
        room.peek()


async def test_a_full_disk_refuses_what_adds_and_lets_delete(autojump_clock, tmp_path):
    async with open_test_runtime(Keeper, path=tmp_path) as runtime:
        room = runtime.room(Keeper, "a")
        await room.put("a", 1)
        runtime.space.full = True
        with pytest.raises(StorageFull):
            await room.put("b", 2)
        assert await room.get("a") == 1
        assert await room.drop("a") is True
        runtime.space.full = False


async def test_what_kv_alone_wrote_reaches_the_replica_as_a_position(autojump_clock, tmp_path):

    async with open_test_runtime(Keeper, path=tmp_path, replicas=[SQLiteReplica()]) as runtime:
        room = runtime.room(Keeper, "a")
        await room.note_and_put("one")
        await room.put("two", 2)
        await runtime.replicated()
        (status,) = runtime.status().replicas
        assert status.lag_rooms == 0
