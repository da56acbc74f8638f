"""What survives a power cut is the matter of tests/durability; here a slow disk would only be waited for."""

import pytest

from actors import Disk


@pytest.fixture(autouse=True)
def syncs_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for sync in ("sync_data", "sync_directory", "sync_file_system"):
        monkeypatch.setattr(Disk, sync, lambda self, what: None)
