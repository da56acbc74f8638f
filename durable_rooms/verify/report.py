"""What a comparison found. No logic beyond counting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from durable_rooms.verify.compare import SQLValue

Level = Literal["positions", "counts", "content"]
"""How closely is compared: only positions; also how many rows each table has; also every row."""

NAMED_PER_ROOM_MAX = 3
NAMED_MAX = 10


class RoomEntry(NamedTuple):
    """A room as the catalog has it."""

    actor: str
    id: str
    file: str = ""
    proven: bool = True
    position: tuple[int, int] | None = None  # epoch and seq of a room at rest

    def __str__(self) -> str:
        return f"{self.actor}/{self.id}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both sides; without a key, something about a whole table or room, told in the note."""

    room: str
    table: str = ""
    key: Mapping[str, SQLValue] | None = None
    in_room: Mapping[str, SQLValue] | None = None
    in_replica: Mapping[str, SQLValue] | None = None
    note: str = ""


@dataclass(slots=True)
class RoomResult:
    rows: int = 0  # in the room
    behind: int = 0  # changes that the replica does not have yet
    unknown: bool = False  # the replica has never heard of the room
    ahead: bool = False  # the replica says that it is further than the room
    differing: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])  # the first few

    def add(self, difference: Difference) -> None:
        self.differing += 1
        if len(self.differences) < NAMED_PER_ROOM_MAX:
            self.differences.append(difference)


@dataclass(slots=True)
class Report:
    data: Path
    level: Level = "content"
    running: int | None = None  # pid of the process that runs on the directory
    rooms: int = 0
    rooms_in_all: int = 0  # in the catalog; more than were compared if it was a sample
    rows: int = 0
    behind: dict[str, int] = field(default_factory=dict[str, int])  # by room: changes that the replica does not have yet
    missing: list[str] = field(default_factory=list[str])  # those of them that the replica has never heard of
    differing: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])  # the first few
    unequal: list[RoomEntry] = field(default_factory=list[RoomEntry])  # the rooms that differ
    ahead: list[RoomEntry] = field(default_factory=list[RoomEntry])  # those of them that the replica is ahead of
    strangers: list[str] = field(default_factory=list[str])  # rooms that only the replica knows, with rows

    @property
    def equal(self) -> bool:
        """Every room and the replica held the same rows when they were read."""
        return not self.differing and not self.behind

    @property
    def healthy(self) -> bool:
        """Equal, or behind while a process is at work on it."""
        return not self.differing and (not self.behind or self.running is not None)

    def add(self, room: RoomEntry, result: RoomResult) -> None:
        self.rooms += 1
        self.rows += result.rows
        self.differing += result.differing
        self.differences += result.differences[: NAMED_MAX - len(self.differences)]
        if result.differing:
            self.unequal.append(room)
        if result.ahead:
            self.ahead.append(room)
        if result.behind:
            self.behind[str(room)] = result.behind
        if result.unknown:
            self.missing.append(str(room))
