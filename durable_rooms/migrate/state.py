"""How far the rooms of a directory are: counted in the catalog, from outside. Opens no room, changes nothing."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from durable_rooms.inspect.place import require, running
from durable_rooms.verify.files import columns, has
from durable_rooms.verify.walk import settled

NOT_KNOWN = 0  # a room's version before it has left memory for the first time, and in a catalog of format 1


@dataclass(slots=True, kw_only=True)
class ClassState:
    """The rooms of one class.

    Attributes:
      module: where the catalog says that the class was found; None if it does not.
      newest: how many migrations the class has; None if nobody knows.
      versions: how many healthy rooms have run so many migrations.
      sick: rooms in quarantine, by the same.
    """

    actor: str
    module: str | None = None
    newest: int | None = None
    versions: dict[int, int] = field(default_factory=dict[int, int])
    sick: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def rooms(self) -> int:
        return sum(self.versions.values()) + sum(self.sick.values())

    @property
    def at_newest(self) -> int:
        return 0 if self.newest is None else self.versions.get(self.newest, 0)

    @property
    def not_known(self) -> int:
        """Rooms whose version only their file tells."""
        return 0 if self.newest == NOT_KNOWN else self.versions.get(NOT_KNOWN, 0)

    @property
    def behind(self) -> int:
        """Rooms that are known to have run fewer migrations than there are."""
        return sum(count for version, count in self.versions.items() if NOT_KNOWN < version < (self.newest or 0))

    @property
    def newer(self) -> int:
        """Rooms that a newer version of the class has written."""
        return 0 if self.newest is None else sum(count for version, count in self.versions.items() if version > self.newest)

    @property
    def left(self) -> int:
        """Rooms that are not at the newest version, or not known to be."""
        return self.rooms - self.at_newest - (0 if self.newest is None else self.sick.get(self.newest, 0))


@dataclass(slots=True, kw_only=True)
class State:
    """A directory at one moment.

    Attributes:
      running: pid of the process that runs on it. Of rooms in its memory the catalog tells what was so when they last left it.
      unreadable: files that were in nobody's place when the catalog was made again; they are sick, too.
    """

    data: Path
    running: int | None
    classes: list[ClassState]
    unreadable: int = 0

    @property
    def modules(self) -> dict[str, str | None]:
        """Of the classes that have rooms."""
        return {one.actor: one.module for one in self.classes}


def state(data: Path, newest: Mapping[str, int] | None = None) -> State:
    """Count rooms by version; 0.3 µs a room.

    Args:
      newest: how many migrations the classes have now; else as many as the last process knew.

    Raises:
      NotADataDirectory: there is no catalog here, or it cannot be read.
    """
    counts, classes = settled(require(data), counted)
    found: dict[str, ClassState] = {}
    for actor, version, sick, count in counts:
        module, known = classes.get(actor, (None, None))
        one = found.setdefault(actor, ClassState(actor=actor, module=module, newest=(newest or {}).get(actor, known)))
        (one.sick if sick else one.versions)[version] = count
    nameless = found.pop("", None)
    return State(
        data=data,
        running=running(data),
        classes=list(found.values()),
        unreadable=nameless.rooms if nameless is not None else 0,
    )


Counts = list[tuple[str, int, bool, int]]


def counted(connection: sqlite3.Connection) -> tuple[Counts, dict[str, tuple[str, int]]]:
    """Rooms by (class, version, sick or not), and of each class its module and newest version."""
    have = {name for name, _ in columns(connection, "rooms")}
    version, sick = ("version" if "version" in have else "0"), ("sick IS NOT NULL" if "sick" in have else "0")
    query = f"SELECT actor, {version} AS v, {sick} AS s, count(*) FROM rooms GROUP BY actor, v, s ORDER BY actor, v, s"  # noqa: S608 - constants
    counts = [(actor, at, bool(ill), count) for actor, at, ill, count in connection.execute(query)]
    known = connection.execute("SELECT actor, module, version FROM classes") if has(connection, "classes") else ()
    return counts, {actor: (module, newest) for actor, module, newest in known}
