"""The other side of the hatch: one call of the process that runs on a data directory. Blocks."""

import socket
from pathlib import Path
from time import monotonic, sleep

from actors.errors import Ran
from durable_rooms.hatch.place import address
from durable_rooms.hatch.wire import (
    GREETING,
    HEAD,
    REPLY_BYTES_MAX,
    Asked,
    Garbled,
    Reply,
    length_of,
    reply_of,
    request_bytes,
)

GREETING_SECONDS_MAX = 5.0  # a loop that stands still, or a socket that a forked child holds open, greets nobody
QUEUE_AGAIN_SECONDS = 0.02


class Lost(Exception):
    """There is no reply; `ran` is "no" or "unknown"."""

    def __init__(self, message: str, ran: Ran) -> None:
        super().__init__(message)
        self.ran = ran


def call_running(data: Path, request: Asked) -> Reply | None:
    """None: no process listens there.

    Raises:
      Lost: it does not answer, or went away in the middle. PermissionError: it is another user's.
    """
    content = request_bytes(request)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(GREETING_SECONDS_MAX)
        try:
            _connect(stream, data)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except TimeoutError as error:
            raise Lost(f"the process on {data} does not answer: too many wait for it. Nothing ran.", "no") from error
        _be_greeted(stream, data)
        stream.settimeout(None)
        refused: ConnectionError | None = None
        try:
            stream.sendall(content)
        except ConnectionError as error:
            refused = error  # why, it may have said
        try:
            return reply_of(_read(stream, length_of(_read(stream, HEAD.size), REPLY_BYTES_MAX, "REPLY_BYTES_MAX")))
        except (ConnectionError, Garbled) as error:
            if refused is not None:
                raise Lost(f"the process on {data} did not take the request ({refused}). Nothing ran.", "no") from error
            raise Lost(f"the process on {data} gave no reply ({error}). Read before you repeat the call.", "unknown") from error


def _connect(stream: socket.socket, data: Path) -> None:
    """Raises TimeoutError. Linux does not wait for a place in a full queue where a timeout is set."""
    until = monotonic() + GREETING_SECONDS_MAX
    while True:
        try:
            with address(data) as where:
                stream.connect(where)
            return
        except BlockingIOError:
            if monotonic() >= until:
                raise TimeoutError from None
            sleep(QUEUE_AGAIN_SECONDS)


def _be_greeted(stream: socket.socket, data: Path) -> None:
    """Raises Lost."""
    try:
        said = _read(stream, len(GREETING))
    except TimeoutError as error:
        raise Lost(
            f"the process on {data} did not answer within {GREETING_SECONDS_MAX:g} s. Nothing ran. Its loop stands still, or it "
            f"has ended and a child that it forked holds its socket; `durable-rooms status {data}` may tell.",
            "no",
        ) from error
    except ConnectionError as error:
        raise Lost(f"the process on {data} turned the call away ({error}). Nothing ran.", "no") from error
    if said != GREETING:
        raise Lost(f"the process on {data} is of another version ({said!r}). Nothing ran.", "no")


def _read(stream: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = stream.recv(min(size - len(content), 65_536))
        if not part:
            raise ConnectionResetError("it closed the connection")
        content += part
    return bytes(content)
