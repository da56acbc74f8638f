"""The class a user writes: one room, one thread of control, one SQLite file."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from inspect import getattr_static
from random import Random
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

from actors.alarms.alarms import Alarms
from actors.errors import StatementRefused
from actors.room import Room
from actors.statements import fulltext
from actors.statements.sql import SQL
from actors.tables.kv import KeyValue
from actors.tables.migration import Migration
from actors.tells.tells import DeadTells, Tells

A = TypeVar("A", bound="Actor")
P = ParamSpec("P")

STUB_NAMES = frozenset({"id", "actor", "options", "call", "ask"})  # taken by a room's stub


class Surroundings(Protocol):
    """What an activation (or `bare`) gives its actor."""

    @property
    def sql(self) -> SQL: ...
    @property
    def room_id(self) -> str: ...
    @property
    def random(self) -> Random: ...
    @property
    def kv(self) -> KeyValue: ...
    @property
    def tells(self) -> Tells: ...
    @property
    def alarms(self) -> Alarms: ...
    def now(self) -> float: ...
    def exclusive(self, timeout: float | None) -> AbstractAsyncContextManager[None]: ...
    def room(self, actor: type[Any], id: str) -> Room[Any]: ...


class Actor:
    """One room: one object, one thread of control, one SQLite file. Public methods are its handlers; `_names` are private.

    A `def` handler is all or nothing. An `async def` handler interleaves with other calls where it suspends and nowhere else;
    each of its slices is atomic. Attributes set on `self` live as long as the room stays in memory and are not durable.
    """

    migrations: ClassVar[Sequence[str | Migration]] = ()
    """The schema, step by step; each runs once a room. Never edit a step that has run anywhere: add one."""

    local_tables: ClassVar[frozenset[str]] = frozenset()
    """Tables that never leave the room; they need no primary key."""

    fulltext: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Tables and their columns in which `self.sql.match` finds words: {"messages": ["body"]}. Rooms that exist make their index
    when they are next opened, some 2 µs a row of chat."""

    _surroundings: Surroundings

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ours = cls.__mro__[: cls.__mro__.index(Actor)]  # mixins, too: what comes before Actor replaces what Actor provides
        own = {name for base in ours for name in vars(base) if not name.startswith("__")}
        taken = own & (_ACTOR_NAMES - _FOR_USERS)
        if taken:
            raise TypeError(f"{cls.__name__} redefines {', '.join(sorted(taken))}, which Actor provides; choose another name")
        reserved = {name for name in own & STUB_NAMES if callable(getattr_static(cls, name))}
        if reserved:
            raise TypeError(f"{cls.__name__}: {', '.join(sorted(reserved))} is a name of every room's stub; choose another name")
        if isinstance(cls.local_tables, str):
            raise TypeError(f"{cls.__name__}: local_tables is a set of names: frozenset({{{cls.local_tables!r}}})")
        cls.fulltext = fulltext.declared(cls.__name__, cls.fulltext)

    @property
    def id(self) -> str:
        """The room's id."""
        return self._here().room_id

    @property
    def sql(self) -> SQL:
        """The room's database: `self.sql(query, *values)`."""
        try:
            return self._surroundings.sql
        except AttributeError:
            return self._here().sql

    @property
    def kv(self) -> KeyValue:
        """Small values by key, in the room's own transaction: `self.kv.set("topic", "tea")`, `self.kv.get("topic")`."""
        return self._here().kv

    @property
    def alarms(self) -> Alarms:
        """Durable timers by name, in the room's own transaction: `self.alarms.set("remind", self.now() + 60, {"to": "ann"})`.

        When one is due, the class's `on_alarm(self, name, payload)` runs, `def` or `async def`; with a fourth parameter it
        also gets the `Alarm`, which says how often it was tried and how many times of a repeating one were missed.
        """
        return self._here().alarms

    @property
    def random(self) -> Random:
        """Chance; seeded under simulation. Use it, not the module."""
        return self._here().random

    def now(self) -> float:
        """Unix seconds; virtual under simulation."""
        return self._here().now()

    def new_id(self) -> str:
        """A unique text of 26 characters that sorts by time: milliseconds, then 80 bits of chance (as a ULID)."""
        return _ulid(int(self.now() * 1000), self.random.getrandbits(80))

    def tell(
        self, actor: type[A], id: str, method: Callable[Concatenate[A, P], Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Send to another room: `self.tell(Directory, "main", Directory.count, 1)`. Costs 10 µs.

        Stored in this room's own transaction and gone with the call if that fails. Once it is durable the method runs there,
        once, in the order in which this room told that one; nobody gets a reply. Of an `async def` method the last slice takes
        effect once, earlier ones at least once. A method that keeps failing (`tell_attempts_max`) makes it one of `dead_tells`.

        Raises, for the call that tells:
          BadArguments, UnknownMethod, RoomIdInvalid, TooLarge: as for a call, at once.
          Overloaded: `tells_pending_max` of this room are not settled yet. StorageFull: there is no space.
        """
        self._here().tells.tell(actor, id, method, args, kwargs)

    @property
    def dead_tells(self) -> DeadTells:
        """Tells of this room that were given up: iterate over them, tell one `again(number)`, or `forget(number)` it."""
        return self._here().tells.dead

    def on_start(self) -> Coroutine[Any, Any, None] | None:
        """Override it (`def` or `async def`) to prepare what the room keeps in memory. It runs once for each stay in memory,
        before the first call, alone; reads do not wait for it. If it raises, what it wrote is rolled back and the calls that
        wait are refused with StartFailed."""

    def exclusive(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[None]:
        """`async with self.exclusive():` in an async handler: nobody else runs in this room until the block ends.

        A block that raises resets the room: its memory is thrown away, other async handlers under way are cut short (RoomReset,
        or OutcomeUnknown where slices of them are committed), calls that wait are served by the next activation. So does one
        that is held longer than `timeout` seconds (not over `exclusive_seconds_max`, which is the default). One that is
        cancelled just ends.

        Raises:
          CallCycle: the room that holds it waits for this handler. CallFailed: more than 64 blocks, one in another.
        """
        return self._here().exclusive(timeout)

    def room(self, actor: type[A], id: str) -> Room[A]:
        """Another room, to be called from an async handler: `await self.room(Directory, "all").joined(self.id)`.

        A call leaves when all that this room has committed, the slice before it included, is durable. It raises what the call
        raises; see `Room.call`. If this handler is cancelled, a call that has not begun never runs, and an async handler that
        answers it is cancelled, too. Other calls run here meanwhile (see `exclusive`).

        Raises:
          StatementRefused: not in an async handler. Its calls also raise CallCycle: the rooms wait for each other.
        """
        return self._here().room(actor, id)

    def _here(self) -> Surroundings:
        try:
            return self._surroundings
        except AttributeError:
            raise StatementRefused(
                f"this {type(self).__name__} is not in a room (in __init__ not yet; not any more once the room has left memory): "
                "use runtime.room(…), or durable_rooms.testing.bare(…) in a test"
            ) from None


_FOR_USERS = frozenset({"migrations", "local_tables", "fulltext", "on_start"})  # to be redefined
_ACTOR_NAMES = frozenset(name for name in vars(Actor) if not name.startswith("__"))

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _ulid(milliseconds: int, chance: int) -> str:
    number = (milliseconds << 80) | chance
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def handler_names_reserved() -> frozenset[str]:
    """Public names of Actor itself; none of them can be called from outside."""
    return _ACTOR_NAMES
