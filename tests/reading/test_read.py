"""What a @read method may do, in a room and on the replica."""

import pytest
import trio

from durable_rooms import Actor, BadArguments, StatementRefused, TooLarge, read
from tests.reading.chat import ChatRoom, reading

BOTH = pytest.mark.parametrize("fresh", ["room", "acknowledged"])


@BOTH
async def test_a_read_answers_and_says_where_it_ran(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        await runtime.replicated()
        assert await room.bodies() == ["hello"]
        reply = await room.ask(ChatRoom.bodies)
        assert reply.value == ["hello"]
        assert reply.seq == (await room.ask(ChatRoom.bodies)).seq > 0
        assert reply.source == ("room" if fresh == "room" else "replica")


@BOTH
async def test_a_read_knows_its_room_and_the_time(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        assert await room.whoami() == ["general", True]


@BOTH
@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("looks_into_memory", "no attribute 'cache'"),
        ("keeps", "may not set self.seen"),
        ("draws", "may not use chance"),
        ("names", "may not use chance"),
        ("excludes", "self.exclusive"),
        ("calls_a_command", "may not"),
    ],
)
async def test_a_read_has_no_memory_no_chance_and_writes_nothing(method, words, fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        with pytest.raises((AttributeError, StatementRefused), match=words) as caught:
            await getattr(room, method)()
        assert any("ChatRoom/general" in note and method in note for note in caught.value.__notes__)
        assert await room.bodies() == ["hello"]


@BOTH
async def test_an_error_of_the_read_arrives_as_it_is(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        with pytest.raises(LookupError, match="nothing here"):
            await room.raises()


@BOTH
@pytest.mark.parametrize(
    "query",
    [
        "SELECT rowid FROM messages",
        "SELECT _rowid_ FROM messages",
        'SELECT "OID" FROM messages',
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM pragma_table_info('messages')",
        "PRAGMA table_info(messages)",
        "EXPLAIN SELECT * FROM messages",
        "INSERT INTO messages (author, body) VALUES ('bob', 'x')",
        "DELETE FROM messages",
        "CREATE TEMP TABLE t (x)",
        "ATTACH ':memory:' AS other",
        "SELECT random()",
        "SELECT * FROM _outbox",
        "SELECT 1; SELECT 2",
        "BEGIN",
    ],
)
async def test_what_is_not_a_pure_question_is_refused_in_both_places(query, fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        with pytest.raises(StatementRefused):
            await room.rows(query)
        assert await room.bodies() == ["hello"]


@BOTH
async def test_values_are_bound_in_both_places(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        assert await room.rows("SELECT body, ? AS x FROM messages WHERE author = ?", b"\0x", "ann") == [
            {"body": "hello", "x": b"\0x"}
        ]


@BOTH
async def test_a_result_over_its_bound_is_refused(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "x" * 1_000_000)
        with pytest.raises(TooLarge, match="result_bytes_max"):
            await room.rows("SELECT body FROM messages, json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]')")


@BOTH
async def test_what_a_read_did_to_its_arguments_is_not_seen_by_a_second_run(fresh, autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general").options(fresh=fresh)
        await room.post("ann", "hello")
        assert await room.eats([1, 2, 3]) == 3


async def test_a_read_of_a_local_table_is_answered_by_the_room(autojump_clock):
    async with reading() as runtime:
        room = runtime.room(ChatRoom, "general")
        await room.draft("not sent yet")
        await runtime.replicated()
        for _ in range(2):
            reply = await room.ask(ChatRoom.drafts)
            assert reply.value == ["not sent yet"]
            assert reply.source == "room"


async def test_bad_arguments_are_refused_before_anything_runs(autojump_clock):
    async with reading() as runtime:
        with pytest.raises(BadArguments):
            await runtime.room(ChatRoom, "general").bodies(1)


def test_only_plain_methods_can_be_marked():
    with pytest.raises(TypeError, match="plain `def`"):

        class Waiting(Actor):
            @read
            async def waits(self) -> None: ...


@pytest.mark.parametrize("fresh", [-1, float("nan"), float("inf"), "soon", True, None])
def test_a_freshness_that_means_nothing_is_refused(fresh):
    if fresh is None:
        read(fresh=fresh)  # as if it was left out
        return
    with pytest.raises(ValueError, match="fresh is"):
        read(fresh=fresh)


async def test_reads_wait_neither_behind_the_mailbox_nor_for_an_async_handler(autojump_clock):
    class Slow(ChatRoom):
        async def holds(self) -> None:
            async with self.exclusive():
                await trio.sleep(25)

    from durable_rooms.testing import open_test_runtime

    async with open_test_runtime(Slow) as runtime, trio.open_nursery() as nursery:
        room = runtime.room(Slow, "general")
        await room.post("ann", "hello")
        nursery.start_soon(room.holds)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(room.post, "bob", "waits")
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            assert await room.bodies() == ["hello"]


async def test_reading_a_hibernated_room_wakes_no_actor(autojump_clock):
    births = []

    class Counted(ChatRoom):
        def __init__(self) -> None:
            births.append(1)

    from durable_rooms import Limits
    from durable_rooms.testing import open_test_runtime

    async with open_test_runtime(Counted, limits=Limits(idle_seconds_max=1)) as runtime:
        room = runtime.room(Counted, "general")
        await room.post("ann", "hello")
        await trio.sleep(10)
        assert runtime.status().rooms_open == 0
        assert await room.bodies() == ["hello"]
        assert runtime.status().rooms_open == 0
        assert len(births) == 1
