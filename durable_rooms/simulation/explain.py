"""Whether the replies of a room are explained by some run of its commands on a plain model, in the order of `seq`.

Linearizability of one room (Wing and Gong's search), made easy by `seq`: commands that returned have their place; a command
without an answer may stand anywhere after its call, once, or nowhere. A call that began after another had returned stands
behind it; only reads that may be late need not, but for what their own session has seen. It knows nothing of the implementation.
"""

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from actors.statements.codec import by_value
from durable_rooms.simulation.history import Call

UNPICKLED = (pickle.PicklingError, AttributeError, TypeError)
NOTE_EVERY, NOTES_MAX = 4, 32  # calls between two notes of a search, and notes of one
TRIES_MAX = 20_000  # calls of the model for one room; real histories need one a call, and a few more for open calls


class Raised:
    """What the model raised instead of a reply; no reply equals it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __repr__(self) -> str:
        return f"no reply: it raises {self._error!r}"


class Unexplained(Exception):
    """No order of the calls gives these replies; the message says where it stops."""


@dataclass
class Explained:
    """What is already explained, so that the next cut of the same life begins there."""

    runs: dict[tuple[int, ...], tuple[Any, frozenset[int]]] = field(default_factory=dict[Any, Any])


def explain(make: Callable[[], Any], known: Sequence[Call], unknown: Sequence[Call], before: Explained) -> None:
    """Find a run, or raise.

    Args:
      known: calls of one room that returned, replies of reads after a cut among them; any order.
      unknown: calls without an answer.
    Raises:
      Unexplained: there is no run, or TRIES_MAX calls of the model for each order of the open calls found none.
    """
    ordered = sorted(known, key=lambda call: (call.seq, call.late, call.life, call.invoked))
    _refuse_going_back(ordered)
    numbers = tuple(call.number for call in ordered)
    open_numbers = {call.number for call in unknown}
    starts: list[tuple[int, Any, frozenset[int]]] = [(0, make(), frozenset())]
    for end in range(len(numbers), 0, -1):
        found = before.runs.get(numbers[:end])
        if found is not None and found[1] <= open_numbers:
            starts.insert(0, (end, *found))  # in vain where an open call has to stand earlier
            break
    words = ""
    for order in (_as_called, _as_seen, None):  # eight open posts have 256 choices in a given order, and 110,000 in any
        ranks = order and order(ordered, unknown)
        for end, model, used in starts:
            search = _Search(ordered, unknown, before, ranks)
            try:
                if search.run(end, copied(model), used):
                    return
                words = search.words()
            except _Exhausted as exhausted:
                words = str(exhausted)
    raise Unexplained(words)


Ranks = dict[int, tuple[int, int, int]]


def _as_called(known: Sequence[Call], unknown: Sequence[Call]) -> Ranks:
    """Open calls by number, in the order in which they were called."""
    return {call.number: (0, 0, call.number) for call in unknown}


def _as_seen(known: Sequence[Call], unknown: Sequence[Call]) -> Ranks:
    """In the order in which their arguments appear in replies: of a list of posts that is the order in which they ran."""
    texts = [repr(call.value) for call in known]
    return {call.number: (*_first_seen(texts, [repr(arg) for arg in call.args]), call.number) for call in unknown}


def _first_seen(texts: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    for number, text in enumerate(texts):
        places = [text.find(word) for word in words if word in text]
        if places:
            return number, min(places)
    return len(texts), 0


def _refuse_going_back(ordered: Sequence[Call]) -> None:
    """A call never sees less than another had shown before it began."""
    firsts: dict[int, Call] = {}  # to return, of those with a higher seq: of all, and of each session
    group: list[Call] = []
    for call in reversed(ordered):
        if group and group[-1].seq != call.seq:
            for one in group:
                for who in {0, one.session}:
                    firsts[who] = min(firsts.get(who, one), one, key=_end)
            group = []
        group.append(call)
        first = firsts.get(call.session if call.late else 0)
        if first is not None and _before(first, call):
            session = " of its session" if call.late else ""
            raise Unexplained(f"{call}, but it began after another call{session} had shown more: {first}")


class _Exhausted(Exception):
    """TRIES_MAX calls of the model were not enough."""


class _Search:
    """`ranks`: of open calls; they run only in this order. None: in any."""

    def __init__(self, known: Sequence[Call], unknown: Sequence[Call], notes: Explained, ranks: Ranks | None = None) -> None:
        self.known = list(known)
        self.numbers = tuple(call.number for call in known)
        self.unknown = unknown if ranks is None else sorted(unknown, key=lambda call: ranks[call.number])
        self.ranks = ranks
        self.notes = notes
        # Until there nothing is a read of this image, which the next one does not share. Notes are made there and on the way: the
        # replica is late, so what it shows next has its place before the end.
        self.shared = next((place for place, call in enumerate(known) if call.number < 0), len(known))
        self.note_every = max(NOTE_EVERY, len(known) // NOTES_MAX)
        self.tries = 0
        self.farthest = -1
        self.expected: Any = None
        self.dead: set[tuple[int, frozenset[int], frozenset[int], str] | None] = set()
        self.first_ends = [_end(call) for call in known]  # of the calls from each place on, in the order of seq
        for place in range(len(known) - 2, -1, -1):
            self.first_ends[place] = min(self.first_ends[place : place + 2])

    def run(self, place: int, model: Any, used: frozenset[int]) -> bool:
        """Explain the known calls from `place` on; those before are explained, and have led to `model`."""
        steps = [self._steps(place, model, used)]  # not by recursion: a room may have had thousands of calls
        while steps:
            step = next(steps[-1], None)
            if step is None:
                steps.pop()
                continue
            place, model, used = step
            if place == self.shared or (place < self.shared and place % self.note_every == 0):
                self._note(place, model, used)
            if place == len(self.known):
                return True
            steps.append(self._steps(place, model, used))
        return False

    def _steps(self, place: int, model: Any, used: frozenset[int]) -> Iterator[tuple[int, Any, frozenset[int]]]:
        """What may come next, one after the other, until one of them leads to the end."""
        if place == len(self.known):
            yield place, model, used
            return
        group = self._group(place)
        left = frozenset(call.number for call in group)  # of calls with one `seq`, others may be left at this place another time
        key = (place, left, used, state_of(model)) if self.dead else None
        if key in self.dead:
            return
        for index, after in self._fitting(place, model, group):
            self.known.insert(place, self.known.pop(index))
            yield place + 1, after, used
            self.known.insert(index, self.known.pop(place))
        last = place + len(group)
        end = min([*map(_end, group), *self.first_ends[last : last + 1]])
        ranks = self.ranks
        latest = max((ranks[number] for number in used), default=None) if ranks else None
        for call in self.unknown:  # it may have run before a known one, even before one that fits without it
            too_late = ranks is not None and latest is not None and ranks[call.number] < latest
            if call.number not in used and (call.life, call.invoked) <= end and not too_late:
                after, _ = self._apply(model, call)
                if state_of(after) != state_of(model):  # what changes nothing needs no place
                    yield place, after, used | {call.number}
        self.dead.add(key or (place, left, used, state_of(model)))

    def _group(self, place: int) -> list[Call]:
        """The calls with the lowest `seq` that are left: one turn of a room gives all its calls the same."""
        end = place
        while end < len(self.known) and self.known[end].seq == self.known[place].seq:
            end += 1
        return self.known[place:end]

    def _fitting(self, place: int, model: Any, group: list[Call]) -> list[tuple[int, Any]]:
        """Those of the group that can come next."""
        fitting: list[tuple[int, Any]] = []
        first = min(group, key=_end)
        for index, call in enumerate(group, place):
            if _before(first, call) or (call.late and any(_before(one, call) for one in group)):
                continue
            after, value = self._apply(model, call)
            if value == call.value:
                if state_of(after) == state_of(model):
                    return [(index, after)]  # it changes nothing: no choice
                fitting.append((index, after))
            elif place > self.farthest:
                self.farthest, self.expected = place, (call, value)
        return fitting

    def _apply(self, model: Any, call: Call) -> tuple[Any, Any]:
        self.tries += 1
        if self.tries > TRIES_MAX:
            raise _Exhausted(f"{call.room}: no explanation after {TRIES_MAX:,} tries")
        after = copied(model)
        args, kwargs = arrived([call.args, call.kwargs])
        try:
            return after, arrived(getattr(after, call.method)(*args, **kwargs))
        except Exception as error:  # at this place the room would have raised as well, and would have rolled back
            return model, Raised(error)

    def _note(self, place: int, model: Any, used: frozenset[int]) -> None:
        numbers = self.numbers[:place]
        if {call.number for call in self.known[:place]} == set(numbers):  # calls with one `seq` may have changed places
            self.notes.runs[numbers] = (model, used)

    def words(self) -> str:
        if self.expected is None:
            return "no explanation"
        call, value = self.expected
        before = [str(one) for one in self.known[max(0, self.farthest - 3) : self.farthest]]
        return (
            f"{call}, but the commands before it, run in the order of seq on the model, give {value!r}"
            f" (with any of {len(self.unknown)} unanswered calls or without them); before it: {'; '.join(before) or 'nothing'}"
        )


def _before(one: Call, other: Call) -> bool:
    """Whether one had returned when the other began, so that this must show it; a late one need not, but for its session."""
    bound = not other.late or (other.session != 0 and one.session == other.session)
    return bound and _end(one) < (other.life, other.invoked)


def _end(call: Call) -> tuple[int, float]:
    return call.life, inf if call.settled is None else call.settled


def copied(model: Any) -> Any:
    """A deep copy; pickle makes it five times faster than `copy`, of models that it can."""
    try:
        return pickle.loads(pickle.dumps(model, pickle.HIGHEST_PROTOCOL))
    except UNPICKLED:
        return copy.deepcopy(model)


def state_of(model: Any) -> Any:
    """Equal for equal models: attributes, slots, and what a list or a dictionary holds."""
    state, items, pairs = (*model.__reduce_ex__(2)[2:5], None, None, None)[:3]
    text = repr((state, list(items or ()), list(pairs or ())))
    if " object at 0x" in text:  # something in it has no words of its own: equal by contents
        with suppress(*UNPICKLED):
            return pickle.dumps(pickle.loads(pickle.dumps(model)))
    return text


def arrived(value: Any) -> Any:
    """As it crosses between a caller and a room: a tuple arrives as a list, and nothing is shared."""
    try:
        return by_value(value)[0]
    except ValueError:  # then the room could not have returned it, either
        return value
