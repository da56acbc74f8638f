"""Opening a data directory: own it, read its catalog, run the runtime in it, and leave it clean."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from os import PathLike
from typing import TypeVar

import apsw
import trio

from actors.actor import Actor
from actors.actor_class import ActorClass, actor_classes
from actors.directory.catalog import Catalog
from actors.directory.owner import Ownership
from actors.directory.rebuild import rebuild
from actors.errors import DiskUnfit
from actors.follower import Follower
from actors.limits import Limits
from actors.names import DataDir
from actors.runtime import Runtime
from actors.system.disk import Disk
from actors.system.doors import Doors

R = TypeVar("R", bound=Runtime)

logger = logging.getLogger("durable_rooms.actors")

RuntimeMaker = Callable[[DataDir, Catalog, int, Mapping[str, ActorClass], Follower, Limits, Doors], R]

DESCRIPTORS_PER_ROOM = 5  # database, WAL, shared memory, our own of the WAL, a newborn's of the database
PLACES_MIN = 8
DESCRIPTORS_KEPT = 256  # for sockets, logs and the replica; a quarter of them where the system allows fewer than 1,024


@asynccontextmanager
async def open_house(
    make: RuntimeMaker[R],
    path: str | PathLike[str],
    actors: Sequence[type[Actor]],
    follower: Follower,
    limits: Limits,
    doors: Doors,
) -> AsyncGenerator[R]:
    """Open a data directory, run the runtime that `make` builds, and stop it in order when the body ends, however it ends.

    Raises:
      DataDirInUse, DiskUnfit: nothing was started.
      DiskFailed: the runtime stopped itself; the body was cancelled.
      What the body raises, as it is, never inside an ExceptionGroup.
    """
    classes = actor_classes(actors)  # complain of the classes before touching the disk
    limits = _within_descriptors(limits, doors)
    directory = DataDir.at(path)
    ownership = await doors.threads.run(Ownership.take, doors.disk, directory)
    try:
        catalog = await doors.threads.run(_open_catalog, doors.disk, directory, ownership)
        failed = True
        try:
            catalog.note_classes((name, one.actor.__module__, len(one.migrations)) for name, one in classes.items())
            runtime = make(directory, catalog, ownership.file_system_fd, classes, follower, limits, doors)
            body_error: BaseException | None = None
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(_serve, runtime, nursery.cancel_scope)
                    try:
                        yield runtime
                    except BaseException as error:
                        body_error = error
                    with trio.CancelScope(shield=True):
                        await runtime.stop()
            except BaseExceptionGroup as group:  # KeyboardInterrupt inside a handler, or a bug of ours
                raise _only_leaf(group) from None
            failed = runtime.failure is not None
            if runtime.failure is not None:
                raise runtime.failure from body_error
        finally:
            with trio.CancelScope(shield=True):
                await doors.threads.run(catalog.abandon if failed else catalog.close)
        with trio.CancelScope(shield=True):
            try:
                await doors.threads.run(ownership.mark_clean)
            except OSError as error:
                logger.warning(
                    "%s: the clean stop could not be noted (%s); the next start re-homes what it need not", path, error
                )
        if body_error is not None:
            raise body_error
    finally:
        ownership.give_up()


def _open_catalog(disk: Disk, directory: DataDir, ownership: Ownership) -> Catalog:
    try:
        rebuild(disk, directory, ownership.file_system_fd, was_clean=ownership.was_clean)
    except (OSError, apsw.Error) as error:
        raise DiskUnfit(f"{directory.catalog} is missing and could not be made again from the room files ({error}).") from error
    return Catalog.open(disk, directory.catalog)


def _only_leaf(group: BaseException) -> BaseException:
    """What a group is about, if it is about one thing."""
    inside: list[BaseException] = list(getattr(group, "exceptions", ()))
    return _only_leaf(inside[0]) if len(inside) == 1 else group


async def _serve(runtime: Runtime, body: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    await runtime.serve(task_status)
    if runtime.failure is not None:
        body.cancel()


def _within_descriptors(limits: Limits, doors: Doors) -> Limits:
    """Raise the soft limit of open files as far as the rooms need; where the system allows less, open fewer rooms at once."""
    needed = limits.open_rooms_max * DESCRIPTORS_PER_ROOM + DESCRIPTORS_KEPT
    allowed = doors.disk.raise_descriptor_limit(needed)
    if allowed >= needed:
        return limits
    places = (allowed - min(DESCRIPTORS_KEPT, allowed // 4)) // DESCRIPTORS_PER_ROOM
    if places < PLACES_MIN:
        raise DiskUnfit(
            f"the system allows this process {allowed} open files; {PLACES_MIN} rooms at once, the least that works, need "
            f"{PLACES_MIN * DESCRIPTORS_PER_ROOM * 4 // 3}. Raise the limit (ulimit -n, LimitNOFILE=). Nothing was started."
        )
    logger.warning(
        "the system allows %d open files, so %d rooms are open at once instead of %d", allowed, places, limits.open_rooms_max
    )
    return replace(limits, open_rooms_max=places)
