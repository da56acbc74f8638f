"""For your own tests: a room without a runtime, and a runtime whose time is virtual.

`bare` is for plain unit tests of handlers: synchronous, in memory, no trio. `open_test_runtime` is for tests of tasks and time:
threads run inline, so that trio's autojump clock never takes a running thread for idleness, and the wall clock follows trio's.
"""

import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from os import PathLike
from random import Random
from typing import Any, NoReturn, TypeVar, cast

import apsw
import trio

from actors import SQL, Actor, Disk, Doors, InlineThreads, Limits, Rows, SQLValue
from actors.actor_class import ActorClass, actor_classes
from actors.alarms.alarms import Alarms
from actors.calls.envelope import Envelope, seal
from actors.calls.handlers import Handler, Handlers
from actors.calls.mailbox import Mailbox
from actors.calls.turn import Turns
from actors.names import RoomName, room_name
from actors.reads.read import ReadCall
from actors.reads.read_scope import shown
from actors.statements.codec import unpacked
from actors.statements.guard import Guard
from actors.statements.sql import internal
from actors.statements.transaction import Transaction
from actors.tables.annex import TELLS
from actors.tables.interior import make_internal_tables, migrate, name_room
from actors.tables.kv import KeyValue
from actors.tables.migration import as_migrations
from actors.tables.replies import Replies
from actors.tables.schemas import Schemas
from actors.tells.tells import Tells
from durable_rooms.runtime import Runtime, open_with_doors
from replication import SQLiteReplica

A = TypeVar("A", bound=Actor)

TEST_TIME = 1_700_000_000.0  # Unix seconds; where the wall clock of a test begins


@asynccontextmanager
async def open_test_runtime(
    *actors: type[Actor],
    path: str | PathLike[str] | None = None,
    replicas: Sequence[SQLiteReplica] = (),
    limits: Limits | None = None,
    seed: int = 0,
    disk: Disk | None = None,
) -> AsyncGenerator[Runtime]:
    """`open_runtime` with virtual time: use it with trio's MockClock(autojump_threshold=0) (pytest-trio: `autojump_clock`).

    Without `path` the rooms live in a temporary directory that is removed afterwards. `self.now()` is TEST_TIME plus trio's
    seconds; `self.random` comes from `seed`. Raises as `open_runtime`.
    """
    began = trio.current_time()
    doors = Doors(
        disk=disk or Disk(),
        threads=InlineThreads(),
        wall_clock=lambda: TEST_TIME + trio.current_time() - began,
        random=Random(seed),
    )
    with tempfile.TemporaryDirectory(prefix="durable-rooms-test-") as temporary:
        async with open_with_doors(path or temporary, actors, replicas=replicas, limits=limits, doors=doors) as runtime:
            yield runtime


def bare(actor: type[A], id: str = "test", *, now: Callable[[], float] = lambda: TEST_TIME, seed: int = 0) -> A:
    """One room in memory: `room = bare(ChatRoom)`, then `room.post("ann", "hi")`, synchronously.

    Handlers run as in a runtime: all or nothing, by value, with the same refusals. `room.sql(…)` looks into the database from
    outside. `on_start` runs here and now. Async handlers need a runtime and are refused.
    """
    name = room_name(actor.__name__, id)
    (actor_class,) = actor_classes([actor]).values()
    connection = apsw.Connection(":memory:")
    for pragma in ("recursive_triggers", "foreign_keys"):
        internal(connection, f"PRAGMA {pragma} = 1")
    guard = Guard()
    guard.install(connection, Limits())
    make_internal_tables(connection)
    name_room(connection, name, now())
    transaction = Transaction(connection, guard, Schemas(), actor.local_tables, str(name), actor_class.fulltext)
    migrate(transaction, as_migrations(actor.migrations), now())
    transaction.replies = Replies(transaction, now, Limits())
    instance = actor()
    instance._surroundings = _BareSurroundings(transaction, name, actor_class, now, Random(seed))  # pyright: ignore[reportPrivateUsage]: as an activation does
    return cast(A, _Bare(instance, transaction, actor_class, name, now))


