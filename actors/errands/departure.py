"""A departure: a call to another room that waits at the gate of its own, until what its room has shown it is durable."""

from typing import Protocol

from actors.errands.errand import InnerCall, Task
from actors.errors import RoomsError
from actors.names import RoomName


class Ways(Protocol):
    """Where it goes: the runtime."""

    def pass_on(self, name: RoomName, call: InnerCall) -> None:
        """Raises RuntimeClosed, Overloaded."""
        ...


class Departure:
    """A call that waits at the gate of its own room (see gate.Held)."""

    __slots__ = ("_call", "_rooms")

    def __init__(self, call: InnerCall, rooms: Ways) -> None:
        self._call = call
        self._rooms = rooms

    def release(self) -> None:
        call = self._call
        if call.abandoned:
            return
        try:
            self._rooms.pass_on(call.target, call)
        except RoomsError as error:
            call.refuse(error)

    def refuse(self, error: BaseException) -> None:
        self._call.refuse(error)

    def not_parked(self, task: Task) -> bool:
        """Whether this task waits for the call, and is about to be parked; until `parked` nobody wakes it."""
        return self._call.not_parked(task)

    def parked(self, task: Task) -> bool:
        """False: the outcome is out, so that it needs no parking."""
        return self._call.parked(task)
