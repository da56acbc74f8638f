"""What of a class can be called from outside: its handlers, with their signatures."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from actors.errors import BadArguments, UnknownMethod

FRESH = "durable_rooms_fresh"  # on a method that `@read` marked: a tuple of the freshness that it asks for, or of None


MANNER = "durable_rooms_manner"  # on a method that `@command` marked


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command is run: on the loop or in a worker thread, in which lane, and for how many seconds at most."""

    offload: bool = False
    control: bool = False  # comes before the other commands that wait for its room
    timeout: float = math.inf


PLAIN = Manner()


class Handler:
    """One public method of an actor class. `is_read`: marked with @read; `fresh` is what it asks for there."""

    __slots__ = (
        "_max",
        "_min",
        "_signature",
        "_simple",
        "apart",
        "control",
        "fresh",
        "function",
        "is_async",
        "is_read",
        "is_timed",
        "manner",
        "name",
        "uses_sql",
    )

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        marked: tuple[Any] | None = getattr(function, FRESH, None)
        self.is_read = marked is not None
        self.manner: Manner = getattr(function, MANNER, PLAIN)
        if self.is_read and (self.manner.offload or self.manner.control):
            raise TypeError(f"{name} is a @read, which waits in no mailbox and for no loop: leave offload and control away")
        self.control = self.manner.control
        self.apart = self.is_async or self.manner.offload  # not in a turn of several calls: in slices, or in a thread
        self.is_timed = self.manner.timeout != math.inf
        self.fresh: Any = marked[0] if marked else None  # a read.Freshness or None
        # Learnt from the first call and presumed before it: a turn with such a call begins its transaction first (see Turns).
        self.uses_sql: bool | None = None
        self._signature = _without_self(function)
        parameters = self._signature.parameters.values()
        kinds = {parameter.kind for parameter in parameters}
        self._simple = kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._max = len(parameters)
        self._min = sum(parameter.default is inspect.Parameter.empty for parameter in parameters)

    def takes(self, count: int) -> bool:
        """Whether so many arguments without keywords fit, by two comparisons; `inspect` costs 10 µs."""
        return self._simple and self._min <= count <= self._max

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], room: str) -> None:
        """Raises BadArguments."""
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BadArguments(f"{room}: {self.name}{self._signature}: {error}. Nothing ran.", room=room) from error

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Arguments that fit, those by name in their places where they have one."""
        bound = self._signature.bind(*args, **kwargs)
        return bound.args, bound.kwargs


_signatures: "WeakKeyDictionary[Callable[..., Any], inspect.Signature]" = WeakKeyDictionary()


def _without_self(function: Callable[..., Any]) -> inspect.Signature:
    """As its callers see it. Found once for each function (12 µs): a simulator opens hundreds of runtimes a second."""
    signature = _signatures.get(function)
    if signature is None:
        whole = inspect.signature(function)
        signature = _signatures[function] = whole.replace(parameters=list(whole.parameters.values())[1:])
    return signature


class Handlers:
    """The handlers of one actor class, by name."""

    def __init__(self, actor: type, reserved: frozenset[str]) -> None:
        self._class_name = actor.__name__
        self._by_name: dict[str, Handler] = {}
        for name in dir(actor):
            if name.startswith(("_", "on_")) or name in reserved:
                continue
            function = inspect.getattr_static(actor, name)
            if inspect.isfunction(function):
                self._by_name[name] = Handler(name, function)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Handler:
        """Raises UnknownMethod."""
        handler = self._by_name.get(name)
        if handler is None:
            known = ", ".join(sorted(self._by_name)) or "none"
            why = "is private" if name.startswith("_") else "is not a handler"
            raise UnknownMethod(f"{self._class_name}.{name} {why}; {self._class_name} has: {known}. Nothing ran.")
        return handler

    def of(self, method: object) -> Handler:
        """The handler of `Class.method`. Raises UnknownMethod."""
        name = getattr(method, "__name__", None)
        if not isinstance(name, str):
            raise UnknownMethod(f"{method!r} is not a method of {self._class_name}. Nothing ran.")
        handler = self.get(name)
        if handler.function is not method:
            raise UnknownMethod(f"{getattr(method, '__qualname__', name)} is not {self._class_name}.{name}. Nothing ran.")
        return handler
