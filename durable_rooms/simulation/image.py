"""Images: what a power cut at one moment may leave of a world, as contents by path.

Each unsynced write is there or not, torn between two sectors or not, and a sector that was being written may hold garbage;
names come back apart from contents. Where few things are unsynced every combination is an image; else they are drawn.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from random import Random
from typing import NamedTuple

from durable_rooms.simulation.events import OF_THE_HOST
from durable_rooms.simulation.world import DIRECTORY, Change, Node, World

SECTOR = 512  # bytes that a disk writes whole
EXHAUSTIVE_MAX = 256  # combinations; 8 unsynced things
TORN, GARBAGE = 0.1, 0.05  # of the writes that an image has


Image = dict[str, bytes | None]  # None for a directory


class Keep(Enum):
    """What of the unsynced is left."""

    NOTHING = 0
    SOME = 1
    ALL = 2  # a killed process: the page cache stays


def image(world: World, keep: Keep, chance: Random, wounds: "Wounds | None" = None) -> Image:
    """One image. `wounds` counts the torn and garbled writes in it."""
    names = dict(world.durable_names)
    if keep is not Keep.NOTHING:
        for path, bindings in world.bindings.items():
            ends = [world.durable_names.get(path), *(node for _, node in bindings)]
            _bind(names, path, ends[-1] if keep is Keep.ALL else chance.choice(ends))
    counted = wounds or Wounds()
    of_the_host = {names.get(path) for path in OF_THE_HOST}
    return _whole(names, lambda number: _some(world.node(number), keep, chance, counted, of_the_host=number in of_the_host))


class Wounds:
    """How often a write was torn, or left garbage."""

    def __init__(self) -> None:
        self.torn = 0
        self.garbage = 0


def every_image(world: World) -> Iterator[Image]:
    """Every combination of whole writes and names, if there are at most EXHAUSTIVE_MAX of them; none otherwise."""
    paths = list(world.bindings)
    ends = [[world.durable_names.get(path), *(node for _, node in world.bindings[path])] for path in paths]
    changed = [(number, node.unsynced) for number, node in world.nodes.items() if node.pending or node.lost]
    combinations = 1
    for choices in ends:
        combinations *= len(choices)
    for _, changes in changed:
        combinations *= 2 ** min(len(changes), 64)
        if combinations > EXHAUSTIVE_MAX:
            return
    for bound in product(*ends):
        names = dict(world.durable_names)
        for path, node in zip(paths, bound, strict=True):
            _bind(names, path, node)
        for kept in product(*(product((False, True), repeat=len(changes)) for _, changes in changed)):
            chosen = {
                number: [change for change, has in zip(changes, flags, strict=True) if has]
                for (number, changes), flags in zip(changed, kept, strict=True)
            }
            yield _whole(names, lambda number, chosen=chosen: _with(world.node(number), chosen.get(number, [])))


def _bind(names: dict[str, int], path: str, node: int | None) -> None:
    if node is None:
        names.pop(path, None)
    else:
        names[path] = node


def _whole(names: Mapping[str, int], content_of: Callable[[int], bytes]) -> Image:
    """Without files whose folder's name is gone; a file with two names (half a rename) has one content."""
    image: Image = {"": None}
    content_of = cache(content_of)
    for path in sorted(names):  # a folder before what is in it
        if image.get(path.rpartition("/")[0], b"") is None:
            image[path] = None if names[path] == DIRECTORY else content_of(names[path])
    del image[""]
    return image


def _with(node: Node, changes: list[Change]) -> bytes:
    content = bytearray(node.durable)
    for change in changes:
        change.onto(content)
    return bytes(content)


def _some(node: Node, keep: Keep, chance: Random, wounds: Wounds, *, of_the_host: bool) -> bytes:
    if keep is Keep.NOTHING or not (node.pending or node.lost):
        return node.settled
    if keep is Keep.ALL:
        return bytes(node.now())
    content = bytearray(node.durable)
    for change in _drawn(node.unsynced, chance):
        size = len(change.data)
        data = change.data.ljust(SECTOR, b"\0") if of_the_host and size else change.data  # the seed must not feel its length
        change.onto(content, _wounded(data, chance, wounds)[:size])
    return bytes(content)


def _drawn(changes: list[Change], chance: Random) -> list[Change]:
    """A disk writes in any order it likes: each change by itself, those before some moment, or only those after it."""
    style = chance.randrange(5)
    if style < 3:
        return [change for change in changes if chance.random() < (0.1, 0.5, 0.9)[style]]
    cut = chance.randrange(len(changes) + 1)
    return changes[:cut] if style == 3 else changes[cut:]


def _wounded(data: bytes, chance: Random, wounds: Wounds) -> bytes:
    """What of a write arrives: nearly always all of it, else its first sectors, perhaps with garbage in the next one."""
    sectors = (len(data) + SECTOR - 1) // SECTOR
    if sectors and chance.random() < GARBAGE:
        wounds.garbage += 1
        whole = chance.randrange(sectors) * SECTOR
        return data[:whole] + chance.randbytes(min(SECTOR, len(data) - whole))
    if sectors > 1 and chance.random() < TORN:
        wounds.torn += 1
        return data[: chance.randrange(1, sectors) * SECTOR]
    return data


# -- on a real disk -----------------------------------------------------------------------------------------------------
def key_of(image: Image) -> bytes:
    """Equal for images of equal contents, on every machine."""
    digest = hashlib.sha256("\0".join(path for path, content in image.items() if content is None).encode())
    for path, content in image.items():
        if content is not None and not path.endswith("-shm"):
            digest.update(f"\0{path}\0".encode())
            digest.update(_digest(b"" if path in OF_THE_HOST else content))
    return digest.digest()[:16]


@lru_cache(maxsize=64)
def _digest(content: bytes) -> bytes:
    """Most files of an image are the same objects as of the one before."""
    return hashlib.sha256(content).digest()


class Left(NamedTuple):
    """What is in a directory that an image was written to and looked at. `held`: the folders that may hold files; absolute."""

    folders: set[str]
    held: set[str]


def write_image(image: Image, directory: Path, left: Left | None = None) -> Left:
    """Make a directory from an image, or make one that has held another like it. Shared memory never outlives its processes.

    Folders that are there stay: making 257 of them costs more than all the rest. What is there is looked for, for 1 ms, if nobody
    knows it. Returns what is there now.
    """
    root = f"{directory}/"
    directory.mkdir(exist_ok=True)
    folders = {root + name for name, content in image.items() if content is None}
    if left is None:
        there = _folders(str(directory))
        left = Left(there, {str(directory), *there})
    for path in left.held:
        _empty(path)
    for path in sorted(left.folders - folders, reverse=True):
        os.rmdir(path)
    for path in sorted(folders - left.folders):
        os.mkdir(path)
    held: set[str] = set()
    for name, content in image.items():
        if content is not None and not name.endswith("-shm"):
            path = root + name
            held.add(os.path.dirname(path))
            with open(path, "wb", buffering=0) as file:
                file.write(content)
    return Left(folders, held)


def _folders(path: str) -> set[str]:
    """All folders below a path."""
    found: set[str] = set()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found |= {entry.path, *_folders(entry.path)}
    return found


def _empty(path: str) -> None:
    """Remove the files of one folder."""
    if os.path.isdir(path):
        for entry in os.scandir(path):
            if not entry.is_dir():
                os.unlink(entry.path)
