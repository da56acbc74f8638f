"""What Datasette is to say about a replica: titles, descriptions, what is hidden, and questions with their SQL. Pure."""

from collections.abc import Iterator
from typing import Any

from durable_rooms.browse.views import Contents, View
from durable_rooms.verify.files import quoted

DATABASE = "replica"  # what it is called in addresses, whatever its file is called

SORTED_ROWS_MAX = 300_000  # sorting what no index sorts takes 1.2 s a million rows: at most a third of a second a page
ANSWER_ROWS = 100
DAYS = 366

UNITS = {"seconds": "seconds", "ms": "milliseconds", "bytes": "bytes"}  # of columns called so at their end

ROOMS = "rooms"
ROOMS_SQL = """SELECT actor, id, epoch, seq, datetime(at, 'unixepoch') AS changed_at
FROM _rooms ORDER BY at DESC LIMIT 1000"""


def metadata(title: str, found: Contents) -> dict[str, Any]:
    """In the shape of Datasette's metadata.json."""
    tables: dict[str, Any] = {name: {"hidden": True, "allow": False} for name in found.internal}  # SQL may still name them
    queries: dict[str, Any] = {
        ROOMS: {
            "title": "Rooms, the latest changed first",
            "description": "Every room that the replica knows, how far it is in the room's history, and since when (UTC).",
            "sql": ROOMS_SQL,
        }
    }
    for view in found.views:
        tables[view.name] = described(view)
        queries |= questions(view)
    return {
        "title": title,
        "description": "The read replica of its rooms. Read-only; a row is here some milliseconds after the call that wrote it.",
        "databases": {
            DATABASE: {
                "description": "One view for each table of each actor class, room_id first. docs/replica.md describes it.",
                "tables": tables,
                "queries": queries,
            }
        },
    }


def described(view: View) -> dict[str, Any]:
    ordered = view.newest is not None and view.rows_max <= SORTED_ROWS_MAX
    said = f"Table {view.table} of all rooms of class {view.actor}; room_id says which room."
    if ordered:
        said += " The newest rows come first."
    elif view.newest is not None:
        said += (
            f" So many rows are shown as they came, the oldest first; the query {view.name}-of-a-room has the newest of one room."
        )
    about: dict[str, Any] = {"description": said, "facets": ["room_id"], "columns": dict(units(view))}
    if ordered:
        about["sort_desc"] = view.newest
    return about


def units(view: View) -> Iterator[tuple[str, str]]:
    """What is known about columns, by name."""
    yield "room_id", f"The room's id: runtime.room({view.actor}, room_id)"
    for name in view.columns:
        if view.time is not None and name == view.time.column:
            yield name, view.time.unit
        elif (unit := UNITS.get(name.rpartition("_")[2].lower())) is not None:
            yield name, unit


def questions(view: View) -> Iterator[tuple[str, dict[str, Any]]]:
    """What everybody asks, with its SQL to change. Positions instead of names in ORDER BY: a column may be called `day`."""
    name, time = quoted(view.name), view.time
    last = f", {time.latest()} AS latest" if time is not None else ""
    yield (
        f"{view.name}-by-room",
        {
            "title": f"{view.actor}: rooms by number of {view.table}",
            "sql": f'SELECT room_id, count(*) AS "rows"{last}\nFROM {name} GROUP BY 1 ORDER BY 2 DESC LIMIT {ANSWER_ROWS}',
        },
    )
    order = f"ORDER BY {quoted(view.newest)} DESC " if view.newest is not None else ""
    yield (
        f"{view.name}-of-a-room",
        {
            "title": f"{view.actor}: the newest {view.table} of a room" if order else f"{view.actor}: {view.table} of a room",
            "sql": f"SELECT * FROM {name}\nWHERE room_id = :room_id {order}LIMIT {ANSWER_ROWS}",  # noqa: S608
        },
    )
    if time is not None:
        yield (
            f"{view.name}-by-day",
            {
                "title": f"{view.actor}: number of {view.table} by day (UTC)",
                "sql": f'SELECT {time.day()} AS day, count(*) AS "rows"\nFROM {name} GROUP BY 1 ORDER BY 1 DESC LIMIT {DAYS}',
            },
        )
