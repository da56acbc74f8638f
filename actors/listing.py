"""Listing rooms from the catalog: opens none, at any number of rooms."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actors.catalog import PAGE_ROOMS_MAX, Catalog, Entry


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


def listed(catalog: Catalog, actors: Iterable[str], *, prefix: str, after: str, limit: int) -> Iterator[Entry]:
    """Rooms of these classes, class by class, at most `limit`."""
    left = min(limit, PAGE_ROOMS_MAX)
    for actor in actors:
        page = catalog.page(actor, prefix=prefix, after=after, limit=left)
        yield from page
        left -= len(page)
        if not left:
            return
