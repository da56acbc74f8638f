"""What a runtime tells of itself: its counters, and what a stop has left."""

from dataclasses import dataclass

from actors.system.watchdog import Stall


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """Counters of one runtime, at one moment."""

    rooms_open: int
    rounds: int  # syncs that have returned since the start
    commits: int  # of rooms, that these have made durable; calls that wait for one room share one
    calls_waiting: int  # in the mailboxes of all rooms, now
    calls_waiting_most: int  # in the fullest of them; `mailbox_calls_max` refuses more
    rooms_broken: int  # by failed syncs, since the start
    stalls: int  # so often the loop stood still for blocked_seconds_warn
    last_stall: Stall | None  # who did it, for how long, and the stack
    wals_pinned: int  # rooms whose WAL a reader keeps over wal_bytes_alert
    full: bool  # too little free space: statements that add data are refused until it returns
    free_bytes: int  # of the data directory's file system, a second ago at most
    alarms_fired: int  # since the start, those that were done; a repeating one counts each time
    alarms_dead: int  # given up since the start, after alarm_retries_max


@dataclass(frozen=True, slots=True)
class Left:
    """What a stop has left undone."""

    seconds: float  # how long it took
    refused: int  # calls that came during the stop, or still waited at its bound: nothing of them ran
    unknown: int  # async handlers that were cut short between two slices
