"""Where the socket is. Its address holds about 100 bytes, a directory's path may be longer: then by way of a descriptor."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SOCKET = "call.sock"
ADDRESS_BYTES_MAX = 100  # of 104 (macOS) to 108 (Linux), with the closing zero


@contextmanager
def address(data: Path) -> Generator[str]:
    """The socket's address, for a moment.

    Raises:
      OSError: its path is too long, and the system has no /proc to shorten it by.
    """
    path = str(data.absolute() / SOCKET)
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield path
        return
    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)
