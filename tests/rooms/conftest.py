"""Every test here leaves nothing behind. (Tasks need no look: a trio run ends only when all of its tasks have.)"""

import threading
from collections import Counter
from collections.abc import Generator

import pytest

from actors import Disk
from tests.leftovers import open_files


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None]:
    """No descriptor of a room, catalog or lock stays open; no thread still works (trio keeps idle ones for a while)."""
    before = open_files()
    others = set(threading.enumerate())
    yield
    new = Counter(open_files()) - Counter(before)  # one that another test left may be collected meanwhile
    assert not new
    busy = [thread.name for thread in threading.enumerate() if thread not in others and "trio" not in thread.name.lower()]
    assert busy == []


@pytest.fixture(autouse=True)
def syncs_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survives a power cut is the matter of tests/durability; here a slow disk would only be waited for."""
    for sync in ("sync_data", "sync_directory", "sync_file_system"):
        monkeypatch.setattr(Disk, sync, lambda self, what: None)
