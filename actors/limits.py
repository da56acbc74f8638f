"""Every bound and timeout of the runtime, with its unit last in the name and its reason beside it."""

import math
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

LOCK_POLL_SECONDS = 0.005  # how often to look again while another program holds a room's write lock; the loop never waits for it
ROOM_ID_BYTES_MAX = 1024  # UTF-8; an id is a key in the catalog, the replica and logs, not a document
KEY_BYTES_MAX = 1024  # UTF-8, of kv, of an alarm's name, of an idempotency key: as a room id's
STATEMENT_BYTES_MAX = 100_000  # UTF-8, of one statement's text: parsing takes 1 ms; a longer one has values built into it
LIKE_PATTERN_BYTES_MAX = 250  # one LIKE is one step of SQLite, which no deadline interrupts: at worst 0.25 s a MiB of text
EXCLUSIVE_DEPTH_MAX = 64  # exclusive blocks of one handler, one in another: deeper is a recursion that does not end

READ_ROWS_MAX = 100_000  # fetched by one statement of a read: beyond this it fills memory for an answer that nobody looks through
READ_BYTES_MAX = 64 * MIB  # the same in bytes of text and blobs, from the 65th row on: four times the largest result of a call


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one runtime. The defaults suit a chat backend on one machine; every error that a bound causes names it."""

    open_rooms_max: int = 1_000
    """Rooms in memory at once. About 5 file descriptors and 160 kB each; the soft limit of descriptors is raised to fit."""

    idle_seconds_max: float = 60.0
    """A room without calls for so long leaves memory. Opening again costs about 1 ms."""

    mailbox_calls_max: int = 1_024
    """Calls that may wait for one room. At 40,000 posts/s that is 25 ms of work: more would only age in the queue."""

    mailbox_bytes_max: int = 16 * MIB
    """Arguments that may wait for one room, so that 1,024 large calls cannot fill the memory."""

    call_bytes_max: int = 1 * MIB
    """Arguments of one call, as msgpack. A chat message is 1 kB; files belong elsewhere."""

    result_bytes_max: int = 16 * MIB
    """Result of one call, as msgpack. 16 MiB is some 100,000 short rows: page through more."""

    row_bytes_max: int = 4 * MIB
    """One row or value inside SQLite (SQLITE_LIMIT_LENGTH); the replica must be able to carry it."""

    turn_calls_max: int = 512
    """Calls that share one transaction. Twice the callers of a very hot room; beyond that sharing gains nothing."""

    turn_seconds_max: float = 0.010
    """After so long a turn commits and lets other rooms run: one hot room cannot starve the others."""

    statement_seconds_max: float = 0.25
    """One statement of a handler; then it is interrupted and its call fails. The loop, and so every room, stands still
    meanwhile. A statement takes microseconds; one that sorts, rewrites or returns 300,000 rows takes about so long."""

    blocked_seconds_warn: float = 0.5
    """After so long in one handler the watchdog logs its stack. Handlers take microseconds; this is felt in every room."""

    blocked_seconds_max: float = math.inf
    """After so long the process ends itself with a dump, for a supervisor to start it anew. No bound, because a debugger's
    breakpoint blocks the loop, too; set 30 s where a supervisor watches."""

    exclusive_seconds_max: float = 30.0
    """How long `self.exclusive()` may keep others out; then the room is reset. Its mailbox fills meanwhile, and whoever waits
    so long has gone."""

    call_depth_max: int = 64
    """How deep rooms may call each other, one inside another. Each level is a room that waits in memory; a chain of so many is
    one that goes round."""

    lock_seconds_max: float = 2.0
    """How long a turn waits for another program's write lock on the room's file before its calls are refused with RoomLocked."""

    wal_bytes_max: int = 4 * MIB
    """A room's WAL beyond this is checkpointed in a worker thread. 4 MiB keep a re-home after a crash near 10 ms."""

    wal_bytes_alert: int = 64 * MIB
    """A room's WAL that a reader keeps from beginning again is reported beyond this: sixteen times its bound."""

    free_bytes_min: int = 256 * MIB
    """With less free space nothing more is taken in (`StorageFull`; reads and DELETE work): 64 WALs of 4 MiB must still fit."""

    drain_seconds_max: float = 10.0
    """How long a stop waits for calls that have begun or queue, and then for the replica; what is left of the calls is refused
    or unknown, of the changes replicated after the next start. Supervisors commonly kill after 10 to 90 s."""

    broken_rooms_max: int = 3
    """So many rooms broken by failed syncs within a minute mean the disk is the problem: the runtime stops."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"limits: {name} must be greater than zero, not {getattr(self, name)!r}")
        if self.call_bytes_max > self.mailbox_bytes_max:
            raise ValueError(
                f"limits: call_bytes_max = {self.call_bytes_max} is over mailbox_bytes_max = {self.mailbox_bytes_max}: "
                "such a call could never be queued"
            )
