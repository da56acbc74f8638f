"""What we make of one statement or behaviour of the yardstick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`words`: what the yardstick says, shortened. At most one of `ours` and `why_not`; with neither it holds as it is.

    ours: what a room does instead, on purpose; its test asserts that.
    why_not: why there is nothing here that it could be about.
    """

    words: str
    ours: str = ""
    why_not: str = ""

    def __post_init__(self) -> None:
        assert not (self.ours and self.why_not), self.words
