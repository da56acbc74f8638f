"""What callers asked and were told, and what was told to the world outside, in the order of the trace."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, Literal

Outcome = Literal["returned", "absent", "unknown"]
DELETE = "delete"  # the method of a call that deleted its room


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a room, as its caller knows it.

    Attributes:
      room: "Class/id".
      method, args, kwargs: what was called.
      invoked, settled: places in the trace of its life; `settled` is None while the caller waits.
      outcome: "returned"; "absent" (refused, failed or raised: rolled back); "unknown" (no answer, or OutcomeUnknown).
      value, seq: the reply.
      life: in which it was invoked.
      late: it may have seen less than had returned before: only its own `seq` says what it must show, and its session.
      session: the person whose session it belongs to, 0 without: what one of its calls has shown, the next ones show.
    """

    number: int
    room: str
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    life: int
    invoked: int
    settled: int | None = None
    outcome: Outcome = "unknown"
    value: Any = None
    seq: int = 0
    late: bool = False
    session: int = 0

    @property
    def id(self) -> str:
        """The room's id."""
        return self.room.partition("/")[2]

    def __str__(self) -> str:
        named = (f"{name}={value!r}" for name, value in self.kwargs.items())
        arguments = ", ".join([*map(repr, self.args), *named])
        outcome = {"returned": f"returned {self.value!r} at seq {self.seq}", "absent": "did not run"}.get(self.outcome, "?")
        return f"{self.room}.{self.method}({arguments[:100]}) {outcome}"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that somebody outside was told."""

    what: tuple[Any, ...]
    life: int
    place: int


@dataclass(frozen=True, slots=True)
class Cookie:
    """The bookmark of a session that a client has got, and keeps."""

    client: int
    bookmark: str
    life: int
    place: int


@dataclass
class History:
    """Of one world, over all its lives."""

    calls: dict[int, Call] = field(default_factory=dict[int, Call])
    facts: list[Fact] = field(default_factory=list[Fact])
    cookies: list[Cookie] = field(default_factory=list[Cookie])
    numbers: "count[int]" = field(default_factory=partial(count, 1))  # shared by `until`: each is one call's for ever

    def begin(
        self,
        room: str,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        life: int,
        place: int,
        *,
        late: bool = False,
        session: int = 0,
    ) -> int:
        number = next(self.numbers)
        self.calls[number] = Call(number, room, method, args, kwargs, life, place, late=late, session=session)
        return number

    def shown(self, room: str, method: str, life: int, place: int, value: Any, seq: int) -> int:
        """A stranger has read the replica."""
        number = next(self.numbers)
        self.calls[number] = Call(number, room, method, (), {}, life, place, place, "returned", value, seq, late=True)
        return number

    def settle(self, number: int, place: int, outcome: Outcome, value: Any = None, seq: int = 0) -> Call:
        call = replace(self.calls[number], settled=place, outcome=outcome, value=value, seq=seq)
        self.calls[number] = call
        return call

    def until(self, life: int, place: int) -> "History":
        """As it was known when the trace of a life had come to a place: what was answered later is unknown there."""
        seen = History(numbers=self.numbers)
        for number, call in self.calls.items():
            if call.life < life or call.invoked < place:
                if call.life == life and call.settled is not None and call.settled >= place:
                    call = replace(call, settled=None, outcome="unknown", value=None, seq=0)
                seen.calls[number] = call
        seen.facts = [fact for fact in self.facts if fact.life < life or fact.place < place]
        seen.cookies = [cookie for cookie in self.cookies if cookie.life < life or cookie.place < place]
        return seen

    def promises(self) -> int:
        """How much somebody has been told, failures too; it only grows."""
        return len(self.facts) + sum(call.settled is not None for call in self.calls.values())

    def extent(self) -> tuple[int, int]:
        """How much was asked and told. Of one life, equal where equally much was known: both only grow."""
        return len(self.calls), self.promises()

    # -- for checks -----------------------------------------------------------------------------------------------------
    def acknowledged(self, method: str | None = None) -> Iterator[Call]:
        """Calls that returned, of one method or all."""
        returned = (call for call in self.calls.values() if call.outcome == "returned" and not call.late)
        return (call for call in returned if method in (None, call.method))

    def unknown(self, method: str | None = None) -> Iterator[Call]:
        """Calls without an answer: each was applied once, or not at all."""
        return (call for call in self.calls.values() if call.outcome == "unknown" and method in (None, call.method))

    def rooms(self) -> list[str]:
        """Every room that was called, in the order of the first call."""
        return list(self.by_room())

    def deleted(self) -> set[str]:
        """Rooms that were deleted, or perhaps: what they showed before says nothing of them now."""
        return {call.room for call in self.calls.values() if call.method == DELETE}

    def by_room(self) -> dict[str, list[Call]]:
        """All calls, by room."""
        found: dict[str, list[Call]] = {}
        for call in self.calls.values():
            found.setdefault(call.room, []).append(call)
        return found
