"""The reader of damaged databases: reads what SQLite wrote, and never falls over what nobody wrote."""

import random
from pathlib import Path

import apsw
import pytest

from durable_rooms.recovery.pages import read_image
from durable_rooms.recovery.trees import free_pages, loose_leaves, read_tree


def written(path: Path) -> dict[str, list[tuple]]:
    """A database with rows of all kinds, most of them in its WAL; returns them."""
    chance = random.Random(7)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.wal_autocheckpoint(0)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("CREATE TABLE m (id INTEGER PRIMARY KEY, a TEXT, b); CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
    values = [None, 0, 1, -5, 127, -(2**40), 2**62, 2.5, b"\xff\x00", b"b" * 10_000]
    rows = [
        (chance.randrange(-5, 2 ** chance.randrange(1, 62)), "é\ufffd" * chance.choice([0, 3, 900]), chance.choice(values))
        for _ in range(600)
    ]
    with connection:
        connection.executemany("INSERT OR REPLACE INTO m VALUES (?, ?, ?)", rows[:300])
    connection.pragma("wal_checkpoint", "PASSIVE")
    with connection:
        connection.executemany("INSERT OR REPLACE INTO m VALUES (?, ?, ?)", rows[300:])
        connection.executemany("INSERT OR REPLACE INTO w VALUES (?, ?)", ((f"{n}", n) for n in range(2_000)))
        connection.execute("DELETE FROM m WHERE id % 7 = 0").fetchall()
    found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in "mw"}
    connection.close()
    return found


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def test_every_row_is_read_as_sqlite_reads_it_and_no_page_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    expected = written(path)
    image = read_image(path, wal_of(path))
    schema = read_tree(image, 1)
    roots = {record.values[1]: record.values[3] for record in schema.records}
    m, w = read_tree(image, roots["m"]), read_tree(image, roots["w"], index=True)
    assert m.whole
    assert w.whole
    assert sorted((record.rowid, *record.values[1:]) for record in m.records) == sorted(expected["m"])
    assert sorted(tuple(record.values) for record in w.records) == sorted(expected["w"])
    free = free_pages(image)
    assert free
    assert schema.pages | m.pages | w.pages | free == set(range(1, image.count + 1))


def test_frames_behind_a_damaged_one_are_still_used(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    expected = written(path)
    log = bytearray(wal_of(path).read_bytes())
    log[32 + 4120 * 3 + 24 + 4000] ^= 0xFF
    wal_of(path).write_bytes(log)
    image = read_image(path, wal_of(path))
    assert any("frame of the WAL" in note for note in image.notes)
    roots = {record.values[1]: record.values[3] for record in read_tree(image, 1).records}
    assert len(read_tree(image, roots["m"]).records) > 0.9 * len(expected["m"])


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_makes_the_reader_fail(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    written(path)
    chance = random.Random(seed)
    for file in (path, wal_of(path)):
        content = bytearray(file.read_bytes())
        for _ in range(chance.choice([1, 20, 400])):
            at = chance.randrange(len(content))
            if chance.random() < 0.5:
                at -= at % 4096 - chance.randrange(100)  # where a page keeps its head
            content[min(at, len(content) - 1)] = chance.choice([0, 0xFF, chance.randrange(256), 0x05, 0x0D])
        file.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
    image = read_image(path, wal_of(path))
    pages: set[int] = set(free_pages(image) or ())
    for root in range(1, min(image.count, 30) + 1):
        for index in (False, True):
            pages |= read_tree(image, root, index=index).pages
    assert sum(len(leaf.records) for leaf in loose_leaves(image, pages)) >= 0
