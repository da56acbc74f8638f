"""Bringing a room back whose file is damaged, from what the file still says and from the replica.

pages      the file with its WAL laid over it, as bytes
records    cells and records
trees      b-trees, walked as far as they can be read
salvage    a damaged file: its schema, its history, its rows
copied     what the replica holds of the room
blueprint  the schema that the room is built by
annexes    the runtime's optional tables
merge      one table from both
build      the new file
assemble   all of a room into the new file
recover    the work on the directory: ownership, quarantine, catalog, durability
report     what was done
"""

from durable_rooms.recovery.recover import recover
from durable_rooms.recovery.report import NotRecovered, Recovery, Source, TableReport

__all__ = ["NotRecovered", "Recovery", "Source", "TableReport", "recover"]
