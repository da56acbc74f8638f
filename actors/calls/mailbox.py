"""The mailbox: calls that wait for one room, in two lanes, each bounded and in order. Full is an error at once, never a wait.

Control (`@command(control=True)`: moderation) comes before the other commands, which still get one place in nine.
"""

import math
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice

import trio

from actors.calls import timeouts
from actors.calls.admission import SWEEP_SECONDS, Admission
from actors.calls.envelope import Envelope
from actors.errors import Overloaded
from actors.limits import Limits

CONTROL_RUN_MAX = 8  # control calls in a row while other commands wait; then one of these, so that nothing starves


class Lane:
    """Calls of one kind."""

    __slots__ = ("bytes", "calls", "calls_max", "name", "name_of_max")

    def __init__(self, name: str, name_of_max: str, calls_max: int) -> None:
        self.calls: deque[Envelope] = deque()
        self.bytes = 0
        self.name = name
        self.name_of_max = name_of_max
        self.calls_max = calls_max


class Mailbox:
    __slots__ = ("_admission", "_barred", "_commands", "_control", "_limits", "_room", "_run", "_swept_at")

    def __init__(self, limits: Limits, room: str, admission: Admission | None = None) -> None:
        self._admission = admission or Admission(limits)
        self._barred = False  # it refused a call, and has given none away since
        self._commands = Lane("its mailbox", "mailbox_calls_max", limits.mailbox_calls_max)
        self._control = Lane("its lane of control calls", "control_calls_max", limits.control_calls_max)
        self._limits = limits
        self._room = room
        self._run = 0  # control calls in a row that were taken while commands waited
        self._swept_at = -math.inf

    def __len__(self) -> int:
        return len(self._commands.calls) + len(self._control.calls)

    @property
    def awaited(self) -> bool:
        """A handler of some room waits for a call that waits here. Looks at each: for rare occasions."""
        return any(envelope.inner and not envelope.abandoned for envelope in chain(self._control.calls, self._commands.calls))

    def put(self, envelope: Envelope) -> None:
        """Raises Overloaded, at once."""
        lane, limits, admission = self._control if envelope.control else self._commands, self._limits, self._admission
        calls, size = lane.calls, envelope.size
        if len(calls) >= lane.calls_max or lane.bytes + size > limits.mailbox_bytes_max:
            self._look_for_place(lane, size)
        if admission.calls + admission.held >= limits.waiting_calls_max or admission.bytes + size > limits.waiting_bytes_max:
            admission.admit(size, self._room, control=envelope.control, others=len(calls))
        lane.calls.append(envelope)
        lane.bytes += size
        admission.calls += 1
        admission.bytes += size

    def put_own(self, envelope: Envelope) -> None:
        """A call of the runtime's own: whoever puts it bounds how many there are."""
        lane = self._control if envelope.control else self._commands
        lane.calls.append(envelope)
        self._counts(lane, envelope, 1)

    def take(self) -> Envelope | None:
        """The next call whose caller still waits."""
        admission, lane, control = self._admission, self._commands, self._control
        while True:
            if control.calls:
                lane = self._next_lane()
            elif not lane.calls:
                return None
            envelope = lane.calls.popleft()
            size = envelope.size
            lane.bytes -= size
            admission.calls -= 1
            admission.bytes -= size
            if self._barred:
                self._open()
            envelope.begun = True  # before the look: a caller of another thread who has left and finds it unset knows: never runs
            if not envelope.abandoned:
                return envelope
            lane = self._commands

    def _next_lane(self) -> Lane:
        """Control calls come first, but for one command now and then."""
        if not self._commands.calls:
            return self._control
        self._run += 1
        if self._run <= CONTROL_RUN_MAX:
            return self._control
        self._run = 0
        return self._commands

    def put_back(self, envelope: Envelope) -> None:
        """The call that was just taken comes first again."""
        lane = self._control if envelope.control else self._commands
        envelope.begun = False
        lane.calls.appendleft(envelope)
        self._counts(lane, envelope, 1)

    def keys(self, most: int) -> Iterator[str]:
        """Idempotency keys of the next `most` calls."""
        for envelope in islice(chain(self._control.calls, self._commands.calls), most):
            if envelope.key is not None:
                yield envelope.key

    def empty(self) -> Iterator[Envelope]:
        """Take all of them."""
        while (envelope := self.take()) is not None:
            yield envelope

    def sweep(self) -> None:
        """Calls whose callers have gone, or whose time has passed, are no load."""
        now = trio.current_time()
        self._swept_at = now
        for lane in (self._control, self._commands):
            waiting, lane.calls = lane.calls, deque()
            for envelope in waiting:
                if not envelope.abandoned and envelope.deadline > now:
                    lane.calls.append(envelope)
                    continue
                self._counts(lane, envelope, -1)
                if self._barred:
                    self._open()
                if not envelope.abandoned:
                    envelope.refuse(timeouts.not_begun(envelope, self._room))

    # -- when it is full --------------------------------------------------------------------------------------------------
    def check(self, *, control: bool) -> None:
        lane = self._control if control else self._commands
        if len(lane.calls) >= lane.calls_max:
            self._look_for_place(lane, 0)
        if self._admission.calls + self._admission.held >= self._limits.waiting_calls_max:
            self._admission.admit(0, self._room, control=control, others=len(lane.calls))

    def _look_for_place(self, lane: Lane, size: int) -> None:
        """Raises Overloaded."""
        if trio.current_time() >= self._swept_at + SWEEP_SECONDS:
            self.sweep()
        count, bytes_max = len(lane.calls), self._limits.mailbox_bytes_max
        if count < lane.calls_max and lane.bytes + size <= bytes_max:
            return
        if not self._barred:
            self._barred = self._admission.alert = True
            self._admission.full += 1
        raise Overloaded(
            f"{self._room}: {lane.name} is full: {count} of {lane.name_of_max} = {lane.calls_max} calls, "
            f"{lane.bytes:,} of mailbox_bytes_max = {bytes_max:,} bytes. Nothing ran; try again later, a "
            "little longer each time.",
            room=self._room,
        )

    def _open(self) -> None:
        self._barred = False
        self._admission.full -= 1

    def _counts(self, lane: Lane, envelope: Envelope, calls: int) -> None:
        """One call more that waits, or one less."""
        admission, size = self._admission, envelope.size * calls
        lane.bytes += size
        admission.calls += calls
        admission.bytes += size
