"""A service as a supervisor sees it: posts from several tasks until it is told to end, and writes what became of each call.

    python -m tests.crash.service DATA plain | linger | cut | stuck | wedged

linger: an async handler keeps the drain waiting. cut: the same, and the drain has a short bound. stuck: after a while a handler
never returns, and the watchdog has a bound. wedged: the same without that bound.
"""

import logging
import sys

import trio

from durable_rooms import Limits, RoomsError, Runtime, SQLiteReplica, open_runtime
from tests.crash.serving import CALLERS, Log, room_of

CALLS_BEFORE_STUCK = 50


class Service(Log):
    async def linger(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def never_return(self) -> None:
        print("stuck", flush=True)
        while True:
            pass


async def call(runtime: Runtime, caller: int) -> None:
    """One line a call: `+ id room` acknowledged, `- id room ran Error` refused, failed or unknown."""
    for number in range(1_000_000):
        id, room = f"{caller}.{number}", room_of(caller + number)
        try:
            await runtime.room(Service, room).add(id, "x" * 100)
        except RoomsError as error:
            print("-", id, room, error.ran.replace(" ", "_"), type(error).__name__, flush=True)
            return
        print("+", id, room, flush=True)


async def get_stuck(runtime: Runtime) -> None:
    for _ in range(CALLS_BEFORE_STUCK):
        await runtime.room(Service, "stuck").ids()
    await runtime.room(Service, "stuck").never_return()


async def linger(runtime: Runtime) -> None:
    try:
        await runtime.room(Service, "slow").linger(60)
    except RoomsError as error:
        print("-", "linger", "slow", error.ran, type(error).__name__, flush=True)


async def main(path: str, mode: str) -> None:
    limits = Limits(blocked_seconds_max=1.0 if mode == "stuck" else 60.0, drain_seconds_max=1.0 if mode == "cut" else 30.0)
    async with (
        trio.open_nursery() as callers,
        open_runtime(path, [Service], replicas=[SQLiteReplica()], limits=limits) as runtime,
    ):
        await runtime.room(Service, room_of(0)).ids()
        for caller in range(CALLERS):
            callers.start_soon(call, runtime, caller)
        if mode in ("linger", "cut"):
            callers.start_soon(linger, runtime)
        if mode in ("stuck", "wedged"):
            callers.start_soon(get_stuck, runtime)
        print("serving", flush=True)
        told = await runtime.until_terminated()
        print("told", told.name, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    trio.run(main, sys.argv[1], sys.argv[2])
