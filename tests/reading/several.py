"""Two replicas of one runtime, and what tests do to one of them."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import apsw

from durable_rooms import SQLiteReplica


@contextlib.contextmanager
def locked(replica: SQLiteReplica) -> Generator[None]:
    """Nothing is written to it meanwhile."""
    with contextlib.closing(apsw.Connection(str(replica.path))) as connection:
        connection.execute("BEGIN IMMEDIATE").fetchall()
        yield
        connection.execute("ROLLBACK").fetchall()


def gone(replica: SQLiteReplica) -> None:
    assert replica.path is not None
    replica.path.parent.rename(replica.path.parent.with_name("elsewhere"))


def deleted(replica: SQLiteReplica) -> None:
    assert replica.path is not None
    for suffix in ("", "-wal", "-shm"):
        Path(f"{replica.path}{suffix}").unlink(missing_ok=True)
