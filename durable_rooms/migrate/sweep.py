"""The sweep: every room that is behind is opened once, and migrates as it would at its next call.

    catalog, page by page ─▶ 64 workers ─▶ Runtime.wake ─▶ migrated, durable, closed ─▶ replica

What was done is in the rooms themselves, and in the catalog once they have closed. So a sweep that was killed or told to stop
simply begins again and finds the rest.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import trio

import actors
from actors import Actor, Doors, Limits, Position, ReplicationLate, RoomName, Rooms, RoomsError, Source, StorageFull
from durable_rooms.caretaker import Caretaker
from durable_rooms.inspect.status import replica_there
from durable_rooms.migrate.report import ReplicaLeft, Sweep
from replication import Replicator, SQLiteReplica

AT_ONCE = 64  # rooms: enough to share a sync well; each waits for a round
ROOMS_MAX = 2 * AT_ONCE  # in memory: as many again are closing
LOOK_SECONDS = 0.5  # at the replica while it catches up
STUCK_SECONDS = 10.0  # without any progress the replica will not get there now: a room that cannot be read, a locked file

Progress = Callable[[Sweep], None]


class KeepAll:
    """The follower of a sweep without a replica: it acknowledges nothing, so that whoever follows these rooms otherwise finds
    their outboxes as they were and need not copy them whole."""

    def changed(self, source: Source, position: Position, entries: int) -> None:
        pass

    def deleted(self, source: Source, epoch: int) -> None:
        pass

    async def run(self, rooms: Rooms, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def drain(self) -> None:
        pass


async def sweep(
    data: Path,
    classes: Mapping[str, type[Actor]],
    newest: Mapping[str, int],
    report: Sweep,
    *,
    replica: Path | None,
    progress: Progress,
    doors: Doors | None = None,
) -> None:
    """Bring every room of these classes to its newest version, and the replica, if one is given, along. Fills in `report`.

    SIGINT and SIGTERM end it in order; a second one at once.

    Raises:
      DataDirInUse, DiskUnfit: nothing was done. DiskFailed: the disk failed on the way; what was done is done.
    """
    follower = Replicator(SQLiteReplica(replica)) if replica is not None else KeepAll()
    limits = Limits(open_rooms_max=ROOMS_MAX)
    began = trio.current_time()
    runtime: Caretaker | None = None
    try:
        async with actors.open_house(Caretaker, data, list(classes.values()), follower, limits, doors or Doors()) as runtime:
            runtime.keep_status()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.cut_when_told, report, nursery.cancel_scope)
                await _Sweeping(runtime, newest, report, progress).run()
                report.seconds = trio.current_time() - began
                await _settled(runtime, report, progress)
                nursery.cancel_scope.cancel()
            report.seconds = report.seconds or trio.current_time() - began
            report.phase = "closing"
            progress(report)
    finally:
        if runtime is not None and runtime.termination is not None:
            runtime.termination.give_back()
    report.failures.sort(key=lambda failure: failure.room)
    if isinstance(follower, Replicator):
        status = follower.status()
        report.replica = replica_left(data, status.path, status.last_error)


def replica_left(data: Path, replica: Path, last_error: str | None = None) -> ReplicaLeft:
    """By the positions in the files; nothing may have them open in this process."""
    there = replica_there(data, replica)
    if there is None:
        return ReplicaLeft(0, f"{replica} is gone", last_error)
    return ReplicaLeft(there.behind, there.unreadable, last_error)


async def _settled(runtime: Caretaker, report: Sweep, progress: Progress) -> None:
    """Wait until the replica has everything, as long as it gets on."""
    report.phase = "replica"
    before, at = None, trio.current_time()
    while replicas := runtime.status().replicas:
        try:
            await runtime.replicated(LOOK_SECONDS)
            return
        except ReplicationLate:
            (now,) = replicas
        report.replica_rows = now.rows
        progress(report)
        standing = (now.lag_rooms, now.lag_entries, now.batches, now.rows, sum(now.resyncs.values()))
        if standing != before:
            before, at = standing, trio.current_time()
        elif now.state == "refused" or trio.current_time() - at > STUCK_SECONDS:
            return


class _Sweeping:
    def __init__(self, runtime: Caretaker, newest: Mapping[str, int], report: Sweep, progress: Progress) -> None:
        self._runtime = runtime
        self._newest = newest
        self._report = report
        self._progress = progress

    async def run(self) -> None:
        self._report.phase = "rooms"
        send, receive = trio.open_memory_channel[RoomName](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._find, send)
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work, receive, nursery.cancel_scope)

    async def _find(self, send: trio.MemorySendChannel[RoomName]) -> None:
        """Page by page; a room keeps its place in the order while it is migrated, so each comes once."""
        async with send:
            for actor, newest in self._newest.items():
                after: str | None = ""
                while after is not None:
                    page = self._runtime.catalog.page(actor, after=after)
                    for entry in page:
                        if entry.sick is None and entry.version < newest:
                            await send.send(entry.name)
                    after = page[-1].name.id if page else None
                    await trio.lowlevel.checkpoint()

    async def _work(self, receive: trio.MemoryReceiveChannel[RoomName], all: trio.CancelScope) -> None:
        report = self._report
        async for name in receive:
            try:
                await self._runtime.wake(name)
                report.done += 1
            except StorageFull as error:  # of the disk, not of the room: the others would fare alike
                report.stopped = str(error)
                all.cancel()
            except RoomsError as error:
                report.fail(str(name), error)
            self._progress(report)
