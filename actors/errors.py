"""Every error of the runtime, as a tree. The first question a caller has is *did it run?*, so the tree is cut by its answer.

RoomsError                         ran, retryable, overloaded, room, method
├── CallRefused                    nothing ran
│   ├── RoomIdInvalid              the room's id cannot name a room
│   ├── KeyInvalid                 an idempotency key that is no text of 1 to 1,024 bytes
│   ├── KeyReused                  another call has run under this idempotency key
│   ├── UnknownMethod              no such public handler
│   ├── BadArguments               wrong arguments, or a value that msgpack cannot carry
│   ├── TooLarge                   over a named limit (as a result: rolled back)
│   ├── Overloaded                 a lane of the room, or the runtime, has as many calls or reads as may wait there
│   ├── CallCycle                  the rooms wait for each other, so this call could never be answered
│   ├── RoomLocked                 another program holds the room's file
│   ├── RoomAborted                the room was aborted or loaded before the call began
│   ├── RoomDeleted                the room was deleted before the call began
│   ├── RoomExists                 runtime.load(): there is a room already
│   ├── NoDescriptors              the process may open no more files
│   ├── RoomUnfit                  the room cannot be opened: damaged, or its migration was refused
│   │   ├── MigrationFailed        a step raised; the room is as it was before
│   │   ├── MigrationEdited        a step was changed after it ran
│   │   ├── SchemaTooNew           the file was written by a newer version of the class
│   │   ├── ActorFailed            the class's constructor raised
│   │   ├── StartFailed            its on_start raised
│   │   └── RoomQuarantined        its file is damaged and was moved to quarantine
│   ├── RuntimeClosed              the runtime is stopping or has stopped
│   └── WrongDoor                  called from another kind of code (trio, asyncio, plain) than the door was made for
├── CallFailed                     it ran and was rolled back
│   ├── StorageFull                the disk has no space (ran = "no": the whole turn is void)
│   ├── RoomReset                  the room's memory was thrown away while the call was under way
│   ├── TurnVoid                   SQLite rolled back the whole turn (ran = "no" for the neighbours)
│   ├── DeadlineExceeded           the call passed its timeout, or a statement of it `statement_seconds_max` (ran = "unknown" for
│   │                              an async handler whose earlier slices are committed)
│   └── StatementRefused           a statement that handlers may not run, or a table that cannot be replicated
│       ├── NoRow                  .one() or .scalar() found nothing
│       └── ManyRows               .one() or .scalar() found more than one row
├── OutcomeUnknown                 it may be there or not: read before repeating
├── CallTimeout                    the caller's timeout passed without an answer of the room: ran says whether the call had begun
├── DataDirInUse                   open_runtime: another process owns the directory
├── DiskUnfit                      open_runtime: the directory cannot hold rooms
├── DiskFailed                     the runtime stopped: syncs fail in several rooms, or in the catalog
├── ReplicationLate                the replica did not come so far in time; rooms are not affected
└── BadBookmark                    runtime.session(): a bookmark that this data directory did not make

An exception that a handler raises itself is not in this tree: its caller gets that very one, with a note that names the room.
"""

from typing import Literal

Ran = Literal["no", "rolled back", "unknown"]


class RoomsError(Exception):
    """Base of all errors of the runtime.

    Attributes:
      ran: "no" (nothing ran), "rolled back" (ran, left no trace), "unknown" (committed or not: read before repeating).
      retryable: True when the same call may succeed later without a change of code or data, and repeating it does nothing twice.
      overloaded: True when there is too much to do: wait before you repeat.
      room: "Class/id", or "" where no room is concerned.
      method: the handler that was called, or "".
    """

    ran: Ran = "no"
    retryable: bool = False
    overloaded: bool = False

    def __init__(self, message: str, *, room: str = "", ran: Ran | None = None) -> None:
        super().__init__(message)
        self.room = room
        self.method = ""
        if ran is not None:
            self.ran = ran


class CallRefused(RoomsError):
    """Nothing ran and nothing was written."""


class RoomIdInvalid(CallRefused, ValueError):
    """A room id is text of 1 to 1,024 bytes of UTF-8, without lone surrogates."""


class KeyInvalid(CallRefused, ValueError):
    """An idempotency key is text of 1 to 1,024 bytes of UTF-8, without lone surrogates."""


class KeyReused(CallRefused):
    """Another method, or the same with other arguments, has run under this idempotency key. Give each call a key of its own."""


class UnknownMethod(CallRefused, AttributeError):
    """The class has no public handler of this name."""


class BadArguments(CallRefused, TypeError):
    """The arguments do not fit the handler's signature, or hold a value that cannot cross by value."""


class TooLarge(CallRefused):
    """A call, a result or a row is over its limit; the message names the limit and the size."""


