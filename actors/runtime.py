"""The runtime: owns a data directory, gives every called room a seat, and stops in order. The only file that builds and wires."""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import trio

from actors.activation.activation import Activation
from actors.activation.residents import Residents
from actors.activation.seat import Seat
from actors.activation.source import RoomSource
from actors.actor import Actor
from actors.actor_class import ActorClass
from actors.alarms.waker import Waker
from actors.calls.admission import Admission
from actors.calls.envelope import Envelope
from actors.calls.handlers import Handlers
from actors.calls.mailbox import Mailbox
from actors.calls.pace import Pace
from actors.directory.catalog import Catalog
from actors.errands.errand import InnerCall, Section
from actors.errors import BadArguments, DiskFailed, OutcomeUnknown, RoomsError
from actors.follower import Follower, Position, Source
from actors.lifecycle.deletion import finish_all
from actors.lifecycle.lifecycle import Lifecycle
from actors.limits import Limits
from actors.names import DataDir, RoomName, room_name
from actors.reads.lane import Lane
from actors.reads.read import Answer, ReadCall
from actors.reads.under_way import UnderWay
from actors.room import Room, Terms, Witness, closed
from actors.status import Left, RuntimeStatus
from actors.storage.tidying import Tidying
from actors.sync.space import Space
from actors.sync.syncer import Syncer
from actors.system.backoff import Backoff
from actors.system.doors import Doors
from actors.system.memory import Memory
from actors.system.watchdog import Watchdog
from actors.system.yielding import yielding
from actors.tables.schemas import Schemas
from actors.tables.template import Templates
from actors.tells.courier import Courier

A = TypeVar("A", bound=Actor)

CHECKPOINTS_MAX = 2  # rooms at once, at 2 to 5 ms each; with 16 the loop's own writes waited 15 ms for the file system's journal
BROKEN_WINDOW_SECONDS = 60.0  # see Limits.broken_rooms_max

logger = logging.getLogger("durable_rooms.actors")


