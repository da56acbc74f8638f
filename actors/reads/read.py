"""`@read`: a handler that only asks. The same text runs in the room or on a replica, on an instance without memory.

What makes that possible: it sees nothing but its arguments, the room's id, the time and its room's tables.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction, isfunction
from random import Random
from typing import Any, Generic, Literal, NoReturn, ParamSpec, TypeVar, overload

from actors.alarms.alarms import Alarms
from actors.calls.envelope import cannot_cross, result_too_large
from actors.calls.handlers import FRESH, Handler
from actors.errors import StatementRefused
from actors.follower import Position
from actors.names import RoomName
from actors.statements.codec import by_value
from actors.statements.sql import SQL
from actors.tables.kv import KeyValue
from actors.tells.tells import Tells

P = ParamSpec("P")
R = TypeVar("R")

Freshness = Literal["acknowledged", "room", "any"] | float
"""How new what a read sees must be.

"acknowledged": every command on that room that had returned in this process when the read began.
A number: so many seconds ago at most. "any": whatever a replica has. "room": no replica, the room itself.
"""


@overload
def read(method: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def read(*, fresh: Freshness | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def read(method: Callable[..., Any] | None = None, /, *, fresh: Freshness | None = None) -> Any:
    """Mark a handler as pure SQL: it may run on a replica, without waiting behind the room's mailbox.

    It runs on an instance without memory (`__init__` has not run), may be run again, and cannot write, use chance, or await:
    trying is a StatementRefused. `fresh`: how new what it sees must be, unless the session or the call says otherwise.
    """
    terms = None if fresh is None else checked(fresh)

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        if not isfunction(method) or iscoroutinefunction(method):
            raise TypeError(f"@read marks a plain `def` method: a read never waits, and {method!r} is none")
        setattr(method, FRESH, (terms,))
        return method

    return mark if method is None else mark(method)


def checked(fresh: Freshness) -> Freshness:
    """Raises ValueError."""
    if fresh in ("acknowledged", "room", "any"):
        return fresh
    if type(fresh) in (int, float) and math.isfinite(fresh) and fresh >= 0:
        return float(fresh)
    raise ValueError(f'fresh is "acknowledged", "room", "any" or seconds from 0, not {fresh!r}')


class Surroundings:
    """What the bare instance of a read finds around it."""

    __slots__ = ("_wall_clock", "room_id", "sql")

    def __init__(self, sql: SQL, room_id: str, wall_clock: Callable[[], float]) -> None:
        self.sql = sql
        self.room_id = room_id
        self._wall_clock = wall_clock

    def now(self) -> float:
        return self._wall_clock()

    @property
    def random(self) -> Random:
        raise StatementRefused("a @read may not use chance (self.random, self.new_id): it may be run again, here or elsewhere")

    @property
    def kv(self) -> KeyValue:
        raise StatementRefused("a @read may not use self.kv: a replica has none, because it never leaves the room; use a table")

    @property
    def tells(self) -> Tells:
        raise StatementRefused("a @read may not tell: it writes nothing, and may be run again, here or elsewhere")

    @property
    def alarms(self) -> Alarms:
        raise StatementRefused("a @read may not use self.alarms: a replica has none, because they never leave the room")

    def room(self, actor: type[Any], id: str) -> NoReturn:
        raise StatementRefused("a @read may not call other rooms (self.room): it is pure SQL, and never waits; use a command")

    def exclusive(self, timeout: float | None) -> NoReturn:
        raise StatementRefused("a @read may not use self.exclusive(): it runs alone, and never waits")


@dataclass(frozen=True, slots=True)
class ReadCall:
    """One call of a @read method, to be run on any connection that shows the room's tables; also twice, or in a thread."""

    actor: type[Any]
    name: RoomName
    handler: Handler
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    wall_clock: Callable[[], float]
    result_bytes_max: int

    def __call__(self, sql: SQL) -> Any:
        """Run it; what it returns is by value, as every result.

        Raises:
          What the method raises, as it is, with a note that names the room. CallFailed, TooLarge: its result cannot cross.
        """
        (args, kwargs), _ = by_value((self.args, self.kwargs))  # a run that is repeated must not see what the first did to them
        instance: Any = object.__new__(self.actor)
        instance._surroundings = Surroundings(sql, self.name.id, self.wall_clock)
        try:
            value = self.handler.function(instance, *args, **kwargs)
            kept: list[str] = [name for name in getattr(instance, "__dict__", ()) if name != "_surroundings"]
            if kept:
                raise StatementRefused(f"a @read may not set self.{min(kept)}: its instance has no memory and is gone afterwards")
            return self._crossing(value)
        except AttributeError as error:
            if error.obj is instance:
                error.add_note("(a @read runs on an instance without memory: __init__ has not run; ask self.sql instead)")
            raise self._noted(error)  # noqa: B904 - the same one
        except Exception as error:
            raise self._noted(error)  # noqa: B904

    def _noted(self, error: Exception) -> Exception:
        error.add_note(f"(raised in room {self.name} by the read {self.handler.name}; nothing was written)")
        return error

    def _crossing(self, value: object) -> Any:
        room = str(self.name)
        try:
            carried, size = by_value(value)
        except ValueError as error:
            raise cannot_cross(room, self.handler, error, "Nothing was written") from error
        if size > self.result_bytes_max:
            raise result_too_large(room, self.handler, size, self.result_bytes_max, "Nothing was written", "no")
        return carried


IN_ROOM = "room"  # the source of what the room itself told


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """What a read saw: its result, where the room stood in what it saw, and whose rows they were ("room" or a replica's name)."""

    value: R
    position: Position
    source: str
