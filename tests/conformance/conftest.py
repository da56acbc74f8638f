"""Every test of the yardstick leaves nothing behind, and waits for no disk."""

from collections import Counter
from collections.abc import Generator

import pytest

from actors import Disk
from tests.leftovers import open_files


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None]:
    before = open_files()
    yield
    assert not Counter(open_files()) - Counter(before)


@pytest.fixture(autouse=True)
def syncs_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sync matters here, the test holds it back or lets it fail."""
    for sync in ("sync_data", "sync_directory", "sync_file_system"):
        monkeypatch.setattr(Disk, sync, lambda self, what: None)
