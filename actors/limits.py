"""Every bound and timeout of the runtime, with its unit last in the name and its reason beside it."""

import math
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

LOCK_POLL_SECONDS = 0.005  # how often to look again while another program holds a room's write lock; the loop never waits for it
ROOM_ID_BYTES_MAX = 1024  # UTF-8; an id is a key in the catalog, the replica and logs, not a document
ALARM_AT_SECONDS_MAX = 253_402_300_799.0  # Unix seconds, the last of 9999: later ones are milliseconds by mistake
RETRY_SECONDS_FIRST = 2.0  # after the first failure of what a room does by itself; doubled after each
ALARM_EVERY_SECONDS_MIN = 1.0  # of a repeating alarm: what is to happen more often is a loop in the caller's process
KEY_BYTES_MAX = 1024  # UTF-8, of kv, of an alarm's name, of an idempotency key: as a room id's
STATEMENT_BYTES_MAX = 100_000  # UTF-8, of one statement's text: parsing takes 1 ms; a longer one has values built into it
# How much longer than its timeout a call that has begun waits for the room's own word, which is better than a guess: a handler
# that was cancelled cleans up, a commit becomes durable. Syncs take 0.2 to 20 ms; a person does not notice a tenth of a second.
TIMEOUT_GRACE_SECONDS = 0.1
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

    control_calls_max: int = 64
    """Control calls (`@command(control=True)`) that may wait for one room beside its other commands: a moderator and a few bots.
    Their arguments have a `mailbox_bytes_max` of their own."""

    waiting_calls_max: int = 4_096
    """Calls that may wait in all rooms together, for their turn or for the sync after it. Many rooms serve 10,000 to 25,000
    posts/s, so that is 0.2 to 0.4 s of work; each has a task that waits, and with 16,384 of them Python's garbage collection
    stops the loop for 0.2 s. An eighth above it is for control calls and for rooms where fewer than 16 wait."""

    waiting_bytes_max: int = 256 * MIB
    """Arguments that may wait in all rooms together: sixteen full mailboxes."""

    room_reads_max: int = 1_024
    """Reads of one room that may be under way: as many as calls may wait. At 10,000 reads/s the last one waits 0.1 s."""

    reads_max: int = 16_384
    """Reads under way in all rooms and across rooms, on replicas, too: as many as calls may wait."""

    call_bytes_max: int = 1 * MIB
    """Arguments of one call, as msgpack. A chat message is 1 kB; files belong elsewhere."""

    result_bytes_max: int = 16 * MIB
    """Result of one call, as msgpack. 16 MiB is some 100,000 short rows: page through more."""

    row_bytes_max: int = 4 * MIB
    """One row or value inside SQLite (SQLITE_LIMIT_LENGTH); the replica must be able to carry it."""

    turn_calls_max: int = 512
    """Calls that share one transaction. Twice the callers of a very hot room; beyond that sharing gains nothing."""

    turn_seconds_max: float = 0.005
    """After so long a turn commits and lets other rooms run: one hot room cannot starve the others. As long as all rooms' turns
    together may take of one pass of the loop; hundreds of calls share its commit."""

    statement_seconds_max: float = 0.25
    """One statement of a handler; then it is interrupted and its call fails. The loop, and so every room, stands still
    meanwhile. A statement takes microseconds; one that sorts, rewrites or returns 300,000 rows takes about so long."""

    offload_seconds_max: float = 30.0
    """One offloaded handler; then its SQL is interrupted and the call fails. Its room runs nothing else meanwhile, other programs
    cannot write to the file, and the WAL grows; 30 s read 10 GB or rewrite a million rows."""

    offload_calls_max: int = 4
    """Offloaded handlers that run at once. SQLite works without Python's lock, so each may keep a processor busy; what they do in
    Python they take from the loop, in pieces of up to 5 ms, so more would slow down every room and finish no sooner."""

    blocked_seconds_warn: float = 0.5
    """After so long in one handler the watchdog logs its stack. Handlers take microseconds; this is felt in every room."""

    blocked_seconds_max: float = math.inf
    """After so long the process ends itself with a dump, for a supervisor to start it anew. No bound, because a debugger's
    breakpoint blocks the loop, too; set 30 s where a supervisor watches."""

    tells_pending_max: int = 10_000
    """Tells of one room that are stored and not settled; the next one fails its call. Ten times a fan-out to 1,000 rooms."""

    tell_attempts_max: int = 3
    """A tell whose method failed so often becomes a dead letter. What may pass by itself (locks, overload, a full disk, a broken
    sync) is not counted, and what a method raises over its own rows it mostly raises again."""

    tells_dead_max: int = 1_000
    """Dead letters that one room keeps. With more, nothing is dropped: tells to the same receiver wait until there is place."""

    exclusive_seconds_max: float = 30.0
    """How long `self.exclusive()` may keep others out; then the room is reset. Its mailbox fills meanwhile, and whoever waits
    so long has gone."""

    call_depth_max: int = 64
    """How deep rooms may call each other, one inside another. Each level is a room that waits in memory; a chain of so many is
    one that goes round."""

    lock_seconds_max: float = 2.0
    """How long a turn waits for another program's write lock on the room's file before its calls are refused with RoomLocked."""

    key_seconds_max: float = 86_400.0
    """How long a room keeps the reply of a call with an idempotency key: a day, in which a phone comes back into the network and
    repeats what it did not hear of. Each takes some 150 bytes of the room's file, and its reply."""

    wal_bytes_max: int = 4 * MIB
    """A room's WAL beyond this is checkpointed in a worker thread. 4 MiB keep a re-home after a crash near 10 ms."""

    wal_bytes_alert: int = 64 * MIB
    """A room's WAL that a reader keeps from beginning again is reported beyond this: sixteen times its bound."""

    free_bytes_min: int = 256 * MIB
    """With less free space nothing more is taken in (`StorageFull`; reads and DELETE work): 64 WALs of 4 MiB must still fit."""

    alarm_retries_max: int = 6
    """So often an alarm whose handler failed is tried again, after 2, 4 … 64 s: some two minutes, which a restart of what it
    depends on takes; then it is dead (`self.alarms.dead()`)."""

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
        if self.call_bytes_max > self.waiting_bytes_max:
            raise ValueError(
                f"limits: call_bytes_max = {self.call_bytes_max} is over waiting_bytes_max = {self.waiting_bytes_max}: "
                "such a call could never be queued"
            )
