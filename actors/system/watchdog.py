"""The watchdog: notices from a thread of its own that the loop stands still, says who blocks it, and may end the process.

    turns, slices ─▶ Note (room, call, since when) ─▶ look, ten times a second ─▶ log, status, abort
    loop ◀─ ask ─────────────────────────────────────┘

One handler that computes or waits stops every room. Nothing on the loop can say so while it happens. A loop that is merely
busy, turn after turn, is no stall. What holds Python's interpreter lock in C stops this thread, too; nobody in the process
can see that.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from actors.calls.envelope import Envelope
from actors.limits import Limits
from actors.system.doors import Doors

# What counts against `blocked_seconds_max` between two looks: a process that was paused (SIGSTOP, a suspended machine) finds
# that minutes have passed since its last look, and must not end itself for that.
GAP_SECONDS_MAX = 1.0

logger = logging.getLogger("durable_rooms.actors")


class Note:
    """Which call runs on the loop, and since when. Written by turns and slices (12 ns a call), read by the watchdog's thread."""

    __slots__ = ("began", "envelope", "room", "turns")

    def __init__(self) -> None:
        self.room = ""
        self.envelope: Envelope | None = None
        self.began = 0.0  # on the stopwatch
        self.turns = 0  # so that a loop without a handler can be told from one that goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """The loop stood still.

    Attributes:
      room, method: whose handler blocked it; both "" if it was something outside a handler.
      seconds: so far, or in all if `over`.
      noticed_at: Unix seconds.
      stack: of the loop's thread, when it was noticed.
    """

    room: str
    method: str
    seconds: float
    over: bool
    noticed_at: float
    stack: str

    @property
    def who(self) -> str:
        """For a log: an id with control characters, which anybody may have chosen, writes no lines of its own there."""
        room = self.room if self.room.isprintable() else self.room.encode("unicode_escape").decode()
        return f"{room}.{self.method}" if room else "something outside a handler"


class Watchdog:
    """Of one runtime. `look` runs in the lookout's thread, `_answer` on the loop, everything else before and after."""

    def __init__(self, limits: Limits, doors: Doors) -> None:
        self.note = Note()
        self.stalls = 0
        self.last_stall: Stall | None = None
        self._limits = limits
        self._stopwatch = doors.stopwatch
        self._wall_clock = doors.wall_clock
        self._lookout = doors.lookout
        self._answered_at: float | None = None  # when the loop came round to the last question
        self._seen: tuple[Envelope | None, float, int] = (None, 0.0, 0)
        self._seen_since = 0.0
        self._looked_at = 0.0
        self._watched = 0.0  # seconds of looking on while nothing moved
        self._began = 0.0  # of the present stall
        self._stall: Stall | None = None

    @contextmanager
    def watching(self) -> Generator[None]:
        """On the loop that is to be watched."""
        self._answer()
        self._lookout.start(self.look)
        try:
            yield
        finally:
            self._lookout.stop()

    def _answer(self) -> None:
        self._answered_at = self._stopwatch()

    def look(self) -> None:
        """Has the loop moved since the last look? It has if it answered, or if another call or turn runs now."""
        now = self._stopwatch()
        gap, self._looked_at = min(now - self._looked_at, GAP_SECONDS_MAX), now
        note = self.note
        seen = (note.envelope, note.began, note.turns)
        if self._answered_at is not None:
            self._moved(self._answered_at)
            self._seen, self._seen_since = seen, now
            self._answered_at = None
            self._lookout.ask(self._answer)
        elif seen != self._seen:
            self._moved(now)
            self._seen, self._seen_since = seen, now
        else:
            self._watched += gap
            began = note.began if note.envelope is not None else self._seen_since
            self._stands_still(note.envelope, began, now)

    def _stands_still(self, envelope: Envelope | None, began: float, now: float) -> None:
        seconds = now - began
        if seconds < min(self._limits.blocked_seconds_warn, self._limits.blocked_seconds_max):
            return
        stall = self._stall
        if stall is None:
            self._began = began
            room, method = (self.note.room, envelope.handler.name) if envelope is not None else ("", "")
            stall = Stall(
                room=room,
                method=method,
                seconds=seconds,
                over=False,
                noticed_at=self._wall_clock(),
                stack=self._lookout.stack(),
            )
            self.stalls += 1
            logger.warning(
                "%s has blocked the loop for %.0f ms, and every room with it. Compute and wait elsewhere, e.g. "
                "trio.to_thread.run_sync in the caller. The loop's thread is here:\n%s",
                stall.who,
                seconds * 1e3,
                stall.stack,
            )
        self._stall = self.last_stall = replace(stall, seconds=seconds)
        if self._watched >= self._limits.blocked_seconds_max:
            self._lookout.abort(
                f"{stall.who} has blocked the loop for {seconds:.1f} s; blocked_seconds_max is "
                f"{self._limits.blocked_seconds_max:g} s. The process ends, so that a supervisor starts it anew. Acknowledged "
                "calls are durable; calls under way are unknown."
            )

    def _moved(self, at: float) -> None:
        self._watched = 0.0
        stall = self._stall
        if stall is None:
            return
        self._stall = None
        self.last_stall = replace(stall, seconds=at - self._began, over=True)
        logger.warning("%s blocked the loop for %.0f ms in all; it goes on now", stall.who, self.last_stall.seconds * 1e3)
