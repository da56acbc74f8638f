"""The drive: post the feed, kill the server half-way, start it again, go on, wait until the replica has everything.

Each lane has one post in flight, so that its order is kept; all lanes post at the same time. What was in flight at the kill is
unknown from then on and is never repeated: repeating is for a caller to decide, and here it would hide a loss.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from durable_rooms.demo.child import ServerDied
from durable_rooms.demo.ledger import Ledger, percentile
from durable_rooms.demo.line import Feed
from durable_rooms.demo.wire import Message

HALF = 0.5
LOOK_SECONDS = 0.05  # how often the drive looks up when no reply comes
SILENCE_SECONDS_MAX = 60.0  # the server tells its figures four times a second
REPLICATED_SECONDS_MAX = 60.0


@dataclass(slots=True)
class Course:
    """How the drive goes, for whoever looks on."""

    stage: str = "starting the server"
    done: float = 0.0  # 0 to 1
    posting_seconds: float = 0.0  # without the time in which there was no server
    kills: int = 0
    acknowledged_at_kill: int = 0
    in_flight_at_kill: int = 0
    away_seconds: float = 0.0  # from the kill until posts were taken again
    rooms_open: int = 0
    lag: float = 0.0
    lags_p50: list[float] = field(default_factory=list[float])
    lags_p99: list[float] = field(default_factory=list[float])
    replica_error: str = ""

    @property
    def lag_p50(self) -> float:
        """Seconds; the median of what the replicator said through the run."""
        return percentile(self.lags_p50, 0.5)

    @property
    def lag_p99(self) -> float:
        """Seconds; the worst that the replicator said in the run."""
        return max(self.lags_p99, default=0.0)


class Server(Protocol):
    """What the drive needs of a server process; see `ServerProcess`."""

    def send(self, message: Message) -> None: ...
    def receive(self, seconds: float) -> Sequence[Message]: ...
    def kill(self) -> Sequence[Message]: ...
    def stop(self) -> None: ...
    def abandon(self) -> None: ...


class Replay:
    def __init__(
        self,
        feed: Feed,
        ledger: Ledger,
        look: Callable[[Course], None],
        new_server: Callable[[], Server],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`look` is called at every stage and many times a second between them; `chance` decides when exactly the kill comes."""
        self.course = Course()
        self._feed, self._ledger, self._look = feed, ledger, look
        self._new_server, self._chance = new_server, chance
        self._idle = list(range(feed.lanes))
        self._in_flight: dict[int, tuple[int, float]] = {}  # number → its lane, when it was sent
        self._answers: list[Message] = []  # what is not a reply to a post
        self._heard_at = 0.0

    def run(self) -> None:
        """Raises: ServerDied, if the server ends other than by our kill."""
        server = self._new_server()
        try:
            self._await(server, "ready", SILENCE_SECONDS_MAX)
            self._drive(server, "posting", HALF)
            killed_at = time.monotonic()
            self._kill(server)
            server = self._new_server()
            self._await(server, "ready", SILENCE_SECONDS_MAX)
            self.course.away_seconds = time.monotonic() - killed_at
            self._drive(server, "posting again", 1.0)
            self._replicate(server)
            server.stop()
        finally:
            server.abandon()

    # -- stages -----------------------------------------------------------------------------------------------------
    def _drive(self, server: Server, stage: str, until: float) -> None:
        """Post until this share of the feed is done; up to 1.0 also wait for the last replies.

        Up to less, go on for a random part of a call's time: the kill that follows then meets calls everywhere on their way,
        waiting, committed or in a sync, and not just after a reply.
        """
        self._enter(stage)
        began, before = time.monotonic(), self.course.posting_seconds
        leave_at = math.inf
        while True:
            now = time.monotonic()
            self.course.posting_seconds = before + now - began
            self.course.done = self._feed.progress(len(self._ledger) - len(self._in_flight), self.course.posting_seconds)
            if self.course.done >= until < 1.0 and leave_at == math.inf:
                leave_at = now + self._chance() * percentile(self._ledger.recent, 0.5)
            if now >= leave_at:
                return
            if self.course.done < 1.0 or until < 1.0:
                self._fill(server)
            if not self._in_flight:
                return
            self._listen(server, min(LOOK_SECONDS, leave_at - now))

    def _kill(self, server: Server) -> None:
        for message in server.kill():
            self._hear(message)
        self.course.kills += 1
        self.course.acknowledged_at_kill = self._ledger.acknowledged
        self.course.in_flight_at_kill = len(self._in_flight)
        for number, (lane, _) in self._in_flight.items():
            self._ledger.lose_sight(number)
            self._idle.append(lane)
        self._in_flight.clear()
        self._enter("killed")

    def _replicate(self, server: Server) -> None:
        self._enter("waiting for the replica")
        server.send(["replicated", REPLICATED_SECONDS_MAX])
        _, self.course.replica_error, figures = self._await(server, "replicated", REPLICATED_SECONDS_MAX + SILENCE_SECONDS_MAX)
        self._note(figures)
        self._enter("stopping the server")

    def _enter(self, stage: str) -> None:
        self.course.stage = stage
        self._look(self.course)

    # -- talking ----------------------------------------------------------------------------------------------------
    def _fill(self, server: Server) -> None:
        """Give every idle lane its next line; a lane without one is gone for good."""
        posts: list[list[Any]] = []
        now = time.perf_counter()
        for lane in self._idle:
            if (found := self._feed.take(lane)) is not None:
                room, line = found
                number = self._ledger.post(room, line)
                self._in_flight[number] = (lane, now)
                posts.append([number, room, *line])
        self._idle.clear()
        if posts:
            server.send(["posts", posts])

    def _await(self, server: Server, kind: str, seconds: float) -> Message:
        """Listen until an answer of this kind comes."""
        deadline = time.monotonic() + seconds
        self._answers.clear()
        self._heard_at = time.monotonic()
        while not (found := [answer for answer in self._answers if answer[0] == kind]):
            if time.monotonic() > deadline:
                raise ServerDied(f"The server process gave no answer within {seconds:g} s.")
            self._listen(server)
        return found[0]

    def _listen(self, server: Server, seconds: float = LOOK_SECONDS) -> None:
        messages = server.receive(seconds)
        now = time.monotonic()
        if messages:
            self._heard_at = now
        elif now - self._heard_at > SILENCE_SECONDS_MAX:
            raise ServerDied(f"The server process has been silent for {SILENCE_SECONDS_MAX:g} s.")
        for message in messages:
            self._hear(message)
        self._look(self.course)

    def _hear(self, message: Message) -> None:
        match message:
            case ["done", numbers]:
                now = time.perf_counter()
                for number in numbers:
                    lane, sent = self._in_flight.pop(number)
                    self._ledger.acknowledge(number, now - sent)
                    self._idle.append(lane)
            case ["failed", number, ran, why]:
                lane, _ = self._in_flight.pop(number)
                self._ledger.refuse(number, ran, why)
                self._idle.append(lane)
            case ["figures", figures]:
                self._note(figures)
            case _:
                self._answers.append(message)

    def _note(self, figures: dict[str, Any]) -> None:
        self.course.rooms_open = figures["rooms"]
        self.course.lag = figures["lag"]
        if figures["lag_p99"]:  # zero: nothing was measured yet
            self.course.lags_p50.append(figures["lag_p50"])
            self.course.lags_p99.append(figures["lag_p99"])
