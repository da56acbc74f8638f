"""Two replicas for the tests of several."""

from pathlib import Path

import pytest

from durable_rooms import SQLiteReplica


@pytest.fixture
def near(tmp_path: Path) -> SQLiteReplica:
    return _apart(tmp_path, "near")


@pytest.fixture
def far(tmp_path: Path) -> SQLiteReplica:
    return _apart(tmp_path, "far")


def _apart(tmp_path: Path, name: str) -> SQLiteReplica:
    """In a directory of its own, so that it can go away without the other."""
    (tmp_path / name).mkdir()
    return SQLiteReplica(tmp_path / name / "replica.db", name=name)
