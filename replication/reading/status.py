"""What of reads can be seen from outside."""

from collections.abc import Mapping
from dataclasses import dataclass

from replication.reading.breaker import State


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """The way to one replica: its breaker, why that is not closed, and how many reads wait for its readers."""

    breaker: State
    reason: str | None
    waiting: int


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Reads since the start.

    by_source: "room", or a replica's name.
    by_why: "fresh" (the first replica that was asked), "across", and why rooms had to answer: "asked for", "unknown to replicas",
      "not there in time", "too old", "only the room can", "breaker open", "replica in trouble", "readers are busy",
      "older than the session", "no replica".
    """

    by_source: Mapping[str, int]
    by_why: Mapping[str, int]
    replicas: Mapping[str, RouteStatus]
