"""Opening a room: re-home it if it must be, make it if it is new, check that it is what it should be, migrate it.

One function for the worker thread; the loop sees the finished `Storage` or an error that says what is wrong with the room.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from actors.directory.quarantine import Damaged, is_damage
from actors.errors import MigrationFailed, RoomLocked, RoomsError, RoomUnfit, StatementRefused
from actors.follower import Position
from actors.limits import Limits
from actors.names import RoomName
from actors.statements.fulltext import Declared
from actors.statements.guard import Guard
from actors.statements.sql import internal
from actors.statements.transaction import Transaction
from actors.storage.rehome import delete_database, rehome_database, rehome_wal, set_aside, wal_of
from actors.storage.storage import Storage, set_pragmas
from actors.system.disk import Disk
from actors.tables.interior import FORMAT, migrate, name_room
from actors.tables.migration import Migration
from actors.tables.schemas import Schemas
from actors.tables.template import Templates

logger = logging.getLogger("durable_rooms.actors")

MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """How one room is to be opened: all that the thread needs to know."""

    name: RoomName
    path: Path
    litter: Path
    migrations: Sequence[Migration]
    local_tables: frozenset[str]
    fulltext: Declared
    limits: Limits
    now: float
    catalogued: Position | None  # the catalog's row, if it has one
    proven: bool
    templates: Templates
    first_epoch: int  # of the room if it is born now: above those of its former incarnations
    deleted: bool  # and nobody was told of a new incarnation: whatever lies in its place is litter
    unclean: bool  # active at a crash, broken, or unknown to the catalog: re-home before anybody reads (rules 9, 19)


def open_room(disk: Disk, plan: RoomPlan, schemas: Schemas) -> Storage:
    """Open the room's file. Blocks for 1 to 20 ms.

    Raises:
      Damaged: it is not the room's, or not whole.
      RoomUnfit, MigrationFailed, MigrationEdited, SchemaTooNew, RoomLocked: the file is as it was found.
      OSError: the disk refused.
    """
    exists = disk.exists(plan.path)
    if exists and plan.deleted:
        set_aside(disk, plan.path, plan.litter)
        exists = False
    elif exists and plan.unclean:
        exists = _rehome(disk, plan)
    if not exists and plan.proven:
        raise RoomUnfit(
            f"{plan.name}: its file {plan.path} is missing. Nothing ran and nothing was written; a room is never made again in "
            "silence. Put the file back.",
            room=str(plan.name),
        )
    try:
        return _open_there(disk, plan, schemas) if exists else _give_birth(disk, plan, schemas)
    except (apsw.NotADBError, apsw.CorruptError, apsw.FormatError, UnicodeDecodeError) as error:  # every text of ours is UTF-8
        raise (Damaged(str(error)) if exists else _unborn(plan, error)) from error
    except MigrationFailed as error:
        if error.__cause__ is not None and is_damage(error.__cause__):
            raise (Damaged(str(error.__cause__)) if exists else _unborn(plan, error.__cause__)) from error
        raise
    except StatementRefused as error:  # another program left a table that a handler could not have made
        raise _unfit(plan, str(error)) from error
    except apsw.BusyError as error:
        raise RoomLocked(f"{plan.name}: another program holds its file. Nothing ran; try again.", room=str(plan.name)) from error


# -- unclean stops ------------------------------------------------------------------------------------------------------
def _rehome(disk: Disk, plan: RoomPlan) -> bool:
    """Make durable what is about to be read; False if the file was litter of an unfinished birth and was moved aside."""
    if plan.proven:
        rehome_wal(disk, plan.path)
        return True
    rehome_database(disk, plan.path)
    if _is_sound(disk, plan):
        return True
    set_aside(disk, plan.path, plan.litter)
    return False


def _is_sound(disk: Disk, plan: RoomPlan) -> bool:
    """Whether an unproven file is a whole room: nobody was told of it, so an unsound one is litter, not damage (rule 9).

    An error that says nothing of the file itself (no descriptor is left) is raised: the file may be sound, and acknowledged.
    """
    try:
        connection = disk.connect(plan.path)
        try:
            if internal(connection, "PRAGMA quick_check(1)") != [("ok",)]:
                return False
            return internal(connection, "SELECT actor, id FROM _room") == [tuple(plan.name)]
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(True)
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, UnicodeDecodeError):
        return False


# -- a room that is there ---------------------------------------------------------------------------------------------
class _Ahead(Exception):
    """The file has commits that its row does not know of, though the row says that it was closed in order."""


def _open_there(disk: Disk, plan: RoomPlan, schemas: Schemas) -> Storage:
    """A file ahead of its row is re-homed, too: of a killed process the kernel may have failed to write what that committed
    last, and called it clean. A sync then returns at once, with nothing on the disk (seed 919: a migration, killed)."""
    try:
        return _open_existing(disk, plan, schemas)
    except _Ahead:
        rehome_wal(disk, plan.path)
        storage = _open_existing(disk, replace(plan, unclean=True), schemas)
        storage.needs_round = True  # its row must say that it is in use before anything is shown
        return storage


def _open_existing(disk: Disk, plan: RoomPlan, schemas: Schemas) -> Storage:
    _check_head(disk, plan)
    had_wal = disk.exists(wal_of(plan.path))
    connection = disk.connect(plan.path)
    try:
        _check_identity(connection, plan)
        _check_writable(connection, plan)
        set_pragmas(connection, synchronous="NORMAL" if had_wal else "OFF")
        storage = _equip(disk, plan, schemas, connection, level_off=not had_wal)
    except BaseException as error:
        _close_untouched(connection)
        if not had_wal:
            _remove_empty_wal(disk, plan.path, error)
        raise
    try:
        rewound = _compare_with_catalog(storage, plan)
        if migrate(storage.transaction, plan.migrations, plan.now, must_write=rewound):
            storage.needs_round = True
    except BaseException as error:
        storage.abandon()
        if not had_wal:
            _remove_empty_wal(disk, plan.path, error)
        raise
    return storage


def _remove_empty_wal(disk: Disk, path: Path, error: BaseException) -> None:
    """The one that our reading made: a damaged file is left exactly as it was found."""
    damage = Damaged | apsw.NotADBError | apsw.CorruptError | UnicodeDecodeError
    if isinstance(error, damage) and disk.exists(wal_of(path)) and not disk.footprint(wal_of(path))[0]:
        disk.unlink(wal_of(path))


def _check_head(disk: Disk, plan: RoomPlan) -> None:
    """Before SQLite sees it: SQLite deletes the WAL that it finds beside an empty database.

    Beside a WAL the head may be anything: a power cut in a checkpoint leaves the sector that was being written as garbage, and
    the WAL has the page. Without one SQLite would say the same as we do, but of some heads it says "read-only" or "newer".
    """
    head = disk.head(plan.path, len(MAGIC))
    wal = wal_of(plan.path)
    if not head or (head != MAGIC and not (disk.exists(wal) and disk.footprint(wal)[0])):
        raise Damaged("the file does not begin as a database does" if head else "the file is empty")


def _check_identity(connection: apsw.Connection, plan: RoomPlan) -> None:
    try:
        rows = internal(connection, "SELECT actor, id, format FROM _room")
    except apsw.SQLError as error:
        raise Damaged(f"it is not a room ({error})") from error
    if len(rows) != 1 or rows[0][:2] != tuple(plan.name):
        raise Damaged(f"it belongs to another room: {rows!a:.100}")
    if not isinstance(rows[0][2], int):
        raise Damaged(f"its format is {rows[0][2]!a:.100}")
    if rows[0][2] > FORMAT:
        reason = f"its format {rows[0][2]} is newer than this version of durable-rooms, which knows {FORMAT}"
        raise _unfit(plan, reason, remedy="run the newer version")


def _check_writable(connection: apsw.Connection, plan: RoomPlan) -> None:
    """SQLite opens what it may not write read-only, and says so only at the first write."""
    if connection.readonly("main"):
        raise _unfit(plan, "this user may only read it; make it writable again (chmod u+w, chown)")


def _compare_with_catalog(storage: Storage, plan: RoomPlan) -> bool:
    """Rules 20 and 31; True if the file was rewound, so that a new epoch must be committed before the first reply.

    Raises:
      _Ahead: an unacknowledged turn, or another program's, outlived its catalog row.
    """
    if not storage.transaction.timeline:
        raise Damaged("it has no epoch")
    seen = Position(storage.epoch, storage.transaction.seq)
    if plan.catalogued is not None and seen < plan.catalogued:
        storage.transaction.new_epoch = plan.catalogued.epoch + 1
        logger.error(
            "%s: its file ends at epoch %d, seq %d, and the catalog knows of epoch %d, seq %d: what was written in between is "
            "missing (the end of its WAL is damaged, or an older copy was put in its place; or the power failed before a call "
            "was answered, and then nothing is lost). It begins epoch %d, and the replica copies it whole if it must",
            plan.name,
            *seen,
            *plan.catalogued,
            plan.catalogued.epoch + 1,
        )
        return True
    if plan.unclean:
        storage.transaction.new_epoch = seen.epoch + 1  # joins the first write; no commit of its own
        storage.needs_round = plan.catalogued is None  # its row must be durable before anything is shown (rule 17)
    elif plan.catalogued != seen:
        raise _Ahead
    return False


# -- a room that is not -----------------------------------------------------------------------------------------------
def _give_birth(disk: Disk, plan: RoomPlan, schemas: Schemas) -> Storage:
    """Make the file from the class's template. Nothing is synced here: its first round covers all of it (rule 6)."""
    template = plan.templates.of(plan.name.actor, plan.migrations, plan.local_tables, plan.fulltext, plan.limits)
    delete_database(disk, plan.path)  # a stale WAL would replay into the new file (rule 10)
    database_fd = disk.open(plan.path, create=True)  # before SQLite opens it, closed after (rule 7)
    try:
        disk.write(database_fd, template)
        connection = disk.connect(plan.path)
        try:
            set_pragmas(connection, synchronous="OFF")  # reads the file, and so makes the WAL
            storage = _equip(disk, plan, schemas, connection, level_off=True, newborn=True)
        except BaseException:
            _close_untouched(connection)
            raise
    except BaseException:
        disk.close(database_fd)
        delete_database(disk, plan.path)
        raise
    storage.newborn = storage.needs_round = True
    storage.database_fd = database_fd
    try:
        migrate(storage.transaction, plan.migrations, plan.now)
    except BaseException:
        storage.abandon()
        delete_database(disk, plan.path)
        raise
    return storage


