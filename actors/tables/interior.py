"""What is inside a room's file: the runtime's own tables, and the user's as the migrations make them."""

from collections.abc import Sequence

import apsw

from actors.errors import RoomUnfit, StatementRefused
from actors.names import RoomName
from actors.statements.sql import internal
from actors.statements.transaction import Transaction
from actors.tables import capture, migration
from actors.tables.migration import MIGRATIONS_SCHEMA, Migration

APPLICATION_ID = 0x64726F6D  # "drom", in the header of every room's file
FORMAT = 2  # of the internal tables; a room has 1 until it gets the first table of `annex`, which an older version would not heed

_ROOM_SCHEMA = (
    "CREATE TABLE _room (one INTEGER PRIMARY KEY CHECK (one = 1), actor TEXT NOT NULL, id TEXT NOT NULL, format INTEGER NOT NULL)"
)


def make_internal_tables(connection: apsw.Connection) -> None:
    """In an empty database; the room's name follows (`name_room`)."""
    internal(connection, "BEGIN IMMEDIATE")
    internal(connection, f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in (_ROOM_SCHEMA, MIGRATIONS_SCHEMA, *capture.OUTBOX_SCHEMA):
        internal(connection, statement)
    capture.begin_epoch(connection, 1, 0)
    internal(connection, "COMMIT")


def name_room(connection: apsw.Connection, name: RoomName, now: float, epoch: int = 1) -> None:
    """Make a file with the internal tables, and perhaps migrated before, the file of this room. `epoch`: its first, above
    those of its former incarnations."""
    internal(connection, "BEGIN IMMEDIATE")
    internal(connection, "INSERT INTO _room (one, actor, id, format) VALUES (1, ?, ?, ?)", (*name, 1))
    internal(connection, "UPDATE _migrations SET applied_at = ?", (now,))
    if epoch > 1:
        internal(connection, "UPDATE _timeline SET epoch = ?", (epoch,))
    internal(connection, "COMMIT")


def migrate(transaction: Transaction, migrations: Sequence[Migration], now: float, *, must_write: bool = False) -> bool:
    """Run the steps that are pending, all in one transaction, and make capture and full text fit; True if anything was committed.

    Raises:
      MigrationFailed, MigrationEdited, SchemaTooNew, RoomUnfit: nothing was written.
    """
    connection, room = transaction.connection, transaction.room
    steps = migration.pending(connection, migrations, room)
    if not steps and transaction.fits and not must_write:
        return False
    transaction.begin()
    try:
        if steps:
            transaction.drop_unwanted_indexes()
            first = len(migrations) - len(steps) + 1
            transaction.call_begins()
            migration.run(transaction.sql, steps, first, room)
            transaction.call_ends()
            migration.record(connection, steps, first, now)
        transaction.fit()
        if must_write:
            transaction.must_write()
        return transaction.commit()
    except BaseException as error:
        transaction.rollback()
        if isinstance(error, StatementRefused):
            raise RoomUnfit(f"{room}: its schema was refused. {error}", room=room) from error
        raise
