"""Which actor classes are meant: those that a person names, or those that the catalog says were run here."""

import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType

from actors import Actor
from actors.actor_class import actor_classes
from actors.tables.migration import as_migrations

GUARD = 'the program must start only under `if __name__ == "__main__":`'


class ActorsUnfit(Exception):
    """A class cannot be had; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes by name. `problems`: those that the catalog knows and that cannot be had, with the reason."""

    known: dict[str, type[Actor]] = field(default_factory=dict[str, type[Actor]])
    problems: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def newest(self) -> dict[str, int]:
        """How many migrations each class has."""
        return {name: len(as_migrations(actor.migrations)) for name, actor in self.known.items()}


def named(texts: Iterable[str]) -> Classes:
    """Of `MODULE:Class`, or of `MODULE`: every actor class that is defined there.

    Raises:
      ActorsUnfit: one of them cannot be had.
    """
    known: dict[str, type[Actor]] = {}
    for text in texts:
        module, colon, name = text.partition(":")
        try:
            for actor in [class_of(module, name)] if colon else classes_of(module):
                if known.setdefault(actor.__name__, actor) is not actor:
                    raise ActorsUnfit(f"there are two classes {actor.__name__}")
        except ActorsUnfit as error:
            raise ActorsUnfit(f"--actors {text}: {error}.") from error
    return Classes(known)


def catalogued(modules: Mapping[str, str | None]) -> Classes:
    """Of the catalog: the module of each class, None where it does not say."""
    found = Classes()
    for name, module in modules.items():
        try:
            if module is None:
                raise ActorsUnfit("the catalog does not say where it is defined (an older version wrote it)")
            if module == "__main__":
                raise ActorsUnfit(f"it was defined in a program's main module, which has no name to import; {GUARD}")
            found.known[name] = class_of(module, name)
        except ActorsUnfit as error:
            found.problems[name] = str(error)
    return found


def class_of(module: str, name: str) -> type[Actor]:
    actor = getattr(imported(module), name, None)
    if actor is None:
        raise ActorsUnfit(f"the module {module} has no {name}")
    if not (isinstance(actor, type) and issubclass(actor, Actor) and actor is not Actor):
        raise ActorsUnfit(f"{module}.{name} is not an actor class")
    return checked(actor)


def classes_of(module: str) -> list[type[Actor]]:
    there = imported(module)
    classes = {one for one in vars(there).values() if isinstance(one, type) and issubclass(one, Actor) and one is not Actor}
    own = sorted((one for one in classes if one.__module__ == there.__name__), key=lambda one: one.__name__)
    if not own:
        others = ", ".join(f"{module}:{one.__name__}" for one in sorted(classes, key=lambda one: one.__name__))
        raise ActorsUnfit(f"the module {module} defines no actor class" + (f"; it imports some: {others}" if others else ""))
    return [checked(one) for one in own]


def checked(actor: type[Actor]) -> type[Actor]:
    """As a runtime checks it when it is opened."""
    try:
        actor_classes([actor])
    except (TypeError, ValueError) as error:
        raise ActorsUnfit(f"{actor.__name__} cannot be used: {error}") from error
    return actor


def imported(module: str) -> ModuleType:
    """As `python -m` finds it: the current directory first. What it prints must not get among the answers on stdout."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        with redirect_stdout(sys.stderr):
            return import_module(module)
    except (Exception, SystemExit) as error:  # a module may do anything when it is imported; one that is a program may exit
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ActorsUnfit(f"the module {module!r} cannot be imported ({what})") from error
