"""Migrations of all rooms of a directory: how far they are, a rehearsal on copies, and the sweep. Prints nothing.

classes    which actor classes are meant, and where they come from
state      rooms by class and version, counted in the catalog
rehearse   copies of a few rooms, migrated beside the directory and timed
sweep      every room that is behind, opened once
report     what was done
"""

from durable_rooms.migrate.classes import ActorsUnfit, Classes, catalogued, named
from durable_rooms.migrate.rehearse import NoSpace, rehearse
from durable_rooms.migrate.report import Failure, Rehearsal, ReplicaLeft, Sweep, Tried
from durable_rooms.migrate.state import ClassState, State, state
from durable_rooms.migrate.sweep import replica_left, sweep

__all__ = [
    "ActorsUnfit",
    "ClassState",
    "Classes",
    "Failure",
    "NoSpace",
    "Rehearsal",
    "ReplicaLeft",
    "State",
    "Sweep",
    "Tried",
    "catalogued",
    "named",
    "rehearse",
    "replica_left",
    "state",
    "sweep",
]
