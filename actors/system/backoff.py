"""Backoff: a room whose class cannot take it into use is not opened again for every call.

A migration that fails does so each time, at the cost of an opening and of its own work; a hot room would spend the process on it.
Calls meanwhile are refused at once, with the reason of the last try.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from actors.errors import ActorFailed, MigrationEdited, MigrationFailed, RoomsError, RoomUnfit, SchemaTooNew, StartFailed
from actors.names import RoomName

BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MAX = 60.0  # a room is served again at most a minute after its data were mended; code needs a new start anyway
ROOMS_REMEMBERED_MAX = 10_000  # 500 bytes each; one that is forgotten is only tried earlier

LASTING = (MigrationFailed, MigrationEdited, SchemaTooNew, ActorFailed, StartFailed)


def doubled(first: float, most: float, times: int) -> float:
    """Seconds after so many failures in a row."""
    return min(most, first * 2 ** min(times, 16))


@dataclass(frozen=True, slots=True)
class Failure:
    kind: type[RoomUnfit]
    reason: str
    delay: float  # seconds
    until: float  # on trio's clock


class Backoff:
    """Of one runtime. `uniform`: the runtime's chance, so that many rooms of one bad class do not come back together."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._failures: OrderedDict[RoomName, Failure] = OrderedDict()
        self._uniform = uniform

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, name: RoomName, error: RoomsError) -> None:
        """An opening failed; what may be over in a moment (a lock, a full disk) is not remembered."""
        if not isinstance(error, LASTING):
            return
        before = self._failures.pop(name, None)
        delay = min(2 * before.delay, BACKOFF_SECONDS_MAX) if before else BACKOFF_SECONDS_FIRST
        until = trio.current_time() + self._uniform(0.9, 1.1) * delay
        self._failures[name] = Failure(type(error), str(error), delay, until)
        if len(self._failures) > ROOMS_REMEMBERED_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, name: RoomName) -> None:
        self._failures.pop(name, None)

    def refusal(self, name: RoomName) -> RoomUnfit | None:
        """Why the room is not even tried now."""
        failure = self._failures.get(name)
        if failure is None or (left := failure.until - trio.current_time()) <= 0:
            return None
        return failure.kind(f"{failure.reason} (As of the last try; a call in {left:.1f} s tries again.)", room=str(name))
