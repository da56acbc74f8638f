"""The yardstick: 48 statements and 30 behaviours by which Durable Objects are measured, and how a test cites one.

`statements` and `behaviours` say of each number what we make of it: it holds as it is; it holds with a difference that we make
on purpose (`ours`), which its test asserts; or there is nothing here that it could be about (`why_not`), and no test cites it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.conformance.behaviours import BEHAVIOURS
from tests.conformance.statements import STATEMENTS
from tests.conformance.verdict import Verdict

T = TypeVar("T", bound=Callable[..., object])


@dataclass(frozen=True)
class Citation:
    """Marks a test as the one that shows so many numbers: `@statement(8, 9)`."""

    table: dict[int, Verdict]
    attribute: str

    def __call__(self, *numbers: int) -> Callable[[T], T]:
        for number in numbers:
            if self.table[number].why_not:
                raise ValueError(f"{self.attribute} {number} does not apply, says its table; a test cites it")

        def mark(test: T) -> T:
            vars(test)[self.attribute] = numbers
            return test

        return mark


statement = Citation(STATEMENTS, "statement")
behaviour = Citation(BEHAVIOURS, "behaviour")
