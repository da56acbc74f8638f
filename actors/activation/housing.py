"""Housing: what an activation needs of the seat in which it sits."""

from typing import Protocol

import trio

from actors.actor_class import ActorClass
from actors.calls.handlers import Handler
from actors.calls.mailbox import Mailbox
from actors.calls.pace import Pace
from actors.errors import RoomsError
from actors.follower import Position
from actors.names import RoomName
from actors.sync.gate import Tally
from actors.tells.courier import Courier
from actors.tells.tells import Address


class Housing(Protocol):
    """A seat."""

    name: RoomName
    actor_class: ActorClass
    mailbox: Mailbox
    courier: Courier
    address: Address
    checkpoints: trio.Semaphore  # so many rooms are checkpointed at once
    pace: Pace
    offloads: trio.Semaphore  # so many offloaded calls run at once
    lock: trio.Lock  # checkpoint, close, re-home and read lane exclude each other (rule 14)

    @property
    def admission(self) -> Tally: ...
    def wrote(self, position: Position, entries: int) -> None:
        """The first write of this activation must be in the catalog before its reply; followers want to know of each."""
        ...

    def put_off(self) -> None:
        """It could not do what was due, by no fault of its own."""
        ...

    def alarm_ended(self, *, dead: bool) -> None:
        """One went off, or was given up."""
        ...

    def due(self, at: float | None) -> None:
        """When the room next has something to do by itself; the catalog says so before the reply to the turn that made it so."""
        ...

    @property
    def on_start(self) -> Handler | None: ...
    @property
    def start_refusal(self) -> RoomsError | None:
        """Why this room's on_start is not even tried now."""
        ...

    def started(self) -> None:
        """Its class has taken the room into use."""
        ...

    def birth_durable(self) -> None: ...
    def broke(self, error: BaseException) -> None: ...
    def used(self) -> None: ...
    def rested(self) -> None: ...
