"""One line of a chat, and where lines come from."""

from typing import Literal, NamedTuple, Protocol

Kind = Literal["message", "action", "join", "part", "nick", "mode"]


class Line(NamedTuple):
    """What one person did in one room. `body` is the text, the new name (nick), or what else the line said."""

    kind: Kind
    author: str
    body: str


class Feed(Protocol):
    """Lines for a number of lanes. A lane is one sequence: its next line is posted when its last one was answered."""

    @property
    def lanes(self) -> int: ...

    @property
    def rooms(self) -> int:
        """How many rooms are posted to at the same time."""
        ...

    @property
    def description(self) -> str:
        """What is posted, for a person."""
        ...

    @property
    def skipped(self) -> int:
        """Input lines that could not be read."""
        ...

    def take(self, lane: int) -> tuple[str, Line] | None:
        """The lane's next line and its room; None when the lane has no more."""
        ...

    def progress(self, answered: int, seconds: float) -> float:
        """How much of the whole is done, 0 to 1, after so many answers and so many seconds of posting."""
        ...