def _equip(
    disk: Disk, plan: RoomPlan, schemas: Schemas, connection: apsw.Connection, *, level_off: bool, newborn: bool = False
) -> Storage:
    """Guard and WAL descriptor of a connection that has read, so that the WAL is there; before its first write (rules 4, 22)."""
    wal_fd = disk.open(wal_of(plan.path))
    try:
        if newborn:
            name_room(connection, plan.name, plan.now, plan.first_epoch)
        guard = Guard()
        guard.install(connection, plan.limits)
        transaction = Transaction(connection, guard, schemas, plan.local_tables, str(plan.name), plan.fulltext)
        return Storage(disk, plan.path, transaction, wal_fd, level_off=level_off)
    except BaseException:
        disk.close(wal_fd)
        raise


def _close_untouched(connection: apsw.Connection) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)


def _unborn(plan: RoomPlan, error: BaseException) -> RoomsError:
    """What was just written reads back as garbage: the kernel could not write it and dropped it. No room is damaged by that."""
    return RoomUnfit(
        f"{plan.name}: the file of its birth did not read back as it was written ({error}); the disk failed. Nothing ran and "
        "nothing is left of it; try again, and look into the kernel's log. Other rooms are not affected.",
        room=str(plan.name),
    )


def _unfit(plan: RoomPlan, reason: str, *, remedy: str = "put a good copy in its place") -> RoomsError:
    return RoomUnfit(
        f"{plan.name}: its file {plan.path} cannot be used: {reason}. Nothing ran and the file was left as it is; "
        f"{remedy}. Other rooms are not affected.",
        room=str(plan.name),
    )
