"""The breaker of one replica: when it is asked no more, and when one read tries it again.

closed ─ failures ─▶ open ─ after a while ─▶ half open ─ one read succeeds ─▶ closed
                       ▲                        └── it fails ──┘
(M. Nygard, Release It!, 2007)
"""

import logging
from collections.abc import Callable
from typing import Literal

from actors.system.backoff import doubled

FAILURES_MIN = 3  # in a row, before a replica is asked no more: one may be a file that was just replaced
OPEN_SECONDS_FIRST = 0.1  # of a replica that is asked no more; doubled each time, with jitter
OPEN_SECONDS_MAX = 5.0  # an outage of hours is over at most so long after its cause

State = Literal["closed", "open", "half open"]

logger = logging.getLogger("durable_rooms.replication")


class Breaker:
    """On the loop; `now` in seconds of the loop's clock."""

    def __init__(self, name: str, now: Callable[[], float], uniform: Callable[[float, float], float]) -> None:
        self.state: State = "closed"
        self.reason: str | None = None  # of the last failure, while it is not closed
        self._name = name
        self._now = now
        self._uniform = uniform
        self._failures = 0  # in a row
        self._openings = 0  # in a row
        self._until = 0.0
        self._tickets = 0  # given out

    def admits(self) -> int | None:
        """A ticket to ask the replica now, for `gave_up`; None: not now. Of the reads that come when it has been open for long
        enough, one gets it: the probe."""
        if self.state != "closed":
            if self.state == "half open" or self._now() < self._until:
                return None
            self._turn("half open")
        self._tickets += 1
        return self._tickets

    def succeeded(self) -> None:
        self._failures = self._openings = 0
        if self.state != "closed":
            self.reason = None
            self._turn("closed")

    def failed(self, reason: str) -> None:
        """Something is wrong with the replica: an error of its file, no answer, no progress. Not: a read that asks nonsense."""
        self._failures += 1
        if self.state == "half open" or self._failures >= FAILURES_MIN:
            self.reason = reason
            longest = doubled(OPEN_SECONDS_FIRST, OPEN_SECONDS_MAX, self._openings)
            self._openings += 1
            self._until = self._now() + self._uniform(longest / 2, longest)
            self._turn("open")

    def gave_up(self, ticket: int) -> None:
        """Its read was cancelled, or said nothing about the replica. If it was the probe, another one may try: the last ticket is
        the probe's while it is half open."""
        if self.state == "half open" and ticket == self._tickets:
            self._turn("open")
            self._until = self._now()

    def _turn(self, state: State) -> None:
        if state == self.state:
            return
        before, self.state = self.state, state
        level = logging.WARNING if state == "open" and before == "closed" else logging.INFO
        logger.log(
            level,
            "reads of replica %s: breaker %s (was %s)%s",
            self._name,
            state,
            before,
            f": {self.reason}" if self.reason else "",
        )
