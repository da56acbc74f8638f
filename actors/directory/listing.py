"""Listing rooms from the catalog: opens none, at any number of rooms."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from actors.directory.catalog import PAGE_ROOMS_MAX, Catalog, Entry
from actors.limits import ROOM_ID_BYTES_MAX
from actors.names import RoomName
from actors.statements.sqltext import end_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomInfo:
    """One room as the catalog knows it; of a room in memory, as of its last first write, close or birth.

    Attributes:
      seq: position in its outbox. epoch: how often its file may have been rewound, from 1.
      bytes: database and WAL when it last left memory; 0 if it never has.
      version: migrations it had run by then; 0 if it never left memory.
      created, last_active: Unix seconds; 0.0 if not known.
      resident: it is in memory now.
      sick: why its file is in quarantine; None for every other room.
      wake_at: Unix seconds at which it is to be in memory by itself (of one in memory: then or later); None: never.
      deleted: when it was deleted (Unix seconds); None for every room that is there. Of one that is not, the id, the epoch and
        this are all that is known.
    """

    actor: str
    id: str
    seq: int
    epoch: int
    bytes: int
    version: int
    created: float
    last_active: float
    resident: bool
    sick: str | None
    wake_at: float | None
    deleted: float | None = None


def info(entry: Entry, *, resident: bool) -> RoomInfo:
    return RoomInfo(
        actor=entry.name.actor,
        id=entry.name.id,
        seq=entry.position.seq,
        epoch=entry.position.epoch,
        bytes=entry.bytes,
        version=entry.version,
        created=entry.created,
        last_active=entry.last_active,
        resident=resident,
        sick=entry.sick,
        wake_at=entry.wake_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rooms of a class are listed, beside where the page begins; None: no matter."""

    prefix: str = ""
    after: str = ""
    limit: int = PAGE_ROOMS_MAX
    resident: bool | None = None
    sick: bool | None = None


class Residents(Protocol):
    """What listing needs to know of who is in memory."""

    def is_resident(self, name: RoomName) -> bool: ...
    def residents(self, actor: str) -> Iterable[str]:
        """The ids of all of one class, in no order."""
        ...


def listed(catalog: Catalog, actors: Iterable[str], filters: Filters, here: Residents) -> list[RoomInfo]:
    """Rooms of these classes, class by class, at most `limit`."""
    found: list[RoomInfo] = []
    limit = min(filters.limit, PAGE_ROOMS_MAX)
    if limit <= 0:
        return found
    for actor in actors:
        entries = _resident(catalog, actor, filters, here) if filters.resident else _pages(catalog, actor, filters)
        for entry in entries:
            resident = here.is_resident(entry.name)
            if filters.resident in (None, resident) and filters.sick in (None, entry.sick is not None):
                found.append(info(entry, resident=resident))
            if len(found) == limit:
                return found
    return found


def _pages(catalog: Catalog, actor: str, filters: Filters) -> Iterator[Entry]:
    """Page by page: what is left out of them is in memory or sick, which are few, so it takes no more than some pages."""
    limit = filters.limit if filters.resident is None and filters.limit < PAGE_ROOMS_MAX else PAGE_ROOMS_MAX
    after = filters.after
    while True:
        page = catalog.page(actor, prefix=filters.prefix, after=after, limit=limit, sick=bool(filters.sick))
        yield from page
        if len(page) < limit:
            return
        after = page[-1].name.id


def _resident(catalog: Catalog, actor: str, filters: Filters, here: Residents) -> Iterator[Entry]:
    """From memory, which has `open_rooms_max` rooms at most: 2 µs each."""
    for id in sorted((id for id in here.residents(actor) if id.startswith(filters.prefix)), key=str.encode):
        if id.encode() > filters.after.encode():
            entry = catalog.get(RoomName(actor, id))
            if entry is not None:
                yield entry


def deleted(catalog: Catalog, actors: Iterable[str], filters: Filters) -> list[RoomInfo]:
    """Rooms that were deleted and not called since, as of the last round."""
    found: list[RoomInfo] = []
    limit = max(0, min(filters.limit, PAGE_ROOMS_MAX))  # a negative one would be none for SQLite
    for actor in actors:
        found += [
            RoomInfo(
                actor=actor,
                id=stone.name.id,
                seq=0,
                epoch=stone.epoch,
                bytes=0,
                version=0,
                created=0.0,
                last_active=0.0,
                resident=False,
                sick=None,
                wake_at=None,
                deleted=stone.at,
            )
            for stone in catalog.tombstones.page(
                actor,
                first=filters.prefix,
                after=filters.after,
                end=end_of(filters.prefix, ROOM_ID_BYTES_MAX),
                limit=limit - len(found),
            )
        ]
    return found
