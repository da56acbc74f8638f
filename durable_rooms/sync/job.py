"""Asking the runtime's thread, and blocking until it answers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from durable_rooms.border.border import Border
from durable_rooms.border.job import Job
from durable_rooms.runtime import Runtime
from durable_rooms.sync.desk import Desk

T = TypeVar("T")


def ask(work: Callable[[Runtime], Awaitable[T]], border: Border, desk: Desk) -> T:
    border.check("the runtime")
    waiter = desk.waiter("the runtime")
    job = Job(work, desk, waiter)
    border.send(job)
    try:
        waiter.acquire()
    except BaseException:  # Ctrl-C
        border.abandon(job)
        raise
    return job.result()
