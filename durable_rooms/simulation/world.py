"""What a disk holds: file contents and names, each as it is now, and as a power cut would leave it.

Applies the events of a `SimulatedDisk`. Contents become durable by a sync of their file, names by a sync of their directory,
both by a sync of the file system, and only what happened before that sync *began*. What a failed sync reported is never made
durable by a later one: the kernel has marked those pages clean. Harsher than ext4: names come back one by one, not in order.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from durable_rooms.simulation.events import Event

DIRECTORY = -1  # stands for a node where a name is a directory's


class Change(NamedTuple):
    """Of a file's contents. `offset` -1: the file is cut to `size`."""

    when: int
    offset: int
    data: bytes
    size: int

    def onto(self, content: bytearray, data: bytes | None = None) -> None:
        if self.offset < 0:
            resize(content, self.size)
            return
        data = self.data if data is None else data
        if len(content) < self.offset:
            resize(content, self.offset)
        content[self.offset : self.offset + len(data)] = data

    def without(self, newer: "Change") -> "list[Change]":
        """What a newer change has left of this write."""
        end = self.offset + len(self.data)
        kept = [(self.offset, newer.size)]
        if newer.offset >= 0:
            kept = [(self.offset, newer.offset), (newer.offset + len(newer.data), end)]
        pieces = [(max(first, self.offset), min(last, end)) for first, last in kept]
        return [
            self._replace(offset=first, data=self.data[first - self.offset : last - self.offset])
            for first, last in pieces
            if first < last
        ]


def resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


@dataclass(slots=True)
class Node:
    """One file: what is durable, what was done to it since, and what a failed sync took away (a cut may have it or not).

    Only writes are lost: a file's size is the journal's, and its change waits for the next sync.
    """

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list[Change])
    lost: list[Change] = field(default_factory=list[Change])
    _settled: bytes | None = None

    @property
    def settled(self) -> bytes:
        """What is durable. The same object until it changes: images of one life share most of what they hold."""
        if self._settled is None:
            self._settled = bytes(self.durable)
        return self._settled

    def synced(self, before: int) -> None:
        for change in self.pending:
            if change.when < before:
                change.onto(self.durable)
                self._settled = None
                if self.lost:
                    self.lost = [left for older in self.lost for left in _left(older, change)]
        self.pending = [change for change in self.pending if change.when >= before]

    def sync_failed(self, before: int) -> None:
        self.lost += [change for change in self.pending if change.when < before and change.offset >= 0]
        self.pending = [change for change in self.pending if change.when >= before or change.offset < 0]

    def evicted(self) -> None:
        """Its clean pages left the page cache: a read finds what the disk has, zeros where it has nothing. The size stays."""
        content = bytearray(self.durable)
        grown: list[Change] = []
        for change in self.unsynced:
            size = len(content)
            change.onto(content)
            if len(content) > size and change in self.lost:
                grown.append(Change(change.when, -1, b"", len(content)))
        self.lost.clear()
        self.pending = sorted(self.pending + grown, key=_when)

    @property
    def unsynced(self) -> list[Change]:
        return sorted(self.lost + self.pending, key=_when) if self.lost else self.pending

    def now(self) -> bytearray:
        """As a process reads it."""
        content = bytearray(self.durable)
        for change in self.unsynced:
            change.onto(content)
        return content

    def copy(self) -> "Node":
        return Node(bytearray(self.durable), list(self.pending), list(self.lost))


def _when(change: Change) -> int:
    return change.when


def _left(older: Change, change: Change) -> list[Change]:
    return older.without(change) if older.when < change.when else [older]


class World:
    """The disk below one data directory; paths are relative to it."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.names: dict[str, int] = {}  # as a process sees them
        self.durable_names: dict[str, int] = {}
        self.bindings: dict[str, list[tuple[int, int | None]]] = defaultdict(list)  # by path: when, and what it then named
        self.last_node = 0  # that was ever named: a number is one file's for ever, or its name would come back on another
        self._began: dict[int, int] = {}
        self._now = 0

    def copy(self) -> "World":
        world = World()
        world.nodes = {number: node.copy() for number, node in self.nodes.items()}
        world.names = dict(self.names)
        world.durable_names = dict(self.durable_names)
        world.bindings = defaultdict(list, {path: list(bindings) for path, bindings in self.bindings.items()})
        world.last_node = self.last_node
        world._began, world._now = dict(self._began), self._now
        return world

    def play(self, events: Iterable[Event]) -> None:
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        self._now += 1
        kind = event.kind
        if kind == "write":
            self.node(event.node).pending.append(Change(self._now, event.offset, event.data, 0))
        elif kind.endswith(" began"):
            self._began[event.token] = self._now
        elif kind == "sync returned":
            self.node(event.node).synced(self._began.pop(event.token))
        elif kind in ("sync failed", "writeback failed"):
            self.node(event.node).sync_failed(self._began.pop(event.token, self._now))
        elif kind == "evicted":
            self.node(event.node).evicted()
        elif kind == "truncate":
            self.node(event.node).pending.append(Change(self._now, -1, b"", event.offset))
        elif kind == "file system sync returned":
            before = self._began.pop(event.token)
            for node in self.nodes.values():
                if node.pending:
                    node.synced(before)
            self._names_synced(before, None)
        else:
            self._apply_to_names(event)

    def _apply_to_names(self, event: Event) -> None:
        kind = event.kind
        if kind in ("create", "mkdir"):
            if event.path != ".":  # the data directory itself is taken as given
                self._name(event.path, event.node)
        elif kind == "rename":
            self._name(event.other, event.node)
            self._name(event.path, None)
        elif kind == "unlink":
            self._name(event.path, None)
        elif kind == "directory sync returned":
            self._names_synced(self._began.pop(event.token), event.path)

    def node(self, number: int) -> Node:
        node = self.nodes.get(number)
        if node is None:
            node = self.nodes[number] = Node()
        return node

    def _name(self, path: str, node: int | None) -> None:
        self.bindings[path].append((self._now, node))
        if node is None:
            self.names.pop(path, None)
        else:
            self.names[path] = node
            self.last_node = max(self.last_node, node)

    def _names_synced(self, before: int, directory: str | None) -> None:
        for path, bindings in list(self.bindings.items()):
            if directory is not None and str(PurePosixPath(path).parent) != directory:
                continue
            for when, node in bindings:
                if when >= before:
                    break
                if node is None:
                    self.durable_names.pop(path, None)
                else:
                    self.durable_names[path] = node
            left = [binding for binding in bindings if binding[0] >= before]
            if left:
                self.bindings[path] = left
            else:
                del self.bindings[path]


def world_of(image: Mapping[str, bytes | None]) -> World:
    """The world that begins with an image: all of it is durable."""
    world = World()
    for number, (path, content) in enumerate(image.items(), 1):
        if path.endswith("-shm"):
            continue
        node = DIRECTORY if content is None else number
        if content is not None:
            world.nodes[number] = Node(bytearray(content))
            world.last_node = number
        world.names[path] = world.durable_names[path] = node
    return world
