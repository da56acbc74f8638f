"""The hatch of a running process: listens on the socket from the runtime's start to its stop."""

import logging
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

import trio

from actors.runtime import Runtime
from durable_rooms.hatch.place import SOCKET, address
from durable_rooms.hatch.wire import GREETING, HEAD, HEAD_ROOM, Garbled, Reply, ask, length_of, reply_bytes, request_of

CONNECTIONS_MAX = 64  # at once; people at shells. More wait in the system's queue
REQUEST_SECONDS_MAX = 10.0  # for a request to arrive: a client that says nothing holds no place for ever
REPLY_SECONDS_MAX = 60.0  # for a reply to be taken: 16 MiB by a stopped shell's pipe, which may never go on
ACCEPT_AGAIN_SECONDS = 0.1
OWNER_ONLY = 0o600
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid

logger = logging.getLogger("durable_rooms")


class Hatch:
    """Of one runtime. Without it only the command `call` cannot reach the process: what goes wrong here is said and no more."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._data = runtime.directory.path
        self._places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            listening = _listen(self._data)
        except OSError as error:
            logger.warning("%s: no local socket (%s); `durable-rooms call` cannot reach this process", self._data, error)
            return
        try:
            with trio.socket.from_stdlib_socket(listening) as listener:
                async with trio.open_nursery() as nursery:
                    while True:
                        await self._places.acquire_on_behalf_of(place := object())
                        nursery.start_soon(self._serve, await _accepted(listener), place)
        finally:
            with suppress(OSError):
                os.unlink(self._data / SOCKET)

    async def _serve(self, stranger: trio.socket.SocketType, place: object) -> None:
        """One connection. Never raises: rooms must not stop for what came over it."""
        try:
            async with trio.SocketStream(stranger) as stream:
                with suppress(trio.BrokenResourceError):
                    if _is_ours(stranger):
                        await self._answer(stream)
        except Exception:
            logger.exception("%s: a call through the local socket failed", self._data)
        finally:
            self._places.release_on_behalf_of(place)

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            with trio.fail_after(REQUEST_SECONDS_MAX):
                await stream.send_all(GREETING)
                most = self._runtime.limits.call_bytes_max + HEAD_ROOM
                head = await _read(stream, HEAD.size)
                request = request_of(await _read(stream, length_of(head, most, "call_bytes_max")))
        except trio.TooSlowError:
            return
        except Garbled as error:
            await stream.send_all(reply_bytes(Reply(error="Garbled", message=f"{error}. Nothing ran.", ran="no")))
            return
        replies: list[Reply] = []  # none for a client who has gone
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
            replies.append(await ask(self._runtime, request))
            nursery.cancel_scope.cancel()
        for reply in replies:
            with trio.move_on_after(REPLY_SECONDS_MAX):
                await stream.send_all(reply_bytes(reply))


async def _accepted(listener: trio.socket.SocketType) -> trio.socket.SocketType:
    """The next connection. Without descriptors it waits in the system's queue: rooms need them more."""
    while True:
        try:
            return (await listener.accept())[0]
        except OSError:
            await trio.sleep(ACCEPT_AGAIN_SECONDS)


async def _until_gone(stream: trio.SocketStream, call: trio.CancelScope) -> None:
    """A client that has gone waits for nothing: a call that has not begun never runs."""
    with suppress(trio.BrokenResourceError):
        await stream.receive_some(1)
    call.cancel()


async def _read(stream: trio.SocketStream, size: int) -> bytes:
    """Raises Garbled: the other side has ended before."""
    parts: list[bytes] = []
    while size:
        part = bytes(await stream.receive_some(min(size, 65_536)))
        if not part:
            raise Garbled("a message ended in the middle")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _listen(data: Path) -> socket.socket:
    """Nobody can connect before the file's mode is set: a socket that does not listen yet refuses."""
    with suppress(FileNotFoundError):
        os.unlink(data / SOCKET)  # of a process that was killed; the directory is ours
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(data) as where:
            listening.bind(where)
        os.chmod(data / SOCKET, OWNER_ONLY)
        listening.listen(CONNECTIONS_MAX)
    except OSError:
        listening.close()
        raise
    return listening


def _is_ours(stranger: trio.socket.SocketType) -> bool:
    """Our own user or root; where the system does not tell, the file's mode alone decides."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _pid, user, _group = _CREDENTIALS.unpack(stranger.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return user in (0, os.geteuid())
