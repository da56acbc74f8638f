"""What a disk holds: file contents and names, each as it is now, and as a power cut would leave it.

Replays the events of a `RecordingDisk`. Contents become durable by a sync of their file, names by a sync of their directory,
both by a sync of the file system, and only what happened before that sync *began*. What a failed sync reported is never made
durable by a later one: the kernel has marked those pages clean. Harsher than ext4: names come back one by one, not in order.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from random import Random
from typing import NamedTuple

SECTOR = 512  # what a disk writes whole; a write may be torn between two
DIRECTORY = -1  # stands for a node where a name is a directory's


class Event(NamedTuple):
    """One thing that happened. `node` is the file behind the path; `token` joins a sync's two ends."""

    kind: str  # create, write, truncate, rename, unlink, mkdir, open, close, reply, or "<a sync> began / returned / failed"
    path: str = ""
    by: str = "ours"  # or "sqlite"
    node: int = 0
    token: int = 0
    offset: int = 0
    data: bytes = b""
    other: str = ""  # where a rename ends; what a reply says


class Keep(Enum):
    """What of the unsynced a power cut leaves."""

    NOTHING = 0
    SOME = 1
    ALL = 2  # a killed process: the page cache stays


class Change(NamedTuple):
    when: int
    offset: int  # -1: the file is cut to `size`
    data: bytes
    size: int

    def onto(self, content: bytearray, part: int | None = None) -> None:
        if self.offset < 0:
            if self.size < len(content):
                del content[self.size :]
            else:
                content.extend(bytes(self.size - len(content)))
            return
        data = self.data[:part]
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(data)] = data

    def replaces(self, older: "Change") -> bool:
        """Whether both are about the same bytes."""
        if self.offset < 0:
            return older.offset < 0 or older.offset + len(older.data) > self.size
        return older.offset < self.offset + len(self.data) and self.offset < older.offset + len(older.data)


@dataclass
class Node:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    lost: list[Change] = field(default_factory=list)  # a failed sync took them away; a power cut may or may not have them

    def synced(self, before: int) -> None:
        for change in self.pending:
            if change.when < before:
                change.onto(self.durable)
                self.lost = [older for older in self.lost if not change.replaces(older)]
        self.pending = [change for change in self.pending if change.when >= before]

    def sync_failed(self, before: int) -> None:
        self.lost += [change for change in self.pending if change.when < before]
        self.pending = [change for change in self.pending if change.when >= before]

    def after(self, keep: Keep, chance: Random) -> bytes:
        content = bytearray(self.durable)
        if keep is Keep.NOTHING:
            return bytes(content)
        changes = sorted(self.lost + self.pending, key=lambda change: change.when)
        if keep is Keep.SOME:
            changes = _some_of(changes, chance)
        for change in changes:
            sectors = (len(change.data) + SECTOR - 1) // SECTOR
            torn = keep is Keep.SOME and sectors > 1 and chance.random() < 0.1
            change.onto(content, chance.randrange(1, sectors) * SECTOR if torn else None)
        return bytes(content)


def _some_of(changes: list[Change], chance: Random) -> list[Change]:
    """A disk writes in any order it likes: each change by itself, those before some moment, or only those after it."""
    style = chance.randrange(5)
    if style < 3:
        return [change for change in changes if chance.random() < (0.1, 0.5, 0.9)[style]]
    cut = chance.randrange(len(changes) + 1)
    return changes[:cut] if style == 3 else changes[cut:]


class World:
    """The disk below one data directory; paths are relative to it."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = defaultdict(Node)
        self.names: dict[str, int] = {}  # as a process sees them
        self._durable: dict[str, int] = {}
        self._renames: dict[str, list[tuple[int, int | None]]] = defaultdict(list)  # by path: when, and what it then named
        self._began: dict[int, int] = {}
        self._now = 0

    def play(self, events: Iterable[Event]) -> None:
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        self._now += 1
        kind = event.kind
        if kind in ("create", "mkdir"):
            if event.path != ".":  # the data directory itself is taken as given
                self._name(event.path, event.node)
        elif kind == "write":
            self.nodes[event.node].pending.append(Change(self._now, event.offset, event.data, 0))
        elif kind == "truncate":
            self.nodes[event.node].pending.append(Change(self._now, -1, b"", event.offset))
        elif kind == "rename":
            self._name(event.other, event.node)
            self._name(event.path, None)
        elif kind == "unlink":
            self._name(event.path, None)
        elif kind.endswith(" began"):
            self._began[event.token] = self._now
        elif kind == "sync returned":
            self.nodes[event.node].synced(self._began[event.token])
        elif kind == "sync failed":
            self.nodes[event.node].sync_failed(self._began[event.token])
        elif kind == "directory sync returned":
            self._names_synced(self._began[event.token], event.path)
        elif kind == "file system sync returned":
            for node in self.nodes.values():
                node.synced(self._began[event.token])
            self._names_synced(self._began[event.token], None)

    def _name(self, path: str, node: int | None) -> None:
        self._renames[path].append((self._now, node))
        if node is None:
            self.names.pop(path, None)
        else:
            self.names[path] = node

    def _names_synced(self, before: int, directory: str | None) -> None:
        for path, bindings in list(self._renames.items()):
            if directory is not None and str(PurePosixPath(path).parent) != directory:
                continue
            for when, node in bindings:
                if when >= before:
                    break
                if node is None:
                    self._durable.pop(path, None)
                else:
                    self._durable[path] = node
            self._renames[path] = [binding for binding in bindings if binding[0] >= before]
            if not self._renames[path]:
                del self._renames[path]

    # -- images ---------------------------------------------------------------------------------------------------------
    def image(self, keep: Keep, chance: Random) -> dict[str, bytes | None]:
        """What a power cut now leaves: contents by path, None for a directory."""
        names = dict(self._durable)
        for path, bindings in self._renames.items():
            if keep is Keep.NOTHING:
                continue
            node = (
                bindings[-1][1] if keep is Keep.ALL else chance.choice([self._durable.get(path), *(node for _, node in bindings)])
            )
            if node is None:
                names.pop(path, None)
            else:
                names[path] = node
        return {
            path: None if node == DIRECTORY else self.nodes[node].after(keep, chance)
            for path, node in sorted(names.items())
            if all(str(parent) in names for parent in PurePosixPath(path).parents if str(parent) != ".")
        }


def world_of(image: dict[str, bytes | None]) -> World:
    """The world that begins with an image: all of it is durable."""
    world = World()
    for number, (path, content) in enumerate(image.items(), 1):
        if path.endswith("-shm"):
            continue
        node = DIRECTORY if content is None else number
        if content is not None:
            world.nodes[number].durable = bytearray(content)
        world.names[path] = world._durable[path] = node
    return world


def write_image(image: dict[str, bytes | None], directory: Path) -> None:
    """Make a directory from an image, or fill one whose folders are there. Shared memory never outlives its processes."""
    there = directory.exists()
    directory.mkdir(exist_ok=True)
    for path, content in image.items():
        if content is None:
            if not there or path.count("/") == 0:
                (directory / path).mkdir(exist_ok=True)
        elif not path.endswith("-shm"):
            (directory / path).write_bytes(content)
