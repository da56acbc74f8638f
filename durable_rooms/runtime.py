"""The front door: a runtime of rooms with its replica."""

import logging
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

import trio

import actors
from actors import (
    Actor,
    Answer,
    BadArguments,
    Doors,
    Freshness,
    Limits,
    NoFollower,
    Position,
    ReadCall,
    ReplicationLate,
    Room,
    RoomName,
)
from actors.errors import RuntimeClosed
from actors.reads.read import checked
from actors.room import Terms, Witness, closed
from durable_rooms.doorway import Doorway
from durable_rooms.dumping import Dumped, dump_open, unknown
from durable_rooms.hatch.server import Hatch
from durable_rooms.session import Session
from durable_rooms.signals import Termination
from durable_rooms.status_file import StatusFile
from replication import ReplicaStatus, Replicator, Replicators, SQLiteReplica, replicators_of
from replication.places import is_near, refuse_one_file
from replication.reading.across import Across, RoomIds, Run
from replication.reading.bookmark import Bookmark, parsed
from replication.reading.key import bookmark_key
from replication.reading.router import Route, Router, route_to
from replication.reading.status import ReadStatus

A = TypeVar("A", bound=Actor)

logger = logging.getLogger("durable_rooms")


@dataclass(frozen=True, slots=True)
class Status(actors.RuntimeStatus):
    """Counters of a runtime, of its replicas and of reads, at one moment."""

    replicas: tuple[ReplicaStatus, ...]
    reads: ReadStatus


