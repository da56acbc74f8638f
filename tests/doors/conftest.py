"""Every test here leaves no thread of ours, no file, no lock behind."""

import threading
from collections import Counter
from collections.abc import Generator

import pytest

from actors import Disk
from tests.leftovers import open_files


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "durable-rooms" in thread.name]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None]:
    before = open_files()
    yield
    assert our_threads() == []
    assert not Counter(open_files()) - Counter(before)


@pytest.fixture(autouse=True)
def syncs_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survives a power cut is the matter of tests/durability."""
    for sync in ("sync_data", "sync_directory", "sync_file_system"):
        monkeypatch.setattr(Disk, sync, lambda self, what: None)