def told(room: Actor) -> list[tuple[str, str, str, list[Any], dict[str, Any]]]:
    """What a `bare` room has told so far, which nobody delivers: (class, id, method, args, kwargs), in order."""
    transaction: Transaction = cast(Any, room)._transaction
    if TELLS not in transaction.annexes:
        return []
    rows = internal(transaction.connection, "SELECT actor, id, method, arguments FROM _tells ORDER BY number")
    return [(actor, id, method, *unpacked(arguments)) for actor, id, method, arguments in rows]


def _address(actor: type[Any], id: str) -> tuple[RoomName, Handlers]:
    """A bare room may tell rooms of every class."""
    (known,) = actor_classes([actor]).values()
    return room_name(actor.__name__, id), known.handlers


class _BareSurroundings:
    def __init__(
        self, transaction: Transaction, name: RoomName, actor_class: ActorClass, now: Callable[[], float], random: Random
    ) -> None:
        self.sql: SQL = transaction.sql
        self.alarms = Alarms(
            transaction,
            payload_bytes_max=Limits().call_bytes_max,
            now=now,
            draw=random.getrandbits,
            why_none=actor_class.why_no_alarms,
        )
        self.kv = KeyValue(transaction, Limits().row_bytes_max)
        self.tells = Tells(transaction, _address, Limits(), now)
        self.room_id = name.id
        self.random = random
        self._now = now

    def now(self) -> float:
        return self._now()

    def exclusive(self, timeout: float | None) -> NoReturn:
        raise TypeError("bare() runs no async handlers; use durable_rooms.testing.open_test_runtime")

    def room(self, actor: type[Any], id: str) -> NoReturn:
        raise TypeError("bare() is one room alone, and calls no other; use durable_rooms.testing.open_test_runtime")


def _inline(handler: Handler) -> Handler:
    """An offloaded handler runs like any other here."""
    own = copy(handler)
    own.apart = handler.is_async
    return own


class _Bare:
    """Stands in for the actor: handlers run as turns, everything else is the instance's own."""

    def __init__(
        self, instance: Actor, transaction: Transaction, actor_class: ActorClass, name: RoomName, now: Callable[[], float]
    ) -> None:
        self._instance = instance
        self._now = now
        self._transaction = transaction
        self._handlers = {handler.name: _inline(handler) for handler in actor_class.handlers}
        self._name = name
        self._limits = Limits()
        self._turns = Turns(instance, transaction, self._limits, self, lambda: 0.0)
        if actor_class.on_start is not None:
            self._call(actor_class.on_start, (), {})

    def __getattr__(self, attribute: str) -> Any:
        handler = self._handlers.get(attribute)
        if handler is None:
            return getattr(self._instance, attribute)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(handler, args, kwargs)

        return call

    def _call(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if handler.is_async:
            raise TypeError(f"{handler.name} is async, and bare() runs no tasks; use durable_rooms.testing.open_test_runtime")
        if handler.is_read:
            return self._read(seal(Envelope, handler, args, kwargs, self._limits, self._name))
        mailbox = Mailbox(self._limits, str(self._name))
        envelope = seal(Envelope, handler, args, kwargs, self._limits, self._name)
        mailbox.put(envelope)
        self._turns.run(mailbox)
        if envelope.error is not None:
            raise envelope.error
        return envelope.value

    def _read(self, envelope: Envelope) -> Any:
        """As in a runtime: on an instance without memory, and nothing can be written."""
        handler, args, kwargs, transaction = envelope.handler, envelope.args, envelope.kwargs, self._transaction
        call = ReadCall(type(self._instance), self._name, handler, args, kwargs, self._now, self._limits.result_bytes_max)
        internal(transaction.connection, "BEGIN")
        try:
            with shown(transaction, lambda: transaction.schema.fulltext) as sql:
                return call(sql)
        finally:
            internal(transaction.connection, "COMMIT")

    def sql(self, query: str, /, *args: SQLValue, **named: SQLValue) -> Rows:
        """One statement from outside, in a turn of its own."""
        transaction = self._transaction
        transaction.call_begins()
        try:
            rows = transaction.sql(query, *args, **named)
            transaction.call_ends()
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        return rows

    # -- the ledger of its turns: nothing waits for durability here ------------------------------------------------------
    def committed(self, *, wrote: bool) -> None:
        pass

    def commit_unknown(self, error: apsw.Error) -> None:
        raise error

    def turn_void(self) -> None:
        pass

    def damaged(self, error: apsw.Error) -> None:
        raise error
