"""The runtime's optional tables of a damaged room: keys, alarms, tells and receipts. Only its own file had them."""

import apsw

from actors.statements.sql import internal
from actors.tables.annex import TABLES
from durable_rooms.recovery.blueprint import Shape, shape_of
from durable_rooms.recovery.build import fill
from durable_rooms.recovery.report import TableReport
from durable_rooms.recovery.salvage import Rows, Salvage

Annexes = dict[str, tuple[Shape, Rows]]


def read_annexes(connection: apsw.Connection, salvage: Salvage) -> Annexes:
    """Make those tables that the file had, and read their rows."""
    found: Annexes = {}
    for name, sql in TABLES.items():
        if salvage.has(name):
            internal(connection, sql)
            shape = shape_of(connection, name)
            found[name] = shape, salvage.rows(shape)
    return found


def fill_annexes(connection: apsw.Connection, annexes: Annexes) -> list[TableReport]:
    """Put the rows into the new file. What is lost of receipts may run twice, of tells and alarms not at all."""
    reports: list[TableReport] = []
    for name, (shape, rows) in annexes.items():
        missing = [*rows.losses, *fill(connection, shape, rows.rows, shadow=False)]
        reports.append(TableReport(name, from_file=len(rows.rows), missing=missing))
    return reports
