"""Rooms as durable actors.

caller → stub → mailbox → activation → actor → storage → commit → SYNC → gate → reply
                                          │
                                       outbox → follower

In the order of that flow: `room` (the stub); `calls` (envelope, mailbox, turn, slices); `activation` (a room's place and its stay
in memory); `actor`; `statements` and `tables` (what is said to SQLite, and what is inside a file); `storage`; `sync` (rounds and
gates). `tables/capture` fills the outbox, `follower` is the door to replication; `runtime` wires, `directory/house` opens and
closes a data directory. Beside it: `errands`, `tells` and `alarms`, by which rooms move one another; `reads`, past the mailbox;
`lifecycle`, from outside. `system` has the ways out of the process. Imports nothing of ours. Users import from `durable_rooms`.
"""

from actors.actor import Actor
from actors.alarms.alarms import Alarm, Alarms
from actors.command import command
from actors.directory.house import open_house
from actors.directory.listing import RoomInfo
from actors.errors import (
    ActorFailed,
    BadArguments,
    BadBookmark,
    CallCycle,
    CallFailed,
    CallRefused,
    CallTimeout,
    DataDirInUse,
    DeadlineExceeded,
    DiskFailed,
    DiskUnfit,
    KeyInvalid,
    KeyReused,
    ManyRows,
    MigrationEdited,
    MigrationFailed,
    NoDescriptors,
    NoRow,
    OutcomeUnknown,
    Overloaded,
    ReplicationLate,
    RoomAborted,
    RoomDeleted,
    RoomExists,
    RoomIdInvalid,
    RoomLocked,
    RoomQuarantined,
    RoomReset,
    RoomsError,
    RoomUnfit,
    RuntimeClosed,
    SchemaTooNew,
    StartFailed,
    StatementRefused,
    StorageFull,
    TooLarge,
    TurnVoid,
    UnknownMethod,
    WrongDoor,
)
from actors.follower import (
    Census,
    Changes,
    Column,
    Commit,
    EpochStart,
    Follower,
    Index,
    NoFollower,
    Position,
    RoomCopy,
    Rooms,
    Schema,
    Source,
    Table,
    TableChanges,
)
from actors.limits import Limits
from actors.names import DataDir, RoomName
from actors.reads.read import Answer, Freshness, ReadCall, read
from actors.room import Reply, Room
from actors.runtime import Runtime
from actors.statements.sql import SQL, Row, Rows, SQLValue
from actors.status import RuntimeStatus
from actors.system.disk import Disk
from actors.system.doors import Doors
from actors.system.threads import InlineThreads, Threads, WorkerThreads
from actors.system.watchdog import Stall
from actors.tables.migration import Migration
from actors.tells.tells import DeadTells

__all__ = [
    "SQL",
    "Actor",
    "ActorFailed",
    "Alarm",
    "Alarms",
    "Answer",
    "BadArguments",
    "BadBookmark",
    "CallCycle",
    "CallFailed",
    "CallRefused",
    "CallTimeout",
    "Census",
    "Changes",
    "Column",
    "Commit",
    "DataDir",
    "DataDirInUse",
    "DeadTells",
    "DeadlineExceeded",
    "Disk",
    "DiskFailed",
    "DiskUnfit",
    "Doors",
    "EpochStart",
    "Follower",
    "Freshness",
    "Index",
    "InlineThreads",
    "KeyInvalid",
    "KeyReused",
    "Limits",
    "ManyRows",
    "Migration",
    "MigrationEdited",
    "MigrationFailed",
    "NoDescriptors",
    "NoFollower",
    "NoRow",
    "OutcomeUnknown",
    "Overloaded",
    "Position",
    "ReadCall",
    "ReplicationLate",
    "Reply",
    "Room",
    "RoomAborted",
    "RoomCopy",
    "RoomDeleted",
    "RoomExists",
    "RoomIdInvalid",
    "RoomInfo",
    "RoomLocked",
    "RoomName",
    "RoomQuarantined",
    "RoomReset",
    "RoomUnfit",
    "Rooms",
    "RoomsError",
    "Row",
    "Rows",
    "Runtime",
    "RuntimeClosed",
    "RuntimeStatus",
    "SQLValue",
    "Schema",
    "SchemaTooNew",
    "Source",
    "Stall",
    "StartFailed",
    "StatementRefused",
    "StorageFull",
    "Table",
    "TableChanges",
    "Threads",
    "TooLarge",
    "TurnVoid",
    "UnknownMethod",
    "WorkerThreads",
    "WrongDoor",
    "command",
    "open_house",
    "read",
]
