"""An actor class as the runtime uses it: its handlers, its migrations, what can be searched in its tables."""

from collections.abc import Sequence

from actors.actor import STUB_NAMES, Actor, handler_names_reserved
from actors.fulltext import declared
from actors.handlers import Handler, Handlers
from actors.migration import Migration, as_migrations


class ActorClass:
    """One actor class as the runtime uses it."""

    def __init__(self, actor: type[Actor], handlers: Handlers, migrations: tuple[Migration, ...]) -> None:
        self.actor = actor
        self.handlers = handlers
        self.migrations = migrations
        self.on_start = None if actor.on_start is Actor.on_start else Handler("on_start", actor.on_start)
        self.fulltext = declared(actor.__name__, actor.fulltext)


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
