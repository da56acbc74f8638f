"""An actor class as the runtime uses it: its handlers, its migrations, what can be searched in its tables."""

from collections.abc import Sequence
from inspect import getattr_static, isfunction

from actors.actor import STUB_NAMES, Actor, handler_names_reserved
from actors.calls.handlers import Handler, Handlers
from actors.errors import StatementRefused
from actors.statements.fulltext import declared
from actors.tables.migration import Migration, as_migrations

ON_ALARM = "on_alarm"


class ActorClass:
    """One actor class as the runtime uses it."""

    def __init__(self, actor: type[Actor], handlers: Handlers, migrations: tuple[Migration, ...]) -> None:
        self.actor = actor
        self.handlers = handlers
        self.migrations = migrations
        self.on_start = None if actor.on_start is Actor.on_start else Handler("on_start", actor.on_start)
        self.fulltext = declared(actor.__name__, actor.fulltext)
        self.has_on_alarm = hasattr(actor, ON_ALARM)
        self.on_alarm = _on_alarm(actor)

    @property
    def why_no_alarms(self) -> str:
        return "" if self.has_on_alarm else f"{self.actor.__name__} has no method on_alarm(self, name, payload)"


def _on_alarm(actor: type[Actor]) -> Handler:
    """What runs when an alarm of this class is due. Raises TypeError."""
    function = getattr_static(actor, ON_ALARM, None)
    if function is None:
        return Handler(ON_ALARM, _no_on_alarm)
    handler = Handler(ON_ALARM, function) if isfunction(function) else None
    if handler is None or handler.is_read or not (handler.takes(2) or handler.takes(3)):
        raise TypeError(f"{actor.__name__}: on_alarm is a method on_alarm(self, name, payload), or (self, name, payload, alarm)")
    return handler


def _no_on_alarm(actor: Actor, name: str, payload: object) -> None:
    raise StatementRefused(f"{type(actor).__name__} has no method on_alarm any more, so the alarm {name!r:.100} cannot go off")


def actor_classes(actors: Sequence[type[Actor]]) -> dict[str, ActorClass]:
    """By name.

    Raises:
      TypeError: not an actor class. ValueError: none, or two of one name.
    """
    classes: dict[str, ActorClass] = {}
    reserved = handler_names_reserved() | STUB_NAMES
    for actor in actors:
        if not (isinstance(actor, type) and issubclass(actor, Actor)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{actor!r} is not a subclass of Actor")
        if actor.__name__ in classes:
            raise ValueError(
                f"two actor classes are named {actor.__name__}; the name identifies their rooms on disk, so rename one"
            )
        classes[actor.__name__] = ActorClass(actor, Handlers(actor, reserved), as_migrations(actor.migrations))
    if not classes:
        raise ValueError("open_runtime needs at least one actor class")
    return classes
