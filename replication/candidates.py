"""The candidates: which rooms to look at after the replica was opened. Runs in a worker thread."""

from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

from actors import Position, RoomName
from replication.file import ReplicaFile
from replication.limits import BACKLOG_ENTRIES_MIN

Positions = Callable[[], Iterable[tuple[RoomName, Position, bool]]]
Tombstones = Callable[[], Iterable[tuple[RoomName, int]]]

_NO_MORE: tuple[tuple[str, str] | None, Position | None] = (None, None)


class Candidate(NamedTuple):
    """A room to look at. `position`: where it stands at least, if that is a backlog from where the replica stands. `gone`: it was
    deleted, and the replica still has it."""

    name: RoomName
    position: Position | None
    gone: int = 0


def behind(file: ReplicaFile, positions: Positions, tombstones: Tombstones = tuple) -> list[Candidate]:
    """Rooms that were deleted and that it still has; then active rooms, and those that stand elsewhere than the replica
    (rule 18). Each in the order of (actor, id).

    Two streams beside each other: 3 µs a room, and nothing is kept but the names that are behind (200 bytes each). Rooms that
    only the replica knows are passed over: an empty or rebuilt catalog must not empty the replica.
    """
    mine = _marked(file)
    at, there = next(mine, _NO_MORE)
    before: tuple[str, ...] = ()
    found = undeleted(file, tombstones)
    for name, position, active in positions():
        if name <= before:
            raise ValueError(f"positions are not in order: {name} comes after {RoomName(*before)}")
        before = name
        while at is not None and at < name:
            at, there = next(mine, _NO_MORE)
        if active or at != name or there != position:
            long = at == name and there is not None and position.seq - there.seq > BACKLOG_ENTRIES_MIN
            found.append(Candidate(name, position if long else None))
    return found


def undeleted(file: ReplicaFile, tombstones: Tombstones) -> list[Candidate]:
    """Rooms that were deleted while the replica was away: 3 µs a tombstone."""
    mine = _marks(file)
    at, epoch = next(mine, (None, 0))
    found: list[Candidate] = []
    for name, gone in tombstones():
        while at is not None and at < name:
            at, epoch = next(mine, (None, 0))
        if at == name and epoch <= gone:
            found.append(Candidate(name, Position(gone, 0), gone))
    return found


def _marks(file: ReplicaFile) -> Generator[tuple[tuple[str, str], int]]:
    rows: Iterable[tuple[Any, ...]] = file.connection.execute("SELECT actor, id, epoch FROM _rooms ORDER BY actor, id")
    for actor, id, epoch in rows:
        yield (actor, id), epoch


def _marked(file: ReplicaFile) -> Generator[tuple[tuple[str, str], Position | None]]:
    """Every room of the replica and where it stands, None if that is not settled."""
    rows: Iterable[tuple[Any, ...]] = file.connection.execute(
        "SELECT actor, id, epoch, seq, settled FROM _rooms ORDER BY actor, id"
    )
    for actor, id, epoch, seq, settled in rows:
        yield (actor, id), Position(epoch, seq) if settled else None
