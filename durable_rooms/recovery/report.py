"""What a recovery did. No logic beyond counting."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Source = Literal["file", "replica"]


class NotRecovered(Exception):
    """The room could not be recovered; nothing was put into its place, and what lies in quarantine is as it was."""


@dataclass(slots=True)
class TableReport:
    """One table.

    Attributes:
      from_file, from_replica: rows, by where they came from; a row is counted once.
      put_right: of those from the replica, the ones that the file has differently although they were not changed since.
      left_out: rows found on abandoned pages of the file that the room had deleted.
      missing: what is lost, or may be, in words.
    """

    name: str
    from_file: int = 0
    from_replica: int = 0
    put_right: int = 0
    left_out: int = 0
    missing: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Recovery:
    """What was done with one room.

    Attributes:
      sources: what was used. file: the damaged file, which is kept. schema: where the tables' definitions came from.
      damage: what is wrong with the file, whether or not anything was lost by it.
      missing: what is lost, or may be, of the room as a whole; see the tables, too.
      sound: nothing had to be done.
    """

    room: str
    path: Path
    sources: list[Source] = field(default_factory=list[Source])
    file: Path | None = None
    schema: str = ""
    epoch: int = 0
    seq: int = 0
    tables: list[TableReport] = field(default_factory=list[TableReport])
    damage: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    sound: bool = False

    @property
    def complete(self) -> bool:
        """Nothing is missing, as far as can be known."""
        return not self.missing and not any(table.missing for table in self.tables)

    @property
    def rows(self) -> int:
        return sum(table.from_file + table.from_replica for table in self.tables)
