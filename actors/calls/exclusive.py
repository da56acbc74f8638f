"""`exclusive`: one handler of a room keeps all others out, across its awaits.

Blocks are entered in the order in which they were waited for, before any queued call. Tasks of the holder's own nurseries are
inside: they may enter blocks of their own, one at a time, and hold back even the holder's slices meanwhile. A block that raises,
or is held too long, resets the room: what it left in memory between two slices is not to be believed.
"""

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, cast

import apsw
import trio

from actors.calls.timeouts import expired
from actors.calls.turn import damaged_turn
from actors.directory.quarantine import is_damage
from actors.errands.cycles import refuse_cycle
from actors.errands.errand import Errand, Section, Task
from actors.errors import CallFailed, DeadlineExceeded
from actors.limits import EXCLUSIVE_DEPTH_MAX
from actors.statements.transaction import void_turn


class Host(Protocol):
    """What these blocks need of the room's serving."""

    def sender(self, what: str) -> tuple[Errand, Task]:
        """Whose handler this is, and the task that runs. Raises StatementRefused outside of async handlers."""
        ...

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run it as a task of the room."""
        ...

    def freed(self) -> None:
        """A block has ended: others may run."""
        ...

    @property
    def over(self) -> bool:
        """Nothing runs in this activation any more."""
        ...

    def reset(self, why: str) -> None: ...


class Exclusive:
    """Of one activation."""

    def __init__(self, host: Host, seconds_max: float) -> None:
        self.sections: list[Section] = []  # that are held, the innermost last; all of one errand
        self._queue: dict[Section, None] = {}
        self._host = host
        self._seconds_max = seconds_max

    def block(self, timeout: float | None) -> "Block":
        """Raises ValueError: a timeout out of bounds."""
        if timeout is not None and not (math.isfinite(timeout) and 0 < timeout <= self._seconds_max):
            raise ValueError(
                f"exclusive(timeout=…) is seconds greater than zero and at most exclusive_seconds_max = {self._seconds_max:g}, "
                f"not {timeout!r}"
            )
        return Block(self, timeout)

    def keeps_out(self, task: Task) -> bool:
        """A slice of the handler that runs in this task has to wait."""
        return bool(self.sections) and self.sections[-1].task is not task

    def hold(self, section: Section, seconds: float | None = None) -> None:
        """From now on; `seconds` at most, and the outermost block never longer than `exclusive_seconds_max`."""
        if section not in self.sections:
            self.sections.append(section)
        if seconds is not None or section is self.sections[0]:
            section.timer = trio.CancelScope()
            bound = seconds or self._seconds_max
            self._host.beside(lambda: self._watch(section, bound))

    def drop(self, section: Section) -> None:
        self.sections.remove(section)
        if section.timer is not None:
            section.timer.cancel()
        for waiting in () if self._host.over else self._queue:
            if self._open_to(waiting.task):  # handed over, not thrown to whoever comes first
                del self._queue[waiting]
                waiting.errand.waits.pop(waiting, None)
                self.sections.append(waiting)
                trio.lowlevel.reschedule(waiting.task)
                break
        self._host.freed()

    async def enter(self, seconds: float | None) -> Section:
        """Raises CallCycle, CallFailed, StatementRefused."""
        errand, task = self._host.sender("self.exclusive()")
        if sum(section.admits(task) for section in self.sections) >= EXCLUSIVE_DEPTH_MAX:
            raise CallFailed(
                f"{errand.room}: {errand.envelope.handler.name} entered more than {EXCLUSIVE_DEPTH_MAX} exclusive blocks, one in "
                "another. This one was not entered; those around it stand.",
                room=errand.room,
            )
        section = Section(errand, task)
        if not self._open_to(task):
            blockers = [one for one in self.sections if not one.admits(task)]
            refuse_cycle(errand, task, errand.room, f"{errand.envelope.handler.name} (exclusive)", blockers)
            await self._wait(section)
        self.hold(section, seconds)
        return section

    async def leave(self, section: Section, error: BaseException | None) -> None:
        errand = section.errand
        failed = _failure(error, errand)
        if failed is not None and not self._host.over:
            errand.verdict = errand.judge(_as_told(failed, errand.room))
            failed.add_note(f"(raised in an exclusive block of {errand}: the room was reset)")
            self._host.reset(f"an exclusive block of {errand.envelope.handler.name} raised {type(failed).__name__}")
        self.drop(section)
        if failed is not None:
            await trio.lowlevel.checkpoint()  # the handler ends here, unless it has shielded itself

    def _open_to(self, task: Task) -> bool:
        return not self.sections or self.sections[-1].admits(task)

    async def _wait(self, section: Section) -> None:
        def give_up(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._queue[section]
            section.errand.waits.pop(section, None)
            return trio.lowlevel.Abort.SUCCEEDED

        self._queue[section] = None
        section.errand.waits[section] = None
        await trio.lowlevel.wait_task_rescheduled(give_up)

    async def _watch(self, section: Section, seconds: float) -> None:
        assert section.timer is not None
        with section.timer:
            await trio.sleep(seconds)
            errand = section.errand
            why = f"an exclusive block of {errand.envelope.handler.name} was held for more than {seconds:g} s"
            errand.fault = trio.TooSlowError(why)
            self._host.reset(why)


class Block:
    """`async with self.exclusive():`"""

    __slots__ = ("_exclusive", "_seconds", "_section")

    def __init__(self, exclusive: Exclusive, seconds: float | None) -> None:
        self._exclusive = exclusive
        self._seconds = seconds
        self._section: Section | None = None

    async def __aenter__(self) -> None:
        if self._section is not None:
            raise RuntimeError("an exclusive block is entered once: call self.exclusive() anew")
        self._section = await self._exclusive.enter(self._seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        section = self._section
        if section is not None:
            await self._exclusive.leave(section, error)


def _failure(error: BaseException | None, errand: Errand) -> BaseException | None:
    """What makes a block fail. One that is cancelled ends in order: its own code, or whoever waits for it, asked for that. So
    does one whose caller's time is up in the middle of a slice."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)[1]
    if isinstance(error, DeadlineExceeded) and error.room in ("", errand.room) and expired(errand.envelope):
        return None
    return error if isinstance(error, Exception) else None


def _as_told(failed: BaseException, room: str) -> BaseException:
    """An error by which SQLite ended more than the call, as its caller is told of it outside of a block, too."""
    told: BaseException = failed
    if isinstance(failed, apsw.FullError):
        told = void_turn(failed, room)
    elif isinstance(failed, apsw.Error) and is_damage(failed):
        told = damaged_turn(failed, room)
    if told is not failed:
        told.__cause__ = failed
    return told
