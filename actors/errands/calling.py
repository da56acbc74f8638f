"""How a room calls other rooms: the way out for the stubs that `self.room(…)` gives.

    handler ─▶ stub ─▶ Calling ─▶ (its slice ends, is committed, is durable) ─▶ the other room's mailbox

A call leaves when everything that this room has committed, the present slice included, is durable: the other room must not
come to know what a power cut can still take away here. Where there is nothing to wait for, it leaves at once.
"""

import math
from typing import Any, Protocol, TypeVar

from actors.calls.admission import Admission
from actors.calls.envelope import Envelope
from actors.calls.handlers import Handlers
from actors.errands.cycles import refuse_cycle, too_deep
from actors.errands.departure import Departure
from actors.errands.errand import Errand, Exchange, InnerCall, Task
from actors.errors import RoomsError
from actors.follower import Position
from actors.limits import Limits
from actors.names import RoomName
from actors.reads.read import Answer, ReadCall
from actors.room import Room, Terms, Witness
from actors.statements.transaction import Transaction
from actors.sync.gate import Gate

A = TypeVar("A")


class Rooms(Exchange, Protocol):
    """What a room that calls others needs of the runtime."""

    limits: Limits
    admission: Admission

    def address(self, actor: type[Any], id: str) -> tuple[RoomName, Handlers]: ...
    def pass_on(self, name: RoomName, call: InnerCall) -> None:
        """Queue a call of a handler; also while the runtime lets what has begun finish. Raises RuntimeClosed, Overloaded."""
        ...

    async def read(self, call: ReadCall, terms: Terms, deadline: float = math.inf) -> Answer[Any] | None: ...
    def read_call(self, actor: type[Any], name: RoomName, envelope: Envelope) -> ReadCall: ...
    def bookmark(self, name: RoomName, position: Position, witness: Witness | None) -> str: ...


class Host(Protocol):
    """What it needs of the room's serving."""

    @property
    def sending(self) -> list[Departure] | None:
        """What leaves when the slice that runs now is durable; None while no slice runs."""
        ...

    def sender(self, what: str) -> tuple[Errand, Task]: ...


class Calling:
    """Of one activation; the office of its handlers' stubs (see room.Office)."""

    kind: type[Envelope] = InnerCall

    def __init__(self, host: Host, rooms: Rooms, gate: Gate, transaction: Transaction) -> None:
        self._host = host
        self._rooms = rooms
        self._gate = gate
        self._transaction = transaction
        self._depth_max = rooms.limits.call_depth_max
        self.limits = rooms.limits
        self.admission = rooms.admission

    def room(self, actor: type[A], id: str) -> Room[A]:
        """Raises StatementRefused: no async handler of this room runs here. RoomIdInvalid, BadArguments."""
        self._host.sender("self.room(…)")
        return Room(actor, *self._rooms.address(actor, id), self)

    def submit(self, name: RoomName, envelope: Envelope) -> None:
        """Raises CallCycle, RuntimeClosed, Overloaded; StatementRefused: not in a handler of this room."""
        assert isinstance(envelope, InnerCall), "sealed by a stub of this office"
        errand, task = self._host.sender(f"a stub of self.room({name.actor}, {name.id!r})")
        if errand.depth + 1 > self._depth_max:
            raise too_deep(errand, str(name), envelope.handler.name, self._depth_max)
        blockers = self._rooms.sections(name)
        if blockers:
            refuse_cycle(errand, task, str(name), envelope.handler.name, blockers)
        envelope.sent(errand, task, name, self._rooms)
        gate, leaving = self._gate, self._host.sending
        if gate.durable == gate.committed and not (leaving is not None and self._transaction.entered):
            try:
                self._rooms.pass_on(name, envelope)
            except RoomsError:
                envelope.withdraw()
                raise
        elif leaving is not None:
            leaving.append(Departure(envelope, self._rooms))
        else:  # of a child task: no slice runs
            gate.hold((Departure(envelope, self._rooms),))

    async def read(self, call: ReadCall, terms: Terms, deadline: float = math.inf) -> Answer[Any] | None:
        """Goes where reads go, at once: it changes nothing there, and only this handler hears of the answer."""
        self._host.sender(f"a stub of self.room({call.name.actor}, {call.name.id!r})")
        return await self._rooms.read(call, terms, deadline)

    def read_call(self, actor: type[Any], name: RoomName, envelope: Envelope) -> ReadCall:
        return self._rooms.read_call(actor, name, envelope)

    def bookmark(self, name: RoomName, position: Position, witness: Witness | None) -> str:
        return self._rooms.bookmark(name, position, witness)
