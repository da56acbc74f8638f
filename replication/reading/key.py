"""The key that bookmarks are signed with: one a data directory, made when it is first needed, readable by its owner alone."""

from collections.abc import Callable
from pathlib import Path

from actors import Disk
from replication.reading.bookmark import KEY_BYTES

KEY_FILE = "bookmark-key"


def bookmark_key(disk: Disk, directory: Path, secret: Callable[[int], bytes]) -> bytes:
    """Read or make it; durable when this returns: a bookmark outlives a power cut. Blocks, the first time for two syncs."""
    path = directory / KEY_FILE
    if disk.exists(path) and len(key := disk.read(path)) == KEY_BYTES:
        return key
    key = secret(KEY_BYTES)
    disk.write_synced(path, key, private=True)  # cut short by a crash it is made again: nobody has been given a bookmark yet
    disk.sync_directory(directory)
    return key
