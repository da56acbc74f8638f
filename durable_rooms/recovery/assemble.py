"""Choosing the schema, reading every table from file and replica, and writing the new file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from actors.directory.catalog import Catalog
from actors.follower import Position
from actors.names import DataDir, RoomName
from actors.system.disk import Disk
from actors.tables.schema import digest as digest_of_tables
from durable_rooms.recovery.annexes import fill_annexes, read_annexes
from durable_rooms.recovery.blueprint import Blueprint, Shape, Thing, digest_of, is_users, raise_tables, shape_of, tables_of
from durable_rooms.recovery.build import fill, fill_sequences, finish, open_new, rebuild_indexes_of_text
from durable_rooms.recovery.copied import Copied, as_blueprint
from durable_rooms.recovery.merge import Standing, merged, standing
from durable_rooms.recovery.report import NotRecovered, Recovery, TableReport
from durable_rooms.recovery.salvage import Rows, Salvage
from durable_rooms.verify.files import FileMoved, Unreadable, reading

SIBLINGS_MAX = 20  # rooms of the class that are looked at for the schema; 2 ms each


@dataclass(frozen=True, slots=True)
class Sources:
    disk: Disk
    directory: DataDir
    catalog: Catalog
    name: RoomName
    salvage: Salvage | None
    copied: Copied | None


def assemble(sources: Sources, path: Path, position: Position, now: float, report: Recovery) -> None:
    """Write the room's new file and note in the report what came from where.

    Raises:
      NotRecovered: there is nothing to build it from.
    """
    blueprint = choose(sources, report)
    salvage = sources.salvage
    if salvage is not None and not salvage.names_its_room and not salvage.follow(blueprint.roots):
        report.damage.append("the file does not name this room: nothing was taken from it")
        salvage = None
    if salvage is None and sources.copied is None:
        raise NotRecovered("neither the file nor the replica holds anything of it that can be read")
    report.schema = blueprint.source
    report.sources = [*(["file"] if salvage is not None else []), *(["replica"] if sources.copied is not None else [])]
    connection = open_new(path)
    try:
        report.missing += raise_tables(connection, blueprint)
        _fill_tables(connection, sources, salvage, report)
        for index in rebuild_indexes_of_text(connection, blueprint):
            for told in report.tables:
                if told.name.startswith(f"{index}_") and not told.name.endswith("_content"):
                    told.missing.clear()
        report.missing += finish(connection, blueprint, sources.name, position, now)
    finally:
        connection.close()
    report.epoch, report.seq = position


def _fill_tables(connection: apsw.Connection, sources: Sources, salvage: Salvage | None, report: Recovery) -> None:
    copied = sources.copied
    kinds = dict(tables_of(connection))
    shapes = {name: shape_of(connection, name) for name in kinds}
    found = {name: salvage.rows(shape) if salvage is not None else Rows() for name, shape in shapes.items()}
    stand = standing(salvage.history, copied) if salvage is not None and copied is not None else Standing()
    annexes = read_annexes(connection, salvage) if salvage is not None else {}  # first: their pages are no user table's
    if salvage is not None:
        report.damage += salvage.image.notes
        damaged = {name: (shapes[name], rows) for name, rows in found.items() if not rows.whole}
        if damaged:
            salvage.read_all(thing.root for thing in salvage.blueprint.things if thing.type == "index")
            salvage.adopt(damaged)
        report.damage += [f"{name}: {loss}" for name, rows in found.items() for loss in rows.losses]
        report.missing += _behind(sources, salvage, stand)
    for name, shape in shapes.items():
        table = next((table for table in copied.schema.tables if table.name == name), None) if copied is not None else None
        if salvage is None and table is None:
            report.tables.append(TableReport(name, missing=["only the room's own file had its rows"]))
            continue
        if salvage is None:
            found[name].losses.append("the file was not used")
        rows, told = merged(shape, found[name], table, copied, stand)
        told.missing += fill(connection, shape, rows, shadow=kinds[name] == "shadow")
        report.tables.append(told)
    report.tables += fill_annexes(connection, annexes)
    report.missing += _outside(shapes, salvage, copied)
    if salvage is not None:
        fill_sequences(connection, [values for _, values in salvage.rows(_SEQUENCES).rows])


def _outside(shapes: dict[str, Shape], salvage: Salvage | None, copied: Copied | None) -> Iterator[str]:
    """Tables that a source has and the schema has not."""
    if copied is not None:
        for name, rows in copied.rows.items():
            if name not in shapes and rows:
                yield f"table {name} is not in the schema; the replica has {len(rows):,} rows of it"
    for thing in salvage.blueprint.things if salvage is not None else ():
        if thing.type == "table" and is_users(thing) and thing.name not in shapes and "VIRTUAL" not in (thing.sql or ""):
            yield f"table {thing.name} of the file is not in the schema; its rows are only in the quarantined file"


_SEQUENCES = Shape(
    name="sqlite_sequence",
    columns=("name", "seq"),
    types=("", ""),
    not_null=(False, False),
    defaults=(None, None),
    stored=(0, 1),
    alias=None,
    key=(),
    rowid="rowid",
    without_rowid=False,
)


def _behind(sources: Sources, salvage: Salvage, stand: Standing) -> Iterator[str]:
    """What the catalog knows that neither file nor replica reaches."""
    entry = sources.catalog.get(sources.name)
    reached = salvage.history.position
    if stand.ahead and sources.copied is not None:
        reached = sources.copied.position
    if entry is not None and entry.position.seq > reached.seq:
        yield f"the room stood at seq {entry.position.seq:,}, and what was read ends at {reached.seq:,}"


# -- the schema -----------------------------------------------------------------------------------------------------------
def choose(sources: Sources, report: Recovery) -> Blueprint:
    """By which schema the room is built: the file's own if nothing speaks against it, else a healthy room's that is of the same
    version, else whatever can be read of the file's, else the replica's.

    Raises:
      NotRecovered: there is none.
    """
    salvage, copied = sources.salvage, sources.copied
    own = salvage.blueprint if salvage is not None and salvage.names_its_room else None
    wanted = digest_of_tables(copied.schema.tables, searched=False) if copied is not None else None
    siblings = list(_siblings(sources))  # compared without full text, whose indexes are made when the room is opened
    if own is not None and own.whole:
        digest = digest_of(own)
        agreed = digest == wanted if wanted is not None else any(own.texts() == sibling.texts() for sibling in siblings)
        if agreed or (digest is not None and not siblings):
            return own
    for sibling in siblings:
        if (wanted is not None and digest_of(sibling) == wanted) or (own is not None and _as_far(own.migrations, sibling)):
            return sibling
        if own is None and salvage is not None and salvage.follow(sibling.roots) and _as_far(salvage.migrations(), sibling):
            return sibling  # the file's first page is gone, and the others are where this room has them
    if own is not None and own.texts() and digest_of(own) is not None:
        if not own.whole:
            report.missing.append("the schema is as far as it could be read; a table, an index or a trigger may be missing")
        return own
    if siblings and (salvage is not None or copied is None):
        report.missing.append(f"whether the room had the same schema as {siblings[0].source.removeprefix('room ')} is not known")
        return siblings[0]
    if copied is None:
        raise NotRecovered("its schema cannot be read, and no healthy room of its class shows one")
    report.missing.append(
        "the schema is what the replica knows of it: NOT NULL, CHECK, UNIQUE, foreign keys, triggers and local tables are missing"
    )
    return as_blueprint(copied, own.migrations if own is not None and own.migrations else tuple(_ran(sources)))


def _ran(sources: Sources) -> Iterator[tuple[int, str, float, str]]:
    """The migrations that the catalog says it had run; what they read like is not known any more."""
    entry = sources.catalog.get(sources.name)
    version = (entry.version if entry is not None else 0) or sources.catalog.class_version(sources.name.actor)
    for number in range(1, version + 1):
        yield number, "recovered", 0.0, ""


def _as_far(migrations: tuple[tuple[Any, ...], ...], sibling: Blueprint) -> bool:
    """Both ran the same migrations."""
    ours, theirs = ([(row[0], row[3]) for row in one] for one in (migrations, sibling.migrations))
    return bool(ours) and ours == theirs


def _siblings(sources: Sources) -> Iterator[Blueprint]:
    looked_at = 0
    for entry in sources.catalog.page(sources.name.actor):
        if entry.name == sources.name or entry.sick is not None or looked_at == SIBLINGS_MAX:
            continue
        looked_at += 1
        try:
            with reading(sources.directory.room(entry.name)) as connection:
                rows = connection.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema").fetchall()
                migrations = connection.execute("SELECT version, name, applied_at, hash FROM _migrations").fetchall()
                replicated = {name for (name,) in connection.execute("SELECT name FROM _tables WHERE replicated = 1")}
        except (Unreadable, FileMoved):
            continue
        things = tuple(Thing(*row) for row in rows)
        local = frozenset(thing.name for thing in things if thing.type == "table") - replicated
        yield Blueprint(f"room {entry.name}", things, tuple(migrations), local)
