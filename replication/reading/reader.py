"""A reader of one replica: runs reads, each on one moment of the file, and says which moment that was.

the same file? ─▶ BEGIN ─▶ the room's mark ─▶ new enough? ─▶ the read, scoped ─▶ ROLLBACK
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

import apsw

from actors import SQL, Disk, Limits, Position, RoomName
from actors.statements.sql import internal, internal_many
from replication import searching
from replication.limits import READ_SCHEMAS_MAX
from replication.reading.scoped import FILE_ERRORS, NO_ROOM, Scoped, Search, Unanswerable
from replication.reading.views import across, of_room
from replication.replica import ReplicaDamaged, ReplicaGone
from replication.shape import quoted
from replication.standing import Moment

__all__ = ["Reader", "Seen", "Stale", "Unanswerable"]

T = TypeVar("T")

_MARK = (
    "SELECT key, epoch, seq, schema, (SELECT batch FROM main._applied), (SELECT id FROM main._generation)"
    " FROM main._rooms WHERE actor = ? AND id = ?"
)
_MOMENT = "SELECT id, batch FROM main._generation, main._applied"


class Seen(NamedTuple, Generic[T]):
    """What a read returned, and where the replica stood: the room's position (None: several rooms), batch and generation."""

    value: T
    position: Position | None
    batch: int
    generation: str


class Stale(Exception):
    """The replica is not there yet. `position`: where it has the room; None: it does not know it."""

    def __init__(self, position: Position | None) -> None:
        super().__init__(f"the replica has the room at {tuple(position)}" if position else "the replica does not know the room")
        self.position = position


