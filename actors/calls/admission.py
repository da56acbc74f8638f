"""Admission: what may wait in the mailboxes of one runtime, as two counters that every mailbox keeps; and who is refused at once.

    call ─▶ alert? ─▶ arguments by value ─▶ mailbox ─▶ room, then runtime ─▶ waits
            └─▶ refused before any work is spent on it

A room that refused a call, and a full runtime, are remembered until there is place again: what comes meanwhile costs an error
and nothing else, so that twice the load that can be served costs little more than once.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from actors.errors import Overloaded
from actors.limits import Limits
from actors.names import RoomName

# One part in so many above the bounds is for control calls, and for rooms in which fewer calls wait than a fair share: a few
# rooms that stand still cannot shut out all others.
HEADROOM = 8
FAIR_CALLS = 16
SWEEP_SECONDS = 0.01  # between two looks for calls whose callers have gone, while full: 0.1 ms for a mailbox
SWEEP_ALL_SECONDS = 0.5  # the same over all mailboxes: up to 6 ms for 4,096 calls


class Full(Protocol):
    """A mailbox."""

    def check(self, *, control: bool) -> None:
        """Raises Overloaded where one call more, however small, has no place in it or in the runtime."""
        ...

    def sweep(self) -> None: ...


class Admission:
    """Of one runtime."""

    __slots__ = ("_limits", "_mailbox_of", "_mailboxes", "_swept_at", "alert", "bytes", "calls", "full", "held")

    def __init__(
        self,
        limits: Limits,
        mailboxes: Callable[[], Iterable[Full]] = lambda: (),
        mailbox_of: Callable[[RoomName], Full | None] = lambda room: None,
    ) -> None:
        self.calls = 0  # that wait, in all mailboxes
        self.bytes = 0  # of their arguments
        self.held = 0  # that have run and wait at a gate: a disk that hangs must not fill the memory with them
        self.alert = False  # somebody was refused lately
        self.full = 0  # mailboxes that have refused a call since they last gave one away
        self._limits = limits
        self._mailboxes = mailboxes
        self._mailbox_of = mailbox_of
        self._swept_at = -math.inf

    def turn_away(self, room: RoomName, *, control: bool) -> None:
        """While on alert, before the call's arguments are looked at: raises Overloaded where it would be refused anyway."""
        if not self.full and not self._over(0):
            self.alert = False
            return
        mailbox = self._mailbox_of(room)
        if mailbox is not None:
            mailbox.check(control=control)

    def admit(self, size: int, room: str, *, control: bool, others: int) -> None:
        """The runtime is full, and a call of so many bytes wants to wait in a room where so many of its lane do already.

        Raises Overloaded.
        """
        headroom = HEADROOM if control or others < FAIR_CALLS else 0
        if self._over(size, headroom):
            self._sweep_all()
            if self._over(size, headroom):
                raise self._refusal(room)

    def _over(self, size: int, headroom: int = 0) -> bool:
        limits = self._limits
        calls_max, bytes_max = limits.waiting_calls_max, limits.waiting_bytes_max
        if headroom:
            calls_max, bytes_max = calls_max + calls_max // headroom, bytes_max + bytes_max // headroom
        return self.calls + self.held >= calls_max or self.bytes + size > bytes_max

    def _sweep_all(self) -> None:
        now = trio.current_time()
        if now >= self._swept_at + SWEEP_ALL_SECONDS:
            self._swept_at = now
            for mailbox in self._mailboxes():
                mailbox.sweep()

    def _refusal(self, room: str) -> Overloaded:
        self.alert = True
        limits = self._limits
        return Overloaded(
            f"{room}: this runtime is full: {self.calls:,} calls wait in all rooms and {self.held:,} for the disk; "
            f"waiting_calls_max is {limits.waiting_calls_max:,}; {self.bytes:,} of waiting_bytes_max = "
            f"{limits.waiting_bytes_max:,} bytes. Nothing ran; try again later, a little longer each time.",
            room=room,
        )
