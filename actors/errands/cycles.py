"""Cycles: a call that could never be answered, because the rooms wait for each other, is refused before it waits.

Handlers interleave, so rooms that call each other in a circle are no deadlock, unless one of them keeps others out
(`exclusive`). Whoever is about to wait looks along what the holders wait for; where that leads back to a block that cannot end
before this very wait does, it is refused. An idempotency key is such a block for repeats under it. Every circle is closed by a
wait that begins, since a block that has just been entered waits for nothing: so looking there is looking everywhere. Nothing is
looked through where no room is held and no repeat waits.
"""

from collections.abc import Iterator, Sequence

from actors.errands.errand import Errand, InnerCall, KeyWait, Section, Task
from actors.errors import CallCycle

SHOWN_EACH_END = 6  # of a long chain of calls: the message stays readable


def refuse_cycle(errand: Errand, task: Task, room: str, method: str, blockers: Sequence[Section]) -> None:
    """Before `task` of `errand` waits for a method of a room, which waits for `blockers`. Raises CallCycle."""
    own = {section: level for level in errand.chain() for section in _held(level, errand, task)}
    if not own:
        return
    found = _way_back(blockers, own)
    if found is None:
        return
    closing, others = found
    chain = errand.chain()
    calls = [str(one) for one in chain[chain.index(own[closing]) :]]
    cycle = shortened([*calls, f"{room}.{method}"])
    for hop in others:
        cycle += f", which waits for {hop}"
    if others:
        cycle += f", which waits for {calls[0]}"
    error = CallCycle(
        f"{errand.room}: {errand.envelope.handler.name} would wait for ever, because the rooms wait for each other: {cycle}. "
        f"{calls[0]} {closing.how}. The last call was refused; nothing of it ran. {closing.instead}.",
        room=room,
    )
    error.method = method
    error.retryable = bool(others)  # the other chain of calls will have ended
    raise error


def too_deep(errand: Errand, room: str, method: str, depth_max: int) -> CallCycle:
    """The error for a call that is one too many in a chain of calls."""
    calls = shortened([*map(str, errand.chain()), f"{room}.{method}"])
    error = CallCycle(
        f"{errand.room}: {errand.envelope.handler.name} may not call on: rooms called each other {depth_max} deep, which is "
        f"call_depth_max: {calls}. The last call was refused; nothing of it ran. Let the chain end, or use self.tell(…).",
        room=room,
    )
    error.method = method
    return error


def shortened(calls: list[str]) -> str:
    left_out = len(calls) - 2 * SHOWN_EACH_END
    if left_out > 1:
        calls = [*calls[:SHOWN_EACH_END], f"({left_out} more)", *calls[-SHOWN_EACH_END:]]
    return " → ".join(calls)


def _held(level: Errand, errand: Errand, task: Task) -> Iterator[Section]:
    """Blocks of this errand, or of one that waits for it, that cannot end before `task` does."""
    if level is not errand:
        task = _caller_towards(level, errand).waiter
    for section in level.sections:
        if section.errand is level and section.needs(task):
            yield section
    if level.key is not None and level.key.needs(task):
        yield level.key


def _caller_towards(level: Errand, errand: Errand) -> InnerCall:
    """The call by which `level` waits for `errand`, however many rooms lie between."""
    call = errand.parent
    while call is not None and call.sender is not level:
        call = call.sender.parent
    assert call is not None, "it is of the chain"
    return call


def _way_back(start: Sequence[Section], own: dict[Section, Errand]) -> tuple[Section, list[str]] | None:
    """The first block of `own` that the start waits for, and what lies between, in words."""
    seen: set[Section] = set()
    ahead: list[tuple[Section, tuple[str, ...]]] = [(section, ()) for section in reversed(start)]
    while ahead:
        section, way = ahead.pop()
        if section in own:
            return section, list(way)
        if section in seen:
            continue
        seen.add(section)
        for wait in list(section.errand.waits):
            if section.needs(wait.waiter):
                for calls, blocker in _blockers(wait):
                    ahead.append((blocker, (*way, shortened([str(section.errand), *calls]))))
    return None


def _blockers(wait: InnerCall | Section | KeyWait) -> Iterator[tuple[list[str], Section]]:
    """Held blocks that must end before this wait does, each with the calls that lead there."""
    if isinstance(wait, KeyWait):
        if wait.key.owner is not None:
            yield [], wait.key.owner
        return
    if isinstance(wait, Section):
        for section in wait.errand.sections:
            if not section.admits(wait.task):
                yield [], section
        return
    answering = wait.errand
    if answering is None:
        if not wait.begun or wait.handler.apart:  # async and not started yet, or offloaded: it begins when nobody is kept out
            for section in wait.exchange.sections(wait.target):
                yield [str(wait)], section
    elif not answering.over:
        for section in answering.sections:
            if not section.admits(answering.task):
                yield [str(wait)], section
        for further in list(answering.waits):
            for calls, section in _blockers(further):
                yield [str(wait), *calls], section
