"""The server process: a runtime, and nothing else that could remember a post. It is the one that gets killed.

    python -m durable_rooms.demo.server DATA DESCRIPTOR RUN ROOMS USERS

It speaks `wire` on the socket DESCRIPTOR and stops when the other end is closed, or at SIGTERM.
"""

import math
import resource
import socket
import sys
from typing import Any

import trio

from durable_rooms import Limits, RoomsError, SQLiteReplica, open_runtime
from durable_rooms.demo.rooms import ChatRoom
from durable_rooms.demo.wire import READ_BYTES, Message, decoder, pack, uid

FIGURES_SECONDS = 0.25
ROOMS_IN_MEMORY_MAX = 2_000
DESCRIPTORS_PER_ROOM = 5  # as the runtime counts them
DESCRIPTORS_KEPT = 256


class Server:
    """Answers one ledger."""

    def __init__(self, runtime: Any, stream: trio.SocketStream, run: str) -> None:
        self._runtime = runtime
        self._stream = stream
        self._run = run
        self._done: list[int] = []  # answered, not told yet: one message carries all that became durable in a round
        self._news = trio.Event()
        self._sending = trio.Lock()

    async def serve(self) -> None:
        """Until the ledger says stop, or is gone."""
        await self._send(["ready"])
        async with trio.open_nursery() as posts, trio.open_nursery() as helpers:
            helpers.start_soon(self._tell_done)
            helpers.start_soon(self._tell_figures)
            messages = decoder()
            going = True
            while going and (data := await self._stream.receive_some(READ_BYTES)):
                messages.feed(data)
                for message in messages:
                    going = going and self._obey(message, posts)
            helpers.cancel_scope.cancel()

    def _obey(self, message: Message, posts: trio.Nursery) -> bool:
        """False if the message is to stop."""
        match message:
            case ["posts", lines]:
                for line in lines:
                    posts.start_soon(self._post, *line)
            case ["replicated", seconds]:
                posts.start_soon(self._replicated, seconds)
            case _:
                return False
        return True

    async def _post(self, number: int, room: str, kind: str, author: str, body: str) -> None:
        try:
            await self._runtime.room(ChatRoom, room).post(uid(self._run, number), kind, author, body)
        except RoomsError as error:
            await self._send(["failed", number, error.ran, f"{type(error).__name__}: {error}"])
        except Exception as error:
            await self._send(["failed", number, "rolled back", f"{type(error).__name__}: {error}"])
        else:
            self._done.append(number)
            self._news.set()

    async def _tell_done(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            done, self._done = self._done, []
            await self._send(["done", done])

    async def _tell_figures(self) -> None:
        while True:
            await self._send(["figures", self._figures()])
            await trio.sleep(FIGURES_SECONDS)

    async def _replicated(self, seconds: float) -> None:
        try:
            await self._runtime.replicated(timeout=seconds)
        except RoomsError as error:
            await self._send(["replicated", str(error), self._figures()])
        else:
            await self._send(["replicated", "", self._figures()])

    def _figures(self) -> dict[str, Any]:
        status = self._runtime.status()
        (replica,) = status.replicas
        return {
            "rooms": status.rooms_open,
            "lag": replica.lag_seconds,
            "lag_p50": replica.lag_p50_seconds,
            "lag_p99": replica.lag_p99_seconds,
            "error": str(replica.last_error or ""),
        }

    async def _send(self, message: Message) -> None:
        async with self._sending:  # a stream takes one sender at a time
            await self._stream.send_all(pack(message))


def limits(rooms: int, users: int) -> Limits:
    """A place in memory for all rooms that are posted to, as far as the process may hold so many files, and in the mailboxes."""
    defaults = Limits()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fit = math.inf if hard == resource.RLIM_INFINITY else (hard - DESCRIPTORS_KEPT) // DESCRIPTORS_PER_ROOM
    # A quarter more than needed: with one place too few, rooms that take turns push each other out at every call.
    wanted = max(defaults.open_rooms_max, min(ROOMS_IN_MEMORY_MAX, rooms + rooms // 4))
    return Limits(
        open_rooms_max=int(max(10, min(wanted, fit))),
        mailbox_calls_max=max(users, defaults.mailbox_calls_max),
        waiting_calls_max=max(users, defaults.waiting_calls_max),
    )


async def main(data: str, descriptor: int, run: str, rooms: int, users: int) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor)))
    async with stream, open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()], limits=limits(rooms, users)) as runtime:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, Server(runtime, stream, run), nursery.cancel_scope)
                await runtime.until_terminated()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the ledger went away: stop cleanly, nobody is left to tell


async def serve(server: Server, both: trio.CancelScope) -> None:
    """Until the ledger wants no more; then there is no signal to wait for, either."""
    await server.serve()
    both.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
