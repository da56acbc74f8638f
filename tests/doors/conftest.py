"""Every test here leaves no thread of ours, no file, no lock behind."""

import os
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from actors import Disk


def open_files() -> list[str]:
    found: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except FileNotFoundError:
            continue
    return sorted(path for path in found if ".db" in path or path.endswith(("/lock", " (deleted)")))


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "durable-rooms" in thread.name]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None]:
    before = open_files() if Path("/proc/self/fd").exists() else []
    yield
    assert our_threads() == []
    if Path("/proc/self/fd").exists():
        assert not Counter(open_files()) - Counter(before)


@pytest.fixture(autouse=True)
def syncs_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survives a power cut is the matter of tests/durability."""
    for sync in ("sync_data", "sync_directory", "sync_file_system"):
        monkeypatch.setattr(Disk, sync, lambda self, what: None)