class Runtime(actors.Runtime):
    """Rooms of one data directory, and their replica."""

    termination: Termination | None = None  # of this runtime, once somebody waits for it

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.fresh: Freshness = "acknowledged"  # of reads that do not say
        self.router = Router([], self.lane)  # only to rooms, before `open_reads`
        self._bookmark_key = b""

    # -- reads ------------------------------------------------------------------------------------------------------------
    def session(self, bookmark: str | None = None, *, fresh: Freshness | None = None) -> Session:
        """What one person sees: their own writes, and nothing they saw disappears, over all rooms and replicas.

        Args:
          bookmark: of an earlier session of theirs; it survives a restart. None: they have seen nothing yet.
          fresh: of this session's reads, instead of what their methods and the runtime say.
        Raises:
          BadBookmark: this directory did not make it.
        """
        seen = Bookmark() if bookmark is None else parsed(bookmark, self._bookmark_key)
        return Session(self, seen, None if fresh is None else checked(fresh))

    def across(self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]], *, fresh: Freshness | None = None) -> Across:
        """Ask many rooms at once, in the replica: `runtime.across({ChatRoom: ["general", "help"], Directory: "all"})`.

        Args:
          rooms: whose rows may be seen, by class; "all": of every room of that class.
          fresh: as for a read ("acknowledged" waits for what had returned); not "room".
        Raises:
          BadArguments: a class that this runtime was not opened with, or no replica.
        """
        return self.across_with(rooms, None if fresh is None else checked(fresh), None)

    def across_with(
        self, rooms: Mapping[type[Actor], Sequence[str] | Literal["all"]], fresh: Freshness | None, bookmark: Bookmark | None
    ) -> Across:
        if not self.router.routes:
            raise BadArguments("across() asks a replica, and this runtime was opened without one (replicas=[SQLiteReplica()]).")
        if fresh == "room":
            raise BadArguments('across() asks a replica: fresh="room" is for one room. Nothing ran.')
        ids: dict[str, Sequence[str] | None] = {}
        for actor, some in rooms.items():
            self.address(actor, "any")  # the class is known
            if isinstance(some, str) and some != "all":
                raise BadArguments(
                    f'across(): the rooms of {actor.__name__} are a list of ids or "all", not {some!r}. Nothing ran.'
                )
            ids[actor.__name__] = None if some == "all" else list(some)
        usual: Freshness = "acknowledged" if self.fresh == "room" else self.fresh
        return Across(self._ask_across, ids, usual if fresh is None else fresh, bookmark)

    async def _ask_across(self, rooms: RoomIds, run: Run, fresh: Freshness, bookmark: Bookmark | None) -> Any:
        if self._admitting:
            with self._reads.one():
                return await self.router.across(rooms, run, fresh, bookmark)
        raise RuntimeClosed("across(): the runtime is stopping or has stopped. Nothing ran.")

    def room_on(self, actor: type[A], id: str, terms: Terms) -> Room[A]:
        return Room(actor, *self.address(actor, id), self, terms)

    def token(self, bookmark: Bookmark) -> str:
        return bookmark.token(self._bookmark_key)

    def bookmark(self, name: RoomName, position: Position, witness: Witness | None) -> str:
        if isinstance(witness, Bookmark):
            return self.token(witness)
        seen = Bookmark()
        seen.saw_room(name, position)
        return self.token(seen)

    def _read_now(self, call: ReadCall, terms: Terms) -> Answer[Any] | None:
        return self.router.read_now(call, *self._terms_of(call, terms))

    async def _read(self, call: ReadCall, terms: Terms) -> Answer[Any]:
        return await self.router.read(call, *self._terms_of(call, terms))

    def _terms_of(self, call: ReadCall, terms: Terms) -> tuple[Freshness, Bookmark | None]:
        fresh: Freshness | None = terms.fresh if terms.fresh is not None else call.handler.fresh
        return self.fresh if fresh is None else fresh, terms.witness if isinstance(terms.witness, Bookmark) else None

    async def open_reads(self, fresh: Freshness) -> None:
        """Let reads go to the replicas, from now to the stop."""
        doors = self.doors
        self.fresh = fresh
        self._bookmark_key = await doors.threads.run(bookmark_key, doors.disk, self.directory.path, doors.secret)
        routes: list[Route] = []
        for replicator in self.replicators:
            near = await is_near(doors, self.directory.path, replicator.path)
            routes.append(route_to(replicator, doors, self.limits, near=near))
        for route in routes:
            self._nursery.start_soon(route.readers.run)
        self.router = Router(routes, self.lane, doors.random)

    # -- its service ------------------------------------------------------------------------------------------------------

    async def until_terminated(self) -> signal.Signals:
        """Wait for SIGTERM or SIGINT (Ctrl-C), and return it: let the body of `open_runtime` end then, and the runtime drains.

        From this call to the end of `open_runtime` both signals are the runtime's: Ctrl-C raises no KeyboardInterrupt. Another
        one after the first, while the service stops, ends the process at once with exit code 128 + its number, even if a handler
        blocks the loop. Before this call SIGTERM kills, as ever. Nothing acknowledged is lost either way.

        Raises:
          RuntimeError: outside the main thread.
        """
        if self.termination is None:
            self.termination = Termination()
        return await self.termination.first()

    @property
    def replicators(self) -> tuple[Replicator, ...]:
        """One for each replica."""
        return replicators_of(self.follower)

    async def replicated(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the deadline is part of the error's text
        """Wait until everything acknowledged so far is in every replica (for tests and scripts). At once without any.

        Raises:
          ReplicationLate: not within `timeout` seconds; the message says how far behind and why.
        """
        late: list[ReplicationLate] = []

        async def wait_for(replicator: Replicator) -> None:
            try:
                await replicator.replicated(timeout)
            except ReplicationLate as error:
                late.append(error)

        async with trio.open_nursery() as nursery:  # at once: what is committed meanwhile is waited for in none
            for replicator in self.replicators:
                nursery.start_soon(wait_for, replicator)
        if late:
            raise ReplicationLate("; ".join(sorted(str(error) for error in late)))

    async def dump(self, room: Room[Any], path: str | PathLike[str]) -> Dumped:
        """Copy a room, as it is at one moment, into a new SQLite file, while it works; the file is durable when this returns.

        Raises:
          FileExistsError: there is a file of this name; nothing is overwritten.
          RoomUnfit, RuntimeClosed: the room cannot be opened, was never called, or its copy does not pass SQLite's check.
          RoomDeleted: it was deleted meanwhile.
          OutcomeUnknown, OSError, apsw.Error: no file was made.
        """
        name = RoomName(room.actor.__name__, room.id)
        if not self._admitting:
            raise closed(name)
        if self.catalog.get(name) is None:
            raise unknown(name)
        return await dump_open(self, name, Path(path))

    def status(self) -> Status:
        status = super().status()
        return Status(
            **{field.name: getattr(status, field.name) for field in fields(status)},
            replicas=tuple(replicator.status() for replicator in self.replicators),
            reads=self.router.status(),
        )

    def keep_status(self) -> None:
        """Write the status file from now to the stop."""
        self._nursery.start_soon(StatusFile(self).run)

    def open_hatch(self) -> None:
        """Take calls of other processes of this user from now to the stop."""
        self._nursery.start_soon(Hatch(self).run)


def open_runtime(
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica] = (),
    limits: Limits | None = None,
    fresh: Freshness = "acknowledged",
) -> AbstractAsyncContextManager[Runtime]:
    """Open a data directory (trio; for asyncio and plain code there are `durable_rooms.asyncio.open_runtime` and
    `durable_rooms.sync.open_runtime`, with the same arguments); it is made if it is missing.

    Args:
      path: the directory, on a local disk. One process owns it at a time.
      actors: the classes whose rooms may be called; a class's name identifies its rooms on disk.
      replicas: none, one `SQLiteReplica()`, or several, each with a path and a name: reads go to the one that is fresh enough,
        rooms keep changes until the slowest has them.
      fresh: how new what @read methods see must be, where neither call, session nor method says; see `Freshness`.
    Raises:
      DataDirInUse: another process owns the directory; names its pid.
      DiskUnfit: the directory cannot hold rooms; says why.
      DiskFailed: the disk failed while the body ran; the runtime stopped and the body was cancelled.
      ValueError: two classes of one name, or two replicas of one name or path.
    An exception raised in the body leaves it as it is, never inside an ExceptionGroup.
    At the end it takes no more calls, lets those under way finish, brings the replica up to date (both within
    `drain_seconds_max`), closes every room, and logs in one line what was left. See `Runtime.until_terminated` for services.
    """
    return Doorway(_open(path, actors, replicas, limits, checked(fresh)))


