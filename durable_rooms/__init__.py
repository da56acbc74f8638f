"""Durable rooms: every chat room an actor with its own SQLite file; a call that returned has survived a power cut.

Everything a user needs is imported from here; `actors` and `replication` are the machinery.
"""

from durable_rooms import shadowed

shadowed.check()

from actors import (  # noqa: E402 - only after the check
    SQL,
    Actor,
    ActorFailed,
    BadArguments,
    CallFailed,
    CallRefused,
    DataDirInUse,
    DeadlineExceeded,
    DiskFailed,
    DiskUnfit,
    Limits,
    ManyRows,
    Migration,
    MigrationEdited,
    MigrationFailed,
    NoRow,
    OutcomeUnknown,
    Overloaded,
    ReplicationLate,
    Reply,
    Room,
    RoomIdInvalid,
    RoomInfo,
    RoomLocked,
    RoomQuarantined,
    RoomsError,
    RoomUnfit,
    Row,
    Rows,
    RuntimeClosed,
    SchemaTooNew,
    Stall,
    StatementRefused,
    StorageFull,
    TooLarge,
    TurnVoid,
    UnknownMethod,
)
from durable_rooms.dumping import Dumped  # noqa: E402
from durable_rooms.runtime import Runtime, Status, open_runtime  # noqa: E402
from replication import ReplicaStatus, SQLiteReplica  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "SQL",
    "Actor",
    "ActorFailed",
    "BadArguments",
    "CallFailed",
    "CallRefused",
    "DataDirInUse",
    "DeadlineExceeded",
    "DiskFailed",
    "DiskUnfit",
    "Dumped",
    "Limits",
    "ManyRows",
    "Migration",
    "MigrationEdited",
    "MigrationFailed",
    "NoRow",
    "OutcomeUnknown",
    "Overloaded",
    "ReplicaStatus",
    "ReplicationLate",
    "Reply",
    "Room",
    "RoomIdInvalid",
    "RoomInfo",
    "RoomLocked",
    "RoomQuarantined",
    "RoomUnfit",
    "RoomsError",
    "Row",
    "Rows",
    "Runtime",
    "RuntimeClosed",
    "SQLiteReplica",
    "SchemaTooNew",
    "Stall",
    "StatementRefused",
    "Status",
    "StorageFull",
    "TooLarge",
    "TurnVoid",
    "UnknownMethod",
    "open_runtime",
]
