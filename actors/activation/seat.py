"""A seat: the one place in the runtime where calls for a room wait and where its activation sits, one at a time.

It exists while the room is called, open, or read by a follower, and costs nothing afterwards. Nobody keeps one: stubs and
followers name the room and ask the runtime for its present seat, or a room could come to have two.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import apsw
import trio

from actors.activation.activation import Activation
from actors.actor import Actor
from actors.actor_class import ActorClass
from actors.alarms.waker import Waker
from actors.calls.admission import Admission
from actors.calls.envelope import Envelope
from actors.calls.handlers import Handler, Handlers
from actors.calls.mailbox import Mailbox
from actors.calls.pace import Pace
from actors.directory.quarantine import is_damage
from actors.errands.calling import Rooms
from actors.errors import ActorFailed, OutcomeUnknown, RoomDeleted, RoomsError, RuntimeClosed, StartFailed
from actors.follower import Follower, Position, Source
from actors.lifecycle.orders import Order, Orders
from actors.names import RoomName
from actors.reason import reason
from actors.room import closed
from actors.storage.room_file import Records, RoomFile
from actors.storage.storage import Storage
from actors.system.backoff import Backoff
from actors.system.wakeup import Wakeup
from actors.system.watchdog import Watchdog
from actors.tells.courier import Courier


class House(Records, Rooms, Protocol):
    """What a seat needs of the runtime."""

    follower: Follower
    watchdog: Watchdog
    backoff: Backoff
    waker: Waker
    admission: Admission
    pace: Pace
    checkpoints: trio.Semaphore
    courier: Courier
    offloads: trio.Semaphore
    stopping: bool

    def address(self, actor: type[Any], id: str) -> tuple[RoomName, Handlers]:
        """Raises BadArguments, RoomIdInvalid."""
        ...

    async def take_place(self, seat: "Seat") -> None:
        """Wait for one of `open_rooms_max` places; the least recently used idle room makes room."""
        ...

    def leave_place(self, seat: "Seat") -> None: ...
    def source(self, name: RoomName) -> Source: ...
    def start(self, seat: "Seat") -> None: ...
    def used(self, seat: "Seat") -> None: ...
    def rested(self) -> None: ...
    def broke(self, seat: "Seat", error: BaseException) -> None: ...
    def vacated(self, seat: "Seat") -> None:
        """Forget the seat, if nobody uses it any more."""
        ...


class Seat:
    def __init__(self, name: RoomName, actor_class: ActorClass, house: House) -> None:
        self.name = name
        self.actor_class = actor_class
        self.mailbox = Mailbox(house.limits, str(name), house.admission)
        self.file = RoomFile(name, actor_class, house)
        self.lock = self.file.lock
        self.checkpoints = house.checkpoints
        self.courier = house.courier
        self.address = house.address
        self.offloads = house.offloads
        self.pace = house.pace
        self.admission = house.admission
        self.activation: Activation | None = None
        self.occupied = False  # its task runs
        self.borrowers = 0  # that work on the closed file: the seat, and with it its lock, must stay the one
        self.source = house.source(name)
        self._house = house
        self._known_active = False  # the catalog knows that this activation wrote
        self._quiet = trio.lowlevel.ParkingLot()  # the runtime's stop waits here
        self._visitors: dict[_Visitor, None] = {}  # followers that wait for the room to be open
        self._orders = Orders()
        self._coming = trio.CancelScope()  # ends its wait for a place

    # -- calls ----------------------------------------------------------------------------------------------------------
    def submit(self, envelope: Envelope) -> None:
        """Queue a call. Raises Overloaded."""
        self.mailbox.put(envelope)
        activation = self.activation
        if activation is not None:
            activation.wake()
        elif not self.occupied:
            self.occupied = True
            self._house.start(self)

    async def tidy(self) -> None:
        """Take a WAL that was left behind into the database, unless the room is in use again."""
        with self.borrowed():
            try:
                await self.file.tidy(lambda: self.occupied)
            except (OSError, apsw.Error) as error:
                self._house.broke(self, error)

    @contextmanager
    def borrowed(self) -> Generator[None]:
        """Work on the closed room's file, under its lock: until the end no other seat is made for this room."""
        self.borrowers += 1
        try:
            yield
        finally:
            self.borrowers -= 1
            self._house.vacated(self)

    def order(self, order: Order[Any]) -> None:
        """Let the room leave memory, and its task carry this out then."""
        if order.refusal is not None:
            self._refuse(order.refusal)
        self._orders.add(order)
        if self.activation is not None:
            order.stop(self.activation)
        elif self.occupied:
            self._coming.cancel()
        else:
            self.occupied = True
            self._house.start(self)

    def _refuse(self, error: RoomsError) -> None:
        self.refuse_all(error)
        self._receive_visitors(error)

    def refuse_all(self, error: RoomsError) -> None:
        for envelope in self.mailbox.empty():
            envelope.refuse(error)

    async def until_quiet(self) -> None:
        """Wait until no call is queued or under way here."""
        while not self.at_rest:
            await self._quiet.park()

    @property
    def at_rest(self) -> bool:
        """No call is queued or under way here."""
        if not self.occupied:
            return True
        return self.activation is not None and self.activation.quiet and not len(self.mailbox) and not self._orders

    # -- its task --------------------------------------------------------------------------------------------------------
    async def live(self) -> None:
        """Open the room, let it serve, close it; again while calls or followers wait. Orders come first: it is closed then."""
        try:
            while len(self.mailbox) or self._visitors or self._orders:
                await self._orders.carry_out()
                self._dismiss_followers()
                if not (len(self.mailbox) or self._visitors):
                    continue
                refusal = self._house.backoff.refusal(self.name)
                if isinstance(refusal, StartFailed) and self._visitors:  # reading it needs no on_start
                    self.refuse_all(refusal)
                elif refusal is not None:
                    self._refuse(refusal)
                    break
                if not await self._take_place():
                    continue
                try:
                    # A stop may have refused them meanwhile: no room is born for nobody.
                    if (len(self.mailbox) or self._visitors) and not self._orders:
                        await self._stay()
                finally:
                    self._house.leave_place(self)
        except BaseException:  # the runtime has failed: calls that were given back meanwhile have nobody else
            self.refuse_all(closed(self.name))
            raise
        finally:
            if self._orders:
                self._orders.fail(_ended(self.name))
            self.occupied = False
            self._quiet.unpark_all()
            self._house.vacated(self)

    async def _take_place(self) -> bool:
        """False: an order came meanwhile, and needs none."""
        with trio.CancelScope() as self._coming:
            await self._house.take_place(self)
        return not self._coming.cancelled_caught

    async def _stay(self) -> None:
        try:
            storage = await self.file.open()
            actor = await self._make_actor(storage)
        except RoomsError as error:
            self._house.backoff.failed(self.name, error)
            self._refuse(error)
            return
        if self.on_start is None:
            self.started()
        self._known_active = False
        try:
            activation = await self._serve(actor, storage)
            while activation.void and not (activation.broken or activation.damage or activation.leaving or activation.unfit):
                # The turn was rolled back under the actor. A new one begins on the same file: on a full disk it may not close.
                storage.transaction.renew()
                try:
                    actor = self.actor_class.actor()
                except Exception:
                    break  # the next opening tells its callers
                activation = await self._serve(actor, storage)
            if activation.unfit is not None:
                self._house.backoff.failed(self.name, activation.unfit)
                self.refuse_all(activation.unfit)
            await self._close(activation)
            self._house.waker.left(self.name, self.file.wake_at)
            if not activation.pins:  # of a broken one: a follower that waited has yet to see it
                activation.end()
        except BaseException:  # the runtime has failed: let go of the file as after a crash
            storage.abandon()
            raise

    async def _serve(self, actor: Actor, storage: Storage) -> Activation:
        """One activation, until it leaves; returned when no round uses its descriptors any more."""
        house = self._house
        activation = Activation(actor, storage, self, house.doors, house.limits, house.syncer, house.watchdog.note, house)
        self.activation = activation
        self._receive_visitors(None)
        house.follower.changed(self.source, activation.position, 0)
        if house.stopping:
            activation.leave()
        self._orders.stop(activation)
        try:
            await activation.run()
        finally:
            self.activation = None  # first: nobody may begin to read it while it closes
            with trio.CancelScope(shield=True):
                await house.syncer.closing(activation)
        return activation

    def _receive_visitors(self, refusal: RoomsError | None) -> None:
        visitors, self._visitors = self._visitors, {}
        for visitor in visitors:
            visitor.refusal = refusal
            visitor.wakeup.set()

    async def _make_actor(self, storage: Storage) -> Actor:
        try:
            return self.actor_class.actor()
        except Exception as error:
            await self.file.put_right(storage, broken=False)
            raise ActorFailed(
                f"{self.name}: {self.name.actor}() raised {reason(error)}. Nothing ran and nothing was written.",
                room=str(self.name),
            ) from error

    async def _close(self, activation: Activation) -> None:
        if not activation.broken and activation.damage is None:
            try:
                duties = activation.duties
                wake_at = self.file.wake_at if duties.changed else duties.next_at  # it could not be looked at: then as before
                await self.file.close(activation.storage, activation.position, wake_at=wake_at, hurried=activation.hurried)
                return
            except (OSError, apsw.Error) as error:
                if is_damage(error):
                    activation.damage = str(error)
                else:
                    activation.sync_failed(OSError(f"while closing: {error}"))
        if activation.damage is not None and not activation.storage.newborn:
            await self.file.put_away(activation.storage, activation.damage, activation.position)
        else:
            await self.file.put_right(activation.storage)

    # -- what its activation tells it ---------------------------------------------------------------------------------------
    def wrote(self, position: Position, entries: int) -> None:
        house = self._house
        if not self._known_active:
            self.file.wrote(position)
            self._known_active = True
        house.follower.changed(self.source, position, entries)

    def due(self, at: float | None) -> None:
        if at is not None:
            self.file.due(at)
        self._house.waker.due(self.name, at)

    def put_off(self) -> None:
        self._house.waker.put_off(self.name)

    def alarm_ended(self, *, dead: bool) -> None:
        self._house.waker.alarm_ended(self.name, dead=dead)

    @property
    def on_start(self) -> Handler | None:
        return self.actor_class.on_start

    @property
    def start_refusal(self) -> RoomsError | None:
        return self._house.backoff.refusal(self.name)

    def started(self) -> None:
        self._house.backoff.succeeded(self.name)

    @property
    def awaited(self) -> bool:
        """A handler of some room waits for a call to this one."""
        return self.mailbox.awaited

    def birth_durable(self) -> None:
        self.file.prove()

    def broke(self, error: BaseException) -> None:
        self._house.broke(self, error)

    def used(self) -> None:
        self._house.used(self)

    def rested(self) -> None:
        if self._quiet:
            self._quiet.unpark_all()
        self._house.rested()

    # -- followers that visit ------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def visit(self, *, patient: bool = False, follows: bool = False) -> AsyncGenerator[Activation]:
        """Hold the room open for a follower or a read, opening it if need be. Raises why it cannot be opened.

        `patient`: wait for the next activation while a broken one is being put away. `follows`: a room that was deleted is
        not made again for this.
        """
        while (activation := self.activation) is None or (patient and not activation.sound):
            await self._knock(follows=follows)
        if activation.broken or activation.damage is not None:
            raise RuntimeClosed(f"{self.name}: the room is being put right or put away; try again.", room=str(self.name))
        activation.pins += 1
        try:
            yield activation
        finally:
            activation.pins -= 1
            if activation.leaving or activation.void:
                activation.wake()
            elif activation.quiet:
                self.rested()

    def _dismiss_followers(self) -> None:
        """A room that was deleted is not made again for whoever only follows it."""
        followers = [visitor for visitor in self._visitors if visitor.follows]
        catalog = self._house.catalog
        if not followers or catalog.get(self.name) is not None or catalog.tombstones.get(self.name) is None:
            return
        for visitor in followers:
            del self._visitors[visitor]
            visitor.refusal = RoomDeleted(f"{self.name}: the room was deleted.", room=str(self.name))
            visitor.wakeup.set()

    async def _knock(self, *, follows: bool) -> None:
        visitor = _Visitor(follows=follows)
        self._visitors[visitor] = None
        if not self.occupied:
            self.occupied = True
            self._house.start(self)
        try:
            await visitor.wakeup.wait()
        finally:
            self._visitors.pop(visitor, None)
        if visitor.refusal is not None:
            raise visitor.refusal


def _ended(name: RoomName) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{name}: the runtime ended before this was done; whether it was is unknown. What was begun is finished by the next "
        "start.",
        room=str(name),
    )


class _Visitor:
    """A follower that waits for a room to be open."""

    def __init__(self, *, follows: bool) -> None:
        self.follows = follows
        self.wakeup = Wakeup()
        self.refusal: RoomsError | None = None
