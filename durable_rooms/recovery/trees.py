"""The b-trees of a damaged database, walked as far as they can be read."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from durable_rooms.recovery.pages import Image
from durable_rooms.recovery.records import (
    INTERIOR_INDEX,
    INTERIOR_TABLE,
    LEAF_INDEX,
    LEAF_TABLE,
    Broken,
    Cell,
    SQLValue,
    cell,
    cell_places,
    kind_of,
    right_child,
    values,
)

_KINDS = {False: (LEAF_TABLE, INTERIOR_TABLE), True: (LEAF_INDEX, INTERIOR_INDEX)}


@dataclass(frozen=True, slots=True)
class Record:
    rowid: int
    values: list[SQLValue]
    loose: bool = False  # from a page that nothing points to any more


@dataclass(slots=True)
class Tree:
    """What was read of one b-tree.

    Attributes:
      lost: pages that could not be read, each with the rowids that its place in the tree allows (None: no bound).
      broken: records that could not be read. garbled: texts that are no UTF-8 any more.
      pages: all that belong to it, overflow pages included.
    """

    records: list[Record] = field(default_factory=list[Record])
    lost: list[tuple[int, int | None, int | None]] = field(default_factory=list[tuple[int, int | None, int | None]])
    broken: int = 0
    garbled: int = 0
    pages: set[int] = field(default_factory=set[int])

    @property
    def whole(self) -> bool:
        return not (self.lost or self.broken or self.garbled)


def read_tree(image: Image, root: int, *, index: bool = False) -> Tree:
    """Walk from a root. `index`: of a table WITHOUT ROWID, whose rows are keys of an index."""
    tree, nodes = Tree(), set[int]()
    waiting: list[tuple[int, int | None, int | None]] = [(root, None, None)]
    while waiting:
        number, low, high = waiting.pop()
        page = image.page(number)
        if page is None or number in nodes or kind_of(page, number) not in _KINDS[index]:
            tree.lost.append((number, low, high))
            continue
        nodes.add(number)
        tree.pages.add(number)
        waiting += reversed(list(_read_page(image, tree, page, number, low, high)))
    return tree


def _read_page(
    image: Image, tree: Tree, page: bytes, number: int, low: int | None, high: int | None
) -> Iterator[tuple[int, int | None, int | None]]:
    """Add the records of a page; its children, in order."""
    kind = kind_of(page, number)
    interior = kind in (INTERIOR_TABLE, INTERIOR_INDEX)
    for at in cell_places(page, number):
        try:
            found = cell(image, page, kind, at, tree.pages.add)
        except Broken:
            tree.broken += 1
            continue
        if interior:
            yield found.child, low, found.rowid if kind == INTERIOR_TABLE else None
        if kind == INTERIOR_TABLE:
            low = found.rowid
        else:
            _add(tree, found)
    if interior:
        yield right_child(page, number), low, high


def _add(tree: Tree, found: Cell, *, loose: bool = False) -> None:
    try:
        record, clean = values(found.payload)
    except Broken:
        tree.broken += 1
        return
    tree.garbled += not clean
    tree.records.append(Record(found.rowid, record, loose))


def free_pages(image: Image) -> set[int] | None:
    """The pages that hold nothing any more; None if the list of them cannot be read."""
    first = image.page(1)
    if first is None:
        return None
    number, free = int.from_bytes(first[32:36], "big"), set[int]()
    while number:
        page = image.page(number)
        if page is None or number in free:
            return None
        free.add(number)
        count = int.from_bytes(page[4:8], "big")
        if count > len(page) // 4 - 2:
            return None
        free.update(int.from_bytes(page[at : at + 4], "big") for at in range(8, 8 + 4 * count, 4))
        number = int.from_bytes(page[:4], "big")
    return free


def loose_leaves(image: Image, reached: set[int]) -> Iterator[Tree]:
    """Leaves of tables that no tree leads to, each read by itself; those without a readable row are left out."""
    for number in range(2, image.count + 1):
        page = image.page(number)
        if number in reached or page is None or kind_of(page, number) != LEAF_TABLE:
            continue
        leaf = Tree(pages={number})
        for at in cell_places(page, number):
            try:
                _add(leaf, cell(image, page, LEAF_TABLE, at, leaf.pages.add), loose=True)
            except Broken:
                leaf.broken += 1
        if leaf.records:
            yield leaf