class Overloaded(CallRefused):
    """A lane of the room (control calls, reads, commands) or the runtime is full; the message names the bound.

    Wait and try again, longer each time, or shed load; the runtime never waits in your place.
    """

    retryable = True
    overloaded = True


class CallCycle(CallRefused):
    """Rooms wait for each other, so that this call could never be answered; or they call each other more than `call_depth_max`
    deep. The message prints the calls. `retryable` where two chains of calls met, one of which ends now.

    It reaches the caller of a handler that lets it pass with the `ran` of that handler's call.
    """


class RoomLocked(CallRefused):
    """Another program held the room's write lock for longer than `lock_seconds_max`."""

    retryable = True


class RoomAborted(CallRefused):
    """`runtime.abort` or `runtime.load` threw away the room's memory before the call began. Call it again."""

    retryable = True


class RoomDeleted(CallRefused):
    """`runtime.delete` removed the room before the call began. Called again, it is a new and empty one."""


class RoomExists(CallRefused):
    """`runtime.load` replaces a room only where it is told to."""


class NoDescriptors(CallRefused):
    """The process has as many files open as the system allows, and no room could make place in time."""

    retryable = True


class RoomUnfit(CallRefused):
    """The room's file cannot be used as it is; it was left as it was found."""


class MigrationFailed(RoomUnfit):
    """A migration raised; it was rolled back and the room is as it was before."""


class MigrationEdited(RoomUnfit):
    """A migration that already ran here reads differently now. Add a new step instead of editing an old one."""


class SchemaTooNew(RoomUnfit):
    """The room was migrated by a newer version of the class."""


class ActorFailed(RoomUnfit):
    """The actor class could not be instantiated for this room: its constructor raised."""


class StartFailed(RoomUnfit):
    """The room's `on_start` raised; what it wrote was rolled back. It runs again with a later call, ever less often."""

    retryable = True


class RoomQuarantined(RoomUnfit):
    """The room's file is damaged; it was moved to `quarantine/` as it is, and waits for `durable-rooms recover`."""


class RuntimeClosed(CallRefused):
    """The runtime is stopping, has stopped, or was never entered."""


class WrongDoor(CallRefused, RuntimeError):
    """Rooms opened for one kind of code (trio, asyncio, plain) were called from another; the message names the right door."""


class CallFailed(RoomsError):
    """The handler ran and everything it wrote was rolled back."""

    ran: Ran = "rolled back"


class StorageFull(CallFailed):
    """The disk has no space; the whole turn is void and nothing of it was written."""

    ran: Ran = "no"
    retryable = True


class TurnVoid(CallFailed):
    """SQLite rolled back the turn that this call shared with others; none of it was written."""

    ran: Ran = "no"
    retryable = True


class RoomReset(CallFailed):
    """The room was reset while this call was under way, and nothing of the call stays: another call's exclusive block had raised
    or was held too long, SQLite had rolled a turn back, its file broke beside an offloaded call, or the room was aborted, loaded
    or deleted (then not `retryable`). Told to the caller of the very handler whose block was held too long, it has a
    trio.TooSlowError as its cause.
    """

    retryable = True


class DeadlineExceeded(CallFailed, TimeoutError):
    """The call passed its timeout, or a statement of it ran too long and was interrupted, since the loop stands still meanwhile.

    What it wrote was rolled back. Where an async handler was cancelled whose earlier slices are committed, `ran` is "unknown".
    """


class StatementRefused(CallFailed):
    """A statement that a handler may not run; the message quotes it and says what to do instead."""


class NoRow(StatementRefused, LookupError):
    """One row was asked for and there is none."""


class ManyRows(StatementRefused, LookupError):
    """One row was asked for and there are several."""


class OutcomeUnknown(RoomsError):
    """The sync that was to make this call durable failed, or the runtime died meanwhile. Read before you repeat it."""

    ran: Ran = "unknown"


class CallTimeout(RoomsError, TimeoutError):
    """The caller's timeout passed without an answer of the room.

    `ran` is "no": the call had not begun and never will; or "unknown", and then not `retryable`: it had begun, or was not durable
    yet.
    """

    retryable = True


class DataDirInUse(RoomsError):
    """Another process owns the data directory; the message names its pid."""


class DiskUnfit(RoomsError):
    """The data directory cannot hold rooms; the message says why and what to do."""


class DiskFailed(RoomsError):
    """The runtime stopped itself because the disk fails. Acknowledged calls are safe; repair the disk, then start again."""

    ran: Ran = "unknown"


class ReplicationLate(RoomsError):
    """The replica did not catch up before the deadline. Rooms are not affected."""

    retryable = True


class BadBookmark(RoomsError, ValueError):
    """A bookmark that this data directory did not make: forged, cut short, or of another one. Begin a session without it."""
