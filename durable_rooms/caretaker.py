"""The runtime of a tool that has a directory open in its program's place (a sweep, a rehearsal, one call from a shell)."""

import signal
from typing import Protocol

import trio

from durable_rooms.runtime import Runtime


class Report(Protocol):
    interrupted: signal.Signals | None


class Caretaker(Runtime):
    """Rooms are opened and called, and begin nothing by themselves: alarms and tells wait for the program. It alone has all
    classes, without which a tell would become a dead letter, and nobody expects mail from a rehearsal."""

    begins_duties = False

    async def cut_when_told(self, report: Report, work: trio.CancelScope) -> None:
        """A signal ends the work in order, and the report says which one."""
        report.interrupted = await self.until_terminated()
        work.cancel()
