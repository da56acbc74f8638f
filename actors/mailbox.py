"""The mailbox: calls that wait for one room, in order, bounded by number and bytes. Full is an error, never a wait."""

from collections import deque
from collections.abc import Iterator

from actors.envelope import Envelope
from actors.errors import Overloaded
from actors.limits import Limits


class Mailbox:
    __slots__ = ("_bytes", "_calls", "_limits", "_room")

    def __init__(self, limits: Limits, room: str) -> None:
        self._calls: deque[Envelope] = deque()
        self._bytes = 0
        self._limits = limits
        self._room = room

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def awaited(self) -> bool:
        """A handler of some room waits for a call that waits here. Looks at each: for rare occasions."""
        return any(envelope.inner and not envelope.abandoned for envelope in self._calls)

    def put(self, envelope: Envelope) -> None:
        """Raises Overloaded, at once."""
        limits = self._limits
        if len(self._calls) >= limits.mailbox_calls_max or self._bytes + envelope.size > limits.mailbox_bytes_max:
            self._sweep()
            if len(self._calls) >= limits.mailbox_calls_max or self._bytes + envelope.size > limits.mailbox_bytes_max:
                raise Overloaded(
                    f"{self._room}: its mailbox is full: {len(self._calls)} of mailbox_calls_max = "
                    f"{limits.mailbox_calls_max} calls, "
                    f"{self._bytes:,} of mailbox_bytes_max = {limits.mailbox_bytes_max:,} bytes. Nothing ran; try again later.",
                    room=self._room,
                )
        self._calls.append(envelope)
        self._bytes += envelope.size

    def take(self) -> Envelope | None:
        """The next call whose caller still waits."""
        while self._calls:
            envelope = self._calls.popleft()
            self._bytes -= envelope.size
            envelope.begun = True  # before the look: a caller of another thread who has left and finds it unset knows: never runs
            if not envelope.abandoned:
                return envelope
        return None

    def put_back(self, envelope: Envelope) -> None:
        """The call that was just taken comes first again."""
        envelope.begun = False
        self._calls.appendleft(envelope)
        self._bytes += envelope.size

    def empty(self) -> Iterator[Envelope]:
        """Take all of them."""
        while (envelope := self.take()) is not None:
            yield envelope

    def _sweep(self) -> None:
        """Calls whose callers have gone do not count as load."""
        kept = deque(envelope for envelope in self._calls if not envelope.abandoned)
        self._bytes = sum(envelope.size for envelope in kept)
        self._calls = kept