class Reader:
    """Blocks; used by one worker thread at a time. After an error of the file it opens it anew for the next read.

    Every read raises ReplicaGone, ReplicaDamaged or FILE_ERRORS where the file cannot be read, and what the read itself raises.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        random: Random,
        limits: Limits,
        stopwatch: Callable[[], float],
        token: str | None = None,
        hurry: float | None = None,
    ) -> None:
        """`token`: who must have signed the file (see House); None: whoever. `random`: nobody may guess what it gives. `hurry`:
        seconds after which reads raise apsw.InterruptError, to be run elsewhere."""
        self._disk = disk
        self._token = token
        self._path = path
        self._make: Callable[[], Scoped] = lambda: Scoped(disk, path, random, limits, stopwatch, hurry)
        self._identity: tuple[int, int] | None = None  # of the file that the connections have open
        self._kept: dict[tuple[Any, ...], Scoped] = {}  # by what they show, the longest unused first
        self._latest: dict[str, tuple[Any, ...]] = {}  # by class: what was shown to its last read, so most likely to the next

    def read(self, name: RoomName, needed: Position | None, run: Callable[[SQL], T]) -> Seen[T]:
        """Run a read of one room. Raises Stale if the replica has it before `needed`, or not at all; Unanswerable."""
        try:
            self._look_at_the_file()
            shown = self._latest.get(name.actor, ())
            while True:
                scoped = self._scoped(shown)
                scoped.begin()
                try:
                    key, mark, schema, batch, generation = _mark(scoped, name, needed)
                    if shown == (name.actor, schema):
                        return Seen(scoped.run(key, str(name), run), mark, batch, generation)
                finally:
                    scoped.end()
                shown = self._latest[name.actor] = (name.actor, schema)
        except (*FILE_ERRORS, ReplicaDamaged, apsw.ReadOnlyError) as error:
            self.close()
            if _is_unfinished(error):
                raise ReplicaGone(f"{self._path} is being made, or has to be recovered by its replicator: {error}") from error
            raise

    def across(self, rooms: Mapping[str, Sequence[str] | None], since: Moment | None, run: Callable[[SQL], T]) -> Seen[T]:
        """Run a read of many rooms: ids by class, None for all of a class. Raises Stale if the file stands before `since`, or is
        another one: it is not what was last written. One made later may be half filled yet, or be the file of another replica."""
        try:
            self._look_at_the_file()
            choice = tuple((actor, ids is None) for actor, ids in sorted(rooms.items()))
            scoped = self._scoped(("across", choice))
            scoped.begin()
            try:
                (found,) = internal(scoped.connection, _MOMENT)
                moment = Moment(*found)
                if since is not None and (moment.generation != since.generation or moment.batch < since.batch):
                    raise Stale(None)
                _limit(scoped, rooms)
                return Seen(scoped.run(NO_ROOM, "across rooms", run), None, moment.batch, moment.generation)
            finally:
                scoped.end()
        except (*FILE_ERRORS, ReplicaDamaged, apsw.ReadOnlyError) as error:
            self.close()
            if _is_unfinished(error):
                raise ReplicaGone(f"{self._path} is being made, or has to be recovered by its replicator: {error}") from error
            raise

    def close(self) -> None:
        """It may be used again: the next read opens what it needs."""
        kept, self._kept = self._kept, {}
        self._latest.clear()
        self._identity = None
        for scoped in kept.values():
            scoped.close()

    def _look_at_the_file(self) -> None:
        """Let go of a file that the path no longer names: its rows belong to nobody any more. Raises ReplicaGone without one."""
        found = self._disk.identity(self._path)
        if found != self._identity:
            self.close()
            self._identity = found
        if found is None:
            raise ReplicaGone(f"{self._path} does not exist")

    def _scoped(self, shown: tuple[Any, ...]) -> Scoped:
        """The connection that shows this; one without any views for ()."""
        kept = self._kept.get(shown)
        if kept is not None and shown[:1] == ("across",) and kept.outdated():  # if asking the file fails, close() still has it
            self._kept.pop(shown).close()
        scoped = self._kept.pop(shown, None)
        if scoped is None:
            scoped = self._make()
            try:
                _is_signed(scoped, self._token)
                _show(scoped, shown)
            except BaseException:
                scoped.close()
                raise
        self._kept[shown] = scoped
        if len(self._kept) > READ_SCHEMAS_MAX:
            self._kept.pop(next(iter(self._kept))).close()
        return scoped


def _is_unfinished(error: Exception) -> bool:
    """Whether SQLite would have to write before it can read (the plain code is a statement's, which would write)."""
    return isinstance(error, apsw.ReadOnlyError) and getattr(error, "extendedresult", 0) != apsw.SQLITE_READONLY


def _is_signed(scoped: Scoped, token: str | None) -> None:
    """Raises ReplicaGone where the file is of other rooms, or not taken over yet: the replicator puts it right."""
    connection = scoped.connection
    if not internal(connection, "SELECT 1 FROM main.sqlite_schema WHERE name = '_generation'"):
        raise ReplicaGone("the replica has no generation yet: its replicator has not opened it")
    if token is not None and internal(connection, "SELECT token FROM main._house") != [(token,)]:
        raise ReplicaGone("the replica was signed by another runtime")


def _show(scoped: Scoped, shown: tuple[Any, ...]) -> None:
    connection = scoped.connection
    if shown[:1] == ("across",):
        limits = {actor: None if everything else _limit_of(actor) for actor, everything in shown[1]}
        scoped.show(across(connection, limits), [limit for limit in limits.values() if limit])
        scoped.searches = {
            view: _search_in_rooms(connection, gathered, limit)
            for actor, limit in limits.items()
            for view, gathered in searching.across(connection, [actor]).items()
        }
    elif shown:
        views = of_room(connection, *shown)
        if views is None:
            raise ReplicaDamaged(f"a room has a schema of {shown[0]} that the replica does not know")
        scoped.show(views)
        searched = searching.of_room(connection, *shown)
        scoped.searches = {name: partial(searching.match_room, connection, table) for name, table in searched.items()}


def _search_in_rooms(connection: Any, gathered: searching.Gathered, limit: str | None) -> Search:
    rooms = None if limit is None else f"temp.{quoted(limit)}"
    return lambda key, words, most: searching.match_rooms(connection, gathered, rooms, words, most)


def _limit_of(actor: str) -> str:
    return f"_rooms of {actor}"


def _limit(scoped: Scoped, rooms: Mapping[str, Sequence[str] | None]) -> None:
    """Fill what limits the views; the transaction's end empties it again. Rooms that the replica does not know show nothing."""
    scoped.read_only(on=False)
    for actor, ids in rooms.items():
        if ids is not None:
            limit = quoted(_limit_of(actor))
            fill = f"INSERT OR IGNORE INTO temp.{limit} SELECT key, id FROM main._rooms WHERE actor = ? AND id = ?"  # noqa: S608 (quoted)
            internal_many(scoped.connection, fill, [(actor, id) for id in ids])
    scoped.read_only(on=True)


def _mark(scoped: Scoped, name: RoomName, needed: Position | None) -> tuple[int, Position, str, int, str]:
    """The room's key, position and schema, the batch and the generation. Raises Stale."""
    for key, epoch, seq, schema, batch, generation in internal(scoped.connection, _MARK, name):
        position = Position(epoch, seq)
        if needed is not None and position < needed:
            raise Stale(position)
        return key, position, schema, batch, generation
    raise Stale(None)