@asynccontextmanager
async def _open(
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    replicas: Sequence[SQLiteReplica],
    limits: Limits | None,
    fresh: Freshness,
) -> AsyncGenerator[Runtime]:
    async with open_with_doors(path, actors, replicas=replicas, limits=limits, doors=Doors(), fresh=fresh) as runtime:
        runtime.keep_status()
        runtime.open_hatch()
        yield runtime


@asynccontextmanager
async def open_with_doors(
    path: str | PathLike[str],
    actor_classes: Sequence[type[Actor]],
    *,
    replicas: Sequence[SQLiteReplica],
    limits: Limits | None,
    doors: Doors,
    fresh: Freshness = "acknowledged",
) -> AsyncGenerator[Runtime]:
    """`open_runtime` with other doors out of the process: tests put their own clock, disk, chance and threads here."""
    follower = Replicators(replicas) if len(replicas) > 1 else Replicator(replicas[0]) if replicas else NoFollower()
    await refuse_one_file(doors, Path(path), replicas)
    runtime: Runtime | None = None
    try:
        async with actors.open_house(Runtime, path, actor_classes, follower, limits or Limits(), doors) as runtime:
            await runtime.open_reads(fresh)
            yield runtime
    finally:
        if runtime is not None:
            if runtime.termination is not None:
                runtime.termination.give_back()
            _report(runtime)


def _report(runtime: Runtime) -> None:
    """One line on what the stop has left. None after a failure, which has an exception of its own."""
    left = runtime.left
    if left is None:
        return
    behind = [replica for replica in runtime.status().replicas if replica.lag_rooms]
    logger.log(
        logging.WARNING if left.refused or left.unknown or behind else logging.INFO,
        "stopped in %.2f s: %d calls refused, %d of unknown outcome; not in the replica yet: %s",
        left.seconds,
        left.refused,
        left.unknown,
        ", ".join(f"{one.lag_rooms} rooms with {one.lag_entries} changes (after the next start)" for one in behind) or "nothing",
    )
