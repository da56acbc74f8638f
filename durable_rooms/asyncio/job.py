"""Asking the runtime's thread, and awaiting what it answers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from durable_rooms.asyncio.desk import Desk
from durable_rooms.border.border import Border
from durable_rooms.border.job import Job
from durable_rooms.runtime import Runtime

T = TypeVar("T")


async def ask(work: Callable[[Runtime], Awaitable[T]], border: Border, desk: Desk) -> T:
    border.check("the runtime")
    waiter = desk.waiter("the runtime")
    job = Job(work, desk, waiter)
    border.send(job)
    try:
        await waiter
    except BaseException:
        border.abandon(job)
        raise
    return job.result()
