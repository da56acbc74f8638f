"""A data directory as a place: is it one, and who runs on it."""

import os
from pathlib import Path

from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.files import owner


def require(data: Path) -> Path:
    """The catalog of a data directory.

    Raises:
      NotADataDirectory: there is none.
    """
    catalog = data / "catalog.db"
    if not data.is_dir():
        raise NotADataDirectory(f"{data} is {'a file' if data.exists() else 'not there'}; a data directory is wanted.")
    if not catalog.is_file():
        raise NotADataDirectory(f"{data} is not a data directory of durable-rooms: it has no catalog.db.")
    return catalog


def running(data: Path) -> int | None:
    """The pid of the process that runs on the directory. Never our own, which took over the number of one that was killed."""
    pid = owner(data)
    return None if pid == os.getpid() else pid
