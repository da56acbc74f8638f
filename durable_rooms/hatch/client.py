"""The other side of the hatch: one call of the process that runs on a data directory. Blocks."""

import socket
from pathlib import Path

from durable_rooms.hatch.place import address
from durable_rooms.hatch.wire import HEAD, REPLY_BYTES_MAX, Reply, Request, length_of, reply_of, request_bytes


class Lost(Exception):
    """The process ended before it replied: the outcome is unknown."""


def call_running(data: Path, request: Request) -> Reply | None:
    """None: no process listens there.

    Raises:
      Lost: it went away in the middle. Garbled: it is of another version. PermissionError: it is another user's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        try:
            with address(data) as where:
                stream.connect(where)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        try:
            stream.sendall(request_bytes(request))
            return reply_of(_read(stream, length_of(_read(stream, HEAD.size), REPLY_BYTES_MAX)))
        except ConnectionError as error:
            raise Lost(f"the process went away before it replied ({error}); read before you repeat the call") from error


def _read(stream: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = stream.recv(min(size - len(content), 65_536))
        if not part:
            raise ConnectionResetError("it closed the connection")
        content += part
    return bytes(content)