class Runtime(Lifecycle):
    """Rooms of one data directory. Made by `open_rooms`; see `open_runtime` of durable_rooms for users."""

    kind: type[Envelope] = Envelope  # of the calls that come from outside
    begins_duties = True  # alarms go off, tells are delivered

    def __init__(
        self,
        directory: DataDir,
        catalog: Catalog,
        file_system_fd: int,
        classes: Mapping[str, ActorClass],
        follower: Follower,
        limits: Limits,
        doors: Doors,
    ) -> None:
        self.directory = directory
        self.catalog = catalog
        self.syncer = Syncer(doors.disk, doors.threads, catalog, file_system_fd, directory.path)
        self.follower = follower
        self.limits = limits
        self.doors = doors
        self.schemas = Schemas()
        self.templates = Templates()
        self.space = Space(doors, directory.path, limits.free_bytes_min)
        self.backoff = Backoff(doors.random.uniform)
        self.pace = Pace()
        self.admission = Admission(limits, lambda: (seat.mailbox for seat in self._seats.values()), self._mailbox_of)
        self.tidying = Tidying(self._tidy, lambda: self._residents.crowded)
        self.waker = Waker(self)
        self.watchdog = Watchdog(limits, doors)
        self.memory = Memory(doors.give_memory_back, doors.threads)
        self.failure: RoomsError | None = None
        self._classes = classes
        self._seats: dict[RoomName, Seat] = {}
        self._residents: Residents[Seat] = Residents(limits.open_rooms_max)
        self.opening = trio.Lock()
        self.checkpoints = trio.Semaphore(CHECKPOINTS_MAX)
        self.offloads = trio.Semaphore(limits.offload_calls_max)
        self.stopping = False
        self.left: Left | None = None  # after an orderly stop
        self._admitting = False
        self.courier = Courier(self, doors, limits)
        self._drained = False  # not even calls of handlers under way are taken any more
        self._refused = 0
        self.lane = Lane(self)
        self._reads = UnderWay(limits)
        self._nursery: trio.Nursery
        self._broken: deque[float] = deque()
        self._rooms_broken = 0

    @property
    def classes(self) -> dict[str, type[Actor]]:
        """The actor classes that it was opened with, by name."""
        return {name: one.actor for name, one in self._classes.items()}

    # -- for users --------------------------------------------------------------------------------------------------------
    def room(self, actor: type[A], id: str) -> Room[A]:
        """Your end of a room; nothing is opened or made before the first call.

        Raises:
          RoomIdInvalid, or BadArguments for a class that this runtime was not opened with.
        """
        return Room(actor, *self.address(actor, id), self)

    def address(self, actor: type[Actor], id: str) -> tuple[RoomName, Handlers]:
        """What a stub needs of a room, also one of another door. From any thread. Raises as `room`."""
        known = self._classes.get(actor.__name__)
        if known is None or known.actor is not actor:
            names = ", ".join(self._classes)
            raise BadArguments(
                f"{actor.__name__} is not an actor class of this runtime; it was opened with: {names}. Nothing ran."
            )
        return room_name(actor.__name__, id), known.handlers

    def status(self) -> RuntimeStatus:
        fullest = max((len(seat.mailbox) for seat in self._seats.values()), default=0)
        return RuntimeStatus(
            rooms_open=len(self._residents),
            rounds=self.syncer.rounds,
            commits=self.syncer.commits,
            calls_waiting=self.admission.calls,
            calls_waiting_most=fullest,
            rooms_broken=self._rooms_broken,
            stalls=self.watchdog.stalls,
            last_stall=self.watchdog.last_stall,
            wals_pinned=sum(seat.activation is not None and seat.activation.upkeep.pinned for seat in self._seats.values()),
            full=self.space.full or self.syncer.catalog_full,
            free_bytes=self.space.free_bytes,
            alarms_fired=self.waker.alarms_fired,
            alarms_dead=self.waker.alarms_dead,
        )

    # -- for stubs --------------------------------------------------------------------------------------------------------
    def submit(self, name: RoomName, envelope: Envelope) -> None:
        """Raises RuntimeClosed, Overloaded."""
        if not self._admitting:
            self._refused += 1
            raise closed(name)
        self.seat(name).submit(envelope)

    def pass_on(self, name: RoomName, call: InnerCall) -> None:
        """A call of another room's handler: taken in until the rooms close, since what has begun may finish.

        Raises RuntimeClosed, Overloaded.
        """
        if self._drained or self.failure is not None:
            raise closed(name)
        self.seat(name).submit(call)

    def sections(self, name: RoomName) -> Sequence[Section]:
        activation = self.seated(name)
        return activation.sections if activation is not None else ()

    def read_call(self, actor: type[Actor], name: RoomName, envelope: Envelope) -> ReadCall:
        return ReadCall(
            actor, name, envelope.handler, envelope.args, envelope.kwargs, self.doors.wall_clock, self.limits.result_bytes_max
        )

    async def read(self, call: ReadCall, terms: Terms, deadline: float = math.inf) -> Answer[Any] | None:
        """None: it was not over by `deadline`, of trio's clock. Raises RuntimeClosed, Overloaded, and what the read raises."""
        await trio.lowlevel.checkpoint()  # it may wait for nothing else, and who asks and asks must not starve the loop
        if not self._admitting:
            self._refused += 1
            raise closed(call.name)
        if deadline != math.inf and trio.current_time() >= deadline:
            return None  # what has not begun by then never runs
        answer = self._read_now(call, terms)
        if answer is not None:
            return answer
        with self._reads.one(call.name, deadline):
            return await self._read(call, terms)
        if trio.current_time() >= deadline:
            return None
        raise closed(call.name)  # it was cut by the stop

    def _read_now(self, call: ReadCall, terms: Terms) -> Answer[Any] | None:
        """What need not be waited for, with no scope or bound around it (10 of 80 µs). None: `_read` finds out what to do."""

    def start_read(self, name: RoomName, task: Callable[[], Awaitable[None]]) -> None:
        """Let a read of another host run as a task of the runtime's own. Raises RuntimeClosed."""
        if not self._admitting:
            self._refused += 1
            raise closed(name)
        self._nursery.start_soon(task)

    async def _read(self, call: ReadCall, terms: Terms) -> Answer[Any]:
        """Where a read goes; without replicas there is only the room."""
        answer = await self.lane.read(call)
        if terms.witness is not None:
            terms.witness.saw_room(call.name, answer.position)
        return answer

    def bookmark(self, name: RoomName, position: Position, witness: Witness | None) -> str:
        return ""

    # -- for the courier (delivery.Mail) ------------------------------------------------------------------------------------
    @property
    def admitting(self) -> bool:
        return self._admitting and self.begins_duties

    def handlers_of(self, actor: str) -> Handlers:
        known = self._classes.get(actor)
        if known is None:
            raise BadArguments(f"{actor} is not an actor class of this runtime; it was opened with: {', '.join(self._classes)}.")
        return known.handlers

    def post(self, name: RoomName, envelope: Envelope) -> None:
        self.seat(name).submit(envelope)

    # -- for sources --------------------------------------------------------------------------------------------------------
    def seat(self, name: RoomName) -> Seat:
        """The room's one seat, present or new. Used at once; never kept."""
        seat = self._seats.get(name)
        if seat is None:
            seat = self._seats[name] = Seat(name, self._classes[name.actor], self)
        return seat

    def _mailbox_of(self, name: RoomName) -> Mailbox | None:
        seat = self._seats.get(name)
        return seat.mailbox if seat is not None else None

    def seated(self, name: RoomName) -> Activation | None:
        seat = self._seats.get(name)
        return seat.activation if seat is not None else None

    # -- for the follower (follower.Rooms) ----------------------------------------------------------------------------------
    @property
    def path(self) -> Path:
        return self.directory.path

    def positions(self) -> Iterator[tuple[RoomName, Position, bool]]:
        for entry in self.catalog.entries():
            if entry.name.actor in self._classes and entry.sick is None:
                yield entry.name, entry.position, entry.active

    def catalogued(self, name: RoomName) -> tuple[Position, bool] | None:
        """One of `positions`, now: where the room stood when that was last written down; and if it has been written to since."""
        entry = self.catalog.get(name)
        return None if entry is None or entry.sick is not None else (entry.position, entry.active)

    def tombstones(self) -> Iterator[tuple[RoomName, int]]:
        for stone in self.catalog.buried():
            yield stone.name, stone.epoch

    def source(self, name: RoomName) -> Source:
        return RoomSource(name, self)

    # -- for seats (seat.House) -----------------------------------------------------------------------------------------------
    async def take_place(self, seat: Seat) -> None:
        await self._residents.enter(seat)

    def leave_place(self, seat: Seat) -> None:
        self._residents.leave(seat)
        self.memory.room_left()

    def start(self, seat: Seat) -> None:
        self._nursery.start_soon(seat.live)

    async def _tidy(self, name: RoomName) -> None:
        await self.seat(name).tidy()

    def short_of_descriptors(self) -> None:
        self._residents.shed()

    def used(self, seat: Seat) -> None:
        self._residents.used(seat)

    def rested(self) -> None:
        self._residents.rested()

    def vacated(self, seat: Seat) -> None:
        if not (seat.occupied or seat.borrowers) and self._seats.get(seat.name) is seat:
            del self._seats[seat.name]

    def broke(self, seat: Seat, error: BaseException) -> None:
        """A sync of the room failed. Several rooms in a minute: the disk is the problem, not the rooms."""
        now = trio.current_time()
        self._rooms_broken += 1
        self._broken.append(now)
        while self._broken and self._broken[0] < now - BROKEN_WINDOW_SECONDS:
            self._broken.popleft()
        logger.error("%s: a sync failed (%s); the room is closed, put right and opened again", seat.name, error)
        if len(self._broken) >= self.limits.broken_rooms_max:
            self.fail(
                DiskFailed(
                    f"syncs failed in {len(self._broken)} rooms within {BROKEN_WINDOW_SECONDS:g} s, the last one "
                    f"{seat.name} ({error}). "
                    "The runtime stopped: the disk is the problem. Acknowledged calls are safe; check the disk, then start again."
                )
            )

    # -- its life -----------------------------------------------------------------------------------------------------------
    def fail(self, error: RoomsError) -> None:
        """Stop at once, as in a crash: nobody waits for ever, nothing more is promised."""
        if self.failure is not None:
            return
        self.failure = error
        self._admitting = False
        unknown = OutcomeUnknown(f"the runtime stopped while this call was under way: {error}")
        for seat in list(self._seats.values()):
            seat.refuse_all(closed(seat.name))
            if seat.activation is not None:
                seat.activation.gate.break_(unknown)
        self._reads.cut()
        self._nursery.cancel_scope.cancel()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Run until `stop`, shielded: a cancelled body still gets an orderly stop."""
        with trio.CancelScope(shield=True), self.watchdog.watching(), yielding(self.doors.threads):
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._sync)
                nursery.start_soon(self.courier.run)
                nursery.start_soon(self._residents.hibernate_idle, self.limits.idle_seconds_max)
                nursery.start_soon(self._residents.usher)
                nursery.start_soon(self._residents.rest_idle)
                nursery.start_soon(self._residents.look_outside)
                nursery.start_soon(self.tidying.run)
                nursery.start_soon(self.pace.run)
                nursery.start_soon(self.memory.run)
                await self.space.look()
                nursery.start_soon(self.space.run)
                await finish_all(self)
                await nursery.start(self.follower.run, self)
                self._admitting = True
                if self.begins_duties:
                    nursery.start_soon(self.waker.run)
                task_status.started()
            if self.failure is None:
                await self._last_round()

    async def _last_round(self) -> None:
        """What the closed rooms left in the catalog."""
        try:
            await self.syncer.round()
        except DiskFailed as error:
            self.failure = error

    async def _sync(self) -> None:
        try:
            await self.syncer.run()
        except DiskFailed as error:
            self.fail(error)
        finally:  # however the runtime ends: from now on its nursery may be closed to rooms that would have to begin
            self._admitting, self._drained = False, True

    async def stop(self) -> None:
        """Take no more calls, let those that have come finish, bring the follower up to date, close every room."""
        if self.failure is not None:
            return
        began = trio.current_time()
        self._admitting = False
        self.waker.stop()
        self._refused = unknown = 0
        with trio.move_on_after(self.limits.drain_seconds_max) as drain:
            await self._quiet()
            await self.courier.finish()
            await self._quiet()
        self.courier.end()
        self._drained = True
        self._refused += self._reads.cut()
        for seat in list(self._seats.values()):
            self._refused += len(seat.mailbox)
            seat.refuse_all(closed(seat.name))
            if seat.activation is not None and not seat.activation.quiet:
                unknown += seat.activation.handlers_under_way
                self._refused += seat.activation.offloading
                seat.activation.cancel_handlers()
        with trio.move_on_at(drain.deadline):  # one bound for both: what calls have used up, the follower must do without
            await self.follower.drain()
        self.stopping = True
        self.syncer.patient = False  # a disk that is full now may stay so, and rooms cannot be quiet while rounds are put off
        await self._residents.close_all()
        await self.tidying.finish()
        self._nursery.cancel_scope.cancel()
        self.left = Left(trio.current_time() - began, self._refused, unknown)

    async def _quiet(self) -> None:
        """Wait until no call is queued or under way."""
        while busy := [seat for seat in self._seats.values() if not seat.at_rest]:
            for seat in busy:
                await seat.until_quiet()  # meanwhile another may have been called by a handler
        await self._reads.until_none()
